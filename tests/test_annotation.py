"""Annotating in pieces: the same labels by any worker and after any stop, each piece once."""

import multiprocessing
import random
import shutil
import signal
from functools import partial
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.corpus_files import clips_of, wav
from helpers.whole_runs import unvouched
from ipr_core import annotation, cli
from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError
from ipr_core.runs import corrections
from ipr_core.runs.run import Run, RunError
from ipr_core.training.model import Recogniser

annotate = partial(annotation.annotate, segment="none")
"""Here every row of a corpus is an utterance, of which the middle is heard; see `test_segmented.py`."""


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of four utterances, read twelve at a time."""
    monkeypatch.setattr(annotation, "PIECE", 4)
    monkeypatch.setattr(annotation, "_READ", 12)
    monkeypatch.setattr(annotation, "_WRITTEN", 2)


@pytest.fixture
def corpus(data, tmp_path):
    """Thirty clips of the run as a manifest: eight pieces, the last of them of two utterances."""
    return clips_of(data, tmp_path)


@pytest.fixture
def whole(trained, corpus, tmp_path):
    """Both files as one worker writes them, undisturbed."""
    return [path.read_bytes() for path in annotate(trained, corpus, tmp_path / "whole", progress=False)]


class Labelled(list):
    """The numbers of utterances of labelled pieces; after `limit` pieces, the next one is interrupted."""

    limit = None


@pytest.fixture
def labelled(monkeypatch):
    """The pieces that are labelled from now on."""
    literal, lengths = Recogniser.soft_labels, Labelled()

    def soft_labels(model, clips, offsets):
        if len(lengths) == lengths.limit:
            raise KeyboardInterrupt
        lengths.append(len(clips))
        return literal(model, clips, offsets)

    monkeypatch.setattr(Recogniser, "soft_labels", soft_labels)
    return lengths


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def names(run: Run, corpus: Data) -> list[str]:
    """Return the names of both files of a corpus's labels."""
    return [f"annotated-{annotation.name(run, corpus)}.{kind}" for kind in ("csv", "parquet")]


def test_pieces_change_nothing_but_the_last_digits(trained, corpus, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 256)
    monkeypatch.setattr(annotation, "_READ", 256)
    at_once = pd.read_parquet(annotate(trained, corpus, tmp_path / "once", progress=False)[0])
    csv_file, parquet = (tmp_path / "whole" / name for name in names(trained, corpus))
    labels = pd.read_parquet(parquet)
    pd.testing.assert_frame_equal(labels, at_once, atol=1e-5)
    assert labels["id"].tolist() == [f"u{i}" for i in range(30)]
    csv = pd.read_csv(csv_file, keep_default_na=False)
    assert csv.columns.tolist() == labels.columns.tolist()
    assert csv["id"].tolist() == labels["id"].tolist()
    assert files(tmp_path / "whole") == names(trained, corpus)


def test_shards_label_every_piece_once_and_the_last_puts_them_together(trained, corpus, whole, labelled, tmp_path):
    folder = tmp_path / "shards"
    assert annotate(trained, corpus, folder, progress=False, shard=(2, 3)) == []
    assert annotate(trained, corpus, folder, progress=False, shard=(1, 3)) == []
    assert labelled == [4, 4, 2, 4, 4, 4]
    paths = annotate(trained, corpus, folder, progress=False, shard=(3, 3))
    assert labelled[6:] == [4, 4]
    assert [path.read_bytes() for path in paths] == whole
    assert files(folder) == names(trained, corpus)


