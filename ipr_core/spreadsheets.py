"""CSV files of which no cell is a formula, although ids, speakers, paths and notes may come from a stranger.

A spreadsheet runs a cell that begins with one of = + - @, a tab or a line break. Such a cell is written with an
apostrophe before it, as OWASP recommends; inside a cell also after a semicolon, a tab or a line break, where some
spreadsheets begin another cell. Numbers stay numbers. Parquet files and everything in memory hold the text as it is,
and `unguarded` gives it back from a CSV file of ours.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

_BEGIN = r"(?:^|(?<=[;\t\r\n]))"  # of a cell
_FORMULA = r"(?='*[=+\-@\t\r\n＝＋－＠])"
_OPEN, _GUARDED = re.compile(_BEGIN + _FORMULA), re.compile(f"{_BEGIN}'{_FORMULA}")
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")
_RETURN = re.compile(r"\r\n?")
_SUSPECT = r"\r|(?:^|[;\t\n])'*[=+\-@\t\n＝＋－＠]"  # without lookahead, so that pyarrow searches a column at once


def guard(text: str) -> str:
    """Return the text of a cell as a CSV file holds it: never a formula.

    A carriage return becomes a line feed: alone, it would end the row, because pandas does not quote it.
    """
    return text if _NUMBER.fullmatch(text) else _OPEN.sub("'", _RETURN.sub("\n", text))


def unguard(text: str) -> str:
    """Return the text of which `guard` made a cell."""
    return _GUARDED.sub("", text)


def guarded(table: DataFrame) -> DataFrame:
    """Return a table whose texts and column names are guarded; everything else is the same."""
    return _changed(table, guard)


def unguarded(table: DataFrame) -> DataFrame:
    """Return the table of which `guarded` made one."""
    return _changed(table, unguard)


def to_csv(table: DataFrame, path: Path | str, header: bool = True, mode: str = "w") -> None:
    """Write a guarded table as CSV, without its index.

    mode: "a" adds rows to a file that exists
    """
    guarded(table).to_csv(path, index=False, header=header, mode=mode)


def csv_text(table: DataFrame) -> str:
    """Return what `to_csv` writes."""
    return guarded(table).to_csv(index=False)


def _changed(table: DataFrame, change: Callable[[str], str]) -> DataFrame:
    return DataFrame({change(str(name)): _in_column(cells, change) for name, cells in table.items()})


def _in_column(cells: Series, change: Callable[[str], str]) -> Series:
    """Return the cells with `change` made to those texts that it may change."""
    if pd.api.types.is_string_dtype(cells.dtype) and cells.dtype != object:
        suspect = cells.str.contains(_SUSPECT, na=False).to_numpy(bool)  # a million in a tenth of a second
    elif cells.dtype == object:
        suspect = np.array([isinstance(cell, str) and bool(re.search(_SUSPECT, cell)) for cell in cells], bool)
    else:
        return cells
    return cells.mask(suspect, cells[suspect].map(change)) if suspect.any() else cells
