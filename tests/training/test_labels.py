"""Soft and single labels: what the tables hold, of a run's own utterances and of any corpus."""

import dataclasses
import shutil

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from ipr_core.annotation import annotate
from ipr_core.calibration import Calibration
from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError
from ipr_core.metrics import entropy
from ipr_core.runs import corrections
from ipr_core.runs.run import Run, RunError
from ipr_core.training import labels
from ipr_core.training.advance import advance, prepare
from ipr_core.training.model import Recogniser

CLASSES = ("angry", "happy", "sad", "neutral")
SOFT, MODEL, PROTOTYPES = ([f"{kind}_{name}" for name in CLASSES] for kind in ("soft", "model", "prototypes"))
GIVEN = ["id", "path", "start", "end", "speaker", "part", "label", "share"]


@pytest.fixture(scope="module")
def baseline(frozen, data, views, tmp_path_factory):
    """A finished run of a system that does not label with prototypes."""
    config = frozen.replace(system="baseline", epochs=1)
    return advance(prepare(config, tmp_path_factory.mktemp("runs"), data=data)[0], data, views=views)


def manifest(folder, data, **columns) -> Data:
    """The run's own clips by another reader."""
    table = pd.DataFrame({"id": data.table["id"], "path": data.table["path"]} | columns)
    table.to_csv(folder / "own.csv", index=False)
    return Data(corpus="manifest", corpus_path=str(folder / "own.csv"))


def check(table: pd.DataFrame) -> None:
    for columns in (SOFT, MODEL, PROTOTYPES):
        np.testing.assert_allclose(table[columns].sum(axis=1), 1, atol=1e-5)
        assert (table[columns] >= 0).all(axis=None)
    best = np.array(CLASSES)[table[SOFT].to_numpy().argmax(axis=1)]
    assert (table["single_label"] == best).all()
    np.testing.assert_allclose(table["entropy"], entropy(table[SOFT].to_numpy()), atol=1e-6)
    alike = table[MODEL].to_numpy().argmax(axis=1) == table[PROTOTYPES].to_numpy().argmax(axis=1)
    assert (table["classifier_and_prototypes_agree"] == alike).all()


def tensor(shares: pd.DataFrame) -> torch.Tensor:
    return torch.tensor(shares.to_numpy())


def check_calibrated(run: Run, columns: list[str]) -> None:
    """The soft labels are the system's own choice after its model's calibration, which is of V1 and V2."""
    calibration = Recogniser.load(run.folder / "model").calibration
    assert calibration.utterances == run.table["part"].isin(["V1", "V2"]).sum() > 0
    assert calibration.votes == "annotators"
    assert torch.equal(tensor(run.labels[SOFT]), calibration(tensor(run.labels[columns])))
    assert not torch.equal(tensor(run.labels[SOFT]), tensor(run.labels[columns]))


def test_a_table_by_hand():
    utterances = pd.DataFrame({"id": ["a", "b"]})
    soft, classifier = np.array([[0.25, 0.75], [1.0, 0.0]]), np.array([[0.9, 0.1], [0.5, 0.5]])
    prototypes = np.array([[0.0, 1.0], [1.0, 0.0]])
    table = labels.table(utterances, ("x", "y"), soft, classifier, prototypes)
    assert table.to_dict("list") == {
        "id": ["a", "b"], "single_label": ["y", "x"], "soft_x": [0.25, 1.0], "soft_y": [0.75, 0.0],
        "entropy": [pytest.approx(0.811278), 0], "model_x": [0.9, 0.5], "model_y": [0.1, 0.5],
        "prototypes_x": [0.0, 1.0], "prototypes_y": [1.0, 0.0], "classifier_and_prototypes_agree": [False, True],
    }  # fmt: skip


def test_a_runs_labels(trained, data):
    table = trained.labels
    expected = [*GIVEN, "single_label", *SOFT, "entropy", *MODEL, *PROTOTYPES, "classifier_and_prototypes_agree"]
    assert table.columns.tolist() == expected
    assert table["id"].tolist() == data.table["id"].tolist()
    check(table)
    check_calibrated(trained, PROTOTYPES)
    last = trained.events()[-1]
    np.testing.assert_allclose(table[PROTOTYPES], last.arrays["soft_prototypes"], atol=1e-3)
    np.testing.assert_allclose(table[MODEL], last.arrays["soft_model"], atol=1e-3)


def test_without_held_out_utterances_nothing_is_calibrated(frozen, data, views, tmp_path):
    parts = data.table["part"].replace({"V1": "D1", "V2": "D2"})
    whole = dataclasses.replace(data, table=data.table.assign(part=parts))
    config = frozen.replace(system="baseline", epochs=1, validation_share=0)
    run = advance(prepare(config, tmp_path, data=whole)[0], whole)
    calibration = Recogniser.load(run.folder / "model").calibration
    assert calibration == Calibration()
    assert "not calibrated" in str(calibration)
    assert torch.equal(tensor(run.labels[SOFT]), tensor(run.labels[MODEL]))


