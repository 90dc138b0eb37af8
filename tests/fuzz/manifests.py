"""A written manifest, and what pandas reads of it."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from numpy.random import Generator
from pandas import DataFrame

Write = Callable[[Path], object]


@dataclass(frozen=True)
class Manifest:
    """A written table; the properties are those of `trials.Damage`."""

    name: str
    content: bytes | Write
    suffix: str = ".csv"
    tokens: tuple[str, ...] = ()
    harmless: bool = False
    invisible: bool = False
    twins: tuple[str, ...] = ()
    """Ids of utterances with the same sound."""
    reader: Callable[[Path], DataFrame] | None = None
    """The way in which pandas reads it; by default as a CSV of texts."""

    def write(self, path: Path) -> None:
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)

    def plain(self, path: Path) -> DataFrame | None:
        """Return the table that pandas reads; None where it is no table, or its rows are not equally long."""
        try:
            return (self.reader or read_csv)(path)
        except Exception:
            return None


def pick(draw: Generator, texts: Sequence[str]) -> str:
    """Return one of some texts as it is; `Generator.choice` would cut zero bytes off its end."""
    return texts[int(draw.integers(len(texts)))]


def text_of(table: DataFrame, **options: Any) -> str:
    return table.to_csv(index=False, lineterminator="\n", **options)


def rows_of(table: DataFrame) -> list[list[str]]:
    """Return header and rows as lists of texts."""
    return list(csv.reader(io.StringIO(text_of(table))))


def encode(rows: list[list[str]]) -> bytes:
    """Write rows of any length as CSV."""
    stream = io.StringIO()
    csv.writer(stream, lineterminator="\n").writerows(rows)
    return stream.getvalue().encode()


def read_csv(path: Path) -> DataFrame | None:
    with path.open(encoding="utf-8", newline="") as stream:
        lengths = {len(row) for row in csv.reader(stream, strict=True) if row}
    return pd.read_csv(path, dtype=str, keep_default_na=False) if len(lengths) == 1 else None
