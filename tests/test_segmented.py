"""Annotating long recordings: the same labels as of the manifest that `ipr segment` writes, with all that is told."""

from pathlib import Path

import pandas as pd
import pytest
from test_textgrid import parse

from helpers import bursts
from helpers.bursts import record
from ipr_core import annotation, cli
from ipr_core.annotation import annotate
from ipr_core.config import Data
from ipr_core.training.model import Recogniser


@pytest.fixture
def ears(monkeypatch, tmp_path):
    return bursts.ears(monkeypatch, tmp_path / "cache")


@pytest.fixture
def folder(ears, tmp_path):
    """Two long recordings, of which a second at a time is heard at most, and a short one."""
    record(tmp_path / "in" / "long.wav", 30, 40, 30, 20, 30, 90, 30)
    record(tmp_path / "in" / "other.wav", 30, 25, 30, 25, 30, seed=1)
    record(tmp_path / "in" / "short.wav", 5, 20, 5, seed=2)
    return tmp_path / "in"


def corpus(path: Path) -> Data:
    return Data(corpus="manifest", corpus_path=str(path))


def test_it_labels_what_segment_writes_to_the_bit(trained, folder, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 4)
    labels = pd.read_parquet(annotate(trained, corpus(folder), tmp_path / "labels", progress=False)[0])
    manifest = str(tmp_path / "cut.csv")
    seconds = str(trained.config.audio.max_seconds)
    assert cli.main(["segment", str(folder), "--out", manifest, "--max-seconds", seconds]) == 0
    again = pd.read_parquet(annotate(trained, corpus(tmp_path / "cut.csv"), tmp_path / "again", progress=False)[0])
    pd.testing.assert_frame_equal(labels, again, check_exact=True)
    assert labels["id"].str.partition("@")[0].value_counts().to_dict() == {
        "long.wav": 6,
        "other.wav": 2,
        "short.wav": 1,
    }
    assert (labels["seconds"] == labels["heard_seconds"]).all()
    assert labels["seconds"].max() <= trained.config.audio.max_seconds


def test_every_file_is_written_and_told_of(trained, folder, tmp_path, capsys):
    command = ["annotate", str(trained.folder), str(folder), "--format", "textgrid", "--out", str(tmp_path / "labels")]
    assert cli.main(command) == 0
    output = capsys.readouterr()
    assert "2 recordings cut at pauses into 8 utterances" in output.err
    prefix = tmp_path / "labels" / f"annotated-{annotation.name(trained, corpus(folder))}"
    files = [f"{prefix}{ending}" for ending in annotation._ENDINGS]
    assert output.out.splitlines()[:5] == files
    assert output.out.splitlines()[5].startswith("2 recordings, 0.1 of 0.2 minutes in utterances: ")
    summary = pd.read_parquet(files[2])
    assert summary["utterances"].tolist() == [6, 6, 2, 2]
    assert pd.read_csv(files[3]).columns.tolist() == summary.columns.tolist()
    labels = pd.read_parquet(files[0])
    _, seconds, tiers = parse((Path(files[4]) / "long.TextGrid").read_text("utf-8"))
    assert seconds == 270 * 512 / 16_000
    intervals = [row for row in tiers["emotion"] if row[2]]
    assert [row[2] for row in intervals] == labels["single_label"][:6].tolist()
    assert [row[0] for row in intervals] == labels["start"][:6].tolist()
    assert sorted(path.name for path in Path(files[4]).iterdir()) == ["long.TextGrid", "other.TextGrid"]


def test_nothing_of_an_earlier_summary_stays(trained, folder, tmp_path, capsys):
    paths = annotate(trained, corpus(folder), tmp_path / "labels", progress=False, textgrid=True)
    assert len(paths) == 5
    arguments = ["annotate", str(trained.folder), str(folder), "--out", str(tmp_path / "labels"), "--segment", "none"]
    assert cli.main(arguments) == 0
    assert sorted((tmp_path / "labels").iterdir()) == sorted(paths[:2])
    assert "Only the middle of 2 recordings was heard: longer than 1 s" in capsys.readouterr().out


def test_shards_share_the_hearing_and_give_the_same(trained, folder, ears, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 2)
    whole = [path.read_bytes() for path in annotate(trained, corpus(folder), tmp_path / "whole", progress=False)]
    count = len(ears.clips)
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "another"))
    assert annotate(trained, corpus(folder), tmp_path / "shards", progress=False, shard=(2, 2)) == []
    paths = annotate(trained, corpus(folder), tmp_path / "shards", progress=False, shard=(1, 2))
    assert [path.read_bytes() for path in paths] == whole
    assert len(ears.clips) == 2 * count


def test_after_a_kill_neither_pauses_nor_labels_are_made_again(trained, folder, ears, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 2)
    whole = [path.read_bytes() for path in annotate(trained, corpus(folder), tmp_path / "whole", progress=False)]
    count, literal, pieces = len(ears.clips), Recogniser.soft_labels, []

    def soft_labels(*args):
        if len(pieces) == 2:
            raise KeyboardInterrupt
        pieces.append(args)
        return literal(*args)

    monkeypatch.setattr(Recogniser, "soft_labels", soft_labels)
    with pytest.raises(KeyboardInterrupt):
        annotate(trained, corpus(folder), tmp_path / "out", progress=False)
    monkeypatch.setattr(Recogniser, "soft_labels", literal)
    paths = annotate(trained, corpus(folder), tmp_path / "out", progress=False)
    assert [path.read_bytes() for path in paths] == whole
    assert len(ears.clips) == count


def test_segment_says_what_it_did(folder, tmp_path, capsys):
    arguments = ["segment", str(folder), "--out", str(tmp_path / "cut.csv")]
    assert cli.main([*arguments, "--max-seconds", "2"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        str(tmp_path / "cut.csv"),
        "2 recordings cut at pauses into 6 utterances.",
    ]
    assert cli.main(arguments) == 0
    assert capsys.readouterr().out.splitlines() == [str(tmp_path / "cut.csv"), "Nothing had to be cut."]
    assert len(pd.read_csv(tmp_path / "cut.csv")) == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--out", "x.parquet"], "--out is x.parquet; it must be a file that ends in .csv"),
        (["--out", "x.csv", "--segment", "none"], "invalid choice: 'none'"),
        (["--out", "x.csv", "--max-seconds", "-1"], "max_seconds"),
    ],
)
def test_a_wrong_request_is_refused(folder, capsys, options, message):
    assert cli.main(["segment", str(folder), *options]) == 2
    assert message in capsys.readouterr().err
