"""Manifests: a corpus of one's own, and every fault it may have."""

import numpy as np
import pandas as pd
import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError


@pytest.fixture
def manifest(tmp_path):
    """Return a function from a CSV's text and settings to the configuration that reads it.

    a.wav, b.wav and c.wav lie in its folder.
    """
    for name in "abc":
        wav(tmp_path / f"{name}.wav")

    def write(text, **settings):
        (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
        return Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"), **settings)

    return write


def test_manifest_paths_are_relative_to_it_and_name_utterances_without_an_id(manifest, tmp_path):
    table = corpora.read(manifest(f"path,label\na.wav,happy\n{tmp_path / 'b.wav'},sad\n"))
    assert list(table["path"]) == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert list(table["id"]) == ["a.wav", str(tmp_path / "b.wav")]
    assert list(table["row"]) == [2, 3]


def test_manifest_channels_of_a_file_are_utterances_of_their_own(manifest):
    table = corpora.read(manifest("path,channel,start,label\na.wav,,,happy\na.wav,1,,happy\na.wav,2,0.1,sad\n"))
    assert list(table["id"]) == ["a.wav", "a.wav#1", "a.wav#2@0.1"]
    assert table["channel"].fillna(0).tolist() == [0, 1, 2]


@pytest.mark.parametrize("column", ["sex", "gender"])
def test_manifest_keeps_the_sex_of_who_speaks(manifest, column):
    table = corpora.read(manifest(f"path,speaker,{column},label\na.wav,a, Female ,happy\nb.wav,b,,sad\n"))
    assert table[column].tolist() == ["Female", ""]


@pytest.mark.parametrize("cell", ["0", "-1", "1.5", "left", "inf"])
def test_manifest_a_channel_that_cannot_be_is_refused_with_its_row(manifest, cell):
    faults = corpora.survey(manifest(f"path,channel,label\na.wav,1,sad\nb.wav,{cell},sad\n"))[1]
    assert [(fault.row, fault.problem, fault.cure[:31]) for fault in faults] == [
        (3, f"utterance 'b.wav#{cell}' has {cell!r} as its channel", "channels are counted from 1; le")
    ]


def test_manifest_parts_of_a_file_are_utterances_of_their_own(manifest):
    table = corpora.read(manifest("path,start,end,label\na.wav,,0.1,happy\na.wav,0.1,,sad\n"))
    assert list(table["id"]) == ["a.wav-0.1", "a.wav@0.1"]
    assert table["end"][0] == table["start"][1] == 0.1
    assert np.isnan(table["start"][0])


def test_manifest_label_is_the_votes_plurality_where_none_is_given(manifest):
    header = "path,label,votes_angry,votes_sad,votes_happy,votes_excited\n"
    table = corpora.read(manifest(header + "a.wav,,1,3,2,2\nb.wav,,1,1,,\nc.wav,unlabelled,1,,,\n"))
    assert list(table["label"]) == ["happy", "", ""]  # happy and excited are 4 of 8; a tie; none on purpose
    assert votes_of(table, "a.wav") == {"angry": 1, "sad": 3, "happy": 4}


def test_manifest_labelled_needs_no_votes_and_a_corpus_to_annotate_needs_neither(manifest):
    assert corpora.read(manifest("path,label\na.wav,sad\n"))["votes_sad"].sum() == 0
    bare = manifest("path\na.wav\n")
    with pytest.raises(CorpusError, match=r"row 2: utterance 'a.wav' has no votes and no label; give it one, or mark"):
        corpora.read(bare)
    assert list(corpora.read(bare, labels_needed=False)["label"]) == [""]


def test_manifest_parquet_reads_as_the_csv_does(manifest, tmp_path):
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "id": [7, 8], "votes_sad": [2, 1], "votes_angry": [1.0, None]})
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    frame.to_parquet(tmp_path / "manifest.parquet")
    read = [
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / f"manifest.{kind}")))
        for kind in ("csv", "parquet")
    ]
    pd.testing.assert_frame_equal(*(table.drop(columns=["source", "row"]) for table in read))
    assert [list(table["row"]) for table in read] == [[2, 3], [1, 2]]


def test_manifest_counts_rows_as_an_editor_does_and_accepts_a_byte_order_mark(manifest):
    table = corpora.read(manifest("\ufeffpath,label,\n\na.wav,sad,\n,,\nb.wav,sad,\n"))
    assert list(table["row"]) == [3, 5]


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder"])
def test_manifest_read_in_blocks_is_as_read_whole(manifest, tmp_path, kind):
    rows = "".join(f"{'ab'[i % 2]}.wav,{0.01 * i:.2f},happy,{i}\n" for i in range(7))
    data = manifest(f'path,start,label,votes_sad\n{rows}\n"b.wav",0.1,"sad",\n')
    if kind == "parquet":
        pd.read_csv(data.corpus_path).to_parquet(tmp_path / "manifest.parquet")
        data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.parquet"))
    if kind == "folder":
        data = Data(corpus="manifest", corpus_path=str(tmp_path))
    whole, _ = corpora.survey(data)
    blocks = [table for table, _ in corpora.surveys(data, 3)]
    assert [len(block) for block in blocks[:-1]] == [3] * (len(blocks) - 1)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)
    assert kind != "csv" or whole["row"].tolist() == [2, 3, 4, 5, 6, 7, 8, 10]


