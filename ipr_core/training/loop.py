"""The loop. `warm_up` and `refine` train a session and yield events; a watcher is whoever iterates over them."""

from __future__ import annotations

import hashlib
import math
import resource
import sys
from collections.abc import Iterator
from time import perf_counter

import numpy as np
import torch

from ipr_core import metrics
from ipr_core.config import Training
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.method import equations as eq
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.training.minibatches import Batch
from ipr_core.training.session import Session

Event = StepEnd | EpochEnd


class LossError(FloatingPointError):
    """A loss that is no finite number; the message says which, when, and what to do."""


def warm_up(session: Session) -> Iterator[Event]:
    """Train on D1 alone up to the end of the warm-up. raises LossError"""
    yield from _epochs(session, session.config.training.warm_up)


def refine(session: Session) -> Iterator[Event]:
    """Train on D1 and D2 up to the last epoch; the warm-up first, where it is not done. raises LossError"""
    yield from _epochs(session, session.config.training.epochs)


def _epochs(session: Session, end: int) -> Iterator[Event]:
    for epoch in range(session.epoch, end):
        started = perf_counter()
        plan = session.begin_(epoch)
        losses = []
        for number, batch in enumerate(plan):
            seed_step(session, epoch, number)
            step = session.forward(batch, epoch, number / len(plan))
            loss = session.system.refine(step) if session.refining(epoch) else session.system.warm_up(step)
            session.optimizer.zero_grad()
            loss.total.backward()
            session.ranks.add_gradients_(session.model.parameters())
            session.optimizer.step()
            session.note_(step)
            losses.append(loss.values())
            shown = perf_counter()
            yield StepEnd(epoch, number + 1, len(plan), losses[-1], loss.names)
            started += perf_counter() - shown  # the clock stands while a watcher looks, or pauses the run
        means = dict(zip(loss.names, torch.stack(losses).mean(dim=0).tolist(), strict=True))
        _check_finite(epoch, {f"loss {name}": mean for name, mean in means.items()})
        trained = perf_counter()  # after the losses are read, for which a GPU has to have done its steps
        session.evaluate_()
        _check_finite(epoch, {"sum of the soft labels": session.own.sum().item()})  # the last step's losses were before
        session.settle_(epoch)
        clock = _clock(session, plan, trained - started, perf_counter() - trained)
        yield report(session, epoch, means, len(plan), clock)


def seed_step(session: Session, epoch: int, number: int) -> None:
    """Dropout and what else torch draws in a step: alike whatever ran before, and each rank's its own."""
    torch.manual_seed(_key(session.config.training, epoch, number) + session.ranks.rank)


def report(session: Session, epoch: int, losses: dict[str, float], steps: int, clock: dict[str, float]) -> EpochEnd:
    """The event of an epoch that is trained and evaluated."""
    own, soft = session.own.cpu().numpy(), session.soft.cpu().numpy()  # (N, C)
    model, prototypes = own.argmax(axis=1), soft.argmax(axis=1)  # (N,)
    truth, n_classes = session.data.labels, len(session.data.classes)
    d2, d3 = session.d2, session.d3
    refining = session.refining(epoch)
    gated = refining and session.system.shows_gate
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
        agreement_model=float((truth == model)[d2].mean()),
        agreement_prototypes=float((truth == prototypes)[d2].mean()),
        labels_model=np.bincount(model[d2], minlength=n_classes).tolist(),
        labels_prototypes=np.bincount(prototypes[d2], minlength=n_classes).tolist(),
        gate=float((session.agreed[d2] >= 0).float().mean()) if gated else None,
        clock=clock,
        arrays={
            "prototypes": session.prototypes.vectors.cpu().numpy(),
            "map": session.embeddings[session.sample].cpu().numpy(),
            "soft_model": own.astype(np.float16),
            "soft_prototypes": soft.astype(np.float16),
        },
    )


def _check_finite(epoch: int, values: dict[str, float]) -> None:
    """raises LossError before an epoch is kept that nothing can go on from  values: name → of the epoch"""
    wrong = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if wrong:
        raise LossError(
            f"epoch {epoch}: {', '.join(wrong)}; the epochs before it are kept. Train with a smaller lr or encoder_lr,"
            " or with precision fp32"
        )


def _clock(session: Session, plan: list[Batch], seconds: float, evaluation_seconds: float) -> dict[str, float]:
    heard = 2 if session.system.ambiguous_views else 1  # a batch has D2 also for a system that does not ask for it
    used = np.concatenate([rows for batch in plan for rows in (batch.precise, batch.ambiguous)[:heard]])
    if session.device.type == "cuda":
        peak = torch.cuda.max_memory_allocated(session.device) / 2**20
    else:  # kilobytes, but bytes on macOS
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)
    return {
        "seconds": seconds + evaluation_seconds,
        "evaluation_seconds": evaluation_seconds,
        "gpu_seconds": seconds + evaluation_seconds if session.device.type == "cuda" else 0.0,
        "utterances_per_second": len(used) / seconds,
        "audio_seconds_per_second": float(session.views.lengths[used].sum() / SAMPLE_RATE / seconds),
        "peak_memory_mb": peak,
    }


def _key(training: Training, epoch: int, step: int) -> int:
    text = f"{training.seed} {training.stream} {epoch} {step}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())
