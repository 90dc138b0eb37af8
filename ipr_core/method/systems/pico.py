"""PiCO (Wang et al., ICLR 2022) with every class a candidate for D2: IPR's nearest relative.

Pseudo-targets of D2 move towards the class of the nearest prototype. Prototypes begin as D1's class means and follow
the embeddings: D1's by their label, D2's by the class that the classifier gives them. Clean views are attracted by all
views of their class. In the first epoch of the refinement targets stay, and a clean view of D2 is attracted by its
augmented one alone, away from those of others (MoCo).

All of that is as in the authors' code (hbzju/PiCO), but for
- the first targets: the nearest prototype's class, there even ones. Their network begins at random. This one has learnt
  D1, and a cross-entropy with even targets would unlearn it;
- the pace of the targets, `PHI`: this training has tens of epochs, theirs 800;
- the keys of the contrast: the minibatch's own views, with a gradient. There they are a momentum encoder's, with the
  8,192 keys before them in a queue. D2 has hundreds of utterances here: the queue would be dozens of epochs old;
- D1, which they do not have: its labels are targets, prototypes follow them, and from the second epoch on its clean
  views take part in the contrast with them.
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
800 epochs; in tens of epochs targets would hardly move."""


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

    def before_refinement_(self, prototypes: Tensor, embeddings: Tensor) -> None:
        self.vectors.copy_(F.normalize(prototypes, dim=-1))
        for targets in (self.targets, self.coming):
            targets.copy_(disambiguated(targets, F.normalize(embeddings, dim=-1), self.vectors, phi=0))

    def before_step_(self, step: Step) -> None:
        """Move targets by the prototypes, then prototypes by the embeddings.

        Targets move once an epoch, however often the epoch has an utterance.
        """
        q, k = (F.normalize(view.embedding, dim=-1) for view in (step.precise, step.ambiguous))
        phi = PHI[0] + step.progress * (PHI[1] - PHI[0])
        moved = disambiguated(self.targets[step.rows], k, self.vectors, 1 - self.move * (1 - phi))
        self.coming[step.rows] = moved
        labels = torch.cat([step.labels, eq.pseudo_labels(step.ambiguous.logits)])
        moves = F.one_hot(labels, len(self.vectors)).to(q)
        self.vectors.copy_(eq.update_prototypes_closed(self.vectors, torch.cat([q, k]), moves, GAMMA))

    def after_epoch_(self) -> None:
        self.targets.copy_(self.coming)
        self.move.fill_(1)


def contrast_of_utterances(step: Step) -> Tensor:
    """Return the contrast of D2's clean views among the augmented ones: each with its own (MoCo)."""
    k, aug = (F.normalize(view.embedding, dim=-1) for view in (step.ambiguous, step.ambiguous_augmented))
    own = torch.eye(len(k), dtype=torch.bool, device=k.device)
    return eq.contrastive_loss(k, aug, own, torch.ones_like(own), TAU)


def contrast_of_classes(step: Step) -> Tensor:
    """Return the contrast of D1's and D2's clean views among all views: each with those of its class (Eq. 5)."""
    parts = step.precise, step.ambiguous, step.ambiguous_augmented
    views = torch.cat([F.normalize(view.embedding, dim=-1) for view in parts])  # (V, D)
    predicted = eq.pseudo_labels(step.ambiguous.logits)
    positives = eq.same_label(torch.cat([step.labels, predicted, predicted]))
    clean = len(step.labels) + len(predicted)
    pairs = eq.all_others(len(views), views.device)
    return eq.contrastive_loss(views[:clean], views, positives[:clean], pairs[:clean], TAU)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1), CE(D2) with the pseudo-targets, and the contrast: of utterances at first, then of classes."""
    companion = step.companion_as(Disambiguation)
    # both are made, since a GPU would have to be waited for to learn which
    contrast = torch.where(companion.move > 0, contrast_of_classes(step), contrast_of_utterances(step))
    targets = eq.cross_entropy(step.ambiguous.logits, companion.coming[step.rows])
    return terms(step, extra={"pseudo-targets": (targets, 1.0), "contrast": (contrast, own_weight(step, LAMBDA))})


SYSTEM = System(
    title="PiCO",
    about="trained on D1 and on D2 with pseudo-targets that its prototypes disambiguate",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    shows_prototypes=True,
    companion=Disambiguation,
)
