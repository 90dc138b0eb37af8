"""A corpus of your own: any CSV or Parquet file with a row per utterance.

Columns: path (needed; relative to the file, or absolute), and where they are known id, start and end (seconds),
speaker, sex, session, channel, duration, label, votes_<emotion>, votes_other, mixture_<class>, part. Other columns are
passed over, and those that look like one of these are refused. Who voted may stand in votes.csv beside the file. A
label left empty is made from the votes; the label "unlabelled" says that there is none. A folder instead of the file
stands for every audio file in it, unlabelled.

Hugging Face's two forms are read too: an audiofolder, whose metadata.csv has `file_name` for `path`, and a Parquet file
of `datasets` with a column of Audio, whose sounds are put into the cache.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data import tables
from ipr_core.data.corpora import columns, votes_table
from ipr_core.data.corpora.paths import located
from ipr_core.data.corpora.table import TEXTS, share_columns, with_points
from ipr_core.data.faults import CorpusError, Fault, Note
from ipr_core.data.listing import READ_KINDS, VIDEO_KINDS, AudioFiles
from ipr_core.data.reading import Choice, Reading, joined

LAYOUT = columns.LAYOUT
METADATA = "metadata.csv"
_TEXTS = (*TEXTS, "part", "sex", "gender")


def read(data: Data, progress: bool = True) -> Reading:
    """Return the file's rows as they are, numbers unchecked, so that `table.check` can quote faulty ones.

    Rows are counted as an editor shows them: a CSV's header is row 1. An utterance without an id is named by its
    path and, for a part of a file, its channel and its times.
    raises CorpusError if the file is not there, cannot be read or has no column path
    """
    utterances = joined(blocks(data))
    file = votes_table.neighbour(_path(data))
    return votes_table.attach(utterances, file, data) if file else utterances


def blocks(data: Data, size: int = 65_536) -> Iterator[Reading]:
    """Yield the table of `read`, `size` rows at a time and at least one block.

    The memory it takes does not grow with the file. A votes.csv beside it is not read.
    """
    file = _path(data)
    return _folder(file, size) if file.is_dir() else _file(file, data, size)


def _path(data: Data) -> Path:
    assert data.corpus_path is not None, "the configuration refuses a manifest without a path"
    path = Path(data.corpus_path).expanduser().resolve()
    return path / METADATA if _is_audiofolder(path) else path


def _is_audiofolder(folder: Path) -> bool:
    """Tell whether a folder's table is one of Hugging Face's, beside other files called so."""
    try:
        with open(folder / METADATA, encoding="utf-8", errors="replace") as stream:
            return columns.FILE_NAME in stream.readline(10_000)
    except OSError:
        return False


def _file(file: Path, data: Data, size: int) -> Iterator[Reading]:
    def choose(names: list[str], row: int | None) -> Choice:
        return columns.choose(names, row, data, file.name)

    for block in tables.blocks(file, "path", choose, size):
        if "path" not in block.table:  # its cells are no texts
            raise CorpusError(block.faults)
        yield Reading(_utterances(block.table, file), block.faults, block.notes)


def _folder(folder: Path, size: int) -> Iterator[Reading]:
    files = AudioFiles(folder)
    names = iter(files)
    block = list(islice(names, size))
    if not block:
        raise CorpusError([*files.faults, _no_audio(folder, files.note())])
    while block:
        following = list(islice(names, size))
        faults, files.faults = files.faults, []
        table = DataFrame({"path": [str(folder / name) for name in block], "id": block, "label": "", "row": 0})
        yield Reading(table.assign(source=folder.name), faults, [] if following else [files.note()])
        block = following


def _no_audio(folder: Path, note: Note) -> Fault:
    cure = f"give {LAYOUT}, or a folder of audio files ({', '.join(sorted(READ_KINDS | VIDEO_KINDS))})"
    return Fault(str(folder), None, f"there is no audio file in it that can be read ({note.text})", cure)


def _utterances(table: DataFrame, file: Path) -> DataFrame:
    """Return the table with ids made and paths absolute."""
    cells = {name: table[name].fillna("").astype(str).str.strip() for name in _TEXTS if name in table}
    cells |= {name: with_points(table[name]) for name in ("start", "end", "duration", "channel") if name in table}
    cells |= {name: with_points(table[name]) for name in share_columns(table)}
    table = table.assign(source=file.name, **cells)
    paths = {path: located(file.parent, path) if path else "" for path in table["path"].unique()}
    return table.assign(id=_ids(table), path=table["path"].map(paths))


def _ids(table: DataFrame) -> Series:
    part = Series("", index=table.index)
    for name, mark in (("channel", "#"), ("start", "@"), ("end", "-")):
        if name in table:
            cell = table[name].fillna("").astype(str).str.strip()
            part = part + (mark + cell).where(cell != "", "")
    ids = table["path"] + part
    return table["id"].mask(table["id"] == "", ids) if "id" in table else ids
