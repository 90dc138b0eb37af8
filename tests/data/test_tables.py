"""The strict reader of tables: what it reads, and what it refuses without hiding anything else."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from ipr_core.config import Data
from ipr_core.data import corpora, tables
from ipr_core.data.faults import CorpusError


@pytest.fixture
def survey(tmp_path):
    """Return a function from a file's name and bytes to its utterances and the sentences of its faults."""
    for name in ("a.wav", "b.wav", "c.wav", "d.wav"):
        (tmp_path / name).touch()

    def read(content, name="m.csv"):
        file = tmp_path / name
        if isinstance(content, pa.Table):
            parquet.write_table(content, file)
        elif isinstance(content, pd.DataFrame):
            content.to_parquet(file)
        else:
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        table, faults = corpora.survey(Data(corpus="manifest", corpus_path=str(file)), labels_needed=False)
        return table, [str(fault) for fault in faults]

    return read


TEXT = "path,label,votes_sad\na.wav,sad,2\nb.wav,happy,1\n"


@pytest.mark.parametrize("separator", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be", "utf-32"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_separators_encodings_and_line_ends_are_recognised(survey, separator, encoding, line_end):
    text = TEXT.replace(",", separator).replace("\n", line_end)
    table, faults = survey(text.encode(encoding))
    assert not faults
    assert table[["path", "label", "votes_sad", "row"]].to_numpy()[:, 1:].tolist() == [["sad", 2, 2], ["happy", 1, 3]]


def test_a_separator_inside_the_header_s_other_columns_does_not_mislead(survey):
    table, faults = survey("path,label,a;b;c;d;e\na.wav,sad,1\n")
    assert (len(table), faults) == (1, [])


def test_the_separator_line_of_a_spreadsheet_is_read_and_counted(survey):
    table, _ = survey("sep=;\r\npath;label\r\na.wav;sad\r\n")
    assert list(table["row"]) == [3]


def test_decimal_commas_are_read_where_they_cannot_be_thousands(survey):
    table, faults = survey("path;start;votes_sad\na.wav;0,5;1,5\nb.wav;0,125;2\nc.wav;1,234;2\n")
    assert table["votes_sad"].tolist() == [1.5, 2, 2]
    assert table["start"].tolist()[:2] == [0.5, 0.125]
    assert faults == ["m.csv, row 4: utterance 'c.wav@1,234' starts at '1,234'; give seconds, such as 12.5, 0 or more"]


@pytest.mark.parametrize(
    ("rows", "fault"),
    [
        ('a.wav,"sad,2\nb.wav,sad,1\nc.wav,sad,1\n', "m.csv, row 2: a quote opened here is never closed"),
        ('a.wav,"sad,2\nb.wav,"sad",1\nc.wav,sad,1\n', "m.csv, row 2: a quote ends in the middle of a cell of line 3"),
        ('a.wav,sa"d,2\nb.wav,"sad"x,1\nc.wav,sad,1\n', "m.csv, row 3: a quote ends in the middle of a cell;"),
        ('a.wav,"sad\nb.wav,sad",1\nc.wav,sad,1\n', "m.csv, row 2: a quote opened in column 2 swallows the rows up to"),
    ],
)
def test_an_open_quote_is_said_and_what_follows_is_read(survey, rows, fault):
    _, faults = survey("path,label,votes_sad\n" + rows + "gone.wav,sad,1\n")
    assert any(sentence.startswith(fault) for sentence in faults), faults
    assert "never closed" in fault or any("gone.wav" in sentence for sentence in faults)


def test_a_quote_that_swallows_a_row_in_a_column_that_is_not_read_is_found(survey):
    _, path_first = survey('path,transcript,label\na.wav,"oh,sad\nb.wav,well",sad\nc.wav,x,sad\n')
    assert path_first[0].startswith("m.csv, row 2: a quote opened in column 2 swallows the rows up to line 3")
    _, path_last = survey('transcript,path,label\n"oh,a.wav,sad\nwell",b.wav,sad\n')
    assert path_last[0].startswith("m.csv, row 2: a quote opened in column 1 swallows")


def test_a_transcript_of_several_lines_is_no_fault(survey):
    table, faults = survey('path,transcript,label\na.wav,"oh,\nwell, yes, no\nso",sad\nb.wav,x,sad\n')
    assert not faults
    assert list(table["row"]) == [2, 5]


def test_rows_of_another_width_hide_no_other_fault(survey):
    table, faults = survey("path,label,votes_sad\na.wav,sad,1,9\nb.wav,sad\ngone.wav,sad,x\nc.wav,sad,1\n")
    assert list(table["path"].str[-5:]) == ["e.wav", "c.wav"]
    expected = [
        "row 2: it has 4 cells",
        "row 3: it has 2 cells",
        "row 4: utterance 'gone.wav' refers",
        "row 4: utterance",
    ]
    assert [words in sentence for words, sentence in zip(expected, faults, strict=True)] == [True] * 4


def test_many_faults_of_a_kind_are_one_line_and_none_is_lost(survey, tmp_path):
    survey("path,label\n" + "a.wav,sad,9\n" * 20 + "gone.wav,sad\n")
    with pytest.raises(CorpusError) as refused:
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "m.csv")))
    assert len(refused.value.faults) == 21
    assert (
        str(refused.value).split("\n")[0].startswith("20 times more cells than the header; the first: m.csv, row 2: ")
    )
    assert str(refused.value).count("\n") == 1


