"""The event of an epoch that is trained and evaluated: its figures, its arrays and its clock."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.machine import peak_memory
from ipr_core.method import equations as eq
from ipr_core.runs.events import EpochEnd
from ipr_core.training.minibatches import Minibatch
from ipr_core.training.session import Session


def epoch_end(session: Session, epoch: int, losses: dict[str, float], steps: int, clock: dict[str, float]) -> EpochEnd:
    """Return the event of an epoch that has just been evaluated."""
    classifier_soft, prototype_soft = (
        session.classifier_soft.cpu().numpy(),
        session.schedule.soft.cpu().numpy(),
    )  # (N, C)
    model, prototypes = classifier_soft.argmax(axis=1), session.schedule.labels.cpu().numpy()  # (N,)
    truth, n_classes = session.data.labels, len(session.data.classes)
    d2, d3 = session.d2, session.d3
    refining = session.refining(epoch)
    gated, refinement = refining and session.system.shows_gate, session.schedule.refinement
    return EpochEnd(
        epoch=epoch,
        phase="refinement" if refining else "warm_up",
        beta=session.beta(epoch),
        losses=losses,
        steps=steps,
        **metrics.hard_scores(truth[d3], model[d3], n_classes),
        confusion=metrics.confusion(truth[d3], model[d3], n_classes).tolist(),
        accuracy_prototypes=float((truth == prototypes)[d3].mean()),
        cosines=eq.cosines(session.prototypes.vectors).tolist(),
        agreement_model=_agreement(truth[d2], model[d2]),
        agreement_prototypes=_agreement(truth[d2], prototypes[d2]),
        labels_model=np.bincount(model[d2], minlength=n_classes).tolist(),
        labels_prototypes=np.bincount(prototypes[d2], minlength=n_classes).tolist(),
        gate=float(eq.one_class(session.schedule.classes.classifier[d2]).float().mean()) if gated else None,
        labels_changed=refinement.labels_changed if refinement else None,
        labels_beyond_d1=refinement.labels_beyond_d1 if refinement else None,
        angles=refinement.angles if refinement else None,
        validation=_validation(session, classifier_soft),
        clock=clock,
        arrays={
            "prototypes": session.prototypes.vectors.cpu().numpy(),
            "map": session.embeddings[session.sample].cpu().numpy(),
            "soft_model": classifier_soft.astype(np.float16),
            "soft_prototypes": prototype_soft.astype(np.float16),
            **(dict(views=session.schedule.classes.classifier.cpu().numpy().astype(np.int16)) if gated else {}),
        },
    )


def _agreement(truth: NDArray[np.int64], labels: NDArray[np.int64]) -> float | None:
    """Return the share of right labels (N,) among those whose truth (N,) is known; None where none is, as of ties."""
    hits = (truth == labels)[truth >= 0]
    return float(hits.mean()) if len(hits) else None


def _validation(session: Session, soft: NDArray[np.floating]) -> dict[str, float] | None:
    """Return the classifier's scores on V1, and its accuracy on V2; None without V1.  soft: (N, C)"""
    rows, ambiguous, truth = session.data.rows("V1"), session.data.rows("V2"), session.data.labels
    if not len(rows):
        return None
    scores = metrics.hard_scores(truth[rows], soft[rows].argmax(axis=1), len(session.data.classes))
    right = soft[rows, truth[rows]].clip(np.finfo(np.float32).tiny)
    agreement, labelled = soft[ambiguous].argmax(axis=1), int((truth[ambiguous] >= 0).sum())
    return {
        "accuracy": scores["accuracy"],
        "uar": scores["uar"],
        "nll": float(-np.log(right).mean()),
        "utterances": len(rows),
        "accuracy_ambiguous": _agreement(truth[ambiguous], agreement) or 0.0,
        "utterances_ambiguous": labelled,
    }


def clock(session: Session, plan: Sequence[Minibatch], seconds: float, evaluation_seconds: float) -> dict[str, float]:
    """Return an epoch's times, rates and peak memory; `EpochEnd.clock` names them.

    seconds: of the steps alone
    """
    parts = 2 if session.system.ambiguous_views else 1  # the plan has D2 also for a system that does not ask for it
    rows = np.concatenate([part for minibatch in plan for part in (minibatch.precise, minibatch.ambiguous)[:parts]])
    return {
        "seconds": seconds + evaluation_seconds,
        "evaluation_seconds": evaluation_seconds,
        "gpu_seconds": seconds + evaluation_seconds if session.device.type == "cuda" else 0.0,
        "utterances_per_second": len(rows) / seconds,
        "audio_seconds_per_second": float(session.views.lengths[rows].sum() / SAMPLE_RATE / seconds),
        "peak_memory_mb": _peak_mb(session.device),
    }


def _peak_mb(device: torch.device) -> float:
    """Return the largest memory so far, of the GPU's tensors or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return peak_memory() / 2**20
