"""What is known of audio files by their size and times, so that an unchanged one is not read again at every start.

A table of SQLite in the cache holds it, one for all corpora. It only saves time: where it cannot be read or written, is
damaged, or held by another process, files are read as if it were not there.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ipr_core.data.source import DECODER, Source, stamp

SETTLED = 2.0
"""Seconds since a file's last change after which its times tell a later one; some disks count in such steps."""
_VERSION = f"1-{DECODER}"
_WAIT = 5.0  # seconds for another process that writes
_TABLE = """
CREATE TABLE IF NOT EXISTS sources (
    path TEXT, channel INTEGER, size INTEGER, modified INTEGER, changed INTEGER, digest TEXT, sound TEXT, mapped TEXT,
    mapped_size INTEGER, mapped_modified INTEGER, start INTEGER, samples INTEGER, frames BLOB, note TEXT,
    PRIMARY KEY (path, channel)
) WITHOUT ROWID
"""
_SELECT = "SELECT * FROM sources WHERE path = ? AND channel = ?"
_REPLACE = f"REPLACE INTO sources VALUES ({', '.join('?' * 14)})"
_FAILURES = (sqlite3.Error, OSError)


class Stamps:
    """The table of a cache, open as long as its context."""

    def __init__(self, folder: Path):
        self._file = folder / f"stamps-{_VERSION}.sqlite"
        self._table: sqlite3.Connection | None = None
        self._begin = 0.0  # of reading, in seconds since 1970

    def __enter__(self) -> Stamps:
        if self._file.is_file():
            self._open()
        return self

    def __exit__(self, *_: object) -> None:
        if self._table is not None:
            self._table.close()

    def recall(self, files: Sequence[tuple[str, int]]) -> dict[tuple[str, int], Source]:
        """Return the sources of those files that are as they were when they were read.

        files: the path and the channel of each, see `Source.channel`
        """
        self._begin = time.time()
        sources: dict[tuple[str, int], Source] = {}
        if self._table is None:
            return sources
        try:
            for path, channel in files:
                row = self._table.execute(_SELECT, (os.path.abspath(path), channel)).fetchone()
                source = row and _source(path, row)
                if source:
                    sources[path, channel] = source
        except _FAILURES:
            self._give_up()
        return sources

    def keep(self, sources: Iterable[Source]) -> None:
        """Keep what was read since the last `recall`, of files that had been left alone for a while then."""
        latest = int((self._begin - SETTLED) * 1e9)
        settled = (source for source in sources if max(_times(source.path)[1:]) < latest)  # else it may have changed
        rows = list(map(_row, settled))
        if not rows or (self._table is None and not self._open()):
            return
        assert self._table is not None
        try:
            with self._table:
                self._table.executemany(_REPLACE, rows)
        except _FAILURES:
            self._give_up()

    def _open(self) -> bool:
        try:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._table = sqlite3.connect(self._file, timeout=_WAIT)
            self._table.execute(_TABLE)
        except _FAILURES:
            self._give_up()
        return self._table is not None

    def _give_up(self) -> None:
        """Do without the table from now on; remove it if it is damaged."""
        if self._table is None:
            return
        try:
            self._table.execute("PRAGMA quick_check").fetchone()
        except sqlite3.OperationalError:  # held by another process, or a disk that fails
            pass
        except sqlite3.DatabaseError:
            with contextlib.suppress(OSError):
                self._file.unlink()
        self._table.close()
        self._table = None


def _times(path: str) -> tuple[int, int, int]:
    """Return a file's size, and when it, and what the system says of it, changed last; zeros if it is not there."""
    try:
        status = os.stat(path)
    except OSError:
        return 0, 0, 0
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _row(source: Source) -> tuple[str | int | bytes, ...]:
    """Return the row of a source, which has no `mapped` where that is the file itself."""
    mapped = "" if source.mapped == source.path else source.mapped
    return (
        os.path.abspath(source.path), source.channel, *_times(source.path), source.digest, source.sound, mapped,
        *source.stamp, source.offset, source.samples, source.frames, source.note,
    )  # fmt: skip


def _source(path: str, row: tuple[Any, ...]) -> Source | None:
    """Return the source of a row; None where the file, or the one with its samples, has changed."""
    _, channel, *times, digest, sound, mapped, mapped_size, mapped_modified, offset, samples, frames, note = row
    if tuple(times) != _times(path) or (mapped and (mapped_size, mapped_modified) != stamp(mapped)):
        return None
    location = mapped or path, (mapped_size, mapped_modified), offset
    return Source(path, digest, sound, *location, samples, frames, note, channel)