@pytest.mark.parametrize(
    ("cell", "problem"),
    [(b"a\0.wav", "holds a zero byte"), (b'"a\nx"', "holds a line break"), (b"x" * 40_000, "has more than 32,767")],
)
def test_cells_that_cannot_be_are_refused_each_with_its_row(survey, cell, problem):
    table, faults = survey(b"path,label\nb.wav,sad\n" + cell + b",sad\nc.wav,sad\n")
    assert len(table) == 2
    assert faults[0].startswith(f"m.csv, row 3: column 'path' {problem}")


@pytest.mark.parametrize("size", [200_000, 10_000_000])
def test_an_endless_cell_ends_its_row_alone(survey, size):
    table, faults = survey(b"path,label\na.wav," + b"x" * size + b"\nb.wav,sad\n")
    assert list(table["row"]) == [3]
    assert "a cell has more than 131,072 characters, up to line 2" in faults[0]


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_absurdly_many_columns_are_refused(survey, kind):
    names = ["path", *(f"x{i}" for i in range(20_000))]
    content = ",".join(names) + "\n" if kind == "csv" else pa.table({name: [] for name in names})
    with pytest.raises(CorpusError, match="it has 20,001 columns; the most allowed are 16,384"):
        survey(content, f"m.{kind}")


def test_text_that_is_not_utf8_is_a_fault_of_its_row(survey):
    table, faults = survey(b"path,label,note\na.wav,sad,\xfc\nGef\xfchl.wav,sad,x\nb.wav,sad,x\n")
    assert list(table["row"]) == [2, 4]
    assert faults[0].startswith("m.csv, row 3: column 'path' is not UTF-8: 'Gef\\xfchl.wav'; save the table as UTF-8")


@pytest.mark.parametrize(
    ("head", "words"),
    [
        (b"PK\x03\x04", "a spreadsheet or a zip archive"),
        (b"\x1f\x8b\x08", "compressed"),
        (b'{"path": 1}', "JSON"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"", "it is empty"),
        (b"\x80\x04", "a pickle, which is never opened"),
    ],
)
def test_files_that_are_no_tables_are_called_by_their_kind(survey, head, words):
    with pytest.raises(CorpusError, match=words):
        survey(head)


