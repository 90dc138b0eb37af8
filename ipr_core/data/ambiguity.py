"""How far the annotators agree: votes to shares and entropy, and to D1, D2 and D3.

N utterances, C classes.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core.config import Config
from ipr_core.data.corpora.table import CorpusError, emotion_columns, vote_columns
from ipr_core.data.partition_faults import (
    TOLERANCE,
    nothing_to_part,
    refusal,
    refuse_given_test,
    too_large_test,
    useless,
)
from ipr_core.data.validation import hold_out, order

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

_ROUNDED = 0.025  # votes that rounded shares may lack: three of 0.33 are 0.99, seven of 0.14 are 0.98
_log = logging.getLogger(__name__)
_PARTS = ("", "D1", "D2", "D3")
_SOUND = "sound"  # column


# Votes


def vote_totals(table: DataFrame, count_other: bool) -> Floats:
    """Return (N,) how many votes each utterance has.

    Votes for every emotion count, known or not, and for "other" if count_other.
    """
    names = [name for name in vote_columns(table) if count_other or name != "votes_other"]
    return table[names].to_numpy(float).sum(axis=1)


def vote_shares(table: DataFrame, classes: Sequence[str], count_other: bool) -> Floats:
    """Return the share of each class among all votes.

    Votes for emotions that are not among the classes count in the total. So do votes known only to be for another
    emotion than the label (`votes_unknown`, EmoDB), and `votes_other` if count_other.
    returns: (N, C), rows sum to at most 1; NaN rows where there is no vote
    """
    return _ratio(_class_votes(table, classes), vote_totals(table, count_other))


def soft_votes(table: DataFrame, classes: Sequence[str]) -> Floats:
    """Return the annotators' distribution over the classes alone: their soft label.

    returns: (N, C), rows sum to 1; NaN rows where nobody voted for a class, and where some votes are
    `votes_unknown`: they may be for any class, so the distribution is not known
    """
    votes = _class_votes(table, classes)
    total = votes.sum(axis=1)
    if "votes_unknown" in table:
        total = np.where(table["votes_unknown"] > TOLERANCE, 0.0, total)
    return _ratio(votes, total)


def vote_entropy(table: DataFrame, classes: Sequence[str]) -> Floats:
    """Return (N,) the entropy of the annotators' distribution over the classes.

    In nats: 0 if they agree, log C if they are undecided, NaN if the distribution is not known.
    """
    soft = soft_votes(table, classes)
    return -(soft * np.log(np.where(soft > 0, soft, 1.0))).sum(axis=1) + 0.0  # + 0: no negative zero


def _class_votes(table: DataFrame, classes: Sequence[str]) -> Floats:
    zeros = Series(0.0, index=table.index)
    return np.stack([table.get(f"votes_{name}", zeros).to_numpy(float) for name in classes], axis=1)


def _ratio(votes: Floats, total: Floats) -> Floats:
    return votes / np.where(total > 0, total, np.nan)[:, None]


# Partition


def partition(table: DataFrame, config: Config, sounds: NDArray[np.int64] | None = None) -> DataFrame:
    """Part the utterances into D1 (precise), D2 (ambiguous) and D3 (test).

    By the label's share of the votes. D1: share ≥ precise_share. D2: ambiguous_share ≤ share < precise_share. D3:
    below. With test_size, D3 is that many of the least agreed utterances outside D1, and D2 the others. Equal shares
    are ordered by a hash of the id, never by the table's order. With speaker_disjoint, D3 is taken from test
    speakers, D1 and D2 from the others.

    Utterances with the same sound stand in one part, the latest that one of them has (D3 over D2 over D1), so that
    nothing is tested that was trained on; D3 may then have more than test_size. With speaker_disjoint, those of
    training speakers are left out where that part is D3, as are tied ones. If a part or a class of D1 would be lost by
    this, as where most clips are copies of one, they stay where their votes put them, and a warning says so.

    Where ties are in D2 (`tied`), their label is "" and their share that of the classes that tie.

    A column `part` of the table may give an utterance D1 or D3, whatever its votes. Where D3 is given, it is what is
    given, and the others outside D1 are in D2; its speakers are the test speakers, if none are named. With
    speaker_disjoint, a test speaker's utterance that is given D1 is left out.

    Last, `validation_share` of D1 and of D2 is held out of both, as V1 and V2 (`validation.hold_out`).

    sounds: (N,) numbers, equal for utterances with the same sound; by default all differ
    returns: the utterances labelled with a class, and with enough votes or a part that is given (their share is NaN
    where nobody voted), plus share and part ("" unused), 0..N-1
    raises CorpusError, with every reason at once, if D1 lacks a class or D2 or D3 is empty, or who is given D3 is not
    one of the test speakers that are named
    """
    sounds = np.arange(len(table)) if sounds is None else sounds
    utterances, may_test, may_train = _parted(table.assign(**{_SOUND: sounds}), config)
    utterances = _copies_together(utterances, may_test, may_train, config)
    return hold_out(utterances.drop(columns=_SOUND), utterances[_SOUND].to_numpy(), config)


def check(table: DataFrame, config: Config) -> None:
    """Refuse a table that cannot be parted, by its votes alone: `partition` refuses nothing else.

    raises CorpusError, with every reason at once
    """
    _parted(table, config)


def check_unvoted(table: DataFrame, config: Config) -> None:
    """Refuse a table that cannot be parted whatever its annotators will say.

    table: utterances labelled with a class
    raises CorpusError
    """
    may_test, _ = by_speaker(table, config)
    size, most = config.partition.test_size or 0, int(may_test.sum())
    if size > most and not (given_parts(table) == "D3").any():
        cure = "give a smaller one: those that the simulated annotators agree on are not in D3 either"
        raise refusal(table, f"test_size is {size}, and at most {most} utterances may be in D3", cure)


def tied(table: DataFrame, config: Config) -> Mask:
    """Return (N,) whether an utterance has no label since two or more classes have the most votes, and enough votes."""
    data = config.data
    unlabelled = (table["label"] == "").to_numpy() & _has_votes(table, config)
    names = emotion_columns(table)
    if not names or not unlabelled.any():
        return np.zeros(len(table), dtype=bool)
    highest = table[names].to_numpy(float).max(axis=1, keepdims=True)
    first = (_class_votes(table, data.classes) >= highest - TOLERANCE).sum(axis=1)
    return unlabelled & (highest[:, 0] > 0) & (first > 1)


def _parted(table: DataFrame, config: Config) -> tuple[DataFrame, Mask, Mask]:
    """Return the utterances with share and part, by their votes alone, and what `by_speaker` says of them."""
    utterances = _with_share(table, config)
    fixed = given_parts(utterances)
    may_test, may_train = by_speaker(utterances, config)
    refuse_given_test(utterances, (fixed == "D3") & ~may_test)
    rules, unlabelled = config.partition, (utterances["label"] == "").to_numpy()
    may_test = may_test & ~unlabelled
    precise = (utterances["share"] >= rules.precise_share - TOLERANCE).to_numpy() & ~unlabelled
    precise = (precise | (fixed == "D1")) & (fixed != "D3")
    agreed = (utterances["share"] >= rules.ambiguous_share - TOLERANCE).to_numpy() | unlabelled
    if (fixed == "D3").any():
        test = fixed == "D3"
        agreed = ~test
    elif rules.test_size is None:
        test = may_test & ~agreed & (fixed != "D1")
    else:
        if (may_test & ~precise).sum() < rules.test_size:
            raise too_large_test(utterances, may_test, config)
        test = _least_agreed(utterances, may_test & ~precise, rules.test_size, config)
        agreed = ~test
    part = np.select([may_train & precise, may_train & agreed, test], ["D1", "D2", "D3"], "")
    utterances = utterances.assign(part=part)
    if faults := useless(utterances, may_test, may_train, config):
        cure = "; or give fewer utterances their part" if (fixed != "").any() else ""
        raise CorpusError([fault._replace(cure=fault.cure + cure) for fault in faults])
    return utterances, may_test, may_train


def summary(table: DataFrame, group: Literal["label", "speaker"] = "label") -> DataFrame:
    """Count the utterances of each class, or speaker, in each part.

    returns: columns part, `group`, count; zeros included
    """
    counts = table.groupby(["part", group]).size().unstack(fill_value=0).stack()
    return counts.rename("count").reset_index()


def labelled_and_voted(table: DataFrame, config: Config) -> Mask:
    """Return (N,) whether an utterance is labelled with a class and has enough votes."""
    return table["label"].isin(config.data.classes).to_numpy() & _has_votes(table, config)


def given_parts(table: DataFrame) -> NDArray[np.str_]:
    """Return (N,) the part that an utterance of a corpus is given, D1 or D3, "" where the votes decide."""
    return table["part"].to_numpy(str) if "part" in table else np.full(len(table), "")


def may_be_parted(table: DataFrame, config: Config) -> Mask:
    """Return (N,) whether an utterance can be in a part.

    Those that are `labelled_and_voted`, or `tied` if ties are in D2, or labelled with a class and given a part.
    """
    is_given = (given_parts(table) != "") & table["label"].isin(config.data.classes).to_numpy()
    usable = labelled_and_voted(table, config) | is_given
    return usable | tied(table, config) if config.partition.tied == "D2" else usable


def _has_votes(table: DataFrame, config: Config) -> Mask:
    enough = max(config.partition.min_votes - _ROUNDED, TOLERANCE)
    return vote_totals(table, config.data.count_other) >= enough


def _with_share(table: DataFrame, config: Config) -> DataFrame:
    """Return the utterances that can be parted, with their label's share of the votes."""
    data = config.data
    if not labelled_and_voted(table, config).any():
        raise nothing_to_part(table, vote_totals(table, data.count_other), config)
    table = table[may_be_parted(table, config)]
    number = class_numbers(table, data.classes)
    shares = vote_shares(table, data.classes, data.count_other)
    share = np.where(number >= 0, shares[np.arange(len(table)), number], shares.max(axis=1))
    return table.assign(share=share).reset_index(drop=True)


