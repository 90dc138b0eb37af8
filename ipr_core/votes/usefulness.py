"""Which utterances a further vote is worth most on, and when an utterance's part is settled.

Both start from a run's soft labels and the votes so far. N utterances, C classes.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.config import Partition

Floats = NDArray[np.float64]
PANEL = 10
"""Votes after which an utterance is heard enough."""
CERTAINTY = 0.9
"""An utterance's part is settled if it stays what it is in this share of the futures."""
_FUTURES = 200
_TOLERANCE = 1e-9


def usefulness(soft: Floats, classifier: Floats, prototypes: Floats, votes: Floats) -> Floats:
    """Return (N,) how much a vote is worth: high where the model is unsure, its parts differ and few have voted.

    It is the entropy of the soft label, plus the Jensen-Shannon divergence of classifier and prototypes, both from 0 to
    1, by one more than the number of votes.
    soft, classifier, prototypes: (N, C) shares   votes: (N,) how many there are
    """
    entropy = metrics.entropy(soft) / np.log2(soft.shape[1])
    return (entropy + metrics.js_divergence(classifier, prototypes)) / (1 + votes)


def votes_needed(
    votes: Floats, soft: Floats, rules: Partition, panel: int = PANEL, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return (N,) how many more votes settle each utterance's part, and (N,) the likeliest part of the whole panel.

    The shares of the votes have a Dirichlet posterior, whose prior is the soft label with the weight of one vote. Its
    futures are drawn up to a panel of votes (Pólya's urn). A part is settled from the vote on after which it stays the
    same to the end in `CERTAINTY` of them. 0: it is settled now, as it is where the panel is complete.
    votes: (N, C) so far   soft: (N, C) rows sum to 1   rules: the shares that make D1, D2 and D3
    """
    draw = np.random.default_rng(seed)
    needed, part = np.zeros(len(votes), np.int64), np.empty(len(votes), "U2")
    for i, (counts, prior) in enumerate(zip(votes, soft, strict=True)):
        parts = _futures(counts, prior, max(0, panel - round(float(counts.sum()))), rules, draw)
        stays = np.logical_and.accumulate((parts == parts[:, -1:])[:, ::-1], axis=1)[:, ::-1]  # (F, 1 + votes)
        needed[i] = int(np.argmax(stays.mean(axis=0) >= CERTAINTY))
        names, frequency = np.unique(parts[:, -1], return_counts=True)
        part[i] = names[frequency.argmax()]
    return needed, part


def _futures(counts: Floats, prior: Floats, more: int, rules: Partition, draw: np.random.Generator) -> NDArray:
    """Return (F, 1 + more) the part of an utterance now and after each further vote, in F futures."""
    shares = draw.dirichlet(counts + np.maximum(prior, 1e-6), _FUTURES)  # (F, C)
    cumulative = shares.cumsum(axis=1)[:, None, :]
    choice = (draw.random((_FUTURES, more, 1)) > cumulative).sum(axis=2).clip(max=len(counts) - 1)  # (F, more)
    added = np.eye(len(counts))[choice].cumsum(axis=1)  # (F, more, C)
    totals = counts + np.concatenate([np.zeros((_FUTURES, 1, len(counts))), added], axis=1)
    whole = totals.sum(axis=2)
    share = totals.max(axis=2) / np.where(whole > 0, whole, 1)
    return np.select(
        [whole == 0, share >= rules.precise_share - _TOLERANCE, share >= rules.ambiguous_share - _TOLERANCE],
        ["", "D1", "D2"],
        "D3",
    )
