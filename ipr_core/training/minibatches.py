"""The plan of an epoch: which utterances each step sees.

It is a function of (seed, stream, epoch), alike for every system.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ipr_core.config import SAMPLE_RATE

Rows = NDArray[np.int64]
PASS = 160 * SAMPLE_RATE
"""Samples, with padding, that a pass without gradients takes at once."""


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

    Every utterance of D1 occurs in a warm-up epoch once. In the refinement the larger of D1 and D2 occurs once and the
    smaller is gone through again until it is used up. No minibatch holds an utterance twice: it would be its own
    negative (Eq. 5). A part smaller than `batch_size` is in each minibatch once. Minibatches hold utterances of similar
    length, and one of D1 is paired with one of D2 of similar length, so that little is padded.
    """
    random = np.random.default_rng([*key, 0x5EED])
    count = math.ceil((max(len(precise), len(ambiguous)) if refining else len(precise)) / batch_size)
    firsts = _bucketed(precise, lengths, count, batch_size, random)
    seconds = _bucketed(ambiguous, lengths, count, batch_size, random) if refining else [ambiguous[:0]] * count
    return [Minibatch(firsts[i], seconds[i]) for i in random.permutation(count)]


def _bucketed(rows: Rows, lengths: NDArray, count: int, batch_size: int, random: np.random.Generator) -> list[Rows]:
    """Cut rows into `count` batches from short to long, each of distinct rows.

    Where rows are gone through in several rounds, a round that takes only some of them is the first.
    """
    n, least = len(rows), max((count - 1) * batch_size, count)  # no batch is empty, the last one may be small
    total = min(math.ceil(least / n) * n, count * min(batch_size, n))
    rounds = math.ceil(total / n)
    some = random.permutation(rows)[: total - (rounds - 1) * n]
    order = _there_and_back([some, *[rows] * (rounds - 1)], lengths, random)
    sizes = [len(part) for part in np.array_split(order, count)]
    return sorted(_distinct(order, sizes), key=lambda batch: lengths[batch].mean())


def _there_and_back(rounds: Sequence[Rows], lengths: NDArray, random: np.random.Generator) -> Rows:
    """Join rounds, each sorted by length, from short to long and from long to short in turn.

    So the end of a round and the beginning of the next are of similar length. Lengths are blurred by a fifth, so that
    batches differ between epochs.
    """
    parts = []
    for number, rows in enumerate(rounds):
        blurred = lengths[rows] * random.uniform(0.8, 1.2, len(rows))
        parts.append(rows[np.argsort(blurred if number % 2 == 0 else -blurred, kind="stable")])
    return np.concatenate(parts)


def _distinct(order: Rows, sizes: Sequence[int]) -> list[Rows]:
    """Cut rows into batches of these sizes in their order; a row that a batch already has waits for the next batch."""
    rows, batches = deque(order.tolist()), []
    for size in sizes:
        batch: dict[int, None] = {}
        waiting = []
        while len(batch) < size:
            row = rows.popleft()
            if row in batch:
                waiting.append(row)
            batch[row] = None
        rows.extendleft(reversed(waiting))
        batches.append(np.array(list(batch), dtype=np.int64))
    return batches


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