def test_a_folders_files_are_in_the_order_of_their_paths(tmp_path):
    for name in ("b.wav", "a/c.wav", "a.b/d.FLAC", "a/b/c/z.ogg", "a/notes.txt"):
        wav(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).touch()
    table, _ = corpora.survey(Data(corpus="manifest", corpus_path=str(tmp_path)), labels_needed=False)
    assert list(table["id"]) == ["a/b/c/z.ogg", "a/c.wav", "a.b/d.FLAC", "b.wav"]
    assert list(table["path"]) == [str(tmp_path / name) for name in table["id"]]


def test_manifest_lists_all_faults_at_once_with_row_and_cure(manifest):
    text = (
        "path,id,label,votes_angry,votes_hapy,start,end\n"
        "a.wav,a,angry,1,,,\n"
        "gone.wav,b,angry,1,,,\n"
        "c.wav,a,angry,1,,,\n"
        "c.wav,d,angry,-1,,,\n"
        "c.wav,e,angry,two,,,\n"
        "c.wav,f,anger,,,,\n"
        "c.wav,g,,,,,\n"
        "c.wav,h,sad,,,0.1,0.1\n"
        ",i,sad,,,soon,\n"
    )
    with pytest.raises(CorpusError) as refused:
        corpora.read(manifest(text))
    expected = [
        "manifest.csv, row 1: column 'votes_hapy' counts votes for an unknown emotion; did you mean 'happy'?",
        "manifest.csv, row 3: utterance 'b' refers to the file",
        "manifest.csv, row 4: utterance 'a' occurs twice, first in row 2; give each utterance an id of its own",
        "manifest.csv, row 5: utterance 'd' has '-1' in votes_angry; a vote count is a number, 0 or more",
        "manifest.csv, row 6: utterance 'e' has 'two' in votes_angry; a vote count is a number",
        "manifest.csv, row 7: utterance 'f' has the unknown label 'anger'; did you mean 'angry'?",
        "manifest.csv, row 8: utterance 'g' has no votes and no label; give it one, or mark it unlabelled",
        "manifest.csv, row 9: utterance 'h' ends at 0.1, not after its start at 0.1; give start and end in seconds",
        "manifest.csv, row 10: utterance 'i' has no path",
        "manifest.csv, row 10: utterance 'i' starts at 'soon'; give seconds",
    ]
    lines = [str(fault) for fault in refused.value.faults]
    assert len(lines) == len(expected), lines
    assert all(fault.startswith(start) for fault, start in zip(lines, expected, strict=True)), lines
    assert str(refused.value).split("\n") == lines


def test_survey_gives_the_table_beside_its_faults(manifest):
    table, faults = corpora.survey(manifest("path,label,votes_sad\na.wav,sad,x\nb.wav,sad,1\n"))
    assert [fault.row for fault in faults] == [2]
    assert list(table["votes_sad"]) == [0, 1]


def test_manifest_a_class_of_ones_own_is_known_once_it_is_named(manifest):
    text = "path,label,votes_amused\na.wav,amused,1\n"
    assert corpora.read(manifest(text, classes=("amused", "sad")))["label"][0] == "amused"
    with pytest.raises(CorpusError, match="unknown label 'amused'"):
        corpora.read(manifest(text))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na.wav,sad\n", "row 1: it has no column 'path', only file, label; name 'file' so"),
        ("path,label\na.wav,sad,1\nb.wav,sad\nc.wav,sad,2\n", r"(?s)row 2: it has 3 cells, .*row 4: it has 3 cells"),
        ("path,label\n", "there is no utterance in it"),
    ],
)
def test_manifest_that_is_no_table_of_utterances_is_refused(manifest, text, message):
    with pytest.raises(CorpusError, match=message):
        corpora.read(manifest(text))


def test_manifest_that_is_not_there_or_not_a_table_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere\.csv: it is not a file"):
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "nowhere.csv")))
    (tmp_path / "no.parquet").write_bytes(b"no")
    with pytest.raises(CorpusError, match=r"no\.parquet: it cannot be read"):
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "no.parquet")))


def test_excited_cannot_be_a_class_of_its_own_and_happy(manifest):
    text = "path,label\na.wav,excited\n"
    with pytest.raises(
        CorpusError, match="excited is one of them, and merge_excited makes it happy; set merge_excited"
    ):
        corpora.read(manifest(text, classes=("excited", "sad")))
    assert corpora.read(manifest(text, classes=("excited", "sad"), merge_excited=False))["label"][0] == "excited"


def test_manifest_part_is_given_or_left_to_the_votes(manifest):
    table = corpora.read(manifest("path,label,part\na.wav,sad,D3\nb.wav,sad,\nc.wav,happy,D1\n"))
    assert list(table["part"]) == ["D3", "", "D1"]
    assert "part" not in corpora.read(manifest("path,label\na.wav,sad\n"))
    with pytest.raises(
        CorpusError, match=r"row 2: utterance 'a.wav' has 'D2' as its part; leave it empty, so that the"
    ):
        corpora.read(manifest("path,label,part\na.wav,sad,D2\n"))
