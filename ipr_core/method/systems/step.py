"""What a system is given at a step and what it gives back, and the terms of Eq. 6 that several systems share."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ipr_core.config import Encoder, Method
from ipr_core.encoders.encoder import SpeechEncoder
from ipr_core.method import equations as eq


@dataclass(frozen=True)
class View:
    """One view of a batch through the model, with gradients.  embedding: (B, D)   logits: (B, C)"""

    embedding: Tensor
    logits: Tensor
    scores: Tensor | None = None
    """(B, …) what the classifier gave before its logits were read from it; see `Classifier`."""


class Classifier(nn.Module):
    """A system's own classifier, where the logits are read from something richer: several members' logits, say.

    `forward`: embedding (B, D) → scores (B, …), what the system's losses are of
    """

    def logits(self, scores: Tensor) -> Tensor:
        """(B, …) scores → (B, C) logits, whose softmax is the soft label. Uses no parameter of its own."""
        return scores


class Unprojected(nn.Identity):
    """A projection that leaves the pooled vectors (B, P) as they are."""

    def __init__(self, width: int, choice: Encoder):
        super().__init__()
        self.dim = width


class Beside(nn.Module):
    """What a system trains or keeps beside the recogniser: parameters of a discriminator, say, and buffers.

    It is made after the recogniser from the same generator, optimized with it, and kept in the checkpoint. Where
    several processes train a run, each has the whole batch's views and makes the same of it.
    """

    @property
    def prototypes(self) -> Tensor | None:
        """(C, D) prototypes of the system's own, in place of D1's class means; None where it has none."""
        return None

    def begin_(self, prototypes: Tensor) -> None:
        """Before the first step of the refinement.  prototypes: (C, D) D1's class means"""

    def note_(self, step: Step) -> None:
        """After a step of the refinement: change the buffers. Losses never do."""

    def settle_(self) -> None:
        """After an epoch of the refinement."""


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
    rows: Tensor | None = None
    """(B,) which utterances of D2 these are, rows of the utterance table."""
    progress: float = 0.0
    """How far the refinement is, from 0 at its first step to 1 at its end."""
    beside: Beside | None = None
    """What the system has beside the recogniser; `System.beside` made it."""

    @property
    def certain(self) -> Tensor:
        """(B, C) D1's labels as soft labels."""
        return F.one_hot(self.labels, self.precise.logits.shape[-1]).to(self.precise.logits)


@dataclass(frozen=True)
class Terms:
    """The terms of Eq. 6 before their weights, and the weights; and those that a system has of its own."""

    precise: Tensor
    ambiguous: Tensor
    contrastive: Tensor
    alpha: float
    beta: float
    mu: float
    own: Mapping[str, tuple[Tensor, float]] = field(default_factory=dict)
    """Name → value and weight."""

    @property
    def total(self) -> Tensor:
        total = eq.total_loss(self.precise, self.ambiguous, self.contrastive, self.alpha, self.beta, self.mu)
        return sum((weight * value for value, weight in self.own.values()), total)

    @property
    def names(self) -> tuple[str, ...]:
        return ("precise", "ambiguous", "contrastive", *self.own, "total")

    def values(self) -> Tensor:
        """In the order of `names`, detached: read once an epoch, so that no GPU is waited for."""
        own = [value for value, _ in self.own.values()]
        return torch.stack([self.precise, self.ambiguous, self.contrastive, *own, self.total]).detach()


def terms(
    step: Step,
    precise: Tensor | None = None,
    ambiguous: Tensor | None = None,
    contrastive: Tensor | None = None,
    beta: float | None = None,
    own: Mapping[str, tuple[Tensor, float]] | None = None,
) -> Terms:
    """The terms of Eq. 6: D1's always, the others where a system has them.

    precise: in place of the cross-entropy on D1   beta: in place of Eq. 7   own: name → value and weight
    """
    nothing = step.precise.logits.new_zeros(())
    return Terms(
        precise=precise_loss(step) if precise is None else precise,
        ambiguous=nothing if ambiguous is None else ambiguous,
        contrastive=nothing if contrastive is None else contrastive,
        alpha=step.method.alpha,
        beta=step.beta if beta is None else beta,
        mu=step.method.mu,
        own=own or {},
    )


def weight(step: Step, usual: float) -> float:
    """λ of a system's own term: the setting `own_weight`, or what its authors use; MMD's 1 is ours.

    It scales the reversal's schedule of DANN and DAAN, whose discriminators learn alike whatever it is, and of PiCO the
    contrast alone.
    """
    return usual if step.method.own_weight is None else step.method.own_weight


@dataclass(frozen=True)
class Network:
    """What a system has in place of the recogniser's configured parts; those that are None stay as configured."""

    encoder: Callable[[Encoder], SpeechEncoder] | None = None
    pool: Callable[[int, int], nn.Module] | None = None
    """Width H of a frame, classes C → a module: frames (B, F, H), valid (B,) → (B, width), `width` its attribute.
    Its output is not standardised."""
    projection: Callable[[int, Encoder], nn.Module] | None = None
    """Width P → a module: (B, P) → (B, dim), `dim` its attribute."""
    classifier: Callable[[int, int, Encoder], Classifier] | None = None
    """Size D of the embedding, classes C → the classifier."""


@dataclass(frozen=True)
class System:
    """What is trained on what."""

    title: str
    """Its name in tables and figures."""
    about: str
    """What it is trained on, for a legend."""
    refine: Callable[[Step], Terms]
    """The losses of a step after the warm-up."""
    warm_up: Callable[[Step], Terms] = terms
    """The losses of a step of the warm-up, on D1 alone."""
    precise_views: int = 1
    """Views of D1: 2 adds the augmented one."""
    ambiguous_views: int = 0
    """Views of D2: none, the clean one, or the augmented one too."""
    moves_prototypes: bool = False
    """Whether D2 moves the prototypes (Eq. 4); otherwise they are D1's class means, for analysis alone."""
    shows_prototypes: bool = False
    """Whether prototypes say anything of it; figures leave them out where they do not."""
    shows_gate: bool = False
    """Whether Eq. 4's gate says anything of it."""
    shows_beta: bool = False
    """Whether Eq. 7's β weighs a loss of it."""
    network: Network = Network()
    """Parts of the recogniser that are its own."""
    beside: Callable[[int, int, int], Beside] | None = None
    """Size D of the embedding, classes C, utterances N → what it trains or keeps beside the recogniser."""
    paper: float | None = None
    """Accuracy in per cent on D3 of IEMOCAP-4, mean over five seeds (Tables 2 and 3 of Sun et al. 2024)."""
    caution: Callable[[Encoder], str | None] = lambda choice: None
    """What has to be said of every result of it under these settings, if anything."""


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
