"""Tables as they are read and as files: numbers with their deviations, LaTeX, CSV and Markdown."""

import io

import numpy as np
import pandas as pd
import pytest

from ipr_core.results import table
from ipr_core.results.table import Table

VALUES = pd.DataFrame(
    {
        "comparison": ["baseline+ − baseline", "50 % & more_"],
        "seeds": [5, 1],
        "difference": [-1.25, 2.0],
        "difference ±": [0.5, np.nan],
        "p": [0.0004, 0.0416],
        "noise": [np.nan, 3.456],
    }
)
TABLE = Table("some", "Points, 95 % of them", VALUES, digits=1, decimals={"noise": 2})


def test_mean_and_deviation_are_read_as_one():
    texts = TABLE.texts
    assert list(texts) == ["comparison", "seeds", "difference", "p", "noise"]
    assert texts.iloc[0].tolist() == ["baseline+ − baseline", "5", "−1.2 ± 0.5", "<0.001", ""]
    assert texts.iloc[1].tolist() == ["50 % & more_", "1", "+2.0", "0.042", "3.46"]


def test_a_deviation_alone_is_not_lost():
    frame = pd.DataFrame({"x ±": [1.0]})
    assert list(Table("t", "", frame).texts) == ["x ±"]


def test_csv_holds_all_digits_in_columns_of_their_own():
    again = pd.read_csv(io.StringIO(TABLE.csv()))
    pd.testing.assert_frame_equal(again, VALUES)


def test_markdown_has_the_caption_and_a_line_a_row():
    lines = TABLE.markdown().splitlines()
    assert lines[0] == "Points, 95 % of them"
    assert [len(line.split("|")) for line in lines[2:]] == [7] * 4
    assert "| −1.2 ± 0.5 |" in lines[4]


def test_latex_has_booktabs_rules_and_no_character_that_latex_would_misread():
    text = TABLE.latex()
    for rule in (r"\toprule", r"\midrule", r"\bottomrule", r"\begin{tabular}{lrrrr}", r"\label{tab:some}"):
        assert rule in text
    assert r"\caption{Points, 95 \% of them}" in text
    assert r"baseline+ $-$ baseline & 5 & $-$1.2 $\pm$ 0.5 & $<$0.001 &" in text
    assert r"50 \% \& more\_ & 1" in text
    assert text.isascii()


def test_a_notebook_shows_the_table_or_what_it_lacks():
    page = TABLE._repr_html_()
    assert "Points, 95 % of them" in page
    assert "50 % &amp; more_" in page
    assert page.count("<tr") == 3
    empty = Table("none", "caption", VALUES.iloc[:0], lacking="needs <two> seeds")
    assert empty._repr_html_() == "<p>needs &lt;two&gt; seeds</p>"


def test_every_table_that_has_a_row_becomes_three_files(tmp_path):
    empty = Table("none", "caption", VALUES.iloc[:0])
    paths = table.write([TABLE, empty], tmp_path / "new" / "tables")
    assert [path.name for path in paths] == ["some.tex", "some.csv", "some.md"]
    assert sorted(path.name for path in (tmp_path / "new" / "tables").iterdir()) == sorted(p.name for p in paths)
    assert [path.read_text("utf-8") for path in paths] == [TABLE.latex(), TABLE.csv(), TABLE.markdown()]


def test_a_group_has_a_folder_and_labels_of_its_own(tmp_path):
    (path, *_) = table.write([TABLE], tmp_path, "table3")
    assert path == tmp_path / "table3" / "some.tex"
    assert r"\label{tab:table3-some}" in path.read_text("utf-8")


def test_a_line_says_which_file_was_another_one(tmp_path):
    lines = ["table3/some.tex", "table3/some.csv", "table3/some.md"]
    assert table.keep([TABLE], tmp_path, "table3") == lines
    assert table.keep([TABLE], tmp_path, "table3") == lines  # the same again
    shorter = Table("some", TABLE.caption, VALUES.iloc[:1])
    assert table.keep([shorter], tmp_path, "table3") == [f"{line} (in place of another table)" for line in lines]


def test_a_file_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    table.write([TABLE], tmp_path)

    def fails(self):
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(Table, "csv", fails)
    with pytest.raises(RuntimeError, match="the disk is full"):
        table.write([Table("some", "another", VALUES.iloc[:1])], tmp_path)
    assert (tmp_path / "some.csv").read_text("utf-8") == VALUES.to_csv(index=False)
    assert {path.suffix for path in tmp_path.iterdir()} == {".tex", ".csv", ".md"}
