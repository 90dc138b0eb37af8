"""The loop: `warm_up` and `refine` train a session and yield events to whoever iterates over them.

An epoch is steps on minibatches of D1 and D2, then one evaluation of every utterance. `systems/` has the losses,
`prototypes.py` the prototypes' schedule, `session.py` the forward pass.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Generator
from time import perf_counter

import torch

from ipr_core.config import Training
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.sentence import SentenceError
from ipr_core.training.conditions import under_conditions
from ipr_core.training.epoch_end import clock, epoch_end
from ipr_core.training.session import Session

Event = StepEnd | EpochEnd


class LossError(SentenceError, FloatingPointError):
    """A loss that is not finite; the message names it and its epoch, and gives the cure."""


def warm_up(session: Session) -> Generator[Event, None, None]:
    """Train on D1 alone up to the end of the warm-up. raises LossError"""
    return under_conditions(_epochs(session, session.config.training.warm_up), session.threads)


def refine(session: Session) -> Generator[Event, None, None]:
    """Train on D1 and D2 up to the last epoch, after what is left of the warm-up. raises LossError"""
    return under_conditions(_epochs(session, session.config.training.epochs), session.threads)


def _epochs(session: Session, end: int) -> Generator[Event, None, None]:
    system, schedule, companion, optimizer = session.system, session.schedule, session.companion, session.optimizer
    for epoch in range(session.epoch, end):
        start = perf_counter()
        refining = session.refining(epoch)
        loss_terms = system.refinement_terms if refining else system.warm_up_terms
        schedule.before_epoch_(epoch, session.embeddings)  # Eq. 2, where prototypes move at each step
        plan = session.begin_(epoch)
        values = []
        for number, minibatch in enumerate(plan):
            seed_step(session, epoch, number)
            step = session.forward(minibatch, epoch, number / len(plan))  # Eq. 1; Eq. 3, D2's labels; Eq. 7, β
            if refining:  # the companion is the system's own module, if it has one: a discriminator, averages
                with torch.no_grad():
                    companion.before_step_(step)
            terms = loss_terms(step)  # Eq. 5 is one of them
            optimizer.zero_grad()
            terms.total.backward()  # Eq. 6
            optimizer.step()
            schedule.after_step_(step)  # Eq. 4: the classes of its gate; the move, where each step makes one
            values.append(terms.values())
            pause = perf_counter()
            yield StepEnd(epoch, number + 1, len(plan), values[-1], terms.names)
            start += perf_counter() - pause  # the clock stands while a watcher looks, or pauses the run
        means = dict(zip(terms.names, torch.stack(values).mean(dim=0).tolist(), strict=True))
        _check_finite(epoch, {f"loss {name}": mean for name, mean in means.items()})
        middle = perf_counter()  # after the losses are read, for which a GPU has to have done its steps
        session.evaluate_()  # Eq. 1: every utterance
        _check_finite(epoch, {"sum of the soft labels": session.classifier_soft.sum().item()})  # after the last step
        if refining:
            companion.after_epoch_()
        replacement = companion.prototypes if refining else None  # prototypes that the system keeps itself
        schedule.after_epoch_(epoch, session.embeddings, [b.ambiguous for b in plan], replacement)  # Eq. 2, Eq. 4
        session.epoch = epoch + 1
        yield epoch_end(session, epoch, means, len(plan), clock(session, plan, middle - start, perf_counter() - middle))


def seed_step(session: Session, epoch: int, number: int) -> None:
    """Seed dropout and whatever else torch draws in a step: alike whatever ran before."""
    session.passes.seed(_key(session.config.training, epoch, number))


def _key(training: Training, epoch: int, step: int) -> int:
    text = f"{training.seed} {training.stream} {epoch} {step}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=7).digest())


def _check_finite(epoch: int, values: dict[str, float]) -> None:
    """Refuse an epoch that nothing can go on from, before it is kept.  values: by name. raises LossError"""
    faults = [f"{name} is {value}" for name, value in values.items() if not math.isfinite(value)]
    if faults:
        raise LossError(
            f"epoch {epoch}: {', '.join(faults)}; the epochs before it are kept. Train with a smaller lr or encoder_lr,"
            " or with precision fp32"
        )
