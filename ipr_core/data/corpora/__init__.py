"""Corpora: a reader each, and one utterance table for all of them.

A corpus named in `names.Corpus` is read by the file of that name here, which is imported when it is needed. Such a
file offers `read(data, progress)`, which returns the table of `table.py`, LAYOUT, the files it expects in words, and
a docstring whose first line describes the corpus. A reader of very long tables may offer `blocks(data, size)` too.
"""

from __future__ import annotations

from collections.abc import Iterator
from importlib import import_module
from typing import Protocol, cast

from pandas import DataFrame

from ipr_core.config import CORPORA, Data
from ipr_core.data.corpora.table import CorpusError, Fault, check, tidy


class Reader(Protocol):
    """A module of this folder that reads a corpus."""

    __doc__: str
    """Its first line describes the corpus."""
    LAYOUT: str
    """The files that the corpus consists of, in words."""

    def read(self, data: Data, progress: bool = True) -> DataFrame:
        """Return the utterances, whose table may still hold faults; raises CorpusError if there is no table."""


def reader(name: str) -> Reader:
    """Import the reader of a corpus."""
    return cast(Reader, import_module(f"{__name__}.{name}"))


def survey(data: Data, labels_needed: bool = True, progress: bool = True) -> tuple[DataFrame, list[Fault]]:
    """Read a corpus and find all its faults, without raising for them.

    labels_needed: whether an utterance with neither votes nor a label is a fault
    progress: whether a corpus that has to be generated first shows a bar
    returns: the table, and everything wrong with it
    raises CorpusError if there is no table at all: a wrong folder, an unreadable file
    """
    raw = reader(data.corpus).read(data, progress)
    return tidy(raw, data), check(raw, data, labels_needed)


def surveys(
    data: Data, size: int, labels_needed: bool = True, progress: bool = True
) -> Iterator[tuple[DataFrame, list[Fault]]]:
    """Yield `survey` of `size` utterances at a time.

    A manifest is read no further ahead than that. Two utterances of different blocks with the same id are not found.
    Other faults may be found in several blocks.
    """
    for raw in _blocks(data, size, progress):
        yield tidy(raw, data), check(raw, data, labels_needed)


def _blocks(data: Data, size: int, progress: bool) -> Iterator[DataFrame]:
    module = reader(data.corpus)
    if hasattr(module, "blocks"):
        return module.blocks(data, size)
    table = module.read(data, progress)
    return (table[begin : begin + size] for begin in range(0, max(1, len(table)), size))


def read(data: Data, labels_needed: bool = True) -> DataFrame:
    """Return a corpus's utterance table (see `corpora.table`), checked whole.

    labels_needed: false for a corpus that is to be labelled
    raises CorpusError with every fault at once
    """
    table, faults = survey(data, labels_needed)
    if faults:
        raise CorpusError(faults)
    return table


def describe() -> list[tuple[str, str, str]]:
    """Return name, description and expected layout of every corpus."""
    modules = [(name, reader(name)) for name in CORPORA]
    return [(name, module.__doc__.splitlines()[0], module.LAYOUT) for name, module in modules]