def test_without_a_shard_the_rest_is_labelled_and_put_together(trained, corpus, whole, labelled, tmp_path):
    annotate(trained, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    assert len(labelled) == 4
    paths = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert sum(labelled) == 30
    assert [path.read_bytes() for path in paths] == whole


def test_what_was_labelled_before_it_was_broken_off_is_kept(trained, corpus, whole, labelled, tmp_path):
    labelled.limit = 5
    with pytest.raises(KeyboardInterrupt):
        annotate(trained, corpus, tmp_path / "out", progress=False)
    labelled.limit = None
    paths = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert sum(labelled) == 30
    assert [path.read_bytes() for path in paths] == whole


@pytest.mark.parametrize("change", ["audio", "row", "nothing", "model", "decoder"])
def test_only_what_changed_meanwhile_is_labelled_again(trained, corpus, labelled, tmp_path, monkeypatch, change):
    folder, run = tmp_path / "out", Run(shutil.copytree(trained.folder, tmp_path / "run"))
    annotate(run, corpus, folder, progress=False, shard=(1, 2))
    first_pieces = len(labelled)
    if change == "audio":
        soundfile.write(tmp_path / "1.wav", np.random.default_rng(0).normal(0, 0.1, 8_000), 16_000)
    elif change == "row":
        table = pd.read_csv(corpus.corpus_path)
        table.assign(id=table["id"].replace("u1", "other")).to_csv(corpus.corpus_path, index=False)
    elif change == "model":
        unvouched(run, "model/config.json")
        with open(run.folder / "model" / "config.json", "a") as file:
            file.write("\n")
    elif change == "decoder":
        monkeypatch.setattr(annotation, "DECODER", "another")
    annotate(run, corpus, folder, progress=False, shard=(1, 2))
    again = {"audio": 1, "row": 1, "nothing": 0, "model": 4, "decoder": 4}
    assert len(labelled) - first_pieces == again[change]


def test_a_correction_made_meanwhile_counts_and_costs_nothing(trained, data, corpus, labelled, tmp_path):
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    annotate(run, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    label = next(name for name in data.classes if name != run.labels["single_label"][1])
    corrections.add(run, data.table["id"][1], label, "Ada")
    labels = pd.read_parquet(annotate(run, corpus, tmp_path / "out", progress=False)[0])
    assert sum(labelled) == 30
    assert labels.loc[1, ["single_label", "corrected_by"]].tolist() == [label, "Ada"]


def test_faults_of_every_block_are_told_at_once_and_once_each(trained, corpus, tmp_path):
    text = Path(corpus.corpus_path).read_text().replace("\n", ",\n").replace("id,path,", "id,path,votes_hapy")
    text = text.replace("u25,25.wav", "u2,25.wav").replace("u29,29.wav", "u29,gone.wav")
    Path(corpus.corpus_path).write_text(text)
    (tmp_path / "14.wav").write_text("no sound")
    with pytest.raises(CorpusError) as caught:
        annotate(trained, corpus, tmp_path / "out", progress=False)
    messages = [str(fault).partition(";")[0] for fault in caught.value.faults]
    assert [line.partition(": ")[0] for line in messages] == [f"own.csv, row {row}" for row in (1, 16, 27, 31)]
    assert "utterance 'u2' occurs twice, first in row 4" in messages[2]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["2", "0/2", "3/2", "a/b", "1/0"])
def test_a_shard_is_one_of_so_many(text, capsys):
    assert cli.main(["annotate", "run", "corpus", "--shard", text]) == 2
    assert f"--shard: is {text!r}; give worker and total" in capsys.readouterr().err


# Damaged pieces


def truncate(piece):
    piece.write_bytes(piece.read_bytes()[:-40])


def empty(piece):
    piece.write_bytes(b"")


def change_a_value(piece):
    content = bytearray(piece.read_bytes())
    content[content.index(b"u0") + 1] ^= 1  # in a page's data: only its checksum tells
    piece.write_bytes(content)


def lose_a_column(piece):
    pd.read_parquet(piece).drop(columns="audio").to_parquet(piece)


@pytest.mark.parametrize("damage", [truncate, empty, change_a_value, lose_a_column])
def test_a_damaged_piece_is_labelled_again_with_a_word(trained, corpus, whole, labelled, tmp_path, damage, caplog):
    annotate(trained, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    piece = next((tmp_path / "out").glob("*.pieces/0000000-*"))
    damage(piece)
    paths = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert sum(labelled) == 30 + 4
    assert [path.read_bytes() for path in paths] == whole
    assert f"{piece} is damaged" in caplog.text


def test_another_workers_damaged_piece_is_named_and_mended(trained, corpus, whole, tmp_path):
    annotate(trained, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    truncate(next((tmp_path / "out").glob("*.pieces/0000002-*")))
    with pytest.raises(RunError, match=r"0000002-.* is damaged .*labels this piece again, without --shard"):
        annotate(trained, corpus, tmp_path / "out", progress=False, shard=(2, 2))
    paths = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert [path.read_bytes() for path in paths] == whole


# Killed


def piecewise(run: Run, corpus: Data, folder: Path) -> None:
    """Annotate as the killed process does, with pieces as small as those of the other tests."""
    annotation.PIECE, annotation._READ, annotation._WRITTEN = 4, 12, 2
    annotate(run, corpus, folder, progress=False)


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(trained, corpus, whole, cache, tmp_path):
    seed = random.randrange(2**32)
    print(f"moments drawn with seed {seed}")
    draw, folder = random.Random(seed), tmp_path / "killed"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipr_core.annotation"])
    began = monotonic()
    start(context, trained, corpus, tmp_path / "undisturbed").join()
    duration, kills, n_pieces = monotonic() - began, 0, 0
    csv, parquet = (folder / name for name in names(trained, corpus))
    while not csv.exists() or csv.with_suffix(".pieces").exists():
        process = start(context, trained, corpus, folder)
        process.join(draw.uniform(0, duration / 2) if kills < 8 else None)
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        pieces = {path.name for path in folder.glob("annotated-*.pieces/0*.parquet")}
        assert len(pieces) >= n_pieces or csv.exists()
        n_pieces = len(pieces)
    assert [parquet.read_bytes(), csv.read_bytes()] == whole


def start(context, *args) -> multiprocessing.Process:
    process = context.Process(target=piecewise, args=args)
    process.start()
    return process


def test_a_recording_longer_than_what_is_heard_says_how_much_was(trained, tmp_path):
    wav(tmp_path / "audio" / "long.wav", 3.0)
    wav(tmp_path / "audio" / "short.wav", 0.5)
    corpus = Data(corpus="manifest", corpus_path=str(tmp_path / "audio"))
    parquet, _ = annotate(trained, corpus, tmp_path / "labels", progress=False)
    labels = pd.read_parquet(parquet).set_index("id")
    limit = trained.config.audio.max_seconds
    assert labels["seconds"].round(2).to_dict() == {"long.wav": 3.0, "short.wav": 0.5}
    assert labels["heard_seconds"].round(2).to_dict() == {"long.wav": limit, "short.wav": 0.5}
    assert annotation.cut(parquet) == (1, limit)


def test_each_channel_of_a_call_has_the_labels_of_its_own_file(trained, data, tmp_path):
    sides = [np.asarray(data.waves[i])[:8_000] for i in (0, 1)]
    soundfile.write(tmp_path / "call.flac", np.stack(sides, axis=1), 16_000)
    for name, side in zip(("left.wav", "right.wav"), sides, strict=True):
        soundfile.write(tmp_path / name, side, 16_000)
    rows = "path,channel\ncall.flac,1\ncall.flac,2\nleft.wav,\nright.wav,1\n"
    (tmp_path / "own.csv").write_text(rows)
    corpus = Data(corpus="manifest", corpus_path=str(tmp_path / "own.csv"))
    labels = pd.read_parquet(annotate(trained, corpus, tmp_path / "labels", progress=False)[0])
    soft = labels.filter(like="soft_").to_numpy()
    assert labels["channel"].fillna(0).tolist() == [1, 2, 0, 1]
    assert np.abs(soft[:2] - soft[2:]).max() < 1e-5
    assert np.abs(soft[0] - soft[1]).max() > 1e-4