def test_the_calibration_learns_the_votes_of_v1_and_v2_alone(make, data):
    """Another vote on D3, or another label of it, changes nothing; one on V2 does."""

    def fitted(part: str) -> Calibration:
        table = data.table.copy()
        table.loc[table["part"] == part, [f"votes_{name}" for name in CLASSES]] = [0, 1, 2, 0]
        session = make()
        session.data = dataclasses.replace(data, table=table)
        return labels.calibration(session)

    assert fitted("D3") == fitted("none") == labels.calibration(make())
    assert fitted("V2") != fitted("none")


def test_where_only_the_agreement_is_known_the_rest_is_spread_evenly(make, data, monkeypatch):
    session, calls = make(), []
    session.data = dataclasses.replace(data, table=data.table.assign(votes_unknown=1.0))
    monkeypatch.setattr(labels, "fit", lambda *args: calls.append(args) or Calibration())
    labels.calibration(session)
    ((shares, targets, groups, votes, *_),) = calls
    rows = data.table[data.table["part"].isin(["V1", "V2"])]
    assert votes == "agreement"
    assert len(shares) == len(groups) == len(rows)
    expected = np.repeat((1 - rows["share"].to_numpy())[:, None] / 3, 4, axis=1)
    expected[np.arange(len(rows)), rows["label"].map(CLASSES.index)] = rows["share"]
    np.testing.assert_allclose(targets, expected)


@pytest.mark.parametrize(("speakers", "biased"), [(0, True), (1, False), (4, False), (5, True)])
def test_a_bias_is_tried_where_folds_leave_speakers_out_or_speakers_are_unknown(
    make, data, monkeypatch, speakers, biased
):
    session, calls = make(), []
    names = [str(i % speakers) if speakers else "" for i in range(len(data.table))]
    session.data = dataclasses.replace(data, table=data.table.assign(part="V1", speaker=names))
    monkeypatch.setattr(labels, "fit", lambda *args: calls.append(args) or Calibration())
    labels.calibration(session)
    ((_, _, groups, *_, tried),) = calls
    assert tried == biased
    assert len(set(groups)) == (speakers if speakers >= 5 else len(data.table))


def test_simulated_votes_are_named(make, data):
    session = make()
    session.data = dataclasses.replace(data, simulated=True)
    assert labels.calibration(session).votes == "simulated"


def test_both_files_say_the_same(trained):
    csv = pd.read_csv(trained.folder / "labels.csv", keep_default_na=False)
    assert csv["single_label"].tolist() == trained.labels["single_label"].tolist()
    np.testing.assert_allclose(csv[SOFT], trained.labels[SOFT], rtol=1e-6)


def test_a_system_without_prototypes_labels_by_its_classifier(baseline, data, tmp_path):
    check(baseline.labels)
    check_calibrated(baseline, MODEL)
    parquet, _ = annotate(baseline, manifest(tmp_path, data), tmp_path, progress=False, segment="none")
    table = pd.read_parquet(parquet)
    np.testing.assert_allclose(
        table[SOFT], Recogniser.load(baseline.folder / "model").calibration(tensor(table[MODEL]))
    )


def test_a_runs_own_clips_are_labelled_again_alike(trained, data, tmp_path):
    """Read from disk, unlabelled, in other batches, by the exported model."""
    places = annotate(
        trained, manifest(tmp_path, data, label="unlabelled"), tmp_path / "out", progress=False, segment="none"
    )
    assert [path.suffix for path in places] == [".parquet", ".csv"]
    table = pd.read_parquet(places[0])
    check(table)
    expected = trained.labels.set_index("id").loc[table["id"]]
    np.testing.assert_allclose(table[SOFT + MODEL + PROTOTYPES], expected[SOFT + MODEL + PROTOTYPES], atol=1e-4)
    assert len(table) == len(data.table)


def test_the_reloaded_model_predicts_a_runs_labels(trained, data):
    model = Recogniser.load(trained.folder / "model")
    assert model.by_prototypes
    assert model.method == trained.config.method
    clips, lengths = data.waves.padded(range(5), trained.config.audio.max_seconds)
    soft = model.predict([clip[:length].numpy() for clip, length in zip(clips, lengths, strict=True)])
    np.testing.assert_allclose(soft, trained.labels[SOFT].iloc[:5], atol=1e-4)


