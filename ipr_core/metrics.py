"""Scores of labels: hard ones against the truth, soft ones against the votes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import rel_entr
from scipy.stats import t as student
from sklearn.metrics import accuracy_score, average_precision_score, confusion_matrix, f1_score, recall_score

Shares = NDArray[np.floating]

TIE = 1e-9
"""Shares that differ by less are alike: 0.7 + 0.2 + 0.1 are 1, whatever the floats say."""


def hard_scores(truth: ArrayLike, predicted: ArrayLike, n_classes: int) -> dict[str, float]:
    """Return accuracy, uar (unweighted average recall) and macro_f1, over the classes in `truth`.

    truth, predicted: (N,) classes
    """
    present = np.unique(truth)
    if present.max(initial=0) >= n_classes:
        raise ValueError(f"a class is {present.max()}; there are {n_classes}")
    average = dict(labels=present, average="macro", zero_division=0)
    return {
        "accuracy": float(accuracy_score(truth, predicted)),
        "uar": float(recall_score(truth, predicted, **average)),
        "macro_f1": float(f1_score(truth, predicted, **average)),
    }


def confusion(truth: ArrayLike, predicted: ArrayLike, n_classes: int) -> NDArray[np.int64]:
    """Count utterances, truth by row and prediction by column.  returns: (C, C)"""
    return confusion_matrix(truth, predicted, labels=np.arange(n_classes))


def recalls(confusion: ArrayLike) -> Shares:
    """Return each class's share of recognised utterances; nan for a class that has none.

    confusion: (C, C) counts, truth by row   returns: (C,)
    """
    counts = np.asarray(confusion, np.float64)
    total = counts.sum(axis=1)
    return np.diag(counts) / np.where(total > 0, total, np.nan)


def js_divergence(p: Shares, q: Shares) -> Shares:
    """Return the Jensen-Shannon divergence of every pair of rows, in bits: 0 the same, 1 disjoint.

    p, q: (N, C), rows sum to 1   returns: (N,)
    """
    p, q = np.asarray(p, np.float64), np.asarray(q, np.float64)
    middle = (p + q) / 2
    return (rel_entr(p, middle) + rel_entr(q, middle)).sum(axis=1) / (2 * np.log(2))


def entropy(p: Shares) -> Shares:
    """Return the entropy of every row, in bits.  p: (N, C)   returns: (N,)"""
    p = np.asarray(p, np.float64)
    return -(p * np.log2(np.where(p > 0, p, 1))).sum(axis=1)


def soft_scores(soft: Shares, votes: Shares) -> dict[str, float]:
    """Compare soft labels with the annotators' distributions; means over the utterances.

    soft, votes: (N, C), rows sum to 1
    returns: js (bits), nll (nats), brier (sum over classes), ece (of the largest share against the votes for the named
    class; nan for labels that name none), auprc (average precision of the soft label's entropy for finding the
    utterances without a majority, those where no class has more than half of the votes, as Wu et al. 2024, arXiv
    2402.12862, judge uncertainty; nan where all or none are such), no_majority (their share, the auprc of labels that
    know nothing)
    """
    soft, votes = np.asarray(soft, np.float64), np.asarray(votes, np.float64)
    floor = np.finfo(np.float32).tiny
    no_majority = votes.max(axis=1) <= 0.5 + TIE  # half of the votes, whatever a sum of floats says
    return {
        "js": float(js_divergence(soft, votes).mean()),
        "nll": float(-(votes * np.log(soft.clip(floor))).sum(axis=1).mean()),
        "brier": float(((soft - votes) ** 2).sum(axis=1).mean()),
        "ece": expected_calibration_error(soft, votes),
        "auprc": float(average_precision_score(no_majority, entropy(soft)))
        if 0 < no_majority.sum() < len(votes)
        else float("nan"),
        "no_majority": float(no_majority.mean()),
    }


def expected_calibration_error(soft: Shares, votes: Shares, bins: int = 15) -> float:
    """Return the mean gap between confidence and the votes for the named class, over equal-width bins of confidence.

    The votes' share of that class is the accuracy that a single vote would find: unlike the votes' plurality, which may
    be a tie, it does not depend on the order of the classes. Where several classes share the largest share, it is their
    mean. Labels in which all classes do name none and are left out. Bins are weighted by their size.

    soft, votes: (N, C), rows sum to 1   returns: nan if no label names a class
    """
    soft, votes = np.asarray(soft, np.float64), np.asarray(votes, np.float64)
    confidence = soft.max(axis=1)
    largest = soft >= confidence[:, None] - TIE
    names_one = ~largest.all(axis=1)
    if not names_one.any():
        return float("nan")
    right = (votes * largest).sum(axis=1) / largest.sum(axis=1)
    index = np.minimum((confidence * bins).astype(int), bins - 1)[names_one]
    gap = np.bincount(index, (confidence - right)[names_one], minlength=bins)
    return float(np.abs(gap).sum() / names_one.sum())


def paired_difference(a: ArrayLike, b: ArrayLike) -> dict[str, float]:
    """Mean of a − b over pairs (the same seeds), its standard deviation, and the two-sided paired t-test's p.

    a, b: (N,), N at least 2
    """
    difference = np.asarray(a, np.float64) - np.asarray(b, np.float64)
    if difference.size < 2:
        raise ValueError(f"{difference.size} pair; a paired test needs at least 2 seeds")
    mean, deviation = difference.mean(), difference.std(ddof=1)
    if deviation == 0:
        return {"mean": float(mean), "deviation": 0.0, "p": float(mean == 0)}
    n = difference.size
    p = 2 * student.sf(abs(mean) / deviation * np.sqrt(n), n - 1)  # scipy's own test warns where differences are alike
    return {"mean": float(mean), "deviation": float(deviation), "p": float(p)}
