"""How far listeners agree: Krippendorff's α and Fleiss' κ, by class, by pair of emotions and by listener.

A pair of votes that two listeners gave the same utterance is a coincidence, and everything here is made from tables of
them. A vote for several emotions is split by weight, and the parts of one listener's vote make no pair. N utterances
with at least two votes, C labels, B bootstrap samples.

α: Krippendorff 2011, "Computing Krippendorff's Alpha-Reliability", for nominal data; votes may be missing, and an
utterance counts by its number of votes. κ: Fleiss 1971, "Measuring nominal scale agreement among many raters", which
wants as many votes of each utterance; where their number differs, the agreement is averaged over utterances, each
counting alike, and the chance is that of all votes.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.data.raters import UNNAMED, Coded, agreement, coded

Floats = NDArray[np.float64]

SAMPLES = 500
"""Bootstrap samples of an interval."""
_BLOCK = 50
"""Samples at a time, which bounds the memory."""
_LEAST = 1e-9


class Pairs(NamedTuple):
    """The pairs of votes of utterances; utterances with the same votes are one row."""

    labels: tuple[str, ...]
    counts: Floats
    """(N, C) votes."""
    tables: Floats
    """(N, C, C) shares of the pairs with one label and the other; each table sums to 1."""
    utterances: NDArray[np.int64]
    """(N,) how many have these votes."""


def comparable(votes: DataFrame) -> DataFrame:
    """Return the votes if each is known, else none.

    Where some are known only to be for another emotion than the label (EmoDB), nobody knows how far listeners agree,
    and the utterances without such a vote are those that they agree on.
    """
    return votes.iloc[:0] if (votes["label"] == "unknown").any() else votes


def pairs_of_votes(votes: Coded) -> Pairs:
    """Return the pairs of votes whose listeners are known; votes without a name are each of another listener."""
    size, classes = len(votes.ids), len(votes.labels)
    counts = np.bincount(votes.unit * classes + votes.label, votes.weight, size * classes).astype(float)
    counts = counts.reshape(size, classes)
    self_pairs = np.zeros((size, classes, classes))
    has_name = votes.annotators[votes.rater] != UNNAMED
    ballots, index = np.unique(
        votes.unit[has_name] * len(votes.annotators) + votes.rater[has_name], return_inverse=True
    )
    split = np.bincount(index, minlength=len(ballots))[index] > 1  # votes for several emotions
    diagonal = np.where(has_name, votes.weight**2, votes.weight)
    np.add.at(self_pairs, (votes.unit, votes.label, votes.label), diagonal)
    parts = np.zeros((len(ballots), classes))
    parts[index[split], votes.label[has_name][split]] = votes.weight[has_name][split]
    split_ballots = np.unique(index[split])
    cross = parts[split_ballots, :, None] * parts[split_ballots, None, :] * (1 - np.eye(classes))
    np.add.at(self_pairs, ballots[split_ballots] // max(len(votes.annotators), 1), cross)
    return _pairs(tuple(votes.labels), counts, self_pairs)


def pairs_of_counts(labels: tuple[str, ...], counts: Floats) -> Pairs:
    """Return the pairs of votes known by their number alone: each is another listener's.

    counts: (N, C); with split votes the agreement is a little too low, since their parts count as listeners
    """
    return _pairs(labels, counts, counts[:, :, None] * np.eye(counts.shape[1]))


def _pairs(labels: tuple[str, ...], counts: Floats, self_pairs: Floats) -> Pairs:
    """own: (N, C, C) what a listener's vote would be paired with itself."""
    pairings = np.maximum(counts[:, :, None] * counts[:, None, :] - self_pairs, 0.0)
    total = pairings.sum(axis=(1, 2))
    usable = total > _LEAST
    counts, tables = counts[usable], pairings[usable] / total[usable, None, None]
    flat = tables.reshape(len(tables), len(labels) ** 2)
    keys = np.ascontiguousarray(np.concatenate([counts, flat], axis=1).round(9))
    if not len(keys):
        return Pairs(labels, counts, tables, np.zeros(0, np.int64))
    _, first, utterances = np.unique(keys, axis=0, return_index=True, return_counts=True)
    return Pairs(labels, counts[first], tables[first], utterances)


# Coefficients, from sums over utterances. Leading axes are those of bootstrap samples.


def alpha(pairs: Pairs) -> float:
    """Return Krippendorff's α for nominal data: 1 all agree, 0 as by chance, NaN where no two labels are heard."""
    return float(_alpha(_sums(pairs, pairs.utterances[None])[0])[0])


