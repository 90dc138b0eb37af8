"""Databases in audformat: raters, gold standards, speakers, and what is no emotion; copy by audformat itself."""

import logging
import sys
from pathlib import Path

import pandas as pd
import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core import cli
from ipr_core.config import Data
from ipr_core.data import audformat_labels, corpora
from ipr_core.data.corpora.table import CorpusError

audformat = pytest.importorskip("audformat")
pytestmark = pytest.mark.filterwarnings("ignore:.*inplace keyword:pandas.errors.Pandas4Warning")
WORDS = ["anger", "happiness", "sadness", "puzzled"]
FILES = ["audio/a.wav", "audio/b.wav"]


@pytest.fixture
def database():
    """Return an empty database with schemes and raters."""
    database = audformat.Database("mine")
    database.schemes["emotion"] = audformat.Scheme(labels=WORDS)
    database.schemes["speaker"] = audformat.Scheme("str")
    for rater in ("ada", "ben", "eve"):
        database.raters[rater] = audformat.Rater("human")
    database.raters["gold"] = audformat.Rater("vote")
    database.raters["model"] = audformat.Rater("machine")
    return database


def add(database, table, index, **columns):
    """Add a table; columns: scheme, rater and values of each."""
    database[table] = audformat.Table(index)
    for name, (scheme, rater, values) in columns.items():
        database[table][name] = audformat.Column(scheme_id=scheme, rater_id=rater)
        database[table][name].set(values)


def saved(database, folder):
    for file in FILES:
        wav(folder / file)
    database.save(str(folder))
    return Data(corpus="audformat", corpus_path=str(folder))


def test_raters_vote_and_a_gold_standard_is_the_label(database, tmp_path, caplog):
    add(
        database,
        "emotion",
        audformat.filewise_index(FILES),
        first=("emotion", "ada", ["anger", "happiness"]),
        second=("emotion", "ben", ["anger", None]),
        third=("emotion", "eve", ["sadness", "puzzled"]),
        gold=("emotion", "gold", ["anger", "sadness"]),
        guess=("emotion", "model", ["sadness", "sadness"]),
    )
    add(database, "files", audformat.filewise_index(FILES), speaker=("speaker", None, ["s1", "s2"]))
    data = saved(database, tmp_path)
    with caplog.at_level(logging.INFO):
        table = corpora.read(data)
    assert table["id"].tolist() == FILES
    assert table["label"].tolist() == ["angry", "sad"]
    assert table["speaker"].tolist() == ["s1", "s2"]
    assert votes_of(table, "audio/a.wav") == {"angry": 2, "sad": 1}
    assert votes_of(table, "audio/b.wav") == {"happy": 1, "other": 1}
    assert set(corpora.votes(data)["annotator"]) == {"ada", "ben", "eve"}
    assert "votes of 3 raters in emotion.first, emotion.second, emotion.third, emotion.gold" in caplog.text
    assert "words that are no known emotion count as other: puzzled 1" in caplog.text


def test_segments_of_a_file_are_utterances_with_their_own_speakers(database, tmp_path):
    index = audformat.segmented_index([FILES[0], FILES[0], FILES[1]], ["0s", "0.1s", "0s"], ["0.1s", pd.NaT, pd.NaT])
    add(
        database,
        "emotion",
        index,
        label=("emotion", "ada", ["anger", "sadness", "happiness"]),
        speaker=("speaker", None, ["s1", "s2", "s3"]),
    )
    table = corpora.read(saved(database, tmp_path))
    assert table["id"].tolist() == ["audio/a.wav@0-0.1", "audio/a.wav@0.1", "audio/b.wav"]
    assert table["start"].fillna(-1).tolist() == [0, 0.1, -1]
    assert table["end"].fillna(-1).tolist() == [0.1, -1, -1]
    assert table["speaker"].tolist() == ["s1", "s2", "s3"]
    assert table["label"].tolist() == ["angry", "sad", "happy"], "the only rater's"
    assert corpora.votes(Data(corpus="audformat", corpus_path=str(tmp_path))) is None


