"""Corpora: a reader each, and one utterance table for all of them."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora import cremad, emodb, iemocap, manifest, ravdess
from ipr_core.data.corpora.table import CorpusError, Fault, check, tidy


def _synthetic(data: Data, progress: bool = True) -> DataFrame:
    from ipr_core.data.corpora import synthetic  # the generator's imports only for those who generate

    return synthetic.read(data, progress)


READERS: dict[str, Callable[..., DataFrame]] = {
    "synthetic": _synthetic,
    "iemocap": iemocap.read,
    "cremad": cremad.read,
    "emodb": emodb.read,
    "ravdess": ravdess.read,
    "manifest": manifest.read,
}
"""Every corpus by name; a reader's table may still hold faults, which `survey` finds."""
MADE = ("synthetic",)
"""Corpora whose reader makes them, which takes a while: it has a second argument `progress`."""


def survey(data: Data, labels_needed: bool = True, progress: bool = True) -> tuple[DataFrame, list[Fault]]:
    """A corpus's table and everything wrong with it, for those who look for more faults before they give up.

    labels_needed: whether an utterance with neither votes nor a label is a fault
    progress: whether a corpus that is made meanwhile shows a bar
    raises CorpusError if there is no table at all: a wrong folder, an unreadable file
    """
    raw = _raw(data, progress)
    return tidy(raw, data), check(raw, data, labels_needed)


def surveys(
    data: Data, size: int, labels_needed: bool = True, progress: bool = True
) -> Iterator[tuple[DataFrame, list[Fault]]]:
    """What `survey` returns, of `size` utterances at a time; a manifest is read no further ahead than that.

    Faults between utterances of two blocks, the same id, are not among them; others may be there in several blocks.
    """
    for raw in manifest.blocks(data, size) if data.corpus == "manifest" else _blocks(_raw(data, progress), size):
        yield tidy(raw, data), check(raw, data, labels_needed)


def _raw(data: Data, progress: bool) -> DataFrame:
    further = {"progress": progress} if data.corpus in MADE else {}
    return READERS[data.corpus](data, **further)


def _blocks(table: DataFrame, size: int) -> Iterator[DataFrame]:
    return (table[begin : begin + size] for begin in range(0, max(1, len(table)), size))


def read(data: Data, labels_needed: bool = True) -> DataFrame:
    """A corpus's utterance table (see `corpora.table`), checked whole.

    labels_needed: false for a corpus that is to be labelled
    raises CorpusError with every fault at once
    """
    table, faults = survey(data, labels_needed)
    if faults:
        raise CorpusError(faults)
    return table


def describe() -> list[tuple[str, str, str]]:
    """Name, one line and expected layout of every corpus."""
    modules = {"iemocap": iemocap, "cremad": cremad, "emodb": emodb, "ravdess": ravdess, "manifest": manifest}
    made = ("synthetic", "A small source-filter voice whose emotions are a known mixture.", "nothing: it is generated")
    return [made, *((name, module.__doc__.splitlines()[0], module.LAYOUT) for name, module in modules.items())]
