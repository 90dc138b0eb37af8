"""Corpora: a reader each, and one utterance table for all of them.

A corpus named in `names.Corpus` is read by the file of that name: a description in `readers`, a few lines of TOML, or
a module here, which is imported when it is needed. Such a module offers `read(data, progress)`, which returns the table
of `table.py`, LAYOUT, the files it expects in words, LICENCE and HOME, where to get it, and a docstring whose first
line describes the corpus. A reader of very long tables may offer `blocks(data, size)` too. A TOML file of a user's own
describes a corpus likewise.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from importlib import import_module
from typing import NamedTuple, Protocol, cast

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.config import CORPORA, Data
from ipr_core.data import raters
from ipr_core.data.corpora import description
from ipr_core.data.corpora.described import DescribedCorpus
from ipr_core.data.corpora.table import check, tidy
from ipr_core.data.faults import CorpusError, Fault, number_of
from ipr_core.data.reading import Reading

GENERATED = frozenset(("synthetic",))
"""Corpora whose sounds are made when they are read; their tables have no faults."""

_log = logging.getLogger(__name__)


class Reader(Protocol):
    """A module of this folder that reads a corpus, or one that is described."""

    __doc__: str
    """Its first line describes the corpus."""
    LAYOUT: str
    """The files that the corpus consists of, in words."""
    LICENCE: str
    """The licence, as the corpus's authors say it; "" if there is nothing to say."""
    HOME: str
    """Where to get the corpus."""

    def read(self, data: Data, progress: bool = True) -> Reading:
        """Return the utterances, whose table may still hold faults; raises CorpusError if there is no table."""


class About(NamedTuple):
    """A corpus that can be read."""

    name: str
    about: str
    layout: str
    licence: str
    home: str


def reader(name: str) -> Reader:
    """Return the reader of a corpus: by its description, or imported.

    name: a corpus's, or the path of a description
    raises CorpusError for a description that cannot be read
    """
    if file := description.file_of(name):
        return DescribedCorpus(name, description.read(file))
    return cast(Reader, import_module(f"{__name__}.{name}"))


def definition(name: str) -> str | None:
    """Return the text of a corpus's description, None if a module reads it or the file is gone."""
    file = description.file_of(name)
    return file.read_text("utf-8-sig") if file and file.is_file() else None


def survey(data: Data, labels_needed: bool = True, progress: bool = True) -> tuple[DataFrame, list[Fault]]:
    """Read a corpus and find all its faults, without raising for them.

    What was read and what was left out is logged.
    labels_needed: whether an utterance with neither votes nor a label is a fault
    progress: whether a corpus that has to be generated first shows a bar
    returns: the table, and everything wrong with it
    raises CorpusError if there is no table at all: a wrong folder, an unreadable file
    """
    table, faults = surveyed(reader(data.corpus).read(data, progress), data, labels_needed)
    _log_count(data, len(table), table["path"].nunique())
    return table, faults


def surveys(
    data: Data, size: int, labels_needed: bool = True, progress: bool = True, notes: bool = True
) -> Iterator[tuple[DataFrame, list[Fault]]]:
    """Yield `survey` of `size` utterances at a time.

    A manifest is read no further ahead than that. Two utterances of different blocks with the same id are not found.
    Other faults may be found in several blocks.
    notes: whether it is logged what was read and left out
    """
    rows, files = 0, np.empty(0, np.uint64)  # a hash per file
    for reading in _blocks(data, size, progress):
        table, faults = surveyed(reading, data, labels_needed, notes)
        if notes:
            rows += len(table)
            files = np.union1d(files, pd.util.hash_array(table["path"].unique().to_numpy(object)))
        yield table, faults
    if notes:
        _log_count(data, rows, len(files))


def _log_count(data: Data, rows: int, files: int) -> None:
    source = data.corpus_path or data.corpus
    _log.info("%s: %s in %s", source, number_of(rows, "utterance"), number_of(files, "audio file"))


def surveyed(
    reading: Reading, data: Data, labels_needed: bool = True, notes: bool = True
) -> tuple[DataFrame, list[Fault]]:
    """Return the final table of what a reader returned, and everything wrong with it.  notes: whether to log them"""
    for note in reading.notes if notes else ():
        _log.log(note.level, "%s", note.text)
    table, faults = reading.table, list(reading.faults)
    if reading.votes is not None:
        table = raters.with_votes(table, reading.votes, data)
        labels_needed = labels_needed and not faults  # an utterance's votes may be among the faulty ones
    elif data.vote_weights == "agreement" and labels_needed:
        faults.append(raters.nameless(data))
    if not (table.empty and faults):  # else all its rows are at fault
        faults += check(table, data, labels_needed)
    return tidy(table, data), sorted(faults, key=lambda fault: (fault.source, fault.row or 0))


def _blocks(data: Data, size: int, progress: bool) -> Iterator[Reading]:
    module = reader(data.corpus)
    if hasattr(module, "blocks"):
        return module.blocks(data, size)
    reading = module.read(data, progress)
    table, votes = reading.table, reading.votes
    first = reading._replace(table=table[:size])
    return (
        Reading(table[begin : begin + size], votes=votes) if begin else first
        for begin in range(0, max(1, len(table)), size)
    )


def read(data: Data, labels_needed: bool = True) -> DataFrame:
    """Return a corpus's utterance table (see `corpora.table`), checked whole.

    labels_needed: false for a corpus that is to be labelled
    raises CorpusError with every fault at once
    """
    table, faults = survey(data, labels_needed)
    if faults:
        raise CorpusError(faults)
    return table


def votes(data: Data) -> DataFrame | None:
    """Return a corpus's votes by annotator, a row each, None if it is not known who voted.

    returns: id, annotator, label and weight, see `raters.tidy`
    raises CorpusError if there is no table
    """
    table = reader(data.corpus).read(data, progress=False).votes
    return None if table is None else raters.tidy(table, data)


def describe() -> list[About]:
    """Return name, description, layout, licence and home of every corpus."""
    modules = [(name, reader(name)) for name in CORPORA]
    return [
        About(
            name,
            module.__doc__.splitlines()[0],
            module.LAYOUT,
            getattr(module, "LICENCE", ""),
            getattr(module, "HOME", ""),
        )
        for name, module in modules
    ]
