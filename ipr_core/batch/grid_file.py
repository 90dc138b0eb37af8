"""The file of a grid: read, and checked for its form. `grid` makes cells of its entries.

A grid's keys are `KEYS`. What the file has beyond them, or in another form, is a fault with its cure.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ipr_core import toml_file
from ipr_core.atomic import write_text
from ipr_core.config import FIELDS, SYSTEMS, SettingsError
from ipr_core.refusals import excerpt

SHIPPED = Path(__file__).parent / "grids"
KEYS: dict[str, type] = {
    "about": str, "preset": str, "systems": list, "beside": list, "seeds": list, "notebooks": list, "settings": dict,
    "cross": dict, "one_at_a_time": dict, "own": dict, "tune": dict, "tuned": dict,
}  # fmt: skip
"""A grid's keys, and what each has."""
RESERVED = {"system": "systems", "seed": "seeds", "preset": "preset"}
"""Settings that a grid has a key for."""
_WORDS: dict[type, str] = {
    str: "a text in quotes", list: "a list in brackets, [0, 1] for example", dict: "a table, [settings] for example",
}  # fmt: skip


def shipped() -> dict[str, str]:
    """Return the grids that come with the workbench, each with its purpose."""
    return {file.stem: tomllib.loads(file.read_text("utf-8"))["about"] for file in sorted(SHIPPED.glob("*.toml"))}


def read(source: str | Path | None) -> tuple[dict[str, Any], list[str]]:
    """Read a grid's entries as far as they have their form, and list what has not.

    source: a file, or the name of a shipped grid; None for no entries
    raises SettingsError for a file that cannot be read at all: nothing is known of its cells then
    """
    if source is None:
        return {}, []
    try:
        file, content = _parse(source)
    except ValueError as error:
        raise SettingsError([str(error)]) from None
    faults = [f"{file}: {fault}" for fault in _form_faults(content)]
    return {key: value for key, value in content.items() if isinstance(value, KEYS.get(key, ()))}, faults


def contradictions(entries: Mapping[str, Any]) -> list[str]:
    """List what is given in two ways, or without a value, and settings that a grid has a key for."""
    settings, cross, single = (entries.get(table, {}) for table in ("settings", "cross", "one_at_a_time"))
    varied = [(name, part) for name, values in single.items() if isinstance(values, list) for part in values]
    faults = [
        f"{name} has one value in settings and several in cross; give it once" for name in settings if name in cross
    ]
    faults += [f"{name} is both in cross and in one_at_a_time; give it once" for name in single if name in cross]
    faults += list(_own_faults(entries.get("own", {}), cross))
    faults += [
        f"{name} is both in cross and in one_at_a_time.{table}; give it once"
        for table, part in varied if isinstance(part, dict)
        for name in part if name in cross
    ]  # fmt: skip
    for name, key in RESERVED.items():
        tables = [table for table in ("settings", "cross", "one_at_a_time") if name in entries.get(table, {})]
        if name == "preset":  # which may be varied
            tables = [table for table in tables if table != "one_at_a_time"]
        faults += [f"{name} is in {table}; a grid has {key} for it" for table in tables]
    return faults + list(_empty(entries))


def _own_faults(tables: Mapping[str, Any], cross: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is wrong with the tables of single systems."""
    for system, settings in tables.items():
        if system not in SYSTEMS:
            yield f"own.{system} is of no system; it must be one of {', '.join(SYSTEMS)}"
        elif not isinstance(settings, dict):
            yield f"own.{system} is {excerpt(settings)}; it must be a table of settings"
        else:
            for name in settings:
                if name in RESERVED:
                    yield f"{name} is in own.{system}; a grid has {RESERVED[name]} for it"
                elif name in cross:
                    yield f"{name} is both in cross and in own.{system}; give it once"


def _empty(entries: Mapping[str, Any]) -> Iterator[str]:
    for key in ("systems", "seeds"):
        if entries.get(key) == []:
            yield f"the grid has no cell: {key} is empty; give one at least, or leave {key} out"
    for table in ("cross", "one_at_a_time"):
        for name, values in entries.get(table, {}).items():
            if values == [] or (isinstance(values, list) and {} in values):
                yield f"{table}.{name} has no value; give one at least, or leave {name} out"


def write(file: Path, entries: Mapping[str, Any]) -> None:
    """Write a grid's entries as `read` reads them. raises WriteError"""
    values = [f"{key} = {toml_file.in_toml(value)}" for key, value in entries.items() if not isinstance(value, dict)]
    tables = [line for key, value in entries.items() if isinstance(value, dict) for line in _toml_table(key, value)]
    write_text(file, "\n".join([*values, *tables]) + "\n")


def _toml_table(name: str, table: Mapping[str, Any]) -> Iterator[str]:
    values = {key: value for key, value in table.items() if not isinstance(value, dict)}
    if values:
        yield from ["", f"[{name}]", *(f"{key} = {toml_file.in_toml(value)}" for key, value in values.items())]
    for key, value in table.items():
        if isinstance(value, dict):
            yield from _toml_table(f"{name}.{key}", value)


def _parse(source: str | Path) -> tuple[Path, dict[str, Any]]:
    """Return a grid's file and its content. raises ValueError with the sentence on a file that cannot be read"""
    file = next((path for path in (Path(source), SHIPPED / f"{source}.toml") if _is_file(path)), None)
    if file is None:
        raise ValueError(f"{source} is no grid; it must be a TOML file, or one of {', '.join(shipped())}")
    return file, toml_file.read(file)


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _form_faults(content: Mapping[str, Any]) -> Iterator[str]:
    """Yield the keys that a grid does not have, and the values of a wrong kind."""
    for key, value in content.items():
        if key not in KEYS:
            yield _key_fault(key)
        elif not isinstance(value, KEYS[key]):
            yield f"{key} is {excerpt(value)}; it must be {_WORDS[KEYS[key]]}"
    for table in ("cross", "one_at_a_time"):
        if isinstance(varied := content.get(table), dict):
            for name, value in varied.items():
                if not isinstance(value, list):
                    yield f"{table}.{name} is {excerpt(value)}; it must be {_WORDS[list]}"


def _key_fault(key: str) -> str:
    if key in FIELDS and key not in RESERVED:
        return f"{key} is a setting; it belongs into the table [settings]"
    name = key if key.isidentifier() else excerpt(key)
    matches = difflib.get_close_matches(key.lower(), KEYS, n=1)
    cure = f"did you mean {matches[0]}?" if matches else f"it has {', '.join(KEYS)}; settings lie in [settings]"
    return f"{name} is not a key of a grid; {cure}"
