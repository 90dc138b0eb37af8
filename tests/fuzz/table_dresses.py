"""Dresses of a manifest: ways to write the same table, and what is no table at all."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable
from typing import Any

import pandas as pd
from numpy.random import Generator
from pandas import DataFrame

from fuzz.manifests import Manifest, text_of


def plain_csv(table: DataFrame, draw: Generator) -> Manifest:
    """Write it as pandas, a spreadsheet or an editor would: commas and UTF-8."""
    options = {
        "quoted": {"quoting": csv.QUOTE_ALL}, "quoted texts": {"quoting": csv.QUOTE_NONNUMERIC}, "three digits": {},
        "plain": {},
    }  # fmt: skip
    name = str(draw.choice([*options]))
    text = text_of(table[list(draw.permutation(table.columns))], **options[name])
    end, mark = str(draw.choice(["\n", "\r\n"])), str(draw.choice(["", "\ufeff"]))
    blank = str(draw.choice(["", "\n", "\n\n\n"]))
    return Manifest(f"CSV, {name}", (mark + (text + blank).replace("\n", end)).encode(), harmless=True)


def more_columns(table: DataFrame, draw: Generator) -> Manifest:
    """Add columns that mean nothing here: pandas' own index, notes, many numbers."""
    choice = int(draw.integers(4))
    if choice == 0:
        return Manifest("an index without a name", table.to_csv().encode(), harmless=True)
    if choice == 1:
        table = table.assign(**{"note, long": 'x, "y"\n' * int(draw.integers(1, 20_000))})
        return Manifest("a long note", text_of(table).encode())
    if choice == 2:
        count = int(draw.integers(100, 20_000))
        wide = pd.concat([table, DataFrame(0, table.index, [f"f{i}" for i in range(count)])], axis=1)
        return Manifest("many columns", text_of(wide).encode())
    table = table.assign(gender="f", transcript=draw.choice(["", "ja", "naïve"], len(table)), arousal=0.25)
    return Manifest("other columns", text_of(table).encode(), harmless=True)


def separators(table: DataFrame, draw: Generator) -> Manifest:
    separator = str(draw.choice([";", "\t", "|", " ", ":"]))
    decimal = "," if separator == ";" and draw.random() < 0.5 else "."
    mark = str(draw.choice(["", "\ufeff", "sep=;\n"]))
    return Manifest(f"separated by {separator!r}", (mark + text_of(table, sep=separator, decimal=decimal)).encode())


def encodings(table: DataFrame, draw: Generator) -> Manifest:
    encoding = str(
        draw.choice(
            ["utf-16", "utf-16-le", "utf-16-be", "utf-32", "latin-1", "cp1252", "cp437", "utf-7", "ebcdic-cp-be"]
        )
    )
    table = table.assign(speaker="Jörg") if draw.random() < 0.5 else table
    separator = str(draw.choice([",", "\t"]))
    reader = (
        None if encoding not in ("latin-1", "cp1252") else lambda path: pd.read_csv(path, encoding=encoding, dtype=str)
    )
    return Manifest(encoding, text_of(table, sep=separator).encode(encoding, "replace"), reader=reader)


def line_ends(table: DataFrame, draw: Generator) -> Manifest:
    end = str(draw.choice(["\r", "\n\r", "\x0b", "\u2028", "\x00\n", ",\n", ";\n", " \n", "\r\r\n"]))
    return Manifest(f"lines end with {end!r}", text_of(table).replace("\n", end).encode())


