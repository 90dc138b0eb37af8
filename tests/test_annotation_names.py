"""Whose labels lie where: no corpus's and no run's labels are replaced by another's, and the place is checked first."""

import json
import os
import shutil

import pandas as pd
import pytest
import soundfile
from pyarrow.parquet import read_schema

from ipr_core import annotation
from ipr_core.annotation import annotate
from ipr_core.atomic import WriteError
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.runs.run import Run


def corpus_of(path) -> Data:
    return Data(corpus="manifest", corpus_path=str(path))


@pytest.fixture
def clips(data, tmp_path):
    """Make a corpus of one clip, whose path says where it lies."""

    def make(path, i: int = 0) -> Data:
        target = tmp_path / path
        folder = target.parent if target.suffix else target
        folder.mkdir(parents=True, exist_ok=True)
        soundfile.write(folder / f"clip-{i}.wav", data.waves[i][:16_000], 16_000)
        table = pd.DataFrame({"path": [f"clip-{i}.wav"]})
        if target.suffix == ".csv":
            table.to_csv(target, index=False)
        elif target.suffix == ".parquet":
            table.to_parquet(target, index=False)
        return corpus_of(target)

    return make


PAIRS = {
    "the same file name": ("monday/manifest.csv", "friday/manifest.csv"),
    "the same folder's name too": ("a/day/manifest.csv", "b/day/manifest.csv"),
    "another kind of file": ("m.csv", "m.parquet"),
    "a folder and a file": ("in", "in.csv"),
    "names that differ in case alone": ("Day/Manifest.csv", "day/manifest.csv"),
    "names that are alike when cleaned": ("a b/m.csv", "a?b/m.csv"),
}


@pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
def test_labels_of_two_corpora_lie_side_by_side(trained, clips, tmp_path, pair):
    first, second = (clips(path, i) for i, path in enumerate(pair))
    files = annotate(trained, first, tmp_path / "labels", progress=False)
    content = [file.read_bytes() for file in files]
    other_files = annotate(trained, second, tmp_path / "labels", progress=False)
    assert [file.read_bytes() for file in files] == content
    assert pd.read_parquet(other_files[0])["path"].str.endswith("clip-1.wav").all()
    assert len({file.name.lower() for file in (*files, *other_files)}) == 4  # also where case does not count


def test_labels_by_two_runs_lie_side_by_side(trained, clips, tmp_path):
    copy = Run(shutil.copytree(trained.folder, tmp_path / "other-run"))
    corpus = clips("m.csv")
    files = {file for run in (trained, copy) for file in annotate(run, corpus, tmp_path / "labels", progress=False)}
    assert len(files) == 4
    assert all(file.exists() for file in files)


def test_the_same_corpus_again_has_its_newest_labels(trained, clips, tmp_path):
    corpus = clips("day/m.csv", 0)
    annotate(trained, corpus, tmp_path / "labels", progress=False)
    clips("day/m.csv", 1)
    parquet, csv = annotate(trained, corpus, tmp_path / "labels", progress=False)
    assert sorted((tmp_path / "labels").iterdir()) == sorted([parquet, csv])
    assert pd.read_csv(csv)["id"].tolist() == ["clip-1.wav"]


def test_files_of_an_older_version_stay(trained, clips, tmp_path):
    old = tmp_path / "labels" / "annotated-m.csv"
    old.parent.mkdir()
    old.write_text("labels that somebody needs")
    annotate(trained, clips("m.csv"), old.parent, progress=False)
    assert old.read_text() == "labels that somebody needs"


def test_shards_of_two_corpora_in_turn_keep_apart(trained, clips, tmp_path, monkeypatch):
    monkeypatch.setattr(annotation, "PIECE", 1)
    corpora = [clips(f"{day}/manifest.csv", i) for i, day in enumerate(("monday", "friday"))]
    for i, corpus in enumerate(corpora):
        (tmp_path / corpus.corpus_path).write_text(f"id,path\na,clip-{i}.wav\nb,clip-{i}.wav\n")
    first = [annotate(trained, corpus, tmp_path / "labels", progress=False, shard=(1, 2)) for corpus in corpora]
    assert first == [[], []]
    for i, corpus in enumerate(corpora):
        parquet, _ = annotate(trained, corpus, tmp_path / "labels", progress=False, shard=(2, 2))
        assert pd.read_parquet(parquet)["path"].str.endswith(f"clip-{i}.wav").tolist() == [True, True]


