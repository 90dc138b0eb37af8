"""The prototypes, one vector a class: `Prototypes` says how they change (Eq. 2 to 4), `PrototypeSchedule` when.

The equations are pure functions in `equations.py`; the readings of `readings.Method` choose among them here.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
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

_log = logging.getLogger(__name__)
_UPDATES = {
    "closed": eq.update_prototypes_closed,
    "sequential": eq.update_prototypes,
    "batch": eq.update_prototypes_batch,
}


@dataclass(frozen=True)
class ViewClasses:
    """The classes that the two views of B utterances of D2 point to, (B, 2) each: of k, and of k^aug.

    -1 where an epoch has not met an utterance yet.
    """

    classifier: Tensor
    """By the classifier, from the logits that the losses see: those of training mode."""
    nearest: Tensor
    """By the nearest prototype, as the step compared the views with the prototypes; kept for that gate alone."""

    def __getitem__(self, rows: Tensor | NDArray[np.int64]) -> ViewClasses:
        return ViewClasses(self.classifier[rows], self.nearest[rows])


class Prototypes:
    """One prototype a class. Methods that end in `_` change them; everything is detached from the graph.

    vectors: (C, D)   d2_size: utterances of D2, for a γ that is a share kept over an epoch
    """

    def __init__(self, n_classes: int, dim: int, method: Method, device: torch.device | str = "cpu", d2_size: int = 1):
        self.method, self._d2_size = method, d2_size
        self.vectors = torch.zeros(n_classes, dim, device=device)

    def anchor_(self, q: Tensor, y: Tensor) -> None:
        """Set every prototype to its class mean over D1 (Eq. 2).  q: (N, D)   y: (N,)"""
        self.vectors = self.means(q, y)

    def means(self, q: Tensor, y: Tensor) -> Tensor:
        """Return the class means over D1 (Eq. 2).  q: (N, D)   y: (N,) → (C, D)"""
        return self._unit(eq.class_means(self._unit(q.detach()), y, len(self.vectors)))

    def follow_(self, q: Tensor, y: Tensor) -> None:
        """Move every prototype by D1's embeddings of its class: Eq. 4 with s_c = 1.  q: (N, D)   y: (N,)"""
        weight = F.one_hot(y, len(self.vectors)).to(q)
        gamma = self._gamma(len(q))
        self.vectors = eq.update_prototypes_closed(self.vectors, self._unit(q.detach()), weight, gamma)

    def similarity(self, k: Tensor) -> Tensor:
        """Return s, the similarity of every utterance to every prototype.  k: (B, D) → (B, C)"""
        return eq.similarity(self._unit(k.detach()), self.vectors)

    def labels(self, k: Tensor, vectors: Tensor | None = None) -> Tensor:
        """Return the pseudo-labels, by these or other prototypes (Eq. 3).  k: (B, D)   vectors: (C, D) → (B,)"""
        return eq.pseudo_labels(eq.similarity(self._unit(k.detach()), self.vectors if vectors is None else vectors))

    def soft(self, k: Tensor) -> Tensor:
        """Return the soft label of every utterance.  k: (B, D) → (B, C), rows sum to 1"""
        s = self.similarity(k)
        if self.method.soft_label == "raw":
            return eq.raw_soft_labels(s)
        return eq.soft_labels(s, self.method.temperature)

    def move_(self, k: Tensor, classes: ViewClasses) -> Tensor:
        """Move the prototypes by a minibatch of D2 (Eq. 4).

        The weight is s_c, uncut, where the soft label is raw, and the soft label's share otherwise.
        k: (B, D)   classes: of these B utterances
        returns: (B,) bool, the utterances that passed the gate
        """
        s = self.similarity(k)
        labels = eq.pseudo_labels(s)  # Eq. 3
        weight = s if self.method.soft_label == "raw" else self.soft(k)  # s_c of Eq. 4
        gate = self._gate(classes, labels)  # the condition of Eq. 4
        if self.method.moves == "all":  # as section 2.2 says
            weight = weight * gate[:, None]
        else:  # one of them: c = argmax MLP(k), as Eq. 4 is printed, or the pseudo-label's
            c = classes.classifier[:, 0] if self.method.moves == "classifier" else labels
            weight = eq.movement(weight, c, gate)
        update = _UPDATES[self.method.update]
        batch = len(k) if self.method.update == "batch" else 1  # utterances that one update stands for
        self.vectors = update(self.vectors, self._unit(k.detach()), weight, self._gamma(self._d2_size / batch))  # Eq. 4
        return gate

    def share_of_one(self, k: Tensor) -> tuple[float, float]:
        """Return an utterance's share in the prototype that it moves: as γ says, and as it is, the median of k (B, D).

        γ says 1 − γ. It is more where embeddings are longer than 1, and s = k · p_c with them.
        """
        k, gamma = self._unit(k.detach()), self._gamma(self._d2_size)
        s = eq.similarity(k, F.normalize(self.vectors, dim=-1)).amax(dim=-1)  # a prototype that has moved has unit norm
        weight = s.abs() if self.method.soft_label == "raw" else 1
        moved = (1 - gamma) * weight * k.norm(dim=-1)
        return 1 - gamma, float((moved / (gamma + moved).clamp(min=1e-12)).median())

    def _gate(self, classes: ViewClasses, labels: Tensor) -> Tensor:
        """Return who moves prototypes: (B,) bool.  labels: (B,) pseudo-labels"""
        if self.method.gate == "none":
            return torch.ones_like(labels, dtype=torch.bool)
        if self.method.gate == "prototypes":
            return eq.one_class(classes.nearest)
        gate = eq.one_class(classes.classifier)
        return gate & (classes.classifier[:, 0] == labels) if self.method.gate == "views+prototype" else gate

    def _gamma(self, updates: float) -> float:
        """Return γ of one update, of so many in an epoch."""
        gamma = self.method.gamma
        return gamma if self.method.gamma_per == "sample" else eq.kept_by_sample(gamma, updates)

    def _unit(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.method.unit_norm else vectors


@dataclass(frozen=True)
class Refinement:
    """What D2's moves did to the prototypes in an epoch (Eq. 4), and that to D2's labels.

    All labels are of the embeddings of the evaluation after the epoch.
    """

    labels_changed: int
    """Utterances of D2 whose pseudo-label is another one than by the prototypes before the epoch's first move."""
    labels_beyond_d1: int
    """Utterances of D2 whose pseudo-label is another one than by D1's class means of that evaluation."""
    angles: list[float]
    """(C,) degrees between each prototype before the epoch's first move and after its last."""


class PrototypeSchedule:
    """When a run's prototypes are set and moved, and when they label D2: before and after each epoch and step.

    In the warm-up, and for systems whose D2 moves nothing, they follow D1. In the refinement D2 meets them once after
    each epoch, as the evaluation pass sees it, or at every step (`compare_when`). Either way they are first set to
    D1's class means, then moved by D2, or only one of the two, or neither (`after_warm_up`). An utterance of D2 that
    occurs in several steps of an epoch, as in a small D2, moves them each time.

    d1, d2: rows of D1 and D2   labels: (N,) of all utterances, of which D1's alone are read   warm_up: epochs
    d2_moves: whether D2 moves them
    """

    soft: Tensor
    """(N, C) the soft labels of all utterances after the last epoch."""
    labels: Tensor
    """(N,) the pseudo-labels of all utterances after the last epoch: Eq. 3 of their similarities."""
    classes: ViewClasses
    """Of all N utterances, from each one's last step of the epoch."""
    refinement: Refinement | None = None
    """What D2's moves did in the last epoch; None in the warm-up and where D2 moves nothing."""

    def __init__(
        self,
        prototypes: Prototypes,
        d1: NDArray[np.int64],
        d2: NDArray[np.int64],
        labels: Tensor,
        warm_up: int,
        d2_moves: bool,
    ):
        self.prototypes, self.warm_up, self.d2_moves = prototypes, warm_up, d2_moves
        self._d1, self._d2, self._y = d1, d2, labels[d1]
        method = prototypes.method
        self.each_step = d2_moves and method.compare_when == "step"
        self._set_to_means, self._moved_by_d2 = ("anchor" in method.after_warm_up, "move" in method.after_warm_up)
        self._averages = d2_moves and method.warm_up_prototypes == "moving"
        unknown = torch.full_like(labels, -1)[:, None].repeat(1, 2)
        self.classes = ViewClasses(unknown, unknown.clone())

    def start_(self, embeddings: Tensor) -> None:
        """Set the prototypes before the first epoch.  embeddings: (N, D)"""
        self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2
        self.label_(embeddings)

    def label_(self, embeddings: Tensor) -> None:
        """Label every utterance by the prototypes (section 2.2).  embeddings: (N, D)"""
        self.soft = self.prototypes.soft(embeddings)
        self.labels = self.prototypes.labels(embeddings)  # Eq. 3

    def before_epoch_(self, epoch: int, embeddings: Tensor) -> None:
        """Forget the views' classes; where D2 moves prototypes at each step, set them to D1's means first.

        embeddings: (N, D) of the evaluation before the epoch
        """
        self.classes.classifier.fill_(-1)
        self.classes.nearest.fill_(-1)
        if epoch >= self.warm_up and self.each_step and self._set_to_means:
            self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2
        if epoch == self.warm_up and self.d2_moves and self._moved_by_d2:
            self._warn_of_long_embeddings(embeddings[self._d2])
        self._before = self.prototypes.vectors

    def compare(self, rows: Tensor, k: Tensor) -> tuple[Tensor, Tensor]:
        """Return the labels that a step trains on: now computed, or those of the epoch before.

        rows: (B,) utterances of D2   k: (B, D) their embeddings   returns: soft (B, C) and single (B,) labels
        """
        if self.each_step:
            return self.prototypes.soft(k), self.prototypes.labels(k)
        return self.soft[rows], self.labels[rows]

    @torch.no_grad()
    def after_step_(self, step: Step) -> None:
        """Note the classes of D2's two views; move the prototypes where each step does (Eq. 4)."""
        if not step.has("ambiguous_augmented"):
            return
        views = step.ambiguous.logits, step.ambiguous_augmented.logits
        self.classes.classifier[step.rows] = torch.stack([logits.argmax(dim=-1) for logits in views], dim=1)
        if self.prototypes.method.gate == "prototypes":
            compared = step.compared, step.compared_augmented
            self.classes.nearest[step.rows] = torch.stack([self.prototypes.labels(k) for k in compared], dim=1)
        if self.each_step and self._moved_by_d2:
            self.prototypes.move_(step.compared, self.classes[step.rows])  # Eq. 4

    def after_epoch_(
        self, epoch: int, embeddings: Tensor, minibatches: Iterable[NDArray[np.int64]], replacement: Tensor | None
    ) -> None:
        """Set or move the prototypes after an epoch, then label every utterance by them.

        embeddings: (N, D) of the evaluation after the epoch   minibatches: rows of D2, in the order of the steps
        replacement: (C, D) prototypes that the system keeps itself, in place of these; None if it keeps none
        """
        self.refinement = None
        if replacement is not None:
            self.prototypes.vectors = replacement.clone()
        elif not (epoch >= self.warm_up and self.d2_moves):
            self._follow_d1_(embeddings[self._d1], average=self._averages and epoch > 0)
        else:
            if not self.each_step:
                self._refine_(embeddings, minibatches)
            self.refinement = self._compared_with_before(embeddings)
        self.label_(embeddings)

    def _refine_(self, embeddings: Tensor, minibatches: Iterable[NDArray[np.int64]]) -> None:
        """Set the prototypes to D1's means, then move them by D2 once, as far as `after_warm_up` says."""
        if self._set_to_means:
            self.prototypes.anchor_(embeddings[self._d1], self._y)  # Eq. 2
        self._before = self.prototypes.vectors
        for rows in minibatches if self._moved_by_d2 else ():
            self.prototypes.move_(embeddings[rows], self.classes[rows])  # Eq. 4

    def _compared_with_before(self, embeddings: Tensor) -> Refinement:
        k, prototypes = embeddings[self._d2], self.prototypes
        labels = prototypes.labels(k)
        means = prototypes.means(embeddings[self._d1], self._y)
        return Refinement(
            labels_changed=int((labels != prototypes.labels(k, self._before)).sum()),
            labels_beyond_d1=int((labels != prototypes.labels(k, means)).sum()),
            angles=eq.angles(self._before, prototypes.vectors).tolist(),
        )

    def _warn_of_long_embeddings(self, k: Tensor) -> None:
        """Warn where one utterance has ten times the share in a moved prototype that γ says.  k: (B, D) of D2"""
        says, makes = (100 * share for share in self.prototypes.share_of_one(k))
        if makes > 10 * says > 0:
            _log.warning(
                f"gamma {self.prototypes.method.gamma:g} means little here: one utterance makes {makes:.0f} % of the"
                f" prototype that it moves (Eq. 4), not {says:.2g} % of it, as embeddings of D2 have a norm of"
                f" {k.norm(dim=-1).median():.2g}; with unit_norm true it would"
            )

    def _follow_d1_(self, q: Tensor, average: bool) -> None:
        """Set the prototypes to D1's class means (Eq. 2), or move an average of them (`warm_up_prototypes`)."""
        if average:
            self.prototypes.follow_(q, self._y)
        else:
            self.prototypes.anchor_(q, self._y)
