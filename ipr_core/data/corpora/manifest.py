"""A corpus of your own: any CSV or Parquet file with a row an utterance.

Columns: path (needed; relative to the file, or absolute), and as far as there are id, start and end (seconds),
speaker, session, duration, label, votes_<emotion>, votes_other, mixture_<class>; others are passed over. A label left
empty is made from the votes; the label "unlabelled" is none on purpose. A folder in the place of the file stands for
every audio file in it, unlabelled.
"""

from __future__ import annotations

import csv
import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import pandas as pd
from pandas import DataFrame, Series
from pyarrow import Table, array, concat_tables, int64, string
from pyarrow.parquet import ParquetFile

from ipr_core.config import Data
from ipr_core.data.corpora.table import TEXTS, CorpusError, Fault

LAYOUT = "a CSV or Parquet file with the column path and, as there are, label, votes_<emotion>, speaker, start, end"
AUDIO = (".wav", ".flac", ".mp3", ".ogg")
PLAIN = ("id", "path", "start", "end", "speaker", "session", "duration", "label")
_STEP = 1024

_Row = tuple[int, list[str]]


def read(data: Data) -> DataFrame:
    """The file's rows as they stand, numbers unchecked, so that `table.check` can quote what is wrong with them.

    Rows are counted as a person sees them: a CSV's header is row 1. An utterance without an id is named by its
    path and, for a part of a file, its times.
    raises CorpusError if the file is not there, cannot be read or has no column path
    """
    return pd.concat(blocks(data), ignore_index=True)


def blocks(data: Data, size: int = 65_536) -> Iterator[DataFrame]:
    """What `read` returns, `size` rows at a time, at least one block, in memory that does not grow with the file."""
    file = Path(data.corpus_path).expanduser().resolve()
    try:
        yield from (_utterances(cells, file) for cells in _cells(file, size))
    except CorpusError:
        raise
    except (ValueError, OSError, csv.Error) as error:
        raise _refusal(file, None, f"it cannot be read ({error})", f"give {LAYOUT}") from error


def _utterances(table: DataFrame, file: Path) -> DataFrame:
    """The columns that are known, ids made and paths absolute."""
    table.columns = [str(name).strip() for name in table.columns]
    if "path" not in table:
        there = ", ".join(name for name in table if name != "row")
        raise _refusal(file, 1, f"it has no column 'path', only {there}", f"give {LAYOUT}")
    named = [name for name in table if name in (*PLAIN, "row") or name.startswith(("votes_", "mixture_"))]
    table = table[named].assign(source=file.name)
    texts = {name: table[name].fillna("").astype(str).str.strip() for name in TEXTS if name in table}
    table = table.assign(**texts)
    places = {path: str(file.parent / path) if path else "" for path in table["path"].unique()}
    return table.assign(id=_ids(table), path=table["path"].map(places))


def _cells(file: Path, size: int) -> Iterator[DataFrame]:
    if file.is_dir():
        return _folder(file, size)
    if not file.is_file():
        raise _refusal(file, None, "it is not a file", f"give {LAYOUT}")
    return _parquet(file, size) if file.suffix.lower() in (".parquet", ".pq") else _csv(file, size)


def _folder(folder: Path, size: int) -> Iterator[DataFrame]:
    names = _audio_files(folder)
    some = list(islice(names, size))
    if not some:
        raise _refusal(folder, None, f"there is no audio file in it ({', '.join(AUDIO)})", f"give {LAYOUT}")
    while some:
        yield DataFrame({"path": [str(folder / name) for name in some], "id": some, "label": "", "row": 0})
        some = list(islice(names, size))


def _audio_files(folder: Path, within: str = "") -> Iterator[str]:
    """Paths relative to the folder, in alphabetical order, one directory's names in memory at a time."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _audio_files(folder / entry.name, f"{within}{entry.name}/")
        elif os.path.splitext(entry.name)[1].lower() in AUDIO:
            yield within + entry.name


def _parquet(file: Path, size: int) -> Iterator[DataFrame]:
    with ParquetFile(file) as stored:
        first = 1
        for batch in stored.iter_batches(size):
            table = Table.from_batches([batch]).to_pandas().reset_index(drop=True)
            yield table.assign(row=table.index + first)
            first += len(table)
        if first == 1:
            yield stored.schema_arrow.empty_table().to_pandas().assign(row=0)


def _csv(file: Path, size: int) -> Iterator[DataFrame]:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.reader(stream)
        header, long = next(lines, []), []
        # line_num counts blank lines too, as an editor does
        rows = ((lines.line_num, cells) for cells in lines if any(cells))
        first = True
        while (block := _block(rows, size, header, long)).num_rows or first:
            yield block.to_pandas()
            first = False
    if long:
        raise CorpusError(Fault(file.name, row, "it has more cells than the header", "quote a comma") for row in long)


def _block(rows: Iterator[_Row], size: int, header: list[str], long: list[int]) -> Table:
    """The next `size` rows, or fewer at the end.

    Few at a time are lists of cells: the garbage collector would go through all of them again and again.
    """
    steps = (min(_STEP, size - done) for done in range(0, size, _STEP))
    return concat_tables(_columns(list(islice(rows, step)), header, long) for step in steps)


def _columns(rows: list[_Row], header: list[str], long: list[int]) -> Table:
    """Numbered rows of a CSV as a table; the numbers of those with more cells than the header go to `long`."""
    width = len(header)
    for number, cells in rows:
        if len(cells) != width:
            if any(cells[width:]):
                long.append(number)
            cells[:] = (cells + [""] * width)[:width]
    columns = zip(*(cells for _, cells in rows), strict=True) if rows else [()] * width
    texts = {name: array(cells, string()) for name, cells in zip(header, columns, strict=True)}
    return Table.from_pydict(texts | {"row": array([number for number, _ in rows], int64())})


def _ids(table: DataFrame) -> Series:
    part = Series("", index=table.index)
    for name, mark in (("start", "@"), ("end", "-")):
        if name in table:
            cell = table[name].fillna("").astype(str).str.strip()
            part = part + (mark + cell).where(cell != "", "")
    made = table["path"] + part
    return table["id"].mask(table["id"] == "", made) if "id" in table else made


def _refusal(file: Path, row: int | None, what: str, cure: str) -> CorpusError:
    return CorpusError([Fault(str(file), row, what, cure)])