def kappa(pairs: Pairs) -> float:
    """Return Fleiss' κ: 1 all agree, 0 as by chance, NaN where no two labels are heard."""
    return float(_kappa(*_sums(pairs, pairs.utterances[None])[1:])[0])


def _sums(pairs: Pairs, times: NDArray[np.int64]) -> tuple[Floats, Floats, Floats]:
    """Return (…, C, C) coincidences by votes, (…, C, C) mean shares of pairs, and (…, C) votes.

    times: (…, N) how often each row counts
    """
    classes, weight = len(pairs.labels), times.astype(float)
    flat = pairs.tables.reshape(len(pairs.tables), classes**2)
    shape = (*times.shape[:-1], classes, classes)
    by_votes = (weight @ (flat * pairs.counts.sum(axis=1)[:, None])).reshape(shape)
    shares = (weight @ flat).reshape(shape) / np.maximum(weight.sum(axis=-1), 1)[..., None, None]
    return by_votes, shares, weight @ pairs.counts


def _alpha(table: Floats) -> Floats:
    """table: (…, C, C) coincidences"""
    margins = table.sum(axis=-1)
    total = margins.sum(axis=-1)
    observed = total - np.trace(table, axis1=-2, axis2=-1)
    expected = (total**2 - (margins**2).sum(axis=-1)) / np.maximum(total - 1, _LEAST)
    return 1 - _ratio(observed, expected)


def _kappa(shares: Floats, votes: Floats) -> Floats:
    """shares: (…, C, C) of pairs, mean over utterances   votes: (…, C)"""
    chance = (votes**2).sum(axis=-1) / np.maximum(votes.sum(axis=-1), _LEAST) ** 2
    return 1 - _ratio(1 - np.trace(shares, axis1=-2, axis2=-1), 1 - chance)


def _ratio(numerator: Floats, denominator: Floats) -> Floats:
    return np.divide(numerator, denominator, out=np.full_like(numerator, np.nan), where=denominator > _LEAST)


def _against_rest(table: Floats, i: int) -> Floats:
    """Return (…, 2, 2) pairs of one label and all others."""
    pairings, margin = table[..., i, i], table[..., i, :].sum(axis=-1)
    total = table.sum(axis=(-2, -1))
    rows = [
        np.stack([pairings, margin - pairings], -1),
        np.stack([margin - pairings, total - 2 * margin + pairings], -1),
    ]
    return np.stack(rows, -2)


# Tables.


def coefficients(pairs: Pairs, samples: int = SAMPLES, seed: int = 0) -> DataFrame:
    """Return α and κ of all labels and of each against the rest, with 95 % intervals over utterances.

    returns: index label ("all" first), columns alpha, alpha_low, alpha_high, kappa, kappa_low, kappa_high, and votes
    """
    point = _coefficients(*_sums(pairs, pairs.utterances[None]))[0]
    resamples = [_coefficients(*sums) for sums in _resampled(pairs, samples, seed)]
    low, high = _interval(np.concatenate(resamples))
    votes = pairs.utterances @ pairs.counts
    columns = {"alpha": point[:, 0], "alpha_low": low[:, 0], "alpha_high": high[:, 0]}
    columns |= {"kappa": point[:, 1], "kappa_low": low[:, 1], "kappa_high": high[:, 1]}
    index = pd.Index(["all", *pairs.labels], name="label")
    return DataFrame(columns | {"votes": [votes.sum(), *votes]}, index=index)


def _coefficients(by_votes: Floats, shares: Floats, votes: Floats) -> Floats:
    """Return (B, 1 + C, 2) α and κ of all labels, and of each against the rest."""
    rows = [np.stack([_alpha(by_votes), _kappa(shares, votes)], axis=-1)]
    total = votes.sum(axis=-1)
    for i in range(votes.shape[-1]):
        two = np.stack([votes[..., i], total - votes[..., i]], axis=-1)
        rows.append(np.stack([_alpha(_against_rest(by_votes, i)), _kappa(_against_rest(shares, i), two)], axis=-1))
    return np.stack(rows, axis=-2)


