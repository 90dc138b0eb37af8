"""Utterances of a corpus that are in no part of its partition: how many, and why."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Index, Series

from ipr_core.config import Config
from ipr_core.data.ambiguity import Mask, by_speaker, given_parts, may_be_parted
from ipr_core.data.corpora.table import emotion_columns, plurality
from ipr_core.data.faults import enumeration, number_of
from ipr_core.data.partition_faults import TOLERANCE

_OTHER_LABEL = "with a label that is not among the classes"


def sentence(table: DataFrame, parts: DataFrame | None, config: Config) -> str:
    """Return how many utterances are left out, with a line per cause; "" if there are none.

    table: the corpus's, with its own votes
    parts: its partition, see `ambiguity.partition`; None where it cannot be made
    """
    cause = causes(table, parts, config)
    counts = cause[cause != ""].value_counts()
    if counts.empty:
        return ""
    labels = table.loc[cause == _OTHER_LABEL, "label"].value_counts()
    details = {_OTHER_LABEL: f": {enumeration(f'{name} {count:,}' for name, count in labels.items())}"}
    lines = [f"{count:,} {cause_name}{details.get(str(cause_name), '')}" for cause_name, count in counts.items()]
    return "\n  ".join([f"{counts.sum():,} of {number_of(len(table), 'utterance')} left out:", *lines])


def causes(table: DataFrame, parts: DataFrame | None, config: Config) -> Series:
    """Return (N,) why an utterance is left out, "" if it is not; the arguments are those of `sentence`."""
    label, classes, least = table["label"], config.data.classes, config.partition.min_votes
    has_votes = table[emotion_columns(table)].to_numpy(float).sum(axis=1) > 0
    if parts is None:
        parted, rest = _can_be_parted(table, config), np.full(len(table), "", object)
    else:
        index = Index(parts["id"]).get_indexer(table["id"])  # -1: it is not there
        fixed = Series(given_parts(table), table["id"]).reindex(parts["id"]).to_numpy(str)
        parted, rest = index >= 0, np.append(_without_part(parts, fixed, config), "")[index]
    usable = may_be_parted(table, config)
    unlabelled = (label == "") & ~usable
    conditions = {
        "with tied votes: two or more emotions have the most": unlabelled & has_votes & (plurality(table) == ""),
        "marked as unlabelled, though the votes name an emotion": unlabelled & has_votes,
        "with neither a label nor a vote for an emotion": unlabelled,
        _OTHER_LABEL: ~label.isin(classes) & ~usable,
        f"with fewer than {least:g} votes (min_votes)" if least > 1 else "without a vote": ~parted,
    }
    return Series(_first_that_holds(conditions, rest), index=table.index)


def _first_that_holds(conditions: Mapping[str, Mask | Series], rest: NDArray[np.object_] | str) -> NDArray[np.object_]:
    """Return (N,) the name of the first condition (N,) that holds for an utterance, else `rest`."""
    names = [np.array(name, object) for name in conditions]  # objects: long texts of a million take a gigabyte
    return np.select([np.asarray(condition, bool) for condition in conditions.values()], names, rest)


def _can_be_parted(table: DataFrame, config: Config) -> Mask:
    """Return (N,) whether an utterance has the votes for a part: simulated annotators give each its votes."""
    usable = may_be_parted(table, config)
    simulated = config.data.annotators == "simulated" or not usable.any()
    return np.full(len(table), True) if simulated else usable


def _without_part(parts: DataFrame, fixed: NDArray[np.str_], config: Config) -> NDArray[np.object_]:
    """Return (N,) why an utterance with a share of votes is in no part, "" if it is in one.

    fixed: (N,) the parts that the corpus gives
    """
    rules, share = config.partition, parts["share"].to_numpy()
    unused, (test, _) = (parts["part"] == "").to_numpy(), by_speaker(parts.assign(part=fixed), config)
    ambiguous, size = rules.ambiguous_share, rules.test_size
    agreed = rules.precise_share if size else ambiguous  # the share from which on a test speaker's is not in D3
    high, low = share >= agreed - TOLERANCE, (share < ambiguous - TOLERANCE) & (size is None)
    conditions = {
        "": ~unused,
        "with tied votes, of a test speaker or with the sound of one in D3": (parts["label"] == "").to_numpy(),
        "of test speakers, and given D1": test & (fixed == "D1"),
        "of test speakers, and not in the D3 that is given": test & (fixed == "D3").any(),
        f"of test speakers, agreed on too much for D3: a share of votes of {agreed:.3g} or more": test & high,
        f"of test speakers, beyond a test_size of {size}": test,
        f"of training speakers, agreed on too little for D2: a share of votes below {ambiguous:.3g}": low,
    }
    return _first_that_holds(conditions, "of training speakers, with the sound of one in D3")
