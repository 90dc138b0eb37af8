"""A corpus of your own: any CSV or Parquet file with a row an utterance.

Columns: path (needed; relative to the file, or absolute), and as far as there are id, start and end (seconds),
speaker, session, duration, label, votes_<emotion>, votes_other, mixture_<class>; others are passed over. A label left
empty is made from the votes; the label "unlabelled" is none on purpose. A folder in the place of the file stands for
every audio file in it, unlabelled.
"""

from __future__ import annotations

import csv
from pathlib import Path

import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.corpora.table import TEXTS, CorpusError, Fault

LAYOUT = "a CSV or Parquet file with the column path and, as there are, label, votes_<emotion>, speaker, start, end"
AUDIO = (".wav", ".flac", ".mp3", ".ogg")
PLAIN = ("id", "path", "start", "end", "speaker", "session", "duration", "label")


def read(data: Data) -> DataFrame:
    """The file's rows as they stand, numbers unchecked, so that `table.check` can quote what is wrong with them.

    Rows are counted as a person sees them: a CSV's header is row 1. An utterance without an id is named by its
    path and, for a part of a file, its times.
    raises CorpusError if the file is not there, cannot be read or has no column path
    """
    file = Path(data.corpus_path).expanduser().resolve()
    table = _cells(file)
    table.columns = [str(name).strip() for name in table.columns]
    if "path" not in table:
        there = ", ".join(name for name in table if name != "row")
        raise _refusal(file, 1, f"it has no column 'path', only {there}", f"give {LAYOUT}")
    named = [name for name in table if name in (*PLAIN, "row") or name.startswith(("votes_", "mixture_"))]
    table = table[named].assign(source=file.name)
    texts = {name: table[name].fillna("").astype(str).str.strip() for name in TEXTS if name in table}
    table = table.assign(**texts)
    return table.assign(id=_ids(table), path=[str(file.parent / path) if path else "" for path in table["path"]])


def _cells(file: Path) -> DataFrame:
    if file.is_dir():
        return _folder(file)
    if not file.is_file():
        raise _refusal(file, None, "it is not a file", f"give {LAYOUT}")
    try:
        return _parquet(file) if file.suffix.lower() in (".parquet", ".pq") else _csv(file)
    except CorpusError:
        raise
    except (ValueError, OSError, csv.Error) as error:
        raise _refusal(file, None, f"it cannot be read ({error})", f"give {LAYOUT}") from error


def _folder(folder: Path) -> DataFrame:
    found = sorted(path for path in folder.rglob("*") if path.suffix.lower() in AUDIO)
    if not found:
        raise _refusal(folder, None, f"there is no audio file in it ({', '.join(AUDIO)})", f"give {LAYOUT}")
    names = [path.relative_to(folder).as_posix() for path in found]
    return DataFrame({"path": [str(path) for path in found], "id": names, "label": "", "row": 0})


def _parquet(file: Path) -> DataFrame:
    table = pd.read_parquet(file).reset_index(drop=True)
    return table.assign(row=table.index + 1)


def _csv(file: Path) -> DataFrame:
    with file.open(encoding="utf-8-sig", newline="") as stream:
        lines = csv.DictReader(stream, restval="")
        # line_num counts blank lines too, as an editor does
        rows = [cells | {"row": lines.line_num} for cells in lines if any(cells.values())]
    long = [row["row"] for row in rows if any(row.get(None, []))]  # None: what is beyond the header's columns
    if long:
        raise CorpusError(Fault(file.name, row, "it has more cells than the header", "quote a comma") for row in long)
    return DataFrame(rows, columns=list(dict.fromkeys([*(lines.fieldnames or []), "row"])))


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