def class_numbers(table: DataFrame, classes: Sequence[str]) -> NDArray[np.int64]:
    """Return (N,) each label's number among the classes, -1 where there is none."""
    return table["label"].map({name: i for i, name in enumerate(classes)}).fillna(-1).to_numpy(np.int64)


def _least_agreed(table: DataFrame, candidates: Mask, size: int, config: Config) -> Mask:
    """Return (N,) whether an utterance is one of the `size` least agreed candidates.

    With test_balanced they are taken of each class in turn.
    """
    pool = table.loc[candidates, ["id", "label"]]
    pool = pool.assign(share=table["share"].round(9))
    pool = pool[pool["share"] <= pool.groupby("label")["share"].transform(_nth_least, size)]
    pool = pool.assign(tie=[order(config.data.data_seed, name) for name in pool["id"].tolist()])
    pool = pool.sort_values(["share", "tie"])
    if config.partition.test_balanced:
        pool = pool.assign(turn=pool.groupby("label").cumcount()).sort_values(["turn", "share", "tie"])
    return table.index.isin(pool.index[:size])


def _nth_least(shares: Series, n: int) -> float:
    """Return the largest share among a class's n least agreed; others are not in D3."""
    last = min(n, len(shares)) - 1
    return np.partition(shares.to_numpy(), last)[last]


