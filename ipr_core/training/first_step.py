"""A step of the refinement to look at: one minibatch with its two views, as the model of the warm-up sees it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ipr_core.data.dataset import Dataset
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import ProgressBar, advance, kept_budget
from ipr_core.training.conditions import PROCESS_THREADS, conditions
from ipr_core.training.session import Session


@dataclass(frozen=True)
class FirstStep:
    """A minibatch of the refinement's first epoch: B utterances of D2 and as many of D1, in evaluation mode."""

    i: int
    """The utterance of interest, as an index into the B utterances of D2."""
    rows: np.ndarray
    """(B,) the utterances of D2, as rows of the utterance table."""
    k: Tensor
    """(B, D) embeddings of D2's clean views (Eq. 1)."""
    k_aug: Tensor
    """(B, D) embeddings of their second views."""
    logits: Tensor
    """(B, C) of the classifier for k: MLP(k)."""
    logits_aug: Tensor
    """(B, C) of the classifier for k_aug."""
    logits_precise: Tensor
    """(B, C) of the classifier for D1's utterances."""
    labels: Tensor
    """(B,) the labels of D1's utterances."""
    prototypes: Tensor
    """(C, D) as the warm-up left them."""
    epoch: int
    """e of Eq. 7, as the run's reading counts it."""
    epochs: int
    """E of Eq. 7."""


def first_step(run: Run, data: Dataset) -> FirstStep:
    """Return the minibatch of the refinement's first epoch that holds D2's least certain utterance.

    It is the one whose soft label, by the prototypes of the warm-up, has the lowest largest share. Without dropout, so
    training itself sees slightly other numbers. Trains the warm-up first if it is not trained.
    raises RunError while the run is being trained elsewhere
    """
    advance(run, data, "warm_up", ProgressBar(run.config, "warm_up"))
    with run.locked():  # making a model draws from torch's generator, which a training in a thread uses too
        threads, epoch = run.threads or PROCESS_THREADS, run.config.training.warm_up
        state = run.load_state("warm_up")
        if state is None and epoch > 0:
            raise RunError(f"{run.folder / 'warm_up.safetensors'} is missing; {run.mended}")
        session = Session(run.config, data, state=state, threads=threads, memory_gb=kept_budget(run))
    with conditions(threads):
        return _first_step(session, epoch)


@torch.no_grad()
def _first_step(session: Session, epoch: int) -> FirstStep:
    model, views, certainty = session.model.eval(), session.views, session.schedule.soft.max(dim=1).values.cpu().numpy()
    skipped = epoch if session.config.method.beta_from == "warm_up" else 0
    row = session.d2[certainty[session.d2].argmin()]
    minibatch = next(minibatch for minibatch in session.plan(epoch) if row in minibatch.ambiguous)
    k, logits = model(*views.clean(minibatch.ambiguous))
    k_aug, logits_aug = model(*views.augmented(minibatch.ambiguous, epoch))
    _, logits_precise = model(*views.clean(minibatch.precise))
    return FirstStep(
        i=list(minibatch.ambiguous).index(row),
        rows=minibatch.ambiguous,
        k=k.cpu(),
        k_aug=k_aug.cpu(),
        logits=logits.cpu(),
        logits_aug=logits_aug.cpu(),
        logits_precise=logits_precise.cpu(),
        labels=session.labels[torch.as_tensor(minibatch.precise, device=session.device)].cpu(),
        prototypes=session.prototypes.vectors.cpu(),
        epoch=epoch - skipped,
        epochs=max(session.config.training.epochs - skipped, 1),
    )
