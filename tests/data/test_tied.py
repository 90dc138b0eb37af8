"""Utterances whose votes tie: left out, or in D2 as those without a label."""

import numpy as np
import pandas as pd
import pytest

from helpers.corpus_files import TWO, wav
from ipr_core import advance, prepare, recommended
from ipr_core.data import dataset, left_out
from ipr_core.data.ambiguity import partition
from ipr_core.data.corpora.table import tidy
from ipr_widgets import plane, votes

PRECISE = [("angry", 6, 0, 0), ("sad", 0, 6, 0)] * 4
TIES = [("", 3, 3, 0)] * 4
ROWS = [*PRECISE, *[("angry", 5, 1, 0), ("sad", 1, 5, 0)] * 3, *[("angry", 3, 2, 1), ("sad", 2, 3, 1)] * 2, *TIES]


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0, "tied": "D2"} | settings))


def table(rows=ROWS, **columns):
    votes = pd.DataFrame(rows, columns=["label", "votes_angry", "votes_sad", "votes_fearful"])
    return tidy(votes.assign(id=[f"u{i}" for i in range(len(rows))], path="x.wav", **columns), config().data)


def parts_of_ties(parts):
    return parts.loc[parts["label"] == "", "part"].tolist()


def test_ties_are_left_out_unless_they_are_wanted():
    assert parts_of_ties(partition(table(), config(tied="left out"))) == []
    parts = partition(table(), config())
    assert parts_of_ties(parts) == ["D2"] * 4
    assert left_out.sentence(table(), parts, config()) == ""
    assert (parts.loc[parts["label"] == "", "share"] == 0.5).all()


@pytest.mark.parametrize("rules", [{"precise_share": 0.5, "ambiguous_share": 0.5}, {"test_size": 4}])
def test_no_tie_is_in_d1_or_d3_whatever_the_shares(rules):
    rows = [*ROWS, *[("angry", 3, 2, 2), ("sad", 2, 3, 2)] * 2]
    parts = partition(table(rows), config(**rules))
    assert parts_of_ties(parts) == ["D2"] * 4
    assert (parts["part"] == "D3").sum() == 4


def test_a_tie_with_an_emotion_that_is_no_class_is_left_out():
    rows = [*ROWS, ("", 3, 0, 3), ("", 0, 0, 0), ("", 2, 2, 4)]
    parts = partition(table(rows), config())
    assert len(parts) == len(ROWS)
    assert "1 with tied votes: two or more" in left_out.sentence(table(rows), parts, config())


def test_too_few_votes_leave_a_tie_out():
    assert parts_of_ties(partition(table([*ROWS, ("", 1, 1, 0)]), config(min_votes=3))) == ["D2"] * 4


def test_a_tie_of_a_test_speaker_or_with_the_sound_of_d3_is_left_out_and_said():
    speakers = ["a", "b"] * 10 + ["a", "b"]
    rules = config(speaker_disjoint=True, test_speakers=("b",))
    by_speaker = table(ROWS, speaker=speakers)
    precise = by_speaker.assign(label=by_speaker["label"].where(by_speaker.index >= 8, ["angry"] * len(by_speaker)))
    precise.loc[[0, 4], ["label", "votes_angry", "votes_sad"]] = ["sad", 0.0, 6.0]
    parts = partition(precise, rules)
    assert sorted(parts_of_ties(parts)) == ["", "", "D2", "D2"]
    assert "2 with tied votes, of a test speaker" in left_out.sentence(precise, parts, rules)
    sounds = np.arange(len(ROWS))
    sounds[-1] = 14  # an utterance of D3
    assert parts_of_ties(partition(table(), config(), sounds)) == ["D2", "D2", "D2", ""]


@pytest.fixture(scope="module")
def manifest(tmp_path_factory):
    """Return a manifest whose clips differ in pitch, some with tied votes."""
    folder = tmp_path_factory.mktemp("tied")
    paths = [wav(folder / f"u{i}.wav", 0.2 + 0.01 * i).name for i in range(len(ROWS))]
    rows = pd.DataFrame(ROWS, columns=["label", "votes_angry", "votes_sad", "votes_fearful"])
    rows.assign(id=[f"u{i}" for i in range(len(rows))], path=paths).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


@pytest.mark.parametrize("system", ["ipr", "supervised", "oracle", "pico"])
def test_every_kind_of_system_trains_with_them_and_scores_without_them(manifest, tmp_path, system):
    settings = {"corpus": "manifest", "corpus_path": str(manifest), "encoder": "compact", "system": system}
    run, data = prepare(config(**settings, epochs=2, warm_up=1, validation_share=0.2), tmp_path)
    run = advance(run, data)
    labels = run.labels
    labelled = labels[(labels["part"] == "D2") & (labels["label"] != "")]
    right = labelled[["model_angry", "model_sad"]].to_numpy().argmax(axis=1) == (labelled["label"] == "sad")
    assert (labels["label"] == "").sum() == 4
    assert (data.labels == -1).sum() == 4
    assert run.history()[-1].agreement_model == pytest.approx(right.mean())
    assert all(np.isfinite(loss) for event in run.history() for loss in event.losses.values())


def test_figures_name_them(manifest):
    data = dataset.load(config(corpus="manifest", corpus_path=str(manifest)), progress=False)
    assert votes.TIED in [bar.name for bar in votes.partition(data.table, data.classes).data]
    assert votes.TIED in [bar.name for bar in votes.partition_by_speaker(data.table, data.classes).data]
    groups = list(plane.COLOURINGS[plane.TRUTH].groups(data.table, data.classes))
    assert sum(group.sum() for _, group, _ in groups) == len(data.table)
