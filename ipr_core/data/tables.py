"""One strict reader for all tables: text with a separator, or Parquet, a block of rows at a time.

A row that cannot be taken as it is becomes a fault and is left out, and reading goes on behind it, so that one fault
hides no other.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from pyarrow import ArrowException

from ipr_core.data import parquet_table, text_table
from ipr_core.data.faults import CorpusError, Fault, shortened
from ipr_core.data.reading import Choose, Reading, every_column, joined

FORMS = "CSV (separated by a comma, a semicolon, a tab or a bar; UTF-8 or UTF-16) or Parquet"
_PARQUET = b"PAR1"
_FOREIGN = {
    b"PK\x03\x04": "a spreadsheet or a zip archive", b"\xd0\xcf\x11\xe0": "an old spreadsheet",
    b"\x1f\x8b": "compressed (gzip)", b"BZh": "compressed (bzip2)", b"\xfd7zXZ": "compressed (xz)",
    b"\x28\xb5\x2f\xfd": "compressed (zstd)", b"ARROW1": "an Arrow (Feather) file", b"ORC": "an ORC file",
    b"\x89HDF": "an HDF5 file", b"SQLite": "a database", b"\x80": "a pickle, which is never opened", b"%PDF": "a PDF",
    b"RIFF": "audio", b"fLaC": "audio", b"OggS": "audio", b"ID3": "audio", b"{": "JSON", b"[": "JSON",
    b"<": "a web page or XML", b"version https://git-lfs": "a git-lfs pointer: run `git lfs pull` first",
}  # fmt: skip
"""First bytes of files that are mistaken for tables."""


def blocks(
    file: Path, key: str, choose: Choose = every_column, size: int = 65_536, fallback: str | None = None
) -> Iterator[Reading]:
    """Yield a table's chosen columns and `row`, `size` rows at a time and at least one block.

    The memory it takes does not grow with the file.
    key: a column by which the right separator is known   choose: all columns by default
    fallback: the encoding of a text that is not UTF-8
    raises CorpusError if there is no table at all, or as `choose` does
    """
    try:
        yield from _blocks(file, key, choose, size, fallback)
    except CorpusError:
        raise
    except UnicodeError as error:
        reason = f"it is not {getattr(error, 'encoding', 'text').upper()} throughout"
        raise refusal(file, f"it cannot be read ({reason})", "save it again as UTF-8") from error
    except (ValueError, OSError, OverflowError, MemoryError, csv.Error, ArrowException) as error:
        reason = shortened(str(error).partition("\n")[0] or type(error).__name__)
        raise refusal(file, f"it cannot be read ({reason})", f"copy it again, or write it again as {FORMS}") from error


def read(file: Path, key: str, fallback: str | None = None) -> Reading:
    """Return a small table whole, with all its columns as text; see `blocks`."""
    return joined(blocks(file, key, fallback=fallback))


def refusal(file: Path, problem: str, cure: str, row: int | None = None) -> CorpusError:
    """Return the error for a file that is no table at all."""
    return CorpusError([Fault(str(file), row, problem, cure)])


def _blocks(file: Path, key: str, choose: Choose, size: int, fallback: str | None) -> Iterator[Reading]:
    if not file.is_file():
        raise refusal(file, "it is not a file", f"give a table: {FORMS}")
    with file.open("rb") as stream:
        head = stream.read(64)
    if not head:
        raise refusal(file, "it is empty (0 bytes)", f"give a table: {FORMS}")
    if head.startswith(_PARQUET):
        return parquet_table.blocks(file, choose, size)
    for mark, kind in _FOREIGN.items():
        if head.startswith(mark):
            raise refusal(file, f"it is {kind}", f"give {FORMS}")
    if file.suffix.lower() in (".parquet", ".pq"):
        raise refusal(file, "it cannot be read (it is no Parquet file)", f"give {FORMS}, with the suffix of its kind")
    return text_table.blocks(file, key, choose, size, fallback)
