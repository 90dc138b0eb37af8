"""The nearest neighbours of vectors, and UMAP's weighted graph of them.

umap-learn's own graph is compiled for four to six seconds in every process, which is what a person waits for before
the first plane. This one is numpy, and a test holds it equal to umap-learn's.
N vectors of D dimensions, K neighbours of each, itself the first.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix, spmatrix

Vectors = NDArray[np.float32]
Indices = NDArray[np.int32]

_TURNS = 64  # of the bisection, as umap-learn's
_NARROWEST = 1e-3  # the smallest width, in mean distances, as umap-learn's


def neighbours(vectors: Vectors, count: int) -> tuple[Indices, Vectors]:
    """Return each vector's nearest ones by cosine distance, itself first, and their distances.

    vectors: (N, D)   returns: twice (N, K), K = min(count, N)
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    blocks = [_nearest(unit, rows, min(count, len(unit))) for rows in _blocks(len(unit))]
    indices, distances = (np.concatenate(part) for part in zip(*blocks, strict=True))
    return indices.astype(np.int32), distances.clip(0)


def graph(indices: Indices, distances: Vectors) -> spmatrix:
    """Return UMAP's weighted graph of the neighbours: sparse (N, N), symmetric, the largest weight about 1.

    A neighbour's weight falls from 1 at the nearest one's distance, so fast that a vector's weights sum to log2 K
    (McInnes et al. 2018, arXiv 1802.03426, Algorithms 2 and 3); two directions make one edge by the probabilistic sum.
    indices, distances: (N, K) of `neighbours`
    """
    size, count = indices.shape
    nearest = np.where(distances > 0, distances, np.inf).min(axis=1)
    nearest[np.isinf(nearest)] = 0
    beyond = (distances[:, 1:] - nearest[:, None]).clip(0).astype(np.float64)
    mean = np.where(nearest > 0, distances.mean(axis=1), distances.mean())
    width = np.maximum(_widths(beyond, np.log2(count)), _NARROWEST * mean)
    weights = np.exp(-beyond / width[:, None])
    rows = np.repeat(np.arange(size), count - 1)
    directed = coo_matrix((weights.ravel(), (rows, indices[:, 1:].ravel())), (size, size)).tocsr()
    return directed + directed.T - directed.multiply(directed.T)


def _blocks(size: int) -> list[NDArray[np.int64]]:
    """Return the rows in blocks whose distances to all others fit in memory."""
    return np.array_split(np.arange(size), size // 1000 + 1)


def _nearest(unit: Vectors, rows: NDArray[np.int64], count: int) -> tuple[NDArray[np.int64], Vectors]:
    distances = 1 - unit[rows] @ unit.T
    distances[np.arange(len(rows)), rows] = -1  # itself first, also where other vectors are equal to it
    indices = np.argpartition(distances, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(distances, indices, axis=1).argsort(axis=1, kind="stable")
    indices = np.take_along_axis(indices, order, axis=1)
    return indices, np.take_along_axis(distances, indices, axis=1)


def _widths(beyond: NDArray[np.float64], target: float) -> NDArray[np.float64]:
    """Return (N,) the widths at which each vector's weights sum to the target, by bisection.

    beyond: (N, K - 1) distances beyond the nearest one's
    """
    low, high, width = np.zeros(len(beyond)), np.full(len(beyond), np.inf), np.ones(len(beyond))
    for _ in range(_TURNS):
        too_wide = np.exp(-beyond / width[:, None]).sum(axis=1) > target
        low, high = np.where(too_wide, low, width), np.where(too_wide, width, high)
        width = np.where(np.isinf(high), 2 * width, (low + high) / 2)
    return width
