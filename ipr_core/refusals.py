"""How values of settings are read from texts, and the words in which they are refused."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from types import UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import ValidationError
from pydantic.fields import FieldInfo

from ipr_core.sections import Words
from ipr_core.sentence import SentenceError

_LONGEST = 200  # characters of a value in a sentence

_MOST_UNKNOWN = 20  # names for which the nearest setting is looked for

Fields = Mapping[str, tuple[str, FieldInfo]]
"""Every setting's name → its section and its field."""


class SettingsError(SentenceError, ValueError):
    """Settings that no run can have; `faults` has a sentence for each fault."""

    def __init__(self, faults: list[str]):
        self.faults = faults
        super().__init__("\n".join(faults))


def from_text(field: FieldInfo, value: Any) -> Any:
    """Read a comma-separated text where a setting takes several values, and "none" where it may be absent."""
    if isinstance(value, str) and value.lower() == "none" and type(None) in get_args(field.annotation):
        return None
    if isinstance(value, str) and get_origin(field.annotation) is tuple:
        return tuple(part.strip() for part in value.split(",") if part.strip())
    return value


def all_unknown(names: Iterable[str], fields: Fields) -> list[str]:
    """Return a sentence for each of the first names that are no settings, and the number of the rest."""
    strange = [name for name in names if name not in fields]
    rest = len(strange) - _MOST_UNKNOWN
    return [unknown(name, fields) for name in strange[:_MOST_UNKNOWN]] + (
        [f"{rest:,} more names are not settings"] if rest > 0 else []
    )


def unknown(name: str, fields: Fields) -> str:
    """Return the sentence for a name that is no setting, with the nearest one."""
    nearest = difflib.get_close_matches(name.lower(), fields, n=1)
    name = name if name.isidentifier() else excerpt(name)
    return f"{name} is not a setting" + (f"; did you mean {nearest[0]}?" if nearest else "")


def sentences(error: ValidationError, fields: Fields) -> list[str]:
    """Return a sentence for every fault that pydantic found."""
    return list(dict.fromkeys(_sentence(fault, fields) for fault in error.errors()))  # one for all kinds that it may be


def value_range(field: FieldInfo) -> str:
    """Return a field's values in words: "a number between 0 and 1", "one of 'hard', 'soft'"."""
    return _words(field.annotation, field.metadata)


def _sentence(fault: Mapping[str, Any], fields: Fields) -> str:
    name = next((part for part in reversed(fault["loc"]) if part in fields), None)
    message = fault["msg"].removeprefix("Value error,").strip()
    if name is None:  # a fault between fields: the validator's own sentence
        return message
    reason = f" ({message})" if fault["type"] == "value_error" and message else ""
    field = fields[name][1]
    return f"{name} is {excerpt(fault['input'])}{reason}; it must be {value_range(field)}. {field.description}"


def excerpt(value: Any) -> str:
    """Return a value as it was given, cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _words(annotation: Any, metadata: list[Any] | tuple[Any, ...] = ()) -> str:
    origin, inner = get_origin(annotation), get_args(annotation)
    if words := next((part for part in metadata if isinstance(part, Words)), None):
        return words
    if origin is Annotated:
        return _words(inner[0], [m for f in inner[1:] for m in (f.metadata if isinstance(f, FieldInfo) else [f])])
    if origin is Literal:
        return "one of " + ", ".join(map(repr, inner))
    if origin in (Union, UnionType):
        return " or ".join("none" if part is type(None) else _words(part) for part in inner)
    if origin is tuple:
        length = "a list of " if Ellipsis in inner else f"{len(inner)} values, each "
        return length + _words(inner[0])
    base = {int: "a whole number", float: "a number", bool: "true or false", str: "a text"}[annotation]
    return base + _bounds(metadata)


def _bounds(metadata: list[Any] | tuple[Any, ...]) -> str:
    limits = {key: getattr(m, key) for m in metadata for key in ("ge", "gt", "le", "lt") if hasattr(m, key)}
    if "ge" in limits and "le" in limits:
        return f" between {limits['ge']:,} and {limits['le']:,}"
    words = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
    return "".join(f"{',' if i else ''} {words[key]} {value:,}" for i, (key, value) in enumerate(limits.items()))