def test_utf16_that_is_cut_off_is_refused_in_a_sentence(survey):
    with pytest.raises(CorpusError, match="it is not UTF-16-LE throughout"):
        survey(TEXT.encode("utf-16")[:-1])


# Parquet


FRAME = pd.DataFrame({"path": ["a.wav", "b.wav"], "label": ["sad", "happy"], "votes_sad": [2, 1]})


@pytest.mark.parametrize("index", ["path", ["path", "label"], ["label", "path", "votes_sad"]])
def test_an_index_is_columns(survey, index):
    table, faults = survey(FRAME.set_index(index), "m.parquet")
    assert not faults
    assert table[["label", "votes_sad", "row"]].to_numpy().tolist() == [["sad", 2, 1], ["happy", 1, 2]]


def test_durations_of_pandas_are_seconds(survey):
    frame = FRAME.assign(start=pd.to_timedelta([0, 1.5], "s"), end=pd.to_timedelta([1, 2], "s"))
    table, faults = survey(frame, "m.parquet")
    assert not faults
    assert table[["start", "end"]].to_numpy().tolist() == [[0, 1], [1.5, 2]]


def test_categories_gaps_and_bytes_are_read(survey):
    frame = FRAME.assign(speaker=pd.Categorical(["anna", None]), votes_happy=pd.array([1, None], "Int64"))
    frame = frame.assign(id=pd.array([7, 8], "Int64"), path=[b"a.wav", b"b.wav"])
    table, faults = survey(frame, "m.parquet")
    assert not faults
    assert table[["id", "speaker", "votes_happy"]].to_numpy().tolist() == [["7", "anna", 1], ["8", "", 0]]


@pytest.mark.parametrize("cells", [[[1, 0], [0, 1]], [{"x": 1}, {"x": 2}]])
def test_lists_and_structs_in_a_cell_are_refused_beside_the_other_faults(survey, cells):
    frame = FRAME.assign(votes_happy=cells, path=["gone.wav", "b.wav"])
    _, faults = survey(frame, "m.parquet")
    assert "column 'votes_happy' holds " in faults[0]
    assert "gone.wav" in faults[1]


@pytest.mark.parametrize("votes", [[True, False], [np.nan, np.inf], ["2", "true"], [1, -1]])
def test_votes_that_are_no_numbers_are_refused(survey, votes):
    _, faults = survey(FRAME.assign(votes_happy=votes), "m.parquet")
    assert "in votes_happy; a vote count is a number" in faults[0]


def test_paths_that_are_lists_leave_no_table(survey):
    with pytest.raises(
        CorpusError, match=r"m\.parquet: column 'path' holds list<.*; give one number or one text per cell"
    ):
        survey(FRAME.assign(path=[["a.wav"], ["b.wav"]]), "m.parquet")


def test_a_parquet_column_named_twice_is_refused(survey):
    columns = [pa.array(["a.wav"]), pa.array([1]), pa.array([2])]
    _, faults = survey(pa.Table.from_arrays(columns, ["path", "votes_sad", "votes_sad"]), "m.parquet")
    assert "column 'votes_sad' is named twice, in places 2 and 3" in faults[0]


def test_parquet_is_known_by_its_bytes_and_damage_is_a_sentence(survey, tmp_path):
    table, _ = survey(FRAME, "m.csv")
    assert len(table) == 2
    content = (tmp_path / "m.csv").read_bytes()
    for damaged in (content[:-9], content[: len(content) // 2] + bytes(40), b"PAR1"):
        with pytest.raises(CorpusError, match=r"m\.parquet: it cannot be read \("):
            survey(damaged, "m.parquet")


def test_a_small_table_keeps_its_columns_without_a_name(tmp_path):
    (tmp_path / "t.csv").write_text(",x,,x\n1,2,3,4\n")
    assert tables.read(tmp_path / "t.csv", "x").table.to_dict("records") == [
        {"column 1": "1", "x": "2", "column 3": "3", "row": 2}
    ]
