"""Centring by speaker: by hand, in a session's views, and the same in labels.csv, `ipr annotate` and `predict`."""

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from helpers import bursts
from ipr_core.annotation import annotate
from ipr_core.config import Config, Data, SettingsError, demo
from ipr_core.data.segmentation import segmented
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare
from ipr_core.training.centring import SHRINKAGE, SpeakerMeans
from ipr_core.training.model import Recogniser
from ipr_core.training.session import Session
from ipr_core.training.trained import export

CLASSES = ("angry", "happy", "sad", "neutral")
SOFT = [f"soft_{name}" for name in CLASSES]


def test_offsets_by_hand():
    means = SpeakerMeans()
    means.add(["a", "a", "b", ""], torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 4.0], [4.0, 0.0]]))
    assert means.centre.tolist() == [2.0, 1.0]
    shrunk = [2 / (2 + SHRINKAGE), 1 / (1 + SHRINKAGE)]
    expected = [[0.0, -1.0 * shrunk[0]], [-2.0 * shrunk[1], 3.0 * shrunk[1]], [0.0, 0.0], [0.0, 0.0]]
    torch.testing.assert_close(means.offsets(["a", "b", "", "never heard"]), torch.tensor(expected))


def test_a_new_corpus_is_moved_to_the_centre_that_was_trained():
    means = SpeakerMeans(centre=torch.tensor([1.0, 1.0]))
    means.add(["a"] * 96, torch.full((96, 2), 3.0))
    torch.testing.assert_close(means.offsets(["a"]), torch.full((1, 2), 2 * 96 / 100))


def test_means_are_kept_to_the_bit(tmp_path):
    means = SpeakerMeans(torch.rand(8))
    for _ in range(5):
        means.add(["a", "ß", ""], torch.rand(3, 8))
    means.save(tmp_path / "means")
    again = SpeakerMeans.read(tmp_path / "means", means.centre)
    assert again is not None
    assert again.offsets(["a", "ß", ""]).equal(means.offsets(["a", "ß", ""]))
    whole = (tmp_path / "means").read_bytes()
    (tmp_path / "means").write_bytes(whole[:100])
    assert SpeakerMeans.read(tmp_path / "means", means.centre) is None


def test_a_trained_encoder_is_refused():
    with pytest.raises(SettingsError, match="set frozen_layers to -1, or centring to 'none'"):
        demo(centring="speaker")


