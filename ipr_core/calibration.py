"""Calibration of soft labels: a temperature, and a bias per class where it helps, fitted to votes after training.

A trained recogniser's shares are far too sure. They are made as unsure as the annotators are, on utterances that it has
not learnt from: softmax(log p / T + b), which is temperature scaling (Guo et al. 2017, section 4.2) with a bias, by the
negative log-likelihood of the votes. N utterances, C classes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from torch import Tensor

Floats = NDArray[np.float64]
Source = Literal["none", "annotators", "agreement", "simulated"]

FOLDS = 5
"""Folds of the cross-validation."""
SMALLEST = float(np.finfo(np.float32).eps)
"""Smaller shares count as this one: beside a share of 1, single precision cannot tell them from 0."""
_STEEPEST = 1e3  # the largest and the smallest temperature lie this factor from 1
_SOURCES = {
    "annotators": "the annotators' votes",
    "agreement": "the annotators' agreement with the label, the rest spread evenly over the other classes",
    "simulated": "the votes of SIMULATED annotators (classifiers, no people)",
}


@dataclass(frozen=True)
class Calibration:
    """A fitted calibration, which maps shares to shares; by default the identity."""

    temperature: float = 1.0
    """T: log p is divided by it. Above 1 it makes labels less sure."""
    bias: tuple[float, ...] = ()
    """b, one a class, in nats; empty where it does not help."""
    utterances: int = 0
    """How many utterances it was fitted to."""
    votes: Source = "none"
    """Whose votes: the annotators' for each class, their agreement with the label alone, or simulated ones."""
    nll_before: float | None = None
    """Mean NLL of the votes by the uncalibrated labels, in nats."""
    nll_after: float | None = None
    """The same by labels that are calibrated without their own fold; None for too few utterances."""

    def __post_init__(self) -> None:
        if not (0 < self.temperature < np.inf and np.isfinite(self.bias).all()):
            raise ValueError(f"a calibration has a temperature of {self.temperature} and the bias {self.bias}")

    @classmethod
    def described(cls, values: Mapping[str, Any]) -> Calibration:
        """Return the calibration of a JSON object. raises TypeError, ValueError if it is of something else"""
        return cls(**{**values, "bias": tuple(values.get("bias", ()))})

    def __call__(self, shares: Tensor) -> Tensor:
        """Return calibrated shares; the identity returns them as they are.  shares: (B, C) → (B, C)"""
        if self.temperature == 1 and not self.bias:
            return shares
        logits = shares.float().clamp_min(SMALLEST).log() / self.temperature
        if self.bias:
            logits = logits + torch.tensor(self.bias, dtype=logits.dtype, device=logits.device)
        return logits.softmax(dim=-1).to(shares.dtype)

    def __str__(self) -> str:
        """Say in words what was fitted, to what, and what it changed."""
        if not self.utterances:
            return "not calibrated: no utterance was held out for it (validation_share)"
        bias = "with a bias per class" if self.bias else "without a bias"
        gain = f"; NLL of the votes {self.nll_before:.2f} → {self.nll_after:.2f}" if self.nll_after is not None else ""
        return (
            f"calibrated on {self.utterances} held-out utterances by {_SOURCES[self.votes]}: temperature "
            f"{self.temperature:.2f}, {bias}{gain}"
        )


def fit(
    shares: Floats, targets: Floats, groups: Sequence[str], votes: Source, seed: int = 0, biased: bool = True
) -> Calibration:
    """Fit a calibration to the votes of utterances that nothing was trained on.

    The bias is kept where it lowers the cross-validated NLL by more than the standard error of that difference.

    shares, targets: (N, C), rows sum to 1; the targets are the votes' distribution   groups: (N,) names, of speakers or
    utterances, that no fold divides   votes: whose they are   seed: of the folds   biased: whether a bias is tried
    raises ValueError if there is no utterance
    """
    if not len(shares):
        raise ValueError("a calibration is fitted to utterances, and there is none")
    log_p = _log(shares)
    nll, folds = float(_nll(log_p, targets).mean()), _folds(groups, seed)
    if folds.max() == 0:
        temperature, _ = _fitted(log_p, targets, biased=False)
        return Calibration(temperature, (), len(log_p), votes, nll)
    by_form = {form: _out_of_fold(log_p, targets, folds, form) for form in (False, biased)}
    gain = by_form[False] - by_form[biased]
    helps = bool(gain.mean() > gain.std(ddof=1) / np.sqrt(len(gain)))
    temperature, bias = _fitted(log_p, targets, helps)
    return Calibration(temperature, bias, len(log_p), votes, nll, float(by_form[helps].mean()))


def _log(shares: Floats) -> Floats:
    return np.log(np.asarray(shares, np.float64).clip(SMALLEST))


def _nll(logits: Floats, targets: Floats) -> Floats:
    """Return (N,) the NLL of soft targets, in nats.  logits, targets: (N, C)"""
    nll: Floats = -(targets * log_softmax(logits, axis=1)).sum(axis=1)
    return nll


def _out_of_fold(log_p: Floats, targets: Floats, folds: NDArray[np.int64], biased: bool) -> Floats:
    """Return (N,) the NLL of every utterance by a calibration that is fitted without its fold."""
    nll = np.empty(len(log_p))
    for fold in np.unique(folds):
        test = folds == fold
        temperature, bias = _fitted(log_p[~test], targets[~test], biased)
        nll[test] = _nll(log_p[test] / temperature + np.array(bias or 0.0), targets[test])
    return nll


def _fitted(log_p: Floats, targets: Floats, biased: bool) -> tuple[float, tuple[float, ...]]:
    """Return temperature and bias of the smallest NLL, which is convex in (1/T, b).

    A standard normal prior on log T and on every bias keeps few utterances from running away: alike ones that are all
    right would ask for a temperature of 0.
    """
    n_classes = log_p.shape[1] if biased else 0

    def loss(x: Floats) -> tuple[float, Floats]:
        slope, bias = x[0], x[1:]
        logits = slope * log_p + bias if biased else slope * log_p
        residual = softmax(logits, axis=1) - targets
        value = _nll(logits, targets).sum() + (np.log(slope) ** 2 + (bias**2).sum()) / 2
        by_slope = (residual * log_p).sum() + np.log(slope) / slope
        return value, np.concatenate([[by_slope], (residual.sum(axis=0) if biased else bias) + bias])

    start = np.concatenate([[1.0], np.zeros(n_classes)])
    bounds = [(1 / _STEEPEST, _STEEPEST)] + [(None, None)] * n_classes
    options = {"ftol": 1e-14, "gtol": 1e-9, "maxiter": 1000}
    slope, *bias = minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds, options=options).x.tolist()
    return 1 / slope, tuple(bias)


def _folds(groups: Sequence[str], seed: int) -> NDArray[np.int64]:
    """Return (N,) the fold of every utterance: groups in a random order of the seed, dealt in turn."""
    names = sorted(set(groups), key=lambda name: hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())
    turn = {name: i % FOLDS for i, name in enumerate(names)}
    return np.array([turn[name] for name in groups], np.int64)
