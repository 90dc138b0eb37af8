"""The prototypes, one vector a class: `Prototypes` says how they change (Eq. 2 to 4), `PrototypeSchedule` when.

The equations are pure functions in `equations.py`; the readings of `config.Method` choose among them here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from ipr_core.config import Method
from ipr_core.method import equations as eq

if TYPE_CHECKING:
    from ipr_core.method.systems.step import Step

_UPDATES = {
    "closed": eq.update_prototypes_closed,
    "sequential": eq.update_prototypes,
    "batch": eq.update_prototypes_batch,
}


class Prototypes:
    """One prototype a class. Methods that end in `_` change them; everything is detached from the graph.

    vectors: (C, D)
    """

    def __init__(self, n_classes: int, dim: int, method: Method, device: torch.device | str = "cpu"):
        self.method = method
        self.vectors = torch.zeros(n_classes, dim, device=device)

    def anchor_(self, q: Tensor, y: Tensor) -> None:
        """Set every prototype to its class mean over D1 (Eq. 2).  q: (N, D)   y: (N,)"""
        self.vectors = self._unit(eq.class_means(self._unit(q.detach()), y, len(self.vectors)))

    def follow_(self, q: Tensor, y: Tensor) -> None:
        """Move every prototype by D1's embeddings of its class: Eq. 4 with s_c = 1.  q: (N, D)   y: (N,)"""
        weight = F.one_hot(y, len(self.vectors)).to(q)
        self.vectors = eq.update_prototypes_closed(self.vectors, self._unit(q.detach()), weight, self.method.gamma)

    def similarity(self, k: Tensor) -> Tensor:
        """Return s, the similarity of every utterance to every prototype.  k: (B, D) → (B, C)"""
        return eq.similarity(self._unit(k.detach()), self.vectors)

    def soft(self, k: Tensor) -> Tensor:
        """Return the soft label of every utterance (section 2.2).  k: (B, D) → (B, C), rows sum to 1"""
        s = self.similarity(k)
        if self.method.soft_label == "raw":
            return eq.raw_soft_labels(s)
        return eq.soft_labels(s, self.method.temperature)

    def move_(self, k: Tensor, agreed: Tensor) -> Tensor:
        """Move the prototypes by a minibatch of D2 (Eq. 4).

        k: (B, D)   agreed: (B,) the class that the classifier names for both views, -1 where it names two
        returns: (B,) bool, the utterances that passed the gate
        """
        s = self.similarity(k)
        labels = eq.pseudo_labels(s)  # Eq. 3
        weight = s if self.method.soft_label == "raw" else self.soft(k)  # s_c of Eq. 4
        gate = self._gate(agreed, labels)  # the condition of Eq. 4
        if self.method.moves == "agreed":  # the pseudo-label's prototype alone, as Eq. 4 is printed
            weight = eq.movement(weight, labels, gate)
        else:  # all of them, as section 2.2 says
            weight = weight * gate[:, None]
        update = _UPDATES[self.method.update]
        self.vectors = update(self.vectors, self._unit(k.detach()), weight, self.method.gamma)  # Eq. 4
        return gate

    def _gate(self, agreed: Tensor, labels: Tensor) -> Tensor:
        """Return who moves prototypes: (B,) bool."""
        if self.method.gate == "none":
            return torch.ones_like(agreed, dtype=torch.bool)
        views = agreed >= 0
        return views & (agreed == labels) if self.method.gate == "views+prototype" else views

    def _unit(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.method.unit_norm else vectors


class PrototypeSchedule:
    """When a run's prototypes are set and moved, and when they label D2: before and after each epoch and step.

    In the warm-up, and for systems whose D2 moves nothing, they follow D1. In the refinement D2 meets them once after
    each epoch, as the evaluation pass sees it, or at every step (`compare_when`). Either way they are first set to
    D1's class means, then moved by D2, or only one of the two, or neither (`after_warm_up`).

    d1: rows of D1   labels: (N,) of which D1's alone are read   warm_up: epochs   d2_moves: whether D2 moves them
    """

    soft: Tensor
    """(N, C) the soft labels of all utterances after the last epoch."""
    agreed: Tensor
    """(N,) the class that the classifier named for both views at the utterance's last step of the epoch, or -1."""

    def __init__(self, prototypes: Prototypes, d1: NDArray[np.int64], labels: Tensor, warm_up: int, d2_moves: bool):
        self.prototypes, self.warm_up, self.d2_moves = prototypes, warm_up, d2_moves
        self._d1, self._y = d1, labels[d1]
        method = prototypes.method
        self.each_step = d2_moves and method.compare_when == "step"
        self._anchors, self._moves = ("anchor" in method.after_warm_up, "move" in method.after_warm_up)
        self._averages = d2_moves and method.warm_up_prototypes == "moving"
        self.agreed = torch.full_like(labels, -1)

    def start_(self, embeddings: Tensor) -> None:
        """Set the prototypes before the first epoch.  embeddings: (N, D)"""
        self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2
        self.soft = self.prototypes.soft(embeddings)

    def before_epoch_(self, epoch: int, embeddings: Tensor) -> None:
        """Forget who agreed; where D2 moves prototypes at each step, set them to D1's means first.

        embeddings: (N, D) of the evaluation before the epoch
        """
        self.agreed.fill_(-1)
        if epoch >= self.warm_up and self.each_step and self._anchors:
            self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2

    def soft_labels(self, rows: Tensor, k: Tensor) -> Tensor:
        """Return the soft labels that a step trains on: now computed, or those of the epoch before.

        rows: (B,) utterances of D2   k: (B, D) their embeddings   returns: (B, C)
        """
        return self.prototypes.soft(k) if self.each_step else self.soft[rows]

    @torch.no_grad()
    def after_step_(self, step: Step) -> None:
        """Note which of D2's utterances have views that agree; move the prototypes where each step does (Eq. 4)."""
        if not step.has("ambiguous_augmented"):
            return
        logits, logits_aug = step.ambiguous.logits, step.ambiguous_augmented.logits
        agreed = torch.where(eq.agreement(logits, logits_aug), logits.argmax(dim=-1), -1)  # the gate of Eq. 4
        self.agreed[step.rows] = agreed
        if self.each_step and self._moves:
            self.prototypes.move_(step.compared, agreed)  # Eq. 4

    def after_epoch_(
        self, epoch: int, embeddings: Tensor, minibatches: Iterable[NDArray[np.int64]], replacement: Tensor | None
    ) -> None:
        """Set or move the prototypes after an epoch, then label every utterance by them.

        embeddings: (N, D) of the evaluation after the epoch   minibatches: rows of D2, in the order of the steps
        replacement: (C, D) the system's own prototypes, if it has any
        """
        refining = epoch >= self.warm_up
        if replacement is not None:
            self.prototypes.vectors = replacement.clone()
        elif not (refining and self.d2_moves):
            self._follow_d1_(embeddings[self._d1], average=self._averages and epoch > 0)
        elif not self.each_step:
            if self._anchors:
                self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2
            for rows in minibatches if self._moves else ():
                self.prototypes.move_(embeddings[rows], self.agreed[rows])  # Eq. 4
        self.soft = self.prototypes.soft(embeddings)  # section 2.2

    def _follow_d1_(self, q: Tensor, average: bool) -> None:
        """Set the prototypes to D1's class means (Eq. 2), or move an average of them (`warm_up_prototypes`)."""
        if average:
            self.prototypes.follow_(q, self._y)
        else:
            self.prototypes.anchor_(q, self._y)
