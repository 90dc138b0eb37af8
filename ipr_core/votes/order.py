"""The order in which a listener hears the clips of a corpus.

An order is a list of `Hearing`. `shuffled` makes one by chance; a function of the same kind may put first the clips on
which a vote matters most. Nothing here reads votes or sounds.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from ipr_core.votes.record import VoteError

GAP = 10
"""Clips between the two hearings of a clip, at least, so that the first is forgotten; fewer in a very small corpus."""


class Hearing(NamedTuple):
    """A clip that is heard once."""

    row: int
    """Of the corpus."""
    repeat: int
    """0 for the first hearing, 1 where the clip comes again to see how consistent the listener is."""


def shuffled(audio: Sequence[str], listener: str, seed: int = 0, repeats: float = 0.1) -> list[Hearing]:
    """Return every sound once in random order, and a share of them a second time.

    The order is a listener's own. It depends on the sounds, the listener's name and the seed alone, not on the order of
    the rows. Of rows with the same sound only the first is heard.
    audio: (N,) keys of the sounds   repeats: share of the sounds that come twice, as far as the corpus has room for
    GAP clips in between
    raises VoteError for a share below 0 or above 1
    """
    draw = generator(listener, seed)
    return _with_repeats(draw.permutation(_distinct(audio)), repeats, draw)


def most_useful_first(
    audio: Sequence[str],
    worth: ArrayLike,
    listener: str,
    seed: int = 0,
    repeats: float = 0.1,
    by_chance: float = 0.2,
) -> list[Hearing]:
    """Return every sound once, those first on which a vote is worth most, and a share of them a second time.

    A share of the clips comes by chance in between, so that agreement can still be measured as on any clip.
    audio, repeats: as for `shuffled`   worth: (N,), see `usefulness`   by_chance: share of the clips that come so
    raises VoteError for a share below 0 or above 1
    """
    if not 0 <= by_chance <= 1:
        raise VoteError(f"by_chance is {by_chance}; it is a share of the clips, between 0 and 1")
    draw, values = generator(listener, seed), np.asarray(worth, float)
    rows = draw.permutation(_distinct(audio))
    ranked = rows[np.argsort(-values[rows], kind="stable")]
    random = draw.random(len(rows)) < by_chance
    lots = draw.permutation(rows)
    order: list[int] = []
    queues = [iter(ranked.tolist()), iter(lots.tolist())]
    members: set[int] = set()
    for chance in random.tolist():
        row = next(row for row in queues[chance] if row not in members)
        members.add(row)
        order.append(row)
    return _with_repeats(np.array(order, np.int64), repeats, draw)


def _with_repeats(rows: NDArray[np.int64], repeats: float, draw: Generator) -> list[Hearing]:
    """Return clips in this order, and a share of them a second time, later."""
    if not 0 <= repeats <= 1:
        raise VoteError(f"repeats is {repeats}; it is the share of clips that come twice, between 0 and 1")
    total, gap = len(rows), min(GAP, len(rows) // 2)
    candidates = max(0, total - gap)  # first hearings that leave enough room after them
    twice = draw.permutation(candidates)[: round(repeats * total)]
    positions = [(float(position), Hearing(int(row), 0)) for position, row in enumerate(rows)]
    for position in twice.tolist():
        # Between two first hearings: at least `gap` of them lie between this clip's own and its repeat.
        later = draw.integers(position + gap, total) + draw.uniform(0.25, 0.75)
        positions.append((float(later), Hearing(int(rows[position]), 1)))
    return [hearing for _, hearing in sorted(positions)]


def unheard(order: Sequence[Hearing], audio: Sequence[str], votes: Collection[tuple[str, int]]) -> list[Hearing]:
    """Return the hearings of an order that have no vote yet.

    audio: (N,) keys of the sounds   votes: audio and repeat of every vote of the listener
    """
    return [hearing for hearing in order if (audio[hearing.row], hearing.repeat) not in votes]


def generator(listener: str, seed: int) -> Generator:
    """Return a random generator of a listener's own."""
    digest = hashlib.blake2b(listener.encode(), digest_size=8).digest()
    return np.random.default_rng([seed, int.from_bytes(digest, "little")])


def _distinct(audio: Sequence[str]) -> list[int]:
    """Return the first row of every sound, ordered by the sounds."""
    first = {key: row for row, key in reversed(list(enumerate(audio)))}
    return [first[key] for key in sorted(first)]