def test_a_folder_of_wavs(trained, data, tmp_path):
    folder = tmp_path / "some.recordings"
    for i in range(3):
        (folder / str(i)).mkdir(parents=True)
        soundfile.write(folder / str(i) / "clip.wav", np.asarray(data.waves[i]), 16_000)
    places = annotate(
        trained, Data(corpus="manifest", corpus_path=str(folder)), tmp_path, progress=False, segment="none"
    )
    table = pd.read_parquet(places[0])
    check(table)
    assert table["id"].tolist() == ["0/clip.wav", "1/clip.wav", "2/clip.wav"]
    np.testing.assert_allclose(table[SOFT], trained.labels[SOFT].iloc[:3], atol=1e-4)


def test_labels_lie_in_the_runs_folder_unless_another_is_named(baseline, data, tmp_path):
    places = annotate(baseline, manifest(tmp_path, data), progress=False, segment="none")
    assert [path.parent for path in places] == [baseline.folder] * 2


def test_a_label_of_no_class_does_not_matter(baseline, data, tmp_path):
    """A corpus in other emotions is labelled in the run's classes."""
    corpus = manifest(tmp_path, data, label="bored").model_copy(update={"classes": ("bored", "calm")})
    table = pd.read_parquet(annotate(baseline, corpus, tmp_path, progress=False, segment="none")[0])
    check(table)
    assert set(table["label"]) == {"bored"}


def test_every_fault_of_the_corpus_is_told(baseline, data, tmp_path):
    corpus = manifest(tmp_path, data)
    table = pd.read_csv(tmp_path / "own.csv")
    table.loc[2, "path"] = "gone.wav"
    table.loc[5, "id"] = table.loc[4, "id"]
    table.to_csv(tmp_path / "own.csv", index=False)
    with pytest.raises(CorpusError, match=r"own\.csv, row 4: .*gone\.wav") as caught:
        annotate(baseline, corpus, tmp_path / "out", progress=False, segment="none")
    assert len(caught.value.faults) == 2
    assert not (tmp_path / "out").exists()


# Corrections


@pytest.fixture
def corrected(trained, data, tmp_path):
    """A copy of the finished run in which somebody corrected the third utterance to what it is not labelled with."""
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    label = next(name for name in CLASSES if name != run.labels["single_label"][2])
    corrections.add(run, data.table["id"][2], label, "Ada")
    return run, label


def test_annotate_honours_a_correction_and_nothing_else_changes(corrected, trained, data, tmp_path):
    run, label = corrected
    corpus = manifest(tmp_path, data)
    (old, _), (new, csv) = (
        [pd.read_parquet(parquet), pd.read_csv(csv, keep_default_na=False)]
        for parquet, csv in (
            annotate(row, corpus, tmp_path / "out", progress=False, segment="none") for row in (trained, run)
        )
    )
    assert new["single_label"][2] == label != old["single_label"][2]
    assert new["corrected_by"].tolist() == ["", "", "Ada", *[""] * (len(new) - 3)]
    assert new["corrected_at"][2] == corrections.read(run)["when"][0]
    rest = new.columns.drop(["single_label", "corrected_by", "corrected_at"])
    pd.testing.assert_frame_equal(new[rest], old[rest])
    assert new["single_label"].drop(2).tolist() == old["single_label"].drop(2).tolist()
    assert set(old["corrected_by"]) == {""}
    for name in ("single_label", "corrected_by", "corrected_at"):
        assert csv[name].tolist() == new[name].tolist()


def test_a_correction_follows_the_sound_and_not_the_id(corrected, data, tmp_path):
    """A folder of the same files has other ids; another corpus may have the same ones."""
    run, label = corrected
    folder = tmp_path / "copies"
    folder.mkdir()
    for i in (1, 2):
        shutil.copy(data.table["path"][i], folder / f"{i}.wav")
    corpus = Data(corpus="manifest", corpus_path=str(folder))
    table = pd.read_parquet(annotate(run, corpus, tmp_path / "out", progress=False, segment="none")[0])
    assert table["corrected_by"].tolist() == ["", "Ada"]
    assert table["single_label"][1] == label
    swapped = manifest(tmp_path, data, id=data.table["id"].to_numpy()[::-1])
    table = pd.read_parquet(annotate(run, swapped, tmp_path / "out", progress=False, segment="none")[0])
    assert np.flatnonzero(table["corrected_by"]).tolist() == [2]


def test_the_runs_own_labels_stay_as_they_were_trained(corrected, trained):
    run, _ = corrected
    assert (run.folder / "labels.parquet").read_bytes() == (trained.folder / "labels.parquet").read_bytes()


def test_a_damaged_history_is_told_before_anything_is_labelled(corrected, data, tmp_path):
    run, _ = corrected
    (run.folder / "corrections" / "history.csv").write_text("nonsense\n")
    with pytest.raises(RunError, match=r"history\.csv, line 1"):
        annotate(run, manifest(tmp_path, data), tmp_path / "out", progress=False, segment="none")
    assert not (tmp_path / "out").exists()
