"""Tables that are Parquet files: an index that pandas or audformat stored is a column like any other.

Of a table that Hugging Face `datasets` wrote, its sounds are put into the cache, and classes have their names.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.types as kinds
from pandas import DataFrame
from pyarrow.parquet import ParquetFile

from ipr_core.data import embedded_sounds
from ipr_core.data.faults import Fault, quoted, shortened
from ipr_core.data.reading import ROW, Choose, Reading, cleaned, refuse_width, without_odd_cells

_TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # of a duration, in a second


def blocks(file: Path, choose: Choose, size: int) -> Iterator[Reading]:
    """Yield the chosen columns, `size` rows at a time and at least one block.

    Rows are counted from 1. Durations become seconds, bytes become text.
    """
    with ParquetFile(file) as stored:
        schema = stored.schema_arrow
        refuse_width(schema.names, file.name, None)
        sound = next((field.name for field in schema if embedded_sounds.is_sound(field.type)), None)
        sounds = embedded_sounds.files(file, sound) if sound and "path" not in schema.names else None
        choice = choose(cleaned(["path" if sounds and name == sound else name for name in schema.names]), None)
        fields = {name: schema.field(i) for name, i in choice.columns.items() if not (sounds and name == "path")}
        unreadable = [field for field in fields.values() if not _target(field.type)]
        faults = [*choice.faults, *(_no_cells(field, file.name) for field in unreadable)]
        fields = {name: field for name, field in fields.items() if _target(field.type)}
        names = [field.name for field in fields.values()]
        batches = stored.iter_batches(size, columns=names) if stored.metadata.num_rows else [schema.empty_table()]
        notes, first = choice.notes, 1
        for batch in batches:
            columns = {name: _plain(batch[batch.schema.names.index(field.name)]) for name, field in fields.items()}
            rows = pa.array(range(first, first + batch.num_rows), pa.int64())
            table, not_utf8 = _utf8(pa.table(columns | {ROW: rows}), file.name)
            table, odd = without_odd_cells(table, file.name)
            frame = _with_names(table.to_pandas(integer_object_nulls=True), schema, fields)
            yield Reading(_with_sounds(frame, sounds, batch.num_rows, first), [*faults, *not_utf8, *odd], notes)
            faults, notes, first = [], (), first + batch.num_rows


def _with_names(table: DataFrame, schema: pa.Schema, fields: Mapping[str, pa.Field]) -> DataFrame:
    """Return a table with the names of classes in place of their numbers; -1, which has none, is no class."""
    names = embedded_sounds.class_names(schema)
    words_of = {name: dict(enumerate(names[field.name])) for name, field in fields.items() if field.name in names}
    return table.assign(**{name: table[name].map(words).fillna("").astype(str) for name, words in words_of.items()})


def _with_sounds(table: DataFrame, sounds: Iterator[tuple[str, str]] | None, count: int, first: int) -> DataFrame:
    """Return a table with the paths of its sounds, and their names as ids if it has none.

    sounds: of all rows   count: rows of the batch, of which the table may lack some   first: number of its first row
    """
    if sounds is None:
        return table
    pairs = dict(enumerate(islice(sounds, count), first))
    paths, names = ([pairs[row][i] for row in table[ROW]] for i in (0, 1))
    return table.assign(path=paths, **({} if "id" in table else {"id": names}))


def _target(kind: pa.DataType) -> pa.DataType | None:
    """Return the type that cells of a type are read as, None for lists and other things that are no cells."""
    if kinds.is_dictionary(kind):
        return _target(kind.value_type)
    if kinds.is_integer(kind) or kinds.is_float32(kind) or kinds.is_float64(kind):
        return kind
    if kinds.is_decimal(kind) or kinds.is_float16(kind) or kinds.is_duration(kind):
        return pa.float64()
    texts = (kinds.is_string, kinds.is_large_string, kinds.is_string_view, kinds.is_binary, kinds.is_large_binary)
    if any(test(kind) for test in (*texts, kinds.is_boolean, kinds.is_temporal, kinds.is_null)):
        return pa.string()
    return None


def _no_cells(field: pa.Field, source: str) -> Fault:
    problem = f"column {field.name!r} holds {shortened(str(field.type))} in each cell"
    return Fault(source, None, problem, "give one number or one text per cell")


def _plain(cells: pa.Array | pa.ChunkedArray) -> pa.Array | pa.ChunkedArray:
    """Return cells as their `_target`; bytes that are not UTF-8 stay in the text, for `_utf8` to find."""
    kind = cells.type
    if kinds.is_duration(kind):
        return pc.divide(cells.cast(pa.int64()).cast(pa.float64()), _TICKS[kind.unit])
    if kinds.is_dictionary(kind):
        return _plain(cells.cast(kind.value_type))
    return pc.cast(cells, options=pc.CastOptions(_target(kind), allow_invalid_utf8=True))


def _utf8(table: pa.Table, source: str) -> tuple[pa.Table, list[Fault]]:
    """Return the rows whose texts are UTF-8, and a fault for each other."""
    faults: list[Fault] = []
    for name in table.column_names:
        try:
            table[name].validate(full=True)
        except pa.ArrowInvalid:
            cells = table[name].cast(pa.binary()).to_pylist()
            for row, cell in zip(table[ROW].to_pylist(), cells, strict=True):
                if not _is_utf8(cell or b""):
                    problem = f"column {name!r} is not UTF-8: {quoted(cell.decode('utf-8', 'surrogateescape'))}"
                    faults.append(Fault(source, row, problem, "write it again as UTF-8", "text that is not UTF-8"))
    wrong = pa.array({fault.row for fault in faults}, pa.int64())
    return (table.filter(pc.invert(pc.is_in(table[ROW], wrong))) if faults else table), faults


def _is_utf8(text: bytes) -> bool:
    try:
        text.decode()
        return True
    except UnicodeDecodeError:
        return False