def test_labels_of_numbers_are_read_by_their_words_and_tables_are_joined(database, tmp_path):
    database.schemes["number"] = audformat.Scheme("int", labels={1: "anger", 2: "sadness"})
    for name, file, number in (("train", FILES[0], 1), ("test", FILES[1], 2)):
        add(database, f"emotion.{name}", audformat.filewise_index([file]), label=("number", None, [number]))
    table = corpora.read(saved(database, tmp_path))
    assert dict(zip(table["source"], table["label"], strict=True)) == {
        "db.emotion.train": "angry",
        "db.emotion.test": "sad",
    }


def test_two_labels_of_an_utterance_are_a_fault_of_its_row(database, tmp_path):
    index = audformat.filewise_index(FILES)
    add(database, "perceived", index, label=("emotion", "gold", ["anger", "anger"]))
    add(database, "desired", index, label=("emotion", "gold", ["anger", "sadness"]))
    faults = corpora.survey(saved(database, tmp_path))[1]
    assert [(fault.source, fault.row, fault.problem) for fault in faults] == [
        ("db.desired", 2, "utterance 'audio/b.wav' has two labels, 'sad' and 'angry' in perceived.label")
    ]


def test_a_database_without_emotions_and_one_that_is_damaged_are_refused(database, tmp_path):
    add(database, "files", audformat.filewise_index(FILES), speaker=("speaker", None, ["s1", "s2"]))
    data = saved(database, tmp_path)
    with pytest.raises(CorpusError, match=r"db\.yaml: no column of its tables holds emotions; give a scheme with"):
        corpora.read(data)
    (tmp_path / "db.yaml").write_text("tables: [")
    with pytest.raises(CorpusError, match=r"cannot be read as a database of audformat \(.*write it again by audformat"):
        corpora.read(data)
    with pytest.raises(CorpusError, match=r"there is no db\.yaml in it; audformat needs db\.yaml"):
        corpora.read(Data(corpus="audformat", corpus_path=str(tmp_path / "audio")))


def test_without_its_package_a_sentence_says_what_to_install(database, tmp_path, monkeypatch):
    data = saved(database, tmp_path)
    monkeypatch.setitem(sys.modules, "audformat", None)
    with pytest.raises(CorpusError, match=r"its package is not installed; pip install 'ipr-workbench\[audformat\]'"):
        corpora.read(data)


# Out


def test_labels_are_a_table_with_schemes_that_audformat_reads(database, trained, tmp_path, capsys):
    index = audformat.segmented_index([FILES[0], FILES[1]], ["0s", "0.05s"], ["0.15s", pd.NaT])
    add(database, "emotion", index, label=("emotion", "gold", ["anger", "sadness"]))
    saved(database, tmp_path / "db")
    labels_folder = tmp_path / "out"
    command = ["annotate", trained.folder, tmp_path / "db", "--corpus", "audformat", "--format", "audformat"]
    for _ in range(2):  # the second time in place of the first
        assert cli.main([str(word) for word in [*command, "--out", labels_folder]]) == 0
    [printed] = {Path(line) for line in capsys.readouterr().out.splitlines() if Path(line).is_dir()}
    assert printed.parent == labels_folder
    copy = audformat.Database.load(str(printed))
    frame = copy["emotion"].get()
    labels = pd.read_parquet(min(labels_folder.glob("*.parquet"), key=lambda path: len(path.name)))
    assert frame.index.equals(database["emotion"].index)
    assert frame["emotion"].tolist() == labels["single_label"].tolist()
    shares = frame[[f"share.{name}" for name in trained.config.data.classes]].to_numpy(float)
    assert shares.sum(axis=1) == pytest.approx(1)
    assert shares == pytest.approx(labels[[f"soft_{name}" for name in trained.config.data.classes]].to_numpy())
    assert copy.schemes["emotion"].labels == list(trained.config.data.classes)
    assert [column.rater_id for column in copy["emotion"].columns.values()] == ["ipr"] * (1 + shares.shape[1])
    with pytest.raises(CorpusError, match="no column of its tables holds emotions"):
        corpora.read(Data(corpus="audformat", corpus_path=str(printed)))  # a machine's labels are no votes


def test_channels_that_audformat_cannot_tell_apart_are_refused(tmp_path):
    labels = pd.DataFrame({"path": ["a.wav", "a.wav"], "start": [None, None], "end": [None, None]}, dtype=object)
    with pytest.raises(CorpusError, match="as channels of a call do: audformat has no channels; use the labels as"):
        audformat_labels.save(labels, ("angry", "sad"), tmp_path, tmp_path / "out", "")
