"""A block of a table as it is read: the rows that can be taken, the faults of the others, and notes."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pandas import DataFrame

from ipr_core.data.faults import CorpusError, Fault, Note

ROW = "row"
"""The column with the number of a row, as an editor or a data frame counts it."""
MOST_COLUMNS = 16_384
"""More columns than any spreadsheet has are a mistake."""
_LONGEST = 32_767  # characters of a cell, as in spreadsheets


class Reading(NamedTuple):
    """What a reader returns: utterances, and what only it can know of its files."""

    table: DataFrame
    faults: Sequence[Fault] = ()
    notes: Sequence[Note] = ()
    votes: DataFrame | None = None
    """Votes by annotator, a row each, where it is known who voted; see `raters`."""

    def checked(self) -> DataFrame:
        """Return the table; raises CorpusError if there are faults."""
        if self.faults:
            raise CorpusError(self.faults)
        return self.table


def joined(parts: Iterable[Reading]) -> Reading:
    """Return the blocks of a table as one."""
    parts = list(parts)
    table = pd.concat([part.table for part in parts], ignore_index=True)
    faults = [fault for part in parts for fault in part.faults]
    return Reading(table, faults, [note for part in parts for note in part.notes])


class Choice(NamedTuple):
    """Which columns of a table are read."""

    columns: Mapping[str, int]
    """Name → place in the table, counted from 0."""
    faults: Sequence[Fault] = ()
    notes: Sequence[Note] = ()


Choose = Callable[[list[str], int | None], Choice]
"""(names of all columns, the row that holds them) → the columns to read; raises CorpusError if a needed one lacks."""


def every_column(names: list[str], row: int | None) -> Choice:
    """Choose all columns, of several with the same name the first; one without a name is called by its place."""
    columns: dict[str, int] = {}
    for position, name in enumerate(names):
        columns.setdefault(name or f"column {position + 1}", position)
    return Choice(columns)


def cleaned(names: Sequence[object]) -> list[str]:
    """Return column names without the spaces and marks around them that nobody sees, in composed form."""
    return [unicodedata.normalize("NFC", str(name)).strip(" \t\r\n\xa0\ufeff\u200b\u2060\0") for name in names]


def refuse_width(names: Sequence[object], source: str, row: int | None) -> None:
    """Raise CorpusError for a table of absurdly many columns."""
    if len(names) > MOST_COLUMNS:
        problem = f"it has {len(names):,} columns; the most allowed are {MOST_COLUMNS:,}"
        raise CorpusError([Fault(source, row, problem, "give it a row per utterance, and leave out other columns")])


def without_odd_cells(table: pa.Table, source: str) -> tuple[pa.Table, list[Fault]]:
    """Return the rows whose cells may be what they should, and a fault for each other.

    Zero bytes, line breaks and endless cells have no place in paths, names and numbers.
    """
    faults: list[Fault] = []
    for name in table.column_names:
        if pa.types.is_string(table.schema.field(name).type) and any(map(_may_be_odd, table[name].chunks)):
            for mask, problem, cure in _oddities(table[name]):
                rows = table[ROW].filter(mask).to_pylist()
                faults += [Fault(source, row, f"column {name!r} {problem}", cure, problem) for row in rows]
    rows = sorted({fault.row for fault in faults})
    return (table.filter(pc.invert(pc.is_in(table[ROW], pa.array(rows, pa.int64())))) if rows else table), faults


def holds_apostrophe(table: pa.Table) -> bool:
    """Tell whether there may be an apostrophe in one of the texts, by their bytes alone."""
    texts = (column for column in table.columns if pa.types.is_string(column.type))
    letters = (chunk.buffers()[2] for column in texts for chunk in column.chunks)
    return any((np.frombuffer(buffer, np.uint8) == ord("'")).any() for buffer in letters if buffer)


def _may_be_odd(cells: pa.StringArray) -> bool:
    """Tell, by the bytes alone, whether there may be an odd cell: searching each cell would take long."""
    _, offsets, letters = cells.buffers()
    if not letters:
        return False
    ends = np.frombuffer(offsets, np.int32)
    return bool((np.frombuffer(letters, np.uint8) <= ord("\n")).any()) or bool((np.diff(ends) > _LONGEST).any())


def _oddities(cells: pa.ChunkedArray) -> list[tuple[pa.ChunkedArray, str, str]]:
    """Return a mask, a problem and a cure for everything that is odd in a column."""
    masks = [
        (pc.match_substring(cells, "\0"), "holds a zero byte", "the file is damaged: copy or write it again"),
        (pc.match_substring(cells, "\n"), "holds a line break", "close the quote that was left open, if there is one"),
        (pc.greater(pc.binary_length(cells), _LONGEST), f"has more than {_LONGEST:,} characters", "shorten it"),
    ]
    return [(mask, problem, cure) for mask, problem, cure in masks if pc.any(mask).as_py()]
