"""The plan of an epoch: which utterances each step sees.

It is a function of (seed, stream, epoch), alike for every system.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Minibatch:
    """One step's utterances, as rows of the table; `ambiguous` is empty in the warm-up."""

    precise: Rows
    ambiguous: Rows


def plan(
    precise: Rows, ambiguous: Rows, lengths: NDArray, batch_size: int, key: tuple[int, int, int], refining: bool
) -> list[Minibatch]:
    """Return the minibatches of one epoch, in order.

    precise, ambiguous: rows of D1 and D2   lengths: samples of every row   key: (seed, stream, epoch)

    Every utterance of D1 occurs in a warm-up epoch once. In the refinement the larger of D1 and D2 occurs
    once and the smaller is gone through again until it is used up. Minibatches hold utterances of similar
    length, and one of D1 is paired with one of D2 of similar length, so that little is padded.
    """
    random = np.random.default_rng([*key, 0x5EED])
    count = math.ceil((max(len(precise), len(ambiguous)) if refining else len(precise)) / batch_size)
    firsts = _bucketed(precise, lengths, count, batch_size, random)
    seconds = _bucketed(ambiguous, lengths, count, batch_size, random) if refining else [ambiguous[:0]] * count
    return [Minibatch(firsts[i], seconds[i]) for i in random.permutation(count)]


def _bucketed(rows: Rows, lengths: NDArray, count: int, batch_size: int, random: np.random.Generator) -> list[Rows]:
    """Cut rows into `count` batches from short to long.

    Lengths are blurred by a fifth, so that batches differ between epochs.
    """
    rounds = math.ceil(max((count - 1) * batch_size, count) / len(rows))  # no batch is empty, the last one may be small
    order = np.concatenate([random.permutation(rows) for _ in range(rounds)])[: count * batch_size]
    blurred = lengths[order] * random.uniform(0.8, 1.2, len(order))
    return np.array_split(order[np.argsort(blurred, kind="stable")], count)


def by_length(lengths: NDArray, limit: int) -> list[Rows]:
    """Return all rows in batches of similar length, longest first, for passes in any order.

    limit: samples of a batch with its padding, so that passes over long clips take no more memory than over short ones;
    a single longer clip is a batch of its own
    """
    order = np.argsort(-lengths, kind="stable")
    batches, first = [], 0
    while first < len(order):
        size = max(1, int(limit // lengths[order[first]]))
        batches.append(order[first : first + size])
        first += size
    return batches
