"""The events of a run, frozen: training yields them, runs keep them, figures are drawn from them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Literal

import numpy as np

Phase = Literal["warm_up", "refinement"]


@dataclass(frozen=True)
class StepEnd:
    """The end of a step, for progress displays; the run folder does not keep it."""

    epoch: int
    step: int
    steps: int
    values: Any = field(repr=False)
    """A tensor of loss terms on the training device, in the order of `names`; reading it waits for a GPU."""
    names: tuple[str, ...]
    """Of the terms of Eq. 6, of those that the system has of its own, and of their total."""


@dataclass(frozen=True)
class EpochEnd:
    """The end of an epoch: trained and evaluated."""

    epoch: int
    phase: Phase
    beta: float
    """Weight of the loss on the ambiguous utterances (Eq. 7)."""
    losses: dict[str, float]
    """Means over the steps: the terms of Eq. 6 and the system's own by name, before their weights, and their total."""
    steps: int
    accuracy: float
    """On D3, of the classifier; so are uar, macro_f1 and confusion."""
    uar: float
    macro_f1: float
    confusion: list[list[int]]
    """Truth by row, prediction by column."""
    accuracy_prototypes: float | None
    """On D3, of the nearest prototype. All values of prototypes are None to a reader if the system has none."""
    cosines: list[list[float]] | None
    """Cosine between every two prototypes (Figure 2)."""
    agreement_model: float | None
    """Share of D2 whose label by the classifier is the true one (Figure 3); None if the truth is not known."""
    agreement_prototypes: float | None
    """Share of D2 whose label by the prototypes is the true one (Figure 3)."""
    labels_model: list[int]
    """Utterances of D2 per class by the classifier."""
    labels_prototypes: list[int] | None
    """Utterances of D2 per class by the prototypes; one class that takes all is a collapse."""
    gate: float | None
    """Share of D2 whose two views the classifier agreed on (Eq. 4's gate); None if there were no two views."""
    clock: dict[str, float] = field(compare=False)
    """seconds, of these evaluation_ and gpu_seconds, utterances_ and audio_seconds_per_second, peak_memory_mb."""
    arrays: dict[str, np.ndarray] = field(compare=False, repr=False, default_factory=dict)
    """prototypes (C, D); map (M, D), embeddings of the sample for the UMAP; soft_model and soft_prototypes (N, C).
    Where the classifier names two views of D2, views (N, 2): its classes in the epoch's steps, -1 for all but D2.
    Records of earlier versions have none."""
    labels_changed: int | None = None
    """Utterances of D2 whose pseudo-label the epoch's moves changed (Eq. 4): by the prototypes after its last move
    against those before its first, both of the embeddings after the epoch. None, as are the next two, in the warm-up,
    where D2 moves nothing, and in records of version 0.1."""
    labels_beyond_d1: int | None = None
    """Utterances of D2 whose pseudo-label is another one than by D1's class means of the same embeddings."""
    angles: list[float] | None = None
    """Degrees between each prototype before the epoch's first move and after its last (Eq. 4)."""
    validation: dict[str, float] | None = None
    """Of the classifier, on V1: accuracy, uar, nll (nats) and its utterances; on V2: accuracy_ambiguous and
    utterances_ambiguous. None without a V1, and in records of version 0.1."""


def without_prototypes(event: EpochEnd) -> EpochEnd:
    """Return the event of a system that has no prototypes; D1's class means are recorded for it all the same."""
    return replace(event, accuracy_prototypes=None, cosines=None, agreement_prototypes=None, labels_prototypes=None)


def to_json(event: EpochEnd) -> dict[str, Any]:
    """Return the event as plain values, without its arrays, which have files of their own."""
    values = asdict(event)
    del values["arrays"]
    return {"event": type(event).__name__, **_finite(values)}


def from_json(values: dict[str, Any], arrays: dict[str, np.ndarray] | None = None) -> EpochEnd:
    """Return the event that `to_json` wrote, with its arrays."""
    values = {key: value for key, value in values.items() if key != "event"}
    return EpochEnd(**values, arrays=arrays or {})


def _finite(value: Any) -> Any:
    """Replace infinity and NaN, which JSON does not have, by None."""
    if isinstance(value, dict):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list):
        return [_finite(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