def test_a_corpus_has_one_name_however_its_path_is_given(trained, clips, tmp_path, monkeypatch):
    clips("day/clips")
    (tmp_path / "link").symlink_to(tmp_path / "day" / "clips")
    monkeypatch.chdir(tmp_path / "day")
    monkeypatch.setenv("HOME", str(tmp_path))
    paths = [tmp_path / "day/clips", "clips", "clips/", "./clips", "../day/clips/", tmp_path / "link", "~/day/clips"]
    assert len({annotation.name(trained, corpus_of(path)) for path in paths}) == 1


def test_the_name_says_where_the_corpus_lies(trained, clips):
    assert annotation.name(trained, clips("monday/manifest.csv")).startswith("monday-manifest-")
    assert annotation.name(trained, clips("some.recordings/x")).startswith("x-")
    assert annotation.name(trained, Data(corpus="emodb", corpus_path="/somewhere")).startswith("emodb-")


@pytest.mark.parametrize(
    "name", ["x" * 200, "語" * 80, "a\nb", "=cmd", "\u202egnp", "..", "<b>&", "-rf", os.fsdecode(b"caf\xe9")]
)
def test_any_name_makes_a_plain_file_name(trained, name):
    corpus = Data.model_construct(corpus="manifest", corpus_path=f"/data/{name}/m.csv")  # a link may lead there
    text = annotation.name(trained, corpus)
    assert len(f"annotated-{text}.parquet".encode()) < 250
    assert not set(text) & set("\n/\\<>&=\u202e;: ")
    assert text.isprintable()


def test_the_parquet_file_says_whose_labels_it_holds(trained, clips, tmp_path):
    corpus = clips("day/m.csv")
    parquet, _ = annotate(trained, corpus, tmp_path / "labels", progress=False)
    origin = json.loads(read_schema(parquet).metadata[b"ipr_core"])
    assert origin == {"run": trained.folder.name, "corpus": "manifest", "corpus_path": corpus.corpus_path}


# The place


def block_by_a_file(folder, name):
    folder.write_text("a file")


def block_by_a_parent(folder, name):
    folder.symlink_to("/dev/null/x")


def block_by_a_folder(folder, name):
    (folder / f"annotated-{name}.csv").mkdir(parents=True)


def block_by_a_file_of_pieces(folder, name):
    folder.mkdir()
    (folder / f"annotated-{name}.pieces").write_text("a file")


@pytest.mark.parametrize("block", [block_by_a_file, block_by_a_parent, block_by_a_folder, block_by_a_file_of_pieces])
def test_a_place_that_cannot_be_is_refused_before_anything_is_read(trained, clips, tmp_path, monkeypatch, block):
    corpus = clips("m.csv")
    block(tmp_path / "labels", annotation.name(trained, corpus))
    monkeypatch.setattr(annotation, "_checked", lambda *_: pytest.fail("the corpus was read"))
    with pytest.raises(WriteError, match="cannot be written"):
        annotate(trained, corpus, tmp_path / "labels", progress=False)


# Formulas


def test_the_csv_holds_no_formula_and_the_parquet_file_the_ids_as_they_are(trained, clips, tmp_path):
    corpus = clips("m.csv")
    ids = ['=HYPERLINK("http://host","x")', "+1-1", "@SUM(A1)", "-x", "plain"]
    pd.DataFrame({"id": ids, "path": "clip-0.wav", "speaker": "=s"}).to_csv(corpus.corpus_path, index=False)
    parquet, csv = annotate(trained, corpus, tmp_path / "labels", progress=False)
    assert pd.read_parquet(parquet)["id"].tolist() == ids
    cells = pd.read_csv(csv)
    assert cells["id"].tolist() == ["'" + id for id in ids[:4]] + ["plain"]
    assert set(cells["speaker"]) == {"'=s"}
    assert cells["entropy"].dtype == float
    table, faults = corpora.survey(corpus_of(csv), labels_needed=False)  # given back as a manifest
    assert (table["id"].tolist(), set(table["speaker"]), faults) == (ids, {"=s"}, [])
