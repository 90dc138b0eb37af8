"""A corpus of your own: any CSV or Parquet file with a row per utterance.

Columns: path (needed; relative to the file, or absolute), and where they are known id, start and end (seconds),
speaker, session, duration, label, votes_<emotion>, votes_other, mixture_<class>. Other columns are ignored. A label
left empty is made from the votes; the label "unlabelled" says that there is none. A folder instead of the file stands
for every audio file in it, unlabelled.
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

LAYOUT = "a CSV or Parquet file with the column path and, where known, label, votes_<emotion>, speaker, start, end"
AUDIO = (".wav", ".flac", ".mp3", ".ogg")
PLAIN = ("id", "path", "start", "end", "speaker", "session", "duration", "label")
_STEP = 1024

_Row = tuple[int, list[str]]


def read(data: Data, progress: bool = True) -> DataFrame:
    """Return the file's rows as they are, numbers unchecked, so that `table.check` can quote faulty ones.

    Rows are counted as an editor shows them: a CSV's header is row 1. An utterance without an id is named by its
    path and, for a part of a file, its times.
    raises CorpusError if the file is not there, cannot be read or has no column path
    """
    return pd.concat(blocks(data), ignore_index=True)


def blocks(data: Data, size: int = 65_536) -> Iterator[DataFrame]:
    """Yield the table of `read`, `size` rows at a time and at least one block.

    The memory it takes does not grow with the file.
    """
    assert data.corpus_path is not None, "the configuration refuses a manifest without a path"
    file = Path(data.corpus_path).expanduser().resolve()
    try:
        yield from (_utterances(cells, file) for cells in _cells(file, size))
    except CorpusError:
        raise
    except (ValueError, OSError, csv.Error) as error:
        raise _refusal(file, None, f"it cannot be read ({error})", f"give {LAYOUT}") from error


def _utterances(table: DataFrame, file: Path) -> DataFrame:
    """Return the columns that have a meaning, with ids made and paths absolute."""
    table.columns = [str(name).strip() for name in table.columns]
    if "path" not in table:
        names = ", ".join(name for name in table if name != "row")
        raise _refusal(file, 1, f"it has no column 'path', only {names}", f"give {LAYOUT}")
    columns = [name for name in table if name in (*PLAIN, "row") or name.startswith(("votes_", "mixture_"))]
    table = table[columns].assign(source=file.name)
    texts = {name: table[name].fillna("").astype(str).str.strip() for name in TEXTS if name in table}
    table = table.assign(**texts)
    paths = {path: str(file.parent / path) if path else "" for path in table["path"].unique()}
    return table.assign(id=_ids(table), path=table["path"].map(paths))


def _cells(file: Path, size: int) -> Iterator[DataFrame]:
    if file.is_dir():
        return _folder(file, size)
    if not file.is_file():
        raise _refusal(file, None, "it is not a file", f"give {LAYOUT}")
    return _parquet(file, size) if file.suffix.lower() in (".parquet", ".pq") else _csv(file, size)


def _folder(folder: Path, size: int) -> Iterator[DataFrame]:
    names = _audio_files(folder)
    block = list(islice(names, size))
    if not block:
        raise _refusal(folder, None, f"there is no audio file in it ({', '.join(AUDIO)})", f"give {LAYOUT}")
    while block:
        yield DataFrame({"path": [str(folder / name) for name in block], "id": block, "label": "", "row": 0})
        block = list(islice(names, size))


def _audio_files(folder: Path, prefix: str = "") -> Iterator[str]:
    """Yield paths relative to the folder, in alphabetical order.

    One directory's names are in memory at a time.
    """
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        if entry.is_dir(follow_symlinks=False):
            yield from _audio_files(folder / entry.name, f"{prefix}{entry.name}/")
        elif os.path.splitext(entry.name)[1].lower() in AUDIO:
            yield prefix + entry.name


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
        header = next(lines, [])
        long: list[int] = []  # numbers of rows with too many cells
        # line_num counts blank lines too, as an editor does
        rows = ((lines.line_num, cells) for cells in lines if any(cells))
        first = True
        while (block := _block(rows, size, header, long)).num_rows or first:
            yield block.to_pandas()
            first = False
    if long:
        raise CorpusError(Fault(file.name, row, "it has more cells than the header", "quote a comma") for row in long)


def _block(rows: Iterator[_Row], size: int, header: list[str], long: list[int]) -> Table:
    """Return the next `size` rows, or fewer at the end.

    Only a few rows at a time are lists of cells, because the garbage collector goes through all such lists again
    and again.
    """
    steps = (min(_STEP, size - start) for start in range(0, size, _STEP))
    return concat_tables(_columns(list(islice(rows, step)), header, long) for step in steps)


def _columns(rows: list[_Row], header: list[str], long: list[int]) -> Table:
    """Return numbered rows of a CSV as a table.

    long: here the numbers of rows with more cells than the header are added
    """
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
    ids = table["path"] + part
    return table["id"].mask(table["id"] == "", ids) if "id" in table else ids


def _refusal(file: Path, row: int | None, problem: str, cure: str) -> CorpusError:
    return CorpusError([Fault(str(file), row, problem, cure)])
