"""FixMatch (Sohn et al., NeurIPS 2020): what the clean view is certain of, the augmented view has to say too."""

from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, System, Terms, terms, weight

LAMBDA = 1.0
"""Weight of the loss on D2 (section 2.4)."""
THRESHOLD = 0.95
"""Confidence from which a pseudo-label counts (section 2.4)."""


def consistency_loss(logits: Tensor, logits_aug: Tensor, weights: Tensor) -> Tensor:
    """CE of the augmented view with the clean one's pseudo-label, the mean over all B, whatever their weights (Eq. 4).

    logits, logits_aug: (B, C); no gradient passes the clean one's   weights: (B,)
    """
    return eq.cross_entropy(logits_aug, eq.pseudo_labels(logits), weights)


def refine(step: Step) -> Terms:
    """CE(D1), and the consistency of D2's views where the clean one is certain."""
    clean, aug = step.ambiguous.logits, step.ambiguous_augmented.logits
    certain = (clean.detach().softmax(dim=-1).amax(dim=-1) >= THRESHOLD).to(clean)
    return terms(step, own={"consistency": (consistency_loss(clean, aug, certain), weight(step, LAMBDA))})


SYSTEM = System(
    title="FixMatch",
    about="trained on D1 and on augmented D2 with the labels that it is certain of",
    refine=refine,
    ambiguous_views=2,
)
