"""PiCO (Wang et al., ICLR 2022) with every class a candidate for D2: IPR's nearest relative.

Pseudo-targets of D2 begin even and move towards the class of the nearest prototype; prototypes begin as D1's class
means and follow the embeddings of what the classifier names so; views of one named class attract each other. Targets
stay even for the first epoch, as in the authors' code: meanwhile the contrast makes the space that prototypes are of.
The contrast is among a batch's views, as IPR's is: there is no momentum encoder and no queue.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Beside, Step, System, Terms, terms, weight

LAMBDA = 0.5
"""Weight of the contrastive term (section 4.1)."""
TAU = 0.07
"""Temperature of the contrastive term."""
GAMMA = 0.99
"""Share of the old prototype kept at each update."""
PHI = (0.5, 0.2)
"""Share of the old pseudo-target kept in an epoch, at the first step and at the last. The authors' 0.95 and 0.8 are for
800 epochs; in tens, targets would stay even and teach the classifier to know nothing."""


def disambiguated(targets: Tensor, k: Tensor, prototypes: Tensor, phi: float | Tensor) -> Tensor:
    """s ← φ s + (1 − φ) one-hot(argmax_c k · p_c) (Eq. 6).

    targets: (B, C)   k: (B, D)   prototypes: (C, D), of unit norm as k is   returns: (B, C), rows sum to 1
    """
    nearest = F.one_hot(eq.pseudo_labels(eq.similarity(k, prototypes)), targets.shape[-1]).to(targets)
    return phi * targets + (1 - phi) * nearest


class Disambiguation(Beside):
    """Prototypes (C, D) and pseudo-targets (N, C) as of the last epoch, and what this epoch makes of the targets."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("vectors", torch.zeros(n_classes, dim))
        self.register_buffer("targets", torch.full((n, n_classes), 1 / n_classes))
        self.register_buffer("coming", self.targets.clone())
        self.register_buffer("move", torch.tensor(0.0))  # 1 from the second epoch on

    @property
    def prototypes(self) -> Tensor:
        return self.vectors

    def begin_(self, prototypes: Tensor) -> None:
        self.vectors.copy_(F.normalize(prototypes, dim=-1))

    def moved(self, step: Step) -> Tensor:
        """The targets (B, C) of the step's utterances of D2: moved once an epoch, however often it has them."""
        k = F.normalize(step.ambiguous.embedding.detach(), dim=-1)
        phi = PHI[0] + step.progress * (PHI[1] - PHI[0])
        return disambiguated(self.targets[step.rows], k, self.vectors, 1 - self.move * (1 - phi))

    def note_(self, step: Step) -> None:
        self.coming[step.rows] = self.moved(step)
        q, k = (F.normalize(view.embedding, dim=-1) for view in (step.precise, step.ambiguous))
        named = torch.cat([step.labels, eq.pseudo_labels(step.ambiguous.logits)])
        moves = F.one_hot(named, len(self.vectors)).to(q)
        self.vectors.copy_(eq.update_prototypes_closed(self.vectors, torch.cat([q, k]), moves, GAMMA))

    def settle_(self) -> None:
        self.targets.copy_(self.coming)
        self.move.fill_(1)


def refine(step: Step) -> Terms:
    """CE(D1), CE(D2) with the pseudo-targets, and the contrast of views by the class that the classifier names."""
    k, aug = (F.normalize(view.embedding, dim=-1) for view in (step.ambiguous, step.ambiguous_augmented))
    positives = eq.same_label(eq.pseudo_labels(step.ambiguous.logits))
    contrast = eq.contrastive_loss(k, aug, positives, TAU)
    targets = eq.cross_entropy(step.ambiguous.logits, step.beside.moved(step))
    return terms(step, own={"pseudo-targets": (targets, 1.0), "contrast": (contrast, weight(step, LAMBDA))})


SYSTEM = System(
    title="PiCO",
    about="trained on D1 and on D2 with pseudo-targets that its prototypes disambiguate",
    refine=refine,
    ambiguous_views=2,
    shows_prototypes=True,
    beside=Disambiguation,
)
