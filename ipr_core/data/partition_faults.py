"""Why a corpus cannot be parted, or nothing be learnt from its parts: each reason, and a value to try instead.

N utterances; `may_test` and `may_train` are (N,), whether an utterance may be in D3, and whether in D1 or D2.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core.config import Config, Data
from ipr_core.data.faults import CorpusError, Fault

TOLERANCE = 1e-9  # 2 of 3 votes are two thirds, and 0.7 + 0.2 + 0.1 are one, whatever the floats say
FEWEST = 5
"""Utterances of each class that simulated annotators need to learn from."""

Mask = NDArray[np.bool_]
_TOO_AGREED = "the annotators agree too well: add utterances that they differ on, or set annotators to 'simulated'"


def refusal(table: DataFrame, problem: str, cure: str) -> CorpusError:
    """Return the error for a table that cannot be parted."""
    return CorpusError([Fault(f"partition of {len(table):,} utterances", None, problem, cure)])


def nothing_to_part(table: DataFrame, votes: NDArray[np.float64], config: Config) -> CorpusError:
    """Return the error for a corpus without an utterance of a class that has enough votes.

    votes: (N,) of each utterance
    """
    classes, least = config.data.classes, config.partition.min_votes
    problem = f"no utterance is labelled {', '.join(classes)} and has {least:g} votes"
    highest = Series(votes, table.index)[table["label"].isin(classes)].groupby(table["label"]).max()
    if len(highest) and highest.min() >= 1:
        return refusal(table, problem, f"try --min-votes {math.floor(highest.min())}: each class has as many")
    labels = ", ".join(sorted(set(table["label"]) - {""})) or "all empty"
    return refusal(table, problem, f"the labels are {labels}; where nobody voted, set annotators to 'simulated'")


def refuse_rare_classes(labels: NDArray[np.str_], data: Data) -> None:
    """Raise CorpusError if simulated annotators cannot learn a class from these labels (N,): fewer than FEWEST."""
    counts = {name: int((labels == name).sum()) for name in data.classes}
    rare = [f"{name} ({count})" for name, count in counts.items() if count < FEWEST]
    if rare:
        problem = f"simulated annotators need {FEWEST} utterances of a class; there are fewer of {', '.join(rare)}"
        raise CorpusError([Fault(data.corpus, None, problem, "add some, or leave the class out")])


def too_large_test(table: DataFrame, may_test: Mask, config: Config) -> CorpusError:
    """Return the error for a test_size above the number of utterances outside D1 that may be tested."""
    rules, pool = config.partition, _pool(table, may_test, config)
    largest = _largest_test(pool, config)
    problem = f"test_size is {rules.test_size}, and {pool} utterances may be in D3"
    cures = [f"--test-size {largest}, the largest"] if largest else []
    if rules.precise_share < 1:
        cures.append("a higher precise_share, so that fewer are in D1")
    if rules.speaker_disjoint:
        cures.append("more test_speakers")
    return refusal(table, problem, f"try {' or '.join(cures)}" if cures else _TOO_AGREED)


def refuse_given_test(table: DataFrame, wrong: Mask) -> None:
    """Raise CorpusError for utterances that are given D3 and are not a test speaker's.  wrong: (N,) which these are"""
    if wrong.any():
        names = sorted(set(table.loc[wrong, "speaker"]))
        problem = f"{wrong.sum():,} utterances are given D3 and are of {', '.join(names)}, no test speaker"
        raise refusal(
            table, problem, "name them in --test-speakers, or none, so that those of D3 are; or leave part empty"
        )


def useless(table: DataFrame, may_test: Mask, may_train: Mask, config: Config) -> list[Fault]:
    """Return why nothing can be learnt from a partition: D1 lacks a class, or D2 or D3 is empty.

    table: with label, share and part
    """
    part, rules = table["part"], config.partition
    faults: list[Fault] = []
    if lacking := sorted(set(config.data.classes) - set(table.loc[part == "D1", "label"])):
        owner = " of a training speaker" if rules.speaker_disjoint else ""
        problem = f"D1 has no utterance of {', '.join(lacking)}: none{owner} has a share of votes of"
        cure = _cure_of_d1(table[may_train], lacking, config)
        faults += refusal(table, f"{problem} {rules.precise_share:.3g}", cure).faults
    if not (part == "D2").any():
        faults += refusal(table, "D2 is empty", _cure_of_division(table, may_test, may_train, config)).faults
    if not (part == "D3").any():
        lowest = f"the lowest is {table.loc[may_test, 'share'].min():.3g}"
        problem = f"D3 is empty: no share of votes is below {rules.ambiguous_share:.3g}, {lowest}"
        faults += refusal(table, problem, _cure_of_division(table, may_test, may_train, config)).faults
    return faults


def _cure_of_d1(training: DataFrame, lacking: list[str], config: Config) -> str:
    """Return what gives D1 every class: the largest precise_share that does, or the classes that it has."""
    rules, classes = config.partition, config.data.classes
    highest = training.groupby("label")["share"].max().reindex(list(classes)).fillna(0.0)
    rest, names = [name for name in classes if name not in lacking], ", ".join(lacking)
    fewer_classes = f"leave {names} out: --classes {','.join(rest)}"
    fewer_classes = fewer_classes if len(rest) > 1 else f"add utterances of {names} that the annotators agree on"
    largest = _rounded_down(highest.min())
    if largest <= 0:
        return fewer_classes
    lower = "" if largest > rules.ambiguous_share else " with a lower ambiguous_share"
    return f"try --precise-share {largest:g}{lower}, the largest with which it has every class, or {fewer_classes}"


def _cure_of_division(table: DataFrame, may_test: Mask, may_train: Mask, config: Config) -> str:
    """Return what gives both D2 and D3 an utterance: a test_size, or the nearest ambiguous_share."""
    rules, share = config.partition, table["share"]
    pool = _pool(table, may_test, config)
    differed = share[may_train & (share < rules.precise_share - TOLERANCE).to_numpy()]
    largest = 0 if differed.empty else _largest_test(pool, config)
    cures = []
    if largest:
        size = min(rules.test_size or (pool if rules.speaker_disjoint else pool // 2), largest)
        cures.append(f"--test-size {size}" + (f" (1 to {largest} can be)" if largest > 1 else ""))
    if rules.test_size is None and not differed.empty and may_test.any():
        low, high = _rounded_down(share[may_test].min()) + 0.001, _rounded_down(differed.max())
        if low <= high:
            cures.append(f"--ambiguous-share {min(max(rules.ambiguous_share, low), high):.3g}")
    if not cures and rules.precise_share < 1:
        cures.append("a higher precise_share")
    return f"try {' or '.join(cures)}" if cures else _TOO_AGREED


def _pool(table: DataFrame, may_test: Mask, config: Config) -> int:
    """Return how many utterances may be in D3 by their speaker and are not in D1."""
    return int((may_test & (table["share"] < config.partition.precise_share - TOLERANCE).to_numpy()).sum())


def _largest_test(pool: int, config: Config) -> int:
    """Return the largest test_size: where D2 is what D3 leaves of the pool, one is left for it."""
    return pool if config.partition.speaker_disjoint else max(0, pool - 1)


def _rounded_down(share: float) -> float:
    """Return a share to three decimals, none of which is above it but by the rounding of floats."""
    return math.floor(share * 1000 + 1000 * TOLERANCE) / 1000