def parquet(table: DataFrame, draw: Generator) -> Manifest:
    """Write it as Parquet with one of the types that a frame may have."""
    votes = [name for name in table if name.startswith("votes_")]
    kinds: dict[str, Callable[[], DataFrame]] = {
        "plain": lambda: table, "categories": lambda: table.astype({"label": "category", "speaker": "category",
        "path": "category"}),
        "nullable": lambda: table.convert_dtypes(), "floats of 32 bit": lambda: table.astype(dict.fromkeys(votes,
        "float32")),
        "texts": lambda: table.astype(str), "path as index": lambda: table.set_index("path"),
        "id as index": lambda: table.set_index("id"), "two indices": lambda: table.set_index(["id", "path"]),
        "a shuffled index": lambda: table.set_index(draw.permutation(len(table))),
        "gaps": lambda: table.replace({name: {0: None} for name in votes}),
    }  # fmt: skip
    name = str(draw.choice([*kinds]))
    frame = kinds[name]()
    suffix = str(draw.choice([".parquet", ".pq", ".PARQUET"]))
    return Manifest(f"Parquet, {name}", lambda path: frame.to_parquet(path), suffix, harmless=True)


def odd_parquet(table: DataFrame, draw: Generator) -> Manifest:
    """Write votes or names of a type that cannot be read as such."""
    column = str(draw.choice(["votes_angry", "votes_sad", "label", "path", "id", "speaker"]))
    cells: dict[str, Callable[[Any], Any]] = {
        "lists": lambda cell: [cell, cell], "records": lambda cell: {"value": cell},
        "bytes": lambda cell: str(cell).encode(),
        "times": lambda cell: pd.Timestamp("2026-01-03"), "truth": lambda cell: True, "empty": lambda cell: None,
        "durations": lambda cell: pd.Timedelta(seconds=3), "dates": lambda cell: pd.Timestamp("2026-01-03").date(),
    }  # fmt: skip
    name = str(draw.choice([*cells]))
    frame = table.assign(**{column: table[column].map(cells[name])})
    harmless = name in ("bytes", "empty") and column in ("id", "speaker")
    invisible = name == "empty" or (column, name) in (("speaker", "truth"), ("speaker", "times"), ("speaker", "dates"))
    return Manifest(
        f"Parquet, {name} in {column}", lambda path: frame.to_parquet(path), ".parquet", (column,),
        invisible=invisible or harmless,
        reader=lambda path: pd.read_parquet(path).assign(**({column: ""} if name == "empty" else {})),
    )  # fmt: skip


def broken_parquet(table: DataFrame, draw: Generator) -> Manifest:
    stream = io.BytesIO()
    table.to_parquet(stream)
    data, name = (
        bytearray(stream.getvalue()),
        str(draw.choice(["cut", "flipped", "a CSV", "zeros", "empty", "doubled"])),
    )
    if name == "flipped":
        for i in draw.integers(0, len(data), draw.integers(1, 30)):
            data[i] ^= 1 << int(draw.integers(8))
    content = {
        "cut": bytes(data[: int(draw.integers(4, len(data)))]), "flipped": bytes(data),
        "a CSV": text_of(table).encode(),
        "zeros": bytes(3000), "empty": b"", "doubled": bytes(data * 2),
    }[name]  # fmt: skip
    reader = lambda path: pd.read_parquet(path).astype(str)  # noqa: E731
    return Manifest(f"Parquet, {name}", content, ".parquet", invisible=name == "flipped", reader=reader)


def foreign(table: DataFrame, draw: Generator) -> Manifest:
    """Give something else the name of a manifest."""
    stream = io.BytesIO()
    table.to_parquet(stream)
    kinds = {
        "Parquet named .csv": stream.getvalue(), "a spreadsheet": b"PK\x03\x04" + draw.bytes(2000),
        "a web page": b"<html><table></table></html>",
        "JSON": table.to_json(orient="records").encode(), "JSON lines": table.to_json(orient="records",
        lines=True).encode(),
        "noise": draw.bytes(5000), "zeros": bytes(5000), "empty": b"", "blank": b"\n\n \n",
        "a pointer": b"version https://git-lfs.github.com/spec/v1\n",
        "a header alone": text_of(table.head(0)).encode(), "no header": text_of(table).partition("\n")[2].encode(),
    }  # fmt: skip
    name = str(draw.choice([*kinds]))
    return Manifest(name, kinds[name])


DRESSES = (
    plain_csv, more_columns, separators, encodings, line_ends, parquet, odd_parquet, broken_parquet, foreign,
)  # fmt: skip
"""Tried by turns, with the damages."""