def by_speaker(table: DataFrame, config: Config) -> tuple[Mask, Mask]:
    """Return (N,) which utterances may be in D3, and (N,) which in D1 and D2.

    raises CorpusError if the test speakers cannot be what they are said to be
    """
    if not config.partition.speaker_disjoint:
        anywhere = np.ones(len(table), dtype=bool)
        return anywhere, anywhere
    test = table["speaker"].isin(_test_speakers(table, config)).to_numpy()
    return test, ~test


def _test_speakers(table: DataFrame, config: Config) -> list[str]:
    speakers, names = sorted(set(table["speaker"])), list(config.partition.test_speakers)
    for name in names:
        if name not in speakers:
            alike = difflib.get_close_matches(name, speakers, n=1) or speakers[:1]
            raise refusal(table, f"test speaker {name!r} has no utterance", f"name others, such as {', '.join(alike)}")
    names = names or sorted(set(table["speaker"][given_parts(table) == "D3"]))
    names = names or sorted(speakers, key=lambda name: order(config.data.data_seed, name))[: len(speakers) // 4 or 1]
    if len(set(names)) >= len(speakers):
        problem = f"speaker_disjoint leaves none of the {len(speakers)} speakers for training"
        fewer = f"name at most {len(speakers) - 1} test_speakers, or " if len(speakers) > 1 else ""
        raise refusal(table, problem, f"{fewer}set speaker_disjoint to false")
    return names


def _copies_together(table: DataFrame, may_test: Mask, may_train: Mask, config: Config) -> DataFrame:
    """Return the table with utterances of the same sound in one part, the latest of any of them."""
    rank = table["part"].map({name: i for i, name in enumerate(_PARTS)})
    latest = rank.groupby(table[_SOUND]).transform("max").where(rank > 0, 0)
    latest = latest.where(may_test | (latest < _PARTS.index("D3")), 0)
    if (latest == rank).all():
        return table
    regrouped = table.assign(part=latest.map(dict(enumerate(_PARTS))))
    if faults := useless(regrouped, may_test, may_train, config):
        copies = (latest != rank).sum()
        _log.warning(
            "the same sound stands in several parts, also in training and test: with %d utterances moved, %s",
            copies,
            faults[0].problem,
        )
        return table
    return regrouped
