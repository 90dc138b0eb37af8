"""The inner loop of `layout`, compiled: UMAP's stochastic descent with points held in place.

umap-learn's own loop cannot hold points, and blocks the interpreter while it runs. This one releases it (nogil), so
that training in another thread goes on. Importing this module compiles it, which takes seconds.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numba
import numpy as np
from numpy.typing import NDArray

Number = np.floating
Points = NDArray[np.float32]

_CLIP = np.float32(4)  # the longest step of one edge, as umap-learn's
_NEGATIVES = 5  # points pushed away for each neighbour that is pulled, as umap-learn's


def _compiled(function: Callable[..., Any], signature: str | None = None) -> Callable[..., Any]:
    """Compile a function, or load what an earlier process compiled of it."""
    try:
        return numba.njit(signature, nogil=True, fastmath=True, cache=True)(function)
    except RuntimeError:  # no folder of numba's can be written
        return numba.njit(signature, nogil=True, fastmath=True)(function)


@_compiled
def _step(force: Number, difference: Number, rate: Number) -> Number:
    """Return one coordinate's share of a force, clipped, times the rate."""
    return min(_CLIP, max(-_CLIP, force * difference)) * rate


@_compiled
def _pull(points: Points, i: np.integer, k: np.integer, rate: Number, a: Number, b: Number) -> None:
    dx, dy = points[i, 0] - points[k, 0], points[i, 1] - points[k, 1]
    square = dx * dx + dy * dy
    if square > 0:
        force = -2 * a * b * square ** (b - 1) / (a * square**b + 1)
        x, y = _step(force, dx, rate), _step(force, dy, rate)
        points[i, 0] += x
        points[i, 1] += y
        points[k, 0] -= x
        points[k, 1] -= y


@_compiled
def _push_away(points: Points, i: np.integer, k: np.integer, rate: Number, a: Number, b: Number) -> None:
    dx, dy = points[i, 0] - points[k, 0], points[i, 1] - points[k, 1]
    square = dx * dx + dy * dy
    if square > 0:
        force = 2 * b / ((0.001 + square) * (a * square**b + 1))
        points[i, 0] += _step(force, dx, rate)
        points[i, 1] += _step(force, dy, rate)


@partial(_compiled, signature="f4[:,::1](f4[:,::1], f4[:,::1], f4[::1], i4[::1], i4[::1], f4[::1], i8, f4, f4, f4, u8)")
def descend(
    start: Points,
    anchors: Points,
    hold: NDArray[np.float32],
    head: NDArray[np.int32],
    tail: NDArray[np.int32],
    every: NDArray[np.float32],
    rounds: int,
    rate: float,
    a: Number,
    b: Number,
    seed: int,
) -> Points:
    """Return the points after UMAP's descent: the mean over its second half, without the noise.

    start: (M, 2) the first points   anchors: (M, 2) the points that they are held to   hold: (M,) how strongly, 0 free
    head, tail: (K,) the edges of the graph   every: (K,) rounds between two uses of an edge, 1 for the heaviest
    rate: of the first round, falling to 0   a, b: of UMAP's curve   seed: not 0
    """
    points, mean = start.copy(), np.zeros_like(start)
    due, m, random = every.copy(), np.uint64(len(start)), np.uint64(seed)
    for n in range(rounds):
        now = rate * (1 - n / np.float32(rounds))
        for e in range(len(head)):
            if due[e] > n:
                continue
            due[e] += every[e]
            _pull(points, head[e], tail[e], now, a, b)
            for _ in range(_NEGATIVES):
                random ^= random << np.uint64(13)  # xorshift: its numbers depend on the seed alone
                random ^= random >> np.uint64(7)
                random ^= random << np.uint64(17)
                _push_away(points, head[e], np.int64((random >> np.uint64(11)) % m), now, a, b)
        for i in range(len(points)):
            share = min(np.float32(1), now * hold[i])
            for d in range(2):
                points[i, d] += share * (anchors[i, d] - points[i, d])
        if n >= rounds // 2:
            mean += points
    return mean / np.float32(rounds - rounds // 2)