def confusions(pairs: Pairs, samples: int = SAMPLES, seed: int = 0) -> DataFrame:
    """Return how often two listeners disagree on each pair of labels, the most confused first.

    returns: columns one, other (labels), share (of all pairs of votes that disagree), low and high (95 %, over
    utterances), and times_chance (1: as often as if votes fell on utterances by chance)
    """
    rows, columns = np.triu_indices(len(pairs.labels), 1)
    names = np.array(pairs.labels, object)
    table = _sums(pairs, pairs.utterances[None])[0]
    point = _off_diagonal(table)[0]
    resamples = [_off_diagonal(sums[0]) for sums in _resampled(pairs, samples, seed)]
    low, high = _interval(np.concatenate(resamples)) if len(rows) else (point, point)
    margins, total = table[0].sum(axis=0), table[0].sum()
    expected = 2 * margins[rows] * margins[columns] / max(total - 1, _LEAST)
    chance = _ratio(2 * table[0][rows, columns], expected)
    frame = {"one": names[rows], "other": names[columns], "share": point, "low": low, "high": high}
    order = ["share", "one", "other"]
    return DataFrame(frame | {"times_chance": chance}).sort_values(
        order, ascending=[False, True, True], ignore_index=True
    )


def _off_diagonal(table: Floats) -> Floats:
    """Return (…, C (C - 1) / 2) the share of each pair of labels among the pairs of votes that disagree."""
    rows, columns = np.triu_indices(table.shape[-1], 1)
    pairings = table[..., rows, columns]
    return _ratio(pairings, np.broadcast_to(pairings.sum(axis=-1, keepdims=True), pairings.shape))


def _resampled(pairs: Pairs, samples: int, seed: int):
    """Yield the sums of bootstrap samples of the utterances, some at a time."""
    total = int(pairs.utterances.sum())
    rng = np.random.default_rng(seed)
    for begin in range(0, samples, _BLOCK):
        times = rng.multinomial(total, pairs.utterances / max(total, 1), size=min(_BLOCK, samples - begin))
        yield _sums(pairs, times)


def _interval(values: Floats) -> tuple[Floats, Floats]:
    """Return the 2.5 and 97.5 per cent quantiles over the first axis, NaN where all are NaN."""
    finite = np.where(np.isfinite(values).any(axis=0), values, 0.0)
    low, high = np.nanquantile(finite, [0.025, 0.975], axis=0)
    is_known = np.isfinite(values).any(axis=0)
    return np.where(is_known, low, np.nan), np.where(is_known, high, np.nan)


# Listeners.


def listeners(votes: DataFrame) -> DataFrame:
    """Return what each listener voted, and how far the others agree.

    votes: of `raters.tidy`
    returns: index annotator, the most votes first; columns votes, compared, agreement (see `raters.agreement`) and a
    column per label with its share of the listener's votes
    """
    numbers = coded(votes)
    table = agreement(numbers)
    size, classes = len(numbers.annotators), len(numbers.labels)
    counts = np.bincount(numbers.rater * classes + numbers.label, numbers.weight, size * classes).reshape(size, classes)
    shares = DataFrame(counts, index=numbers.annotators, columns=list(numbers.labels)).reindex(table.index)
    shares = shares.div(shares.sum(axis=1), axis=0)
    return table.join(shares).sort_values("votes", ascending=False, kind="stable")


def consistency(record: DataFrame) -> DataFrame:
    """Return how often each listener heard the same when a clip came again.

    record: of `votes.record.read`: listener, audio, emotions, other, cannot_tell, repeat
    returns: index annotator, columns repeats and consistency (the mean share of the votes that is the same, 0 to 1)
    """
    ballots = {
        (row.listener, row.audio, int(row.repeat)): _ballot(row.emotions, row.other) for row in record.itertuples()
    }
    rows = [
        (listener, sum(min(weight, ballots[listener, audio, 0].get(label, 0.0)) for label, weight in ballot.items()))
        if ballot or ballots[listener, audio, 0]
        else (listener, 1.0)  # could not tell, twice
        for (listener, audio, repeat), ballot in ballots.items()
        if repeat and (listener, audio, 0) in ballots
    ]
    table = DataFrame(rows, columns=["annotator", "same"]).groupby("annotator")["same"]
    return DataFrame({"repeats": table.size(), "consistency": table.mean()})


def _ballot(emotions: tuple[str, ...], has_other: bool) -> dict[str, float]:
    labels = [*emotions, *(["other"] if has_other else [])]
    return dict.fromkeys(labels, 1 / max(len(labels), 1))


def over_time(record: DataFrame) -> DataFrame:
    """Return how many votes each listener had given at the time of each, repeats included.

    returns: columns time (UTC), listener, votes
    """
    time = pd.to_datetime(record["time"], format="ISO8601", utc=True)
    table = DataFrame({"time": time, "listener": record["listener"]}).sort_values("time", ignore_index=True)
    return table.assign(votes=table.groupby("listener").cumcount() + 1)
