"""TOML files that people write, grids and settings: read with a sentence on every fault of form, and written."""

from __future__ import annotations

import json
import math
import re
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipr_core.refusals import SettingsError, excerpt

_LARGEST = 1_000_000  # bytes
_DEEPEST = 6  # tables, lists of tables, lists of values in them, and one to spare
_NAME = r"""(?:[\w-]++|"(?:[^"\\\n]|\\.){0,200}+"|'[^'\n]{0,200}+')"""
_LONG_KEY = re.compile(rf"(?<![\w-]){_NAME}(?:[ \t]*+\.[ \t]*+{_NAME}){{20}}")
"""A key of more than 20 names, a.b.c: tomllib takes memory by the square of their number."""
_MARKS = {b"\xff\xfe": "UTF-16", b"\xfe\xff": "UTF-16"}
"""The first bytes of files that Windows writes."""
_OF_A_BATCH = ("about", "systems", "beside", "seeds", "notebooks", "cross", "one_at_a_time", "own", "tune", "tuned")
"""Keys that a grid has besides its preset and settings."""


def read(file: Path, title: str = "a grid") -> dict[str, Any]:
    """Read a TOML file.  title: what the file is, in words. raises ValueError with the sentence on what is wrong"""
    try:
        with open(file, "rb") as stream:
            data = stream.read(_LARGEST + 1)
    except OSError as error:
        raise ValueError(f"{file} cannot be read: {error.strerror}") from None
    if len(data) > _LARGEST:
        raise ValueError(f"{file} has more than {_LARGEST:,} bytes; {title} is a short TOML file")
    if mark := _MARKS.get(data[:2]):
        raise ValueError(f"{file} is written in {mark}; save it as UTF-8")
    try:
        text = data.decode("utf-8-sig")
        content = None if _LONG_KEY.search(text) else tomllib.loads(text)
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise ValueError(f"{file}, line {line}: it is not written in UTF-8; save it as UTF-8") from None
    except RecursionError:
        content = None
    except ValueError as error:  # TOML's, and numbers with thousands of digits
        raise ValueError(f"{file} is not TOML: {error}{_cure(str(error))}") from None
    if content is None or _depth(content) > _DEEPEST:
        raise ValueError(f"{file} is nested too deeply; {title} has tables, lists in them, and tables in these")
    return content


def settings(file: str | Path) -> tuple[str | None, dict[str, Any]]:
    """Return the preset, if there is one, and the settings of a file: of a grid too, whose other keys are a batch's.

    raises SettingsError
    """
    try:
        content = read(Path(file), "a settings file")
    except ValueError as error:  # also of a name that no file can have
        raise SettingsError([str(error)]) from None
    preset, values = content.get("preset"), content.get("settings", {})
    cure = "it has preset and the table [settings]"
    faults = [
        f"{file}: {name if name.isidentifier() else excerpt(name)} does not belong there; {cure}"
        for name in content if name not in ("preset", "settings", *_OF_A_BATCH)
    ]  # fmt: skip
    if not isinstance(values, dict):
        faults.append(f"{file}: settings is {excerpt(values)}; {cure}")
    if not isinstance(preset, str | None):
        faults.append(f"{file}: preset is {excerpt(preset)}; it must be a text in quotes")
    if faults:
        raise SettingsError(faults)
    return preset, values


def in_toml(value: Any) -> str:
    """Return a value in TOML; a list of tables has a line for each, and None is the text "none"."""
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{key} = {in_toml(part)}" for key, part in value.items()) + " }"
    if isinstance(value, list | tuple):
        tables = any(isinstance(part, dict) for part in value)
        return f"[{''.join(f'{chr(10)}  {in_toml(part)},' for part in value)}{chr(10)}]" if tables else _list(value)
    if isinstance(value, float) and not math.isfinite(value):
        return str(value)  # nan, inf
    return json.dumps("none" if value is None else value, ensure_ascii=False)  # texts, numbers and truth are alike


def _list(values: Sequence[Any]) -> str:
    return f"[{', '.join(map(in_toml, values))}]"


def _cure(message: str) -> str:
    if message.startswith(("Cannot overwrite", "Cannot declare", "Cannot mutate")):
        return "; a key or a table is given twice: give it once"
    return "; texts stand in quotes, lists in brackets, tables begin with [settings], [cross] or [one_at_a_time]"


def _depth(content: Any) -> int:
    """Return how deeply tables and lists are nested, without recursion; more than `_DEEPEST` is not looked at."""
    level, depth = [content], 0
    while level and depth <= _DEEPEST:
        level = [part for value in level if isinstance(value, dict | list)
                 for part in (value.values() if isinstance(value, dict) else value)]  # fmt: skip
        depth += 1
    return depth
