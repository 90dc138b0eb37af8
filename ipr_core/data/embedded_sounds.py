"""Sounds inside a Parquet file, as Hugging Face `datasets` writes them: put into the cache, a file each."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.types as kinds
from pyarrow.parquet import ParquetFile

from ipr_core.atomic import write
from ipr_core.data.cache import clear_once, default_cache, writable

_ROWS = 16  # sounds in memory at a time


def is_sound(kind: pa.DataType) -> bool:
    """Tell whether a column's cells are sounds: bytes and the path that they had."""
    return kinds.is_struct(kind) and {kind.field(i).name for i in range(kind.num_fields)} == {"bytes", "path"}


def files(parquet: Path, column: str) -> Iterator[tuple[str, str]]:
    """Yield the path of each row's sound in the cache, and a name of it: the path that it had, or its row.

    A row without bytes has the path that it names, from the table's folder on.
    raises CorpusError if the cache cannot be written
    """
    folder, row = default_cache() / "embedded", 0
    with ParquetFile(parquet) as stored, writable(folder):
        for batch in stored.iter_batches(_ROWS, columns=[column]):
            for cell in batch.column(0).to_pylist():
                row += 1
                sound, path = (cell or {}).get("bytes"), (cell or {}).get("path") or ""
                yield (_stored(sound, path, folder) if sound else path), path or f"{parquet.stem}-{row}"


def class_names(schema: pa.Schema) -> Mapping[str, list[str]]:
    """Return the names of the columns that hold classes by number, from what `datasets` keeps in the file."""
    try:
        features = json.loads((schema.metadata or {})[b"huggingface"])["info"]["features"]
        columns = {name: feature for name, feature in features.items() if feature.get("_type") == "ClassLabel"}
        return {name: [str(word) for word in feature["names"]] for name, feature in columns.items()}
    except (KeyError, ValueError, TypeError, AttributeError):
        return {}


def _stored(sound: bytes, path: str, folder: Path) -> str:
    """Keep a sound in the cache by its content. returns: its path there"""
    digest = hashlib.blake2b(sound, digest_size=16).hexdigest()
    kind = os.path.splitext(path)[1].lower()
    file = folder / digest[:2] / f"{digest}{kind if kind.isascii() and len(kind) < 8 else ''}"
    clear_once(file.parent)
    if not (file.is_file() and file.read_bytes() == sound):
        write(file, partial(_save, sound))
    return str(file)


def _save(sound: bytes, copy: str) -> None:
    Path(copy).write_bytes(sound)