def test_the_speakers_of_a_session_have_nearly_one_mean(frozen, data):
    plain, by_speaker = Session(frozen, data), Session(frozen.replace(centring="speaker"), data)
    speakers, rows = data.table["speaker"], np.arange(len(data.table))
    for augmented in (False, True):
        pooled, centred = (
            (session.views.augmented(rows, 0) if augmented else session.views.clean(rows))[0][:, 0]
            for session in (plain, by_speaker)
        )
        for speaker in speakers.unique():
            of_speaker = torch.tensor((speakers == speaker).tolist())
            moves = pooled[of_speaker] - centred[of_speaker]
            torch.testing.assert_close(moves, moves[:1].expand_as(moves), atol=1e-5, rtol=1e-4)
            if not augmented:
                offset = pooled[of_speaker].mean(dim=0) - by_speaker.model.centre
                left = SHRINKAGE / (SHRINKAGE + int(of_speaker.sum()))
                torch.testing.assert_close(
                    centred[of_speaker].mean(dim=0) - by_speaker.model.centre, left * offset, atol=1e-5, rtol=0
                )


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Data:
    """72 clips of six voices, whose classes differ in how loudness and pitch change."""
    folder, rows, t = tmp_path_factory.mktemp("voices"), [], np.arange(SAMPLE_RATE) / SAMPLE_RATE
    for i in range(72):
        pitch = 80 + 40 * (i % 6) + 30 * np.sin(2 * np.pi * t * (1 + i % 4))
        wave = sum(np.sin(2 * np.pi * k * np.cumsum(pitch) / SAMPLE_RATE) / k for k in range(1, 6))
        noise = 0.01 * np.random.default_rng(i).standard_normal(len(t))
        soundfile.write(folder / f"{i}.wav", 0.1 * wave[: 9_000 + 97 * i] + noise[: 9_000 + 97 * i], SAMPLE_RATE)
        votes = np.eye(4, dtype=int)[i // 6 % 4] * 3 + np.eye(4, dtype=int)[i // 4 % 4] * (3 - i % 3)
        rows.append([f"u{i}", f"{i}.wav", f"s{i % 6}", CLASSES[i // 6 % 4], *votes])
    columns = ["id", "path", "speaker", "label", *(f"votes_{name}" for name in CLASSES)]
    pd.DataFrame(rows, columns=columns).to_csv(folder / "manifest.csv", index=False)
    return Data(corpus="manifest", corpus_path=str(folder / "manifest.csv"))


@pytest.fixture(scope="module")
def run(corpus, tmp_path_factory) -> Run:
    config = config_of(corpus, centring="speaker")
    run, data = prepare(config, tmp_path_factory.mktemp("runs"), progress=False)
    assert len(data.table) == 72, "the means are over all clips, as those of `ipr annotate`"
    return advance(run, data)


def config_of(corpus: Data, **settings) -> Config:
    small = dict(epochs=3, warm_up=2, batch_size=8, test_size=16, test_balanced=False, map_size=0, device="cpu")
    frozen = dict(train_features=False, frozen_layers=-1, lr=3e-3)
    return demo(corpus="manifest", corpus_path=corpus.corpus_path, **small | frozen | settings)


def annotated(run: Run, corpus: Data, folder, **options) -> pd.DataFrame:
    return pd.read_parquet(annotate(run, corpus, folder, progress=False, segment="none", **options)[0]).set_index("id")


def test_one_answer(run, corpus, tmp_path):
    labels = annotated(run, corpus, tmp_path)
    of_speaker = run.labels.set_index("id").loc[labels.index, SOFT]
    np.testing.assert_allclose(labels[SOFT], of_speaker, atol=1e-5)
    export(run, tmp_path / "export")
    model = Recogniser.from_pretrained(tmp_path / "export")
    waves = [soundfile.read(path, dtype="float32")[0] for path in labels["path"]]
    np.testing.assert_allclose(model.predict(waves, speakers=labels["speaker"].tolist()), labels[SOFT], atol=1e-5)
    assert np.abs(model.predict(waves).numpy() - labels[SOFT].to_numpy()).max() > 0.01, "without speakers, other labels"
    with pytest.raises(ValueError, match="speakers has 1 names and waves 72; give a name for each wave"):
        model.predict(waves, speakers=["s0"])


def test_workers_agree(run, corpus, tmp_path, monkeypatch):
    monkeypatch.setattr("ipr_core.annotation.PIECE", 10)
    assert annotate(run, corpus, tmp_path, progress=False, segment="none", shard=(1, 2)) == []
    labels = annotated(run, corpus, tmp_path, shard=(2, 2))
    np.testing.assert_allclose(labels[SOFT], run.labels.set_index("id").loc[labels.index, SOFT], atol=1e-5)


def test_utterances_of_long_recordings_are_centred_by_their_speaker(run, tmp_path, monkeypatch):
    bursts.ears(monkeypatch, tmp_path / "cache")
    for i, name in enumerate(("a", "b")):
        bursts.record(tmp_path / f"{name}.wav", *[30, 60] * 8, seed=i)
    (tmp_path / "long.csv").write_text("path,speaker\na.wav,ada\nb.wav,ben\n")
    long = Data(corpus="manifest", corpus_path=str(tmp_path / "long.csv"))
    labels = pd.read_parquet(annotate(run, long, tmp_path, progress=False)[0])
    cut = segmented(long, run.config.audio.max_seconds, file=tmp_path / "cut.csv", progress=False).data
    pd.testing.assert_frame_equal(labels, pd.read_parquet(annotate(run, cut, tmp_path, progress=False)[0]))
    assert labels["speaker"].tolist() == ["ada"] * 8 + ["ben"] * 8
    unknown = tmp_path / "cut.csv"
    unknown.write_text(unknown.read_text("utf-8").replace(",ada,", ",,").replace(",ben,", ",,"), "utf-8")
    unnamed = pd.read_parquet(annotate(run, cut, tmp_path, progress=False)[0])
    assert np.abs(labels[SOFT] - unnamed[SOFT]).to_numpy().max() > 0.001


def test_a_speaker_s_other_clips_matter_to_every_piece(run, corpus, tmp_path):
    table = pd.read_csv(corpus.corpus_path)
    shutil.copytree(Path(corpus.corpus_path).parent, tmp_path / "part")
    table[table["speaker"].isin(["s0", "s1"]) | (table.index < 40)].to_csv(tmp_path / "part/manifest.csv", index=False)
    part = annotated(run, Data(corpus="manifest", corpus_path=str(tmp_path / "part/manifest.csv")), tmp_path)
    whole = run.labels.set_index("id").loc[part.index]
    distance = np.abs(part[SOFT].to_numpy() - whole[SOFT].to_numpy()).max(axis=1)
    in_both = whole["speaker"].isin(["s0", "s1"]).to_numpy()
    assert distance[in_both].max() < 1e-5 < 1e-4 < distance[~in_both].max()


def test_a_corpus_without_speakers_is_warned_of(run, corpus, tmp_path, caplog):
    table = pd.read_csv(corpus.corpus_path).drop(columns="speaker")
    shutil.copytree(Path(corpus.corpus_path).parent, tmp_path / "nobody")
    table.to_csv(tmp_path / "nobody/manifest.csv", index=False)
    annotated(run, Data(corpus="manifest", corpus_path=str(tmp_path / "nobody/manifest.csv")), tmp_path)
    assert "no utterance has a speaker" in caplog.text
