"""PiCO (Wang et al., ICLR 2022) with every class a candidate for D2: IPR's nearest relative.

Pseudo-targets of D2 begin even and move towards the class of the nearest prototype. Prototypes begin as D1's class
means and follow the embeddings that the classifier gives their class. Views of one predicted class attract each other.
Targets stay even for the first epoch, as in the authors' code: meanwhile the contrast shapes the prototypes' space.
The contrast is among a minibatch's views, as in IPR: there is no momentum encoder and no queue.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Companion, Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

LAMBDA = 0.5
"""Weight of the contrastive term (section 4.1)."""
TAU = 0.07
"""Temperature of the contrastive term."""
GAMMA = 0.99
"""Share of the old prototype kept at each update."""
PHI = (0.5, 0.2)
"""Share of the old pseudo-target kept in an epoch, at the first step and at the last. The authors' 0.95 and 0.8 are for
800 epochs; in tens of epochs targets would stay even and the classifier would learn nothing from them."""


def disambiguated(targets: Tensor, k: Tensor, prototypes: Tensor, phi: float | Tensor) -> Tensor:
    """Return φ s + (1 − φ) one-hot(argmax_c k · p_c), the new targets (Eq. 6).

    targets: (B, C) s   k: (B, D)   prototypes: (C, D) p, of unit norm as k is
    returns: (B, C), rows sum to 1
    """
    nearest = F.one_hot(eq.pseudo_labels(eq.similarity(k, prototypes)), targets.shape[-1]).to(targets)
    return phi * targets + (1 - phi) * nearest


class Disambiguation(Companion):
    """PiCO's prototypes, and the pseudo-targets of all N utterances."""

    vectors: Tensor
    """(C, D) the prototypes."""
    targets: Tensor
    """(N, C) of the last epoch."""
    coming: Tensor
    """(N, C) of this epoch, for the next."""
    move: Tensor
    """Scalar, 1 from the second epoch on."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(n_classes, dim))
        self.register_buffer("targets", torch.full((n, n_classes), 1 / n_classes))
        self.register_buffer("coming", self.targets.clone())
        self.register_buffer("move", torch.tensor(0.0))

    @property
    def prototypes(self) -> Tensor:
        return self.vectors

    def before_refinement_(self, prototypes: Tensor) -> None:
        self.vectors.copy_(F.normalize(prototypes, dim=-1))

    def new_targets(self, step: Step) -> Tensor:
        """Return the targets (B, C) of the step's utterances of D2.

        They move once an epoch, however often the epoch has an utterance.
        """
        k = F.normalize(step.ambiguous.embedding.detach(), dim=-1)
        phi = PHI[0] + step.progress * (PHI[1] - PHI[0])
        return disambiguated(self.targets[step.rows], k, self.vectors, 1 - self.move * (1 - phi))

    def after_step_(self, step: Step) -> None:
        self.coming[step.rows] = self.new_targets(step)
        q, k = (F.normalize(view.embedding, dim=-1) for view in (step.precise, step.ambiguous))
        labels = torch.cat([step.labels, eq.pseudo_labels(step.ambiguous.logits)])
        moves = F.one_hot(labels, len(self.vectors)).to(q)
        self.vectors.copy_(eq.update_prototypes_closed(self.vectors, torch.cat([q, k]), moves, GAMMA))

    def after_epoch_(self) -> None:
        self.targets.copy_(self.coming)
        self.move.fill_(1)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1), CE(D2) with the pseudo-targets, and the contrast by predicted class."""
    pair = step.ambiguous, step.ambiguous_augmented
    views = torch.cat([F.normalize(view.embedding, dim=-1) for view in pair])  # (2B, D)
    positives = eq.same_label(eq.pseudo_labels(step.ambiguous.logits).repeat(2))
    contrast = eq.contrastive_loss(views, views, positives, eq.all_others(len(views), views.device), TAU)
    targets = eq.cross_entropy(step.ambiguous.logits, step.companion_as(Disambiguation).new_targets(step))
    return terms(step, extra={"pseudo-targets": (targets, 1.0), "contrast": (contrast, own_weight(step, LAMBDA))})


SYSTEM = System(
    title="PiCO",
    about="trained on D1 and on D2 with pseudo-targets that its prototypes disambiguate",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    shows_prototypes=True,
    companion=Disambiguation,
)
