"""Faults of a corpus (where, what is wrong, the cure), and notes, which are no faults."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

from ipr_core.sentence import SentenceError

FEW = 5
"""So many faults of the same cause have a line each; more have one line together."""
_LONGEST = 160  # characters of a cell that a message quotes
_NO_UTF8 = re.compile(r"\\udc([89a-f][0-9a-f])")  # as `repr` writes a surrogate


class Fault(NamedTuple):
    """One fault of a corpus, and its cure."""

    source: str
    """The file, folder, corpus or setting that is at fault."""
    row: int | None
    problem: str
    cure: str
    cause: str = ""
    """What many rows may have in common, as a noun: "a git-lfs pointer instead of audio"."""

    def __str__(self) -> str:
        source = self.source if self.row is None else f"{self.source}, row {self.row}"
        return f"{source}: {self.problem}; {self.cure}"


class Note(NamedTuple):
    """A sentence about what was read, left out or passed over."""

    level: int
    """Of the standard library's logging."""
    text: str


class CorpusError(SentenceError, ValueError):
    """A corpus that cannot be used; the message has every fault, see `sentences`."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(faults)
        super().__init__("\n".join(sentences(self.faults)))


def sentences(faults: Iterable[Fault]) -> list[str]:
    """Return a line per fault, and a single one for more than a few of the same cause and cure."""
    faults = list(faults)
    sizes = Counter((fault.cause, fault.cure) for fault in faults if fault.cause)
    lines = []
    for fault in faults:
        size = sizes.get((fault.cause, fault.cure), 1)
        if 0 < size <= FEW:
            lines.append(str(fault))
        elif size:
            lines.append(f"{size:,} times {fault.cause}; the first: {fault}")
            sizes[fault.cause, fault.cure] = 0
    return lines


def shortened(text: str) -> str:
    """Return a text for a message, with its middle left out if it is long."""
    half = _LONGEST // 2
    return text if len(text) <= _LONGEST else f"{text[:half]} … {text[-half:]} ({len(text):,} characters)"


def quoted(text: str) -> str:
    """Return a text in quotes for a message; a byte that is not UTF-8, a surrogate in `text`, is \\xfc, for example."""
    return _NO_UTF8.sub(r"\\x\1", repr(shortened(text)))


def number_of(count: int, noun: str) -> str:
    """Return a number and a noun, in the plural but for 1."""
    return f"{count:,} {noun}{'' if count == 1 else 's'}"


def enumeration(names: Iterable[str], limit: int = FEW) -> str:
    """Return the first names in a row, and how many more there are."""
    names = list(names)
    rest = f" and {len(names) - limit:,} more" if len(names) > limit else ""
    return ", ".join(map(shortened, names[:limit])) + rest
