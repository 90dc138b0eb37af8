"""Annotating in pieces: the same labels whoever makes them and however often that is broken off, nothing done twice."""

import multiprocessing
import random
import shutil
import signal
from pathlib import Path
from time import monotonic

import numpy as np
import pandas as pd
import pytest
import soundfile

from ipr_core import annotation, cli
from ipr_core.annotation import annotate
from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError
from ipr_core.runs import corrections
from ipr_core.runs.run import Run


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of four utterances, read twelve at a time."""
    monkeypatch.setattr(annotation, "PIECE", 4)
    monkeypatch.setattr(annotation, "_READ", 12)
    monkeypatch.setattr(annotation, "_WRITTEN", 2)


@pytest.fixture
def corpus(data, tmp_path):
    """Thirty clips of the run as a manifest: eight pieces, the last of them of two utterances."""
    for i in range(30):
        soundfile.write(tmp_path / f"{i}.wav", np.asarray(data.waves[i]), 16_000)
    (tmp_path / "own.csv").write_text("id,path\n" + "".join(f"u{i},{i}.wav\n" for i in range(30)))
    return Data(corpus="manifest", corpus_path=str(tmp_path / "own.csv"))


@pytest.fixture
def whole(trained, corpus, tmp_path):
    """Both files as one worker writes them, undisturbed."""
    return [place.read_bytes() for place in annotate(trained, corpus, tmp_path / "whole", progress=False)]


@pytest.fixture
def labelled(monkeypatch):
    """How many utterances each piece had that was labelled since; with `after`, the next one breaks off."""
    literal = annotation._predicted

    class Labelled(list):
        after = None

        def __call__(self, model, waves, max_seconds):
            if len(self) == self.after:
                raise KeyboardInterrupt
            self.append(len(waves))
            return literal(model, waves, max_seconds)

    seen = Labelled()
    monkeypatch.setattr(annotation, "_predicted", seen)
    return seen


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_pieces_change_nothing_but_the_last_digits(trained, corpus, whole, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 256)
    monkeypatch.setattr(annotation, "_READ", 256)
    at_once = pd.read_parquet(annotate(trained, corpus, tmp_path / "once", progress=False)[0])
    found = pd.read_parquet(tmp_path / "whole" / "annotated-own.parquet")
    pd.testing.assert_frame_equal(found, at_once, atol=1e-5)
    assert found["id"].tolist() == [f"u{i}" for i in range(30)]
    csv = pd.read_csv(tmp_path / "whole" / "annotated-own.csv", keep_default_na=False)
    assert csv.columns.tolist() == found.columns.tolist()
    assert csv["id"].tolist() == found["id"].tolist()
    assert files(tmp_path / "whole") == ["annotated-own.csv", "annotated-own.parquet"]


def test_shards_label_every_piece_once_and_the_last_puts_them_together(trained, corpus, whole, labelled, tmp_path):
    out = tmp_path / "shards"
    assert annotate(trained, corpus, out, progress=False, shard=(2, 3)) == []
    assert annotate(trained, corpus, out, progress=False, shard=(1, 3)) == []
    assert labelled == [4, 4, 2, 4, 4, 4]
    places = annotate(trained, corpus, out, progress=False, shard=(3, 3))
    assert labelled[6:] == [4, 4]
    assert [place.read_bytes() for place in places] == whole
    assert files(out) == ["annotated-own.csv", "annotated-own.parquet"]


def test_without_a_shard_the_rest_is_labelled_and_put_together(trained, corpus, whole, labelled, tmp_path):
    annotate(trained, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    assert len(labelled) == 4
    places = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert sum(labelled) == 30
    assert [place.read_bytes() for place in places] == whole


def test_what_was_labelled_before_it_was_broken_off_is_kept(trained, corpus, whole, labelled, tmp_path):
    labelled.after = 5
    with pytest.raises(KeyboardInterrupt):
        annotate(trained, corpus, tmp_path / "out", progress=False)
    labelled.after = None
    places = annotate(trained, corpus, tmp_path / "out", progress=False)
    assert sum(labelled) == 30
    assert [place.read_bytes() for place in places] == whole


@pytest.mark.parametrize("change", ["audio", "row", "nothing", "model"])
def test_only_what_changed_meanwhile_is_labelled_again(trained, corpus, labelled, tmp_path, change):
    out, run = tmp_path / "out", Run(shutil.copytree(trained.folder, tmp_path / "run"))
    annotate(run, corpus, out, progress=False, shard=(1, 2))
    before = len(labelled)
    if change == "audio":
        soundfile.write(tmp_path / "1.wav", np.full(8_000, 0.1), 16_000)
    elif change == "row":
        table = pd.read_csv(corpus.corpus_path)
        table.assign(id=table["id"].replace("u1", "other")).to_csv(corpus.corpus_path, index=False)
    elif change == "model":
        with open(run.folder / "model" / "config.json", "a") as file:
            file.write("\n")
    annotate(run, corpus, out, progress=False, shard=(1, 2))
    assert len(labelled) - before == {"audio": 1, "row": 1, "nothing": 0, "model": 4}[change]


def test_a_correction_made_meanwhile_counts_and_costs_nothing(trained, data, corpus, labelled, tmp_path):
    run = Run(shutil.copytree(trained.folder, tmp_path / "run"))
    annotate(run, corpus, tmp_path / "out", progress=False, shard=(1, 2))
    label = next(name for name in data.classes if name != run.labels["single_label"][1])
    corrections.add(run, data.table["id"][1], label, "Ada")
    found = pd.read_parquet(annotate(run, corpus, tmp_path / "out", progress=False)[0])
    assert sum(labelled) == 30
    assert found.loc[1, ["single_label", "corrected_by"]].tolist() == [label, "Ada"]


def test_faults_of_every_block_are_told_at_once_and_once_each(trained, corpus, tmp_path):
    text = Path(corpus.corpus_path).read_text().replace("id,path\n", "id,path,votes_hapy\n")
    text = text.replace("u25,25.wav", "u2,25.wav").replace("u29,29.wav", "u29,gone.wav")
    Path(corpus.corpus_path).write_text(text)
    (tmp_path / "14.wav").write_text("no sound")
    with pytest.raises(CorpusError) as caught:
        annotate(trained, corpus, tmp_path / "out", progress=False)
    told = [str(fault).partition(";")[0] for fault in caught.value.faults]
    assert [line.partition(": ")[0] for line in told] == [f"own.csv, row {row}" for row in (1, 16, 27, 31)]
    assert "utterance 'u2' is there twice, first in row 4" in told[2]
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("text", ["2", "0/2", "3/2", "a/b", "1/0"])
def test_a_shard_is_one_of_so_many(text, capsys):
    assert cli.main(["annotate", "run", "corpus", "--shard", text]) == 2
    assert f"--shard: is {text}; it is which of how many workers" in capsys.readouterr().err


# Killed


def piecewise(run: Run, corpus: Data, out: Path) -> None:
    """What the killed process does: pieces as small as those of the other tests."""
    annotation.PIECE, annotation._READ, annotation._WRITTEN = 4, 12, 2
    annotate(run, corpus, out, progress=False)


def test_killed_at_random_moments_it_ends_as_if_it_had_not_been(trained, corpus, whole, cache, tmp_path):
    seed = random.randrange(2**32)
    print(f"moments drawn with seed {seed}")
    draw, out = random.Random(seed), tmp_path / "killed"
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipr_core.annotation"])
    began = monotonic()
    start(context, trained, corpus, tmp_path / "undisturbed").join()
    duration, kills, kept = monotonic() - began, 0, 0
    while not (out / "annotated-own.csv").exists() or (out / "annotated-own.pieces").exists():
        process = start(context, trained, corpus, out)
        process.join(draw.uniform(0, duration / 2) if kills < 8 else None)
        process.kill()
        process.join()
        kills += process.exitcode == -signal.SIGKILL
        pieces = {path.name for path in out.glob("annotated-own.pieces/0*.parquet")}
        assert len(pieces) >= kept or (out / "annotated-own.csv").exists()
        kept = len(pieces)
    assert [(out / f"annotated-own.{kind}").read_bytes() for kind in ("parquet", "csv")] == whole


def start(context, *what) -> multiprocessing.Process:
    process = context.Process(target=piecewise, args=what)
    process.start()
    return process
