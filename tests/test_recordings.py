"""What labels say of whole recordings: shares of time by hand, and their TextGrids."""

import numpy as np
import pandas as pd
import pytest
import soundfile
from test_textgrid import parse

from ipr_core import recordings

CLASSES = ("angry", "sad")
ROWS = (
    # path, start, end, speaker, single label, share of angry, seconds
    ("a", 10.0, 14.0, "ada", "angry", 1.0, 4.0),
    ("a", 20.0, 22.0, "ben", "sad", 0.25, 2.0),
    ("a", 59.0, 63.0, "ada", "sad", 0.5, 4.0),  # its middle lies in the second minute
    ("b", None, 3.0, "", "angry", 0.75, 3.0),
    ("whole", None, None, "ada", "sad", 0.0, 5.0),
)


@pytest.fixture
def labels(tmp_path):
    """Labels as `annotate` writes them, of a recording of 70 s, one of 5 s and a whole file."""
    table = pd.DataFrame(ROWS, columns=["path", "start", "end", "speaker", "single_label", "soft_angry", "seconds"])
    for name, seconds in (("a", 70), ("b", 5), ("whole", 5)):
        soundfile.write(tmp_path / f"{name}.wav", [0.1, -0.1] * 8_000 * seconds, 16_000)
    paths = [str(tmp_path / f"{name}.wav") for name in table["path"]]
    table.assign(path=paths, soft_sad=1 - table["soft_angry"]).to_parquet(tmp_path / "labels.parquet")
    return tmp_path / "labels.parquet"


def test_shares_by_hand(labels):
    table = recordings.summary(labels, CLASSES)
    assert table["path"].str[-5:].tolist() == ["a.wav"] * 8 + ["b.wav"] * 2
    columns = ["speaker", "start", "end", "utterances", "seconds", "share_angry", "soft_angry"]
    assert table[columns].to_numpy().tolist() == [
        ["", 0, 70, 3, 10, 0.4, 0.65],
        ["", 0, 60, 2, 6, pytest.approx(2 / 3), 0.75],
        ["", 60, 70, 1, 4, 0, 0.5],
        ["ada", 0, 70, 2, 8, 0.5, 0.75],
        ["ada", 0, 60, 1, 4, 1, 1],
        ["ada", 60, 70, 1, 4, 0, 0.5],
        ["ben", 0, 70, 1, 2, 0, 0.25],
        ["ben", 0, 60, 1, 2, 0, 0.25],
        ["", 0, 5, 1, 3, 1, 0.75],
        ["", 0, 5, 1, 3, 1, 0.75],
    ]
    assert (table["share_angry"] + table["share_sad"]).to_numpy() == pytest.approx(1)
    assert (table["soft_angry"] + table["soft_sad"]).to_numpy() == pytest.approx(1)


def test_batches_change_nothing(labels, monkeypatch):
    whole = recordings.summary(labels, CLASSES)
    monkeypatch.setattr(recordings, "_BATCH", 1)
    pd.testing.assert_frame_equal(recordings.summary(labels, CLASSES), whole)


def test_in_a_sentence(labels):
    assert recordings.sentence(recordings.summary(labels, CLASSES)) == (
        "2 recordings, 0.2 of 1.2 minutes in utterances: angry 54%, sad 46% of that time."
    )


def test_whole_files_have_no_summary(labels, tmp_path):
    table = pd.read_parquet(labels)
    table[table["start"].isna() & table["end"].isna()].to_parquet(labels)
    files = [tmp_path / name for name in ("s.parquet", "s.csv", "grids")]
    recordings.write(labels, CLASSES, *files)
    assert not any(file.exists() for file in files)


def test_textgrids_have_a_tier_of_labels_and_one_of_shares_for_every_speaker(labels):
    grids = dict(recordings.textgrids(labels, CLASSES))
    assert list(grids) == ["a", "b"]
    _, xmax, tiers = parse(grids["a"])
    assert xmax == 70
    assert list(tiers) == ["emotion ada", "shares ada", "emotion ben", "shares ben"]
    assert [row for row in tiers["emotion ada"] if row[2]] == [(10, 14, "angry"), (59, 63, "sad")]
    assert [row for row in tiers["shares ben"] if row[2]] == [(20, 22, "angry 0.25, sad 0.75")]
    _, _, tiers = parse(grids["b"])
    assert tiers["emotion"] == [(0, 3, "angry"), (3, 5, "")]


def test_overlapping_utterances_of_a_speaker_have_tiers_of_their_own(labels):
    table = pd.read_parquet(labels)
    table.loc[1, ["speaker", "start", "seconds"]] = ["ada", 13.0, 2.0]
    table.to_parquet(labels)
    _, _, tiers = parse(dict(recordings.textgrids(labels, CLASSES))["a"])
    assert list(tiers) == ["emotion ada", "shares ada", "emotion ada 2", "shares ada 2"]
    assert [row[:2] for row in tiers["emotion ada 2"] if row[2]] == [(13, 15)]


def test_two_recordings_of_one_name_have_two_textgrids():
    titles: set[str] = set()
    names = [recordings._new_title(stem, titles) for stem in ("day", "Day", "day-2", "day")]
    assert names == ["day", "Day-2", "day-2-2", "day-3"]


def test_channels_that_cancel_each_other_are_one_recording(labels, tmp_path):
    wave = np.random.default_rng(0).normal(0, 0.1, 70 * 16_000)
    soundfile.write(tmp_path / "a.wav", np.column_stack([wave, -wave]), 16_000)
    pd.read_parquet(labels).assign(channel=[1.0, 2.0, 1.0, None, None]).to_parquet(labels)
    table = recordings.summary(labels, CLASSES)
    assert table["end"].iloc[0] == 70
    assert table["utterances"].iloc[0] == 3
