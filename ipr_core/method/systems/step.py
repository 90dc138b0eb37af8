"""A training step: a system gets a `Step` and returns the `Terms` of its loss."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ipr_core.config import Method
from ipr_core.method import equations as eq


@dataclass(frozen=True)
class View:
    """One view of a minibatch's utterances after the model, with gradients."""

    embedding: Tensor
    """(B, D)"""
    logits: Tensor
    """(B, C)"""
    scores: Tensor
    """(B, …) the classifier's output that the logits are read from; the logits themselves for a linear one."""


class Companion(nn.Module):
    """A system's own module beside the recogniser: a discriminator, say, or moving averages in buffers.

    It is made after the recogniser from the same generator, optimized with it, and kept in the checkpoint. Where
    several processes train a run, each has the whole minibatch's views and changes it alike.
    """

    @property
    def prototypes(self) -> Tensor | None:
        """(C, D) the system's own prototypes, in place of D1's class means; None where it has none."""
        return None

    def before_refinement_(self, prototypes: Tensor, embeddings: Tensor) -> None:
        """Prepare for the first step of the refinement.

        prototypes: (C, D) D1's class means   embeddings: (N, D) of all utterances, both of the evaluation before it
        """

    def before_step_(self, step: Step) -> None:
        """Change the buffers by a minibatch of the refinement, before its losses, which never change them."""

    def after_epoch_(self) -> None:
        """Change the buffers after an epoch of the refinement."""


Kind = TypeVar("Kind", bound=Companion)


@dataclass(frozen=True)
class Step:
    """The minibatches of D1 and D2 after their forward pass.

    B utterances each, or none of D2 in the warm-up.
    """

    method: Method
    beta: float
    """β of Eq. 7 in this epoch."""
    views: Mapping[str, View]
    """The views that the system asks for, under the names of the four properties below."""
    labels: Tensor
    """(B,) the labels of D1's utterances."""
    classifier_soft: Tensor
    """(B, C) the classifier's soft labels of D2's utterances, from the evaluation pass before the epoch."""
    prototype_soft: Tensor
    """(B, C) the prototypes' soft labels of D2's utterances."""
    prototype_labels: Tensor
    """(B,) the prototypes' pseudo-labels of D2's utterances: Eq. 3 of their similarities, not of the soft labels."""
    prototype_labels_augmented: Tensor
    """(B,) those of their augmented views, each by its own similarity; x^k's where no augmented view is asked for."""
    compared: Tensor
    """(B, D) embeddings of D2's utterances as they meet the prototypes."""
    compared_augmented: Tensor
    """(B, D) those of their augmented views, for the readings that compare them; else as `compared`."""
    truth: Tensor
    """(B,) the hidden labels of D2's utterances, -1 of a tied one: for `supervised` and `oracle` alone."""
    rows: Tensor
    """(B,) D2's utterances, as rows of the utterance table."""
    progress: float = 0.0
    """The share of its phase, warm-up or refinement, that is done: 0 at the first step, 1 at the end."""
    companion: Companion = field(default_factory=Companion)
    """The system's own module, made by `System.companion`."""

    @property
    def precise(self) -> View:
        """x^q, D1's utterances."""
        return self._view("precise")

    @property
    def precise_augmented(self) -> View:
        """D1's utterances, augmented; asked for by `precise_views=2`."""
        return self._view("precise_augmented")

    @property
    def ambiguous(self) -> View:
        """x^k, D2's utterances; asked for by `ambiguous_views=1`."""
        return self._view("ambiguous")

    @property
    def ambiguous_augmented(self) -> View:
        """x^aug, D2's utterances, augmented; asked for by `ambiguous_views=2`."""
        return self._view("ambiguous_augmented")

    @property
    def one_hot(self) -> Tensor:
        """(B, C) D1's labels as soft labels."""
        return F.one_hot(self.labels, self.precise.logits.shape[-1]).to(self.precise.logits)

    def has(self, name: str) -> bool:
        """Tell whether the step has the view of this name."""
        return name in self.views

    def companion_as(self, kind: type[Kind]) -> Kind:
        """Return the companion under its own class. raises TypeError if it is of another"""
        if not isinstance(self.companion, kind):
            raise TypeError(
                f"the companion is a {type(self.companion).__name__}; give System companion={kind.__name__}"
            )
        return self.companion

    def _view(self, name: str) -> View:
        if name not in self.views:
            raise LookupError(
                f"this step has no view {name!r}, only {', '.join(self.views)}: ask for it by precise_views or"
                " ambiguous_views of the System; the warm-up has none of D2"
            )
        return self.views[name]


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 6, their weights, and further terms that a system adds."""

    precise: Tensor
    ambiguous: Tensor
    contrastive: Tensor
    alpha: float
    beta: float
    mu: float
    extra: Mapping[str, tuple[Tensor, float]] = field(default_factory=dict)
    """Name → value and weight."""

    @property
    def total(self) -> Tensor:
        total = eq.total_loss(self.precise, self.ambiguous, self.contrastive, self.alpha, self.beta, self.mu)  # Eq. 6
        return sum((weight * value for value, weight in self.extra.values()), total)

    @property
    def names(self) -> tuple[str, ...]:
        return ("precise", "ambiguous", "contrastive", *self.extra, "total")

    def values(self) -> Tensor:
        """Return the values in the order of `names`, detached.

        They are read once an epoch, so that no GPU is waited for.
        """
        extra = [value for value, _ in self.extra.values()]
        return torch.stack([self.precise, self.ambiguous, self.contrastive, *extra, self.total]).detach()


def terms(
    step: Step,
    precise: Tensor | None = None,
    ambiguous: Tensor | None = None,
    contrastive: Tensor | None = None,
    beta: float | None = None,
    extra: Mapping[str, tuple[Tensor, float]] | None = None,
) -> Terms:
    """Weigh a system's losses by Eq. 6: α, β and μ of the configuration.

    precise: in place of the cross-entropy on D1   ambiguous, contrastive: scalars, 0 where the system has none
    beta: in place of Eq. 7   extra: further terms, name → value and weight
    """
    zero = step.precise.logits.new_zeros(())
    return Terms(
        precise=precise_loss(step) if precise is None else precise,
        ambiguous=zero if ambiguous is None else ambiguous,
        contrastive=zero if contrastive is None else contrastive,
        alpha=step.method.alpha,
        beta=step.beta if beta is None else beta,
        mu=step.method.mu,
        extra=extra or {},
    )


def precise_loss(step: Step) -> Tensor:
    """Return CE(x^q, y) on D1, the mean over its views."""
    views = [step.views[name] for name in ("precise", "precise_augmented") if step.has(name)]
    return torch.stack([eq.cross_entropy(view.logits, step.labels) for view in views]).mean()


def own_weight(step: Step, default: float) -> float:
    """Return λ of a system's extra term: the setting `own_weight`, else the default.

    The default is that of the system's authors; MMD's is ours. The weight scales the reversal's schedule of DANN and
    DAAN, whose discriminators learn alike whatever it is, and of PiCO the contrast alone. It is for a validation part
    to choose, alike for every system.
    """
    return default if step.method.own_weight is None else step.method.own_weight
