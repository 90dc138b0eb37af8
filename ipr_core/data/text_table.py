"""Tables that are text: rows of cells separated by a comma, a semicolon, a tab or a bar."""

from __future__ import annotations

import codecs
import csv
import os
import re
from collections.abc import Iterator
from itertools import chain, count, islice
from pathlib import Path
from typing import Any, TextIO

from pyarrow import Table, array, concat_tables, int64, string

from ipr_core import spreadsheets
from ipr_core.data.faults import CorpusError, Fault, number_of, quoted
from ipr_core.data.reading import (
    ROW,
    Choice,
    Choose,
    Reading,
    cleaned,
    holds_apostrophe,
    refuse_width,
    without_odd_cells,
)

SEPARATORS = (",", ";", "\t", "|")
_MARKS = {
    codecs.BOM_UTF32_LE: "utf-32", codecs.BOM_UTF32_BE: "utf-32", codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16",
}  # fmt: skip
_SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[\r\n]*', re.IGNORECASE)  # which spreadsheets write before the header
_LINE_END = re.compile(r"\r\n|\r|\n")
_STEP = 1024
_LONGEST_LINE = 2**20  # characters of a header

_Row = tuple[int, list[str]]


def encoding(file: Path, fallback: str | None = None) -> str:
    """Return a text's encoding by its first bytes: UTF-8, UTF-16 or UTF-32.

    fallback: the encoding of a text that is none of them; all of it is read then
    """
    with file.open("rb") as stream:
        head = stream.read(4096)
    for mark, name in _MARKS.items():
        if head.startswith(mark):
            return name
    zeros = [head[first::2].count(0) > len(head) // 4 for first in (0, 1)]  # Latin letters have one in UTF-16
    if any(zeros) and not all(zeros):
        return "utf-16-be" if zeros[0] else "utf-16-le"
    if fallback:
        try:
            file.read_bytes().decode("utf-8")
        except UnicodeDecodeError:
            return fallback
    return "utf-8"


def lines(file: Path, fallback: str) -> list[str]:
    """Return a text's lines, whichever characters end them; `fallback` as in `encoding`."""
    with file.open(encoding=encoding(file, fallback), errors="replace") as stream:
        return stream.read().split("\n")


def blocks(file: Path, key: str, choose: Choose, size: int, fallback: str | None = None) -> Iterator[Reading]:
    """Yield the chosen columns as text, `size` rows at a time and at least one block.

    Rows are numbered as an editor numbers lines.
    key: a column by which the right separator is known
    """
    with file.open(encoding=encoding(file, fallback), errors="surrogateescape", newline="") as stream:
        header, separator, skipped = _header(stream, file.name, key)
        cells = csv.reader(chain([header], stream), delimiter=separator, strict=True)
        try:
            names = cleaned(next(cells, []))
        except csv.Error:
            problem, cure = "a quote in the header is never closed", "close it"
            raise CorpusError([Fault(file.name, skipped + 1, problem, cure)]) from None
        refuse_width(names, file.name, skipped + 1)
        choice = choose(names, skipped + 1)
        rows = _Rows(file.name, cells, names, separator, names.index(key) if key in names else 0, skipped)
        faults, notes = choice.faults, choice.notes
        while (block := _block(rows, size, choice)).num_rows or faults or rows.faults or notes or not rows.is_begun:
            rows.is_begun = True
            table, odd = without_odd_cells(block, file.name)
            texts = table.to_pandas()
            if holds_apostrophe(table):  # looking for a guard in every cell would take long
                texts = spreadsheets.unguarded(texts)
            yield Reading(texts, [*faults, *rows.faults, *odd], notes)
            faults, notes, rows.faults = (), (), []


def _header(stream: TextIO, source: str, key: str) -> tuple[str, str, int]:
    """Return the first line that is not blank, its separator, and the number of lines before it."""
    separator = None
    for number in count():
        line = stream.readline(_LONGEST_LINE)
        if len(line) == _LONGEST_LINE:
            problem = f"its first line has more than {_LONGEST_LINE:,} characters"
            raise CorpusError([Fault(source, number + 1, problem, "give it a header and a row per utterance")])
        if mark := _SEPARATOR_LINE.fullmatch(line):
            separator = mark[1]
        elif line.strip() or not line:
            return line.removeprefix("\ufeff"), separator or _separator(line, key), number
    raise AssertionError("a file ends")


def _separator(header: str, key: str) -> str:
    """Return the separator that gives the key column, or else the most columns."""
    names = {mark: cleaned(next(csv.reader([header], delimiter=mark), [])) for mark in SEPARATORS}
    fitting = [mark for mark in SEPARATORS if key in names[mark]]
    return max(fitting or SEPARATORS, key=lambda mark: len(names[mark]))


class _Rows:
    """Numbered rows of the header's width; `faults` tells of the others that were passed on the way."""

    def __init__(self, source: str, cells: Any, names: list[str], separator: str, key: int, skipped: int):
        """cells: a csv.reader behind the header   key: place of the key column   skipped: lines before it"""
        self.source, self.separator, self.key = source, separator, key
        self.faults: list[Fault] = []
        self.is_begun = False
        self._cells, self._width, self._skipped = cells, len(names), skipped
        self._rows = iter(self)

    def take(self, number: int) -> list[_Row]:
        """Return the next rows, so many or fewer at the end."""
        return list(islice(self._rows, number))

    def __iter__(self) -> Iterator[_Row]:
        width, skipped, reader = self._width, self._skipped, self._cells
        line = reader.line_num  # the last of the row before
        while True:
            try:
                for cells in reader:
                    first, line = line + 1, reader.line_num
                    if line > first and self._swallows(first, cells):
                        continue
                    if any(cells) and (len(cells) == width or self._fits(first, cells)):
                        yield first + skipped, cells
                return
            except csv.Error as error:
                self.faults.append(self._quote_fault(line + 1, str(error)))
                line = reader.line_num

    def _fits(self, line: int, cells: list[str]) -> bool:
        """Tell whether a row has the header's width but for empty cells at its end, which are cut off."""
        if len(cells) > self._width and not any(cells[self._width :]):
            del cells[self._width :]
            return True
        problem = f"it has {number_of(len(cells), 'cell')}, and the header has {self._width}"
        is_wide = len(cells) > self._width
        cure = "put a cell that holds a separator in quotes" if is_wide else "add the missing ones, empty if need be"
        self._refuse(line, problem, cure, f"{'more' if is_wide else 'fewer'} cells than the header")
        return False

    def _swallows(self, line: int, cells: list[str]) -> bool:
        """Tell whether a cell of several lines holds rows, because a quote was left open."""
        kind = os.path.splitext(cells[self.key])[1] if self.key < len(cells) else ""
        for position, cell in enumerate(cells):
            first, *rest = _LINE_END.split(cell)
            rows = [text.split(self.separator) for text in rest]
            if rest and self.key > position:
                rows.append([*cells[:position], *first.split(self.separator)])
            if any(self._is_row(row, kind) for row in rows):
                problem = f"a quote opened in column {position + 1} swallows the rows up to line {self._line}"
                self._refuse(line, problem, "close the quote", "a quote that swallows the rows after it")
                return True
        return False

    def _is_row(self, row: list[str], kind: str) -> bool:
        """Tell whether pieces of a text look like a row: by the suffix of the key cell, or by their number."""
        if kind:
            return self.key < len(row) and row[self.key].endswith(kind)
        return len(row) >= self._width > 1

    def _quote_fault(self, line: int, error: str) -> Fault:
        cause = "a quote that is not closed"
        cure = "close the quote; one inside a cell in quotes is written twice"
        if "limit" in error:
            problem = f"a cell has more than {csv.field_size_limit():,} characters, up to line {self._line}"
        elif "end of data" in error:
            problem = f"a quote opened here is never closed, so that it swallows the rows up to line {self._line}"
        else:
            problem = "a quote ends in the middle of a cell"
            problem += f" of line {self._line}, so that it swallows rows" if self._line > line + self._skipped else ""
        return Fault(self.source, line + self._skipped, problem, cure, cause)

    @property
    def _line(self) -> int:
        return self._cells.line_num + self._skipped

    def _refuse(self, line: int, problem: str, cure: str, cause: str) -> None:
        self.faults.append(Fault(self.source, line + self._skipped, problem, cure, cause))


def _block(rows: _Rows, size: int, choice: Choice) -> Table:
    """Return the next `size` rows, or fewer at the end.

    Only a few rows at a time are lists of cells, because the garbage collector goes through all such lists again
    and again.
    """
    steps = (min(_STEP, size - start) for start in range(0, size, _STEP))
    return concat_tables(_columns(rows, step, choice) for step in steps)


def _columns(rows: _Rows, step: int, choice: Choice) -> Table:
    """Return the next rows as a table of the chosen columns."""
    rows_ahead = rows.take(step)
    try:
        return _table(rows_ahead, choice)
    except UnicodeEncodeError:  # bytes that are not UTF-8 were read as surrogates
        return _table([row for row in rows_ahead if _is_utf8(row, rows, choice)], choice)


def _table(rows: list[_Row], choice: Choice) -> Table:
    columns = list(zip(*(cells for _, cells in rows), strict=True))
    texts = {name: array(columns[i] if rows else [], string()) for name, i in choice.columns.items()}
    return Table.from_pydict(texts | {ROW: array([number for number, _ in rows], int64())})


def _is_utf8(row: _Row, rows: _Rows, choice: Choice) -> bool:
    number, cells = row
    for name, i in choice.columns.items():
        try:
            cells[i].encode()
        except UnicodeEncodeError:
            cure = 'save the table as UTF-8 (in a spreadsheet "CSV UTF-8"); rename a file whose own name is not UTF-8'
            problem = f"column {name!r} is not UTF-8: {quoted(cells[i])}"
            rows.faults.append(Fault(rows.source, number, problem, cure, "text that is not UTF-8"))
            return False
    return True
