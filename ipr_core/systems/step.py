"""What a system is given at a step and what it gives back, and the terms of Eq. 6 that several systems share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core import equations as eq
from ipr_core.config import Method


@dataclass(frozen=True)
class View:
    """One view of a batch through the model, with gradients.  embedding: (B, D)   logits: (B, C)"""

    embedding: Tensor
    logits: Tensor


@dataclass(frozen=True)
class Step:
    """A batch after its forward pass. Views that the system did not ask for are None."""

    method: Method
    beta: float
    precise: View
    labels: Tensor
    """(B,) the labels of D1's utterances."""
    precise_augmented: View | None = None
    ambiguous: View | None = None
    ambiguous_augmented: View | None = None
    own: Tensor | None = None
    """(B, C) the model's soft labels of D2's utterances, from the evaluation pass before the epoch."""
    soft: Tensor | None = None
    """(B, C) the prototypes' soft labels of D2's utterances."""
    compared: Tensor | None = None
    """(B, D) embeddings of D2's utterances as they meet the prototypes."""
    truth: Tensor | None = None
    """(B,) the hidden labels of D2's utterances: for `supervised` alone."""


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 6 before their weights, and the weights."""

    precise: Tensor
    ambiguous: Tensor
    contrastive: Tensor
    alpha: float
    beta: float
    mu: float

    @property
    def total(self) -> Tensor:
        return eq.total_loss(self.precise, self.ambiguous, self.contrastive, self.alpha, self.beta, self.mu)

    def values(self) -> Tensor:
        """(4,) precise, ambiguous, contrastive, total, detached: read once an epoch, so that no GPU is waited for."""
        return torch.stack([self.precise, self.ambiguous, self.contrastive, self.total]).detach()


TERM_NAMES = ("precise", "ambiguous", "contrastive", "total")


@dataclass(frozen=True)
class System:
    """What is trained on what."""

    title: str
    """Its name in tables and figures."""
    about: str
    """What it is trained on, for a legend."""
    refine: Callable[[Step], Terms]
    """The losses of a step after the warm-up; in the warm-up every system has `precise_loss` alone."""
    precise_views: int = 1
    """Views of D1: 2 adds the augmented one."""
    ambiguous_views: int = 0
    """Views of D2: none, the clean one, or the augmented one too."""
    moves_prototypes: bool = False
    """Whether D2 moves the prototypes (Eq. 4); otherwise they are D1's class means, for analysis alone."""


def terms(
    step: Step, ambiguous: Tensor | None = None, contrastive: Tensor | None = None, beta: float | None = None
) -> Terms:
    """The terms of Eq. 6: D1's always, the others where a system has them."""
    nothing = step.precise.logits.new_zeros(())
    return Terms(
        precise=precise_loss(step),
        ambiguous=nothing if ambiguous is None else ambiguous,
        contrastive=nothing if contrastive is None else contrastive,
        alpha=step.method.alpha,
        beta=step.beta if beta is None else beta,
        mu=step.method.mu,
    )


def precise_loss(step: Step) -> Tensor:
    """CE(x^q, y) on D1, the mean over its views."""
    views = [view for view in (step.precise, step.precise_augmented) if view is not None]
    return torch.stack([eq.cross_entropy(view.logits, step.labels) for view in views]).mean()


def ambiguous_loss(step: Step, soft: Tensor) -> Tensor:
    """CE(x^k, ŷ) on D2, ŷ made of a soft label as the readings `target`, `confidence` and `augmented_target` say.

    soft: (B, C), rows sum to 1
    """
    target = eq.pseudo_labels(soft) if step.method.target == "hard" else soft
    weight = soft.max(dim=-1).values if step.method.confidence else None
    views = [step.ambiguous, step.ambiguous_augmented] if step.method.augmented_target else [step.ambiguous]
    return torch.stack([eq.cross_entropy(view.logits, target, weight) for view in views if view is not None]).mean()


def contrastive_term(step: Step, soft: Tensor) -> Tensor:
    """L_con between the two views of D2 (Eq. 5), as the readings `positives`, `contrast` and `tau` say."""
    k, aug = step.ambiguous.embedding, step.ambiguous_augmented.embedding
    if step.method.contrast == "cosine":
        k, aug = F.normalize(k, dim=-1), F.normalize(aug, dim=-1)
    if step.method.positives == "label":
        positives = eq.same_label(eq.pseudo_labels(soft))
    else:
        positives = eq.same_utterance(len(k), k.device)
    return eq.contrastive_loss(k, aug, positives, step.method.tau)
