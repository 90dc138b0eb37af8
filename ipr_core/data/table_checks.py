"""A corpus refused by its table alone, before audio is decoded, and before what takes seconds to import (torch)."""

from __future__ import annotations

import logging

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.config import Config
from ipr_core.data import ambiguity, corpora, left_out
from ipr_core.data.corpora.table import vote_columns
from ipr_core.data.faults import CorpusError, Fault
from ipr_core.data.partition_faults import nothing_to_part, refuse_rare_classes

_log = logging.getLogger(__name__)


def check_table(config: Config) -> None:
    """Refuse a corpus whose table cannot be parted; one with faults waits for those of its audio.

    raises CorpusError, with every reason at once
    """
    if config.data.corpus not in corpora.GENERATED:
        checked_table(config, progress=False)


def checked_table(config: Config, progress: bool = True) -> tuple[DataFrame, list[Fault]]:
    """Return a corpus's table and its faults, once it is known that it can be parted if it has none.

    raises CorpusError if there is no table, or why it cannot be parted
    """
    table, faults = corpora.survey(config.data, progress=progress)
    if not faults:
        try:
            _check_partition(table, config)
        except CorpusError:
            log_left_out(table, None, config)
            raise
    return table, faults


def labelled(table: DataFrame, config: Config) -> NDArray[np.int64]:
    """Return the rows of utterances labelled with a class, and of tied ones where they are wanted.

    raises CorpusError if no utterance is labelled
    """
    usable = table["label"].isin(config.data.classes).to_numpy()
    if not usable.any():
        raise nothing_to_part(table, ambiguity.vote_totals(table, config.data.count_other), config)
    if config.partition.tied == "D2":
        usable = usable | ambiguity.tied(table, config)
    return np.flatnonzero(usable)


def simulates(config: Config, table: DataFrame) -> bool:
    """Tell whether simulated annotators vote.

    raises CorpusError if released votes are required and there are none
    """
    has_votes = bool((table[vote_columns(table)].sum().sum()) > 0)
    if config.data.annotators == "released" and not has_votes:
        cure = "set annotators to 'simulated' or 'auto'"
        raise CorpusError([Fault(config.data.corpus, None, "the corpus has no annotators' votes", cure)])
    return config.data.annotators == "simulated" or not has_votes


def log_left_out(table: DataFrame, parts: DataFrame | None, config: Config) -> None:
    """Log a warning of utterances that are in no part, by cause; see `left_out.sentence`."""
    if sentence := left_out.sentence(table, parts, config):
        _log.warning("%s", sentence)


def _check_partition(table: DataFrame, config: Config) -> None:
    table = table.iloc[labelled(table, config)].reset_index(drop=True)
    if simulates(config, table):
        refuse_rare_classes(table["label"].to_numpy(str), config.data)
        ambiguity.check_unvoted(table, config)
    else:
        ambiguity.check(table, config)
