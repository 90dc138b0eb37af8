"""FixMatch (Sohn et al., NeurIPS 2020): the augmented view learns the clean view's certain labels."""

from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

LAMBDA = 1.0
"""Weight of the loss on D2 (section 2.4)."""
THRESHOLD = 0.95
"""Confidence from which a pseudo-label counts (section 2.4)."""


def consistency_loss(logits: Tensor, logits_aug: Tensor, weights: Tensor) -> Tensor:
    """Return CE of the augmented view with the clean one's pseudo-label, by weight (Eq. 4).

    logits, logits_aug: (B, C), no gradient passes the clean one's   weights: (B,)
    returns: scalar, the mean over all B, whatever their weights
    """
    return eq.cross_entropy(logits_aug, eq.pseudo_labels(logits), weights)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1), and the consistency of D2's views where the clean one is certain."""
    clean, aug = step.ambiguous.logits, step.ambiguous_augmented.logits
    certain = (clean.detach().softmax(dim=-1).amax(dim=-1) >= THRESHOLD).to(clean)
    return terms(step, extra={"consistency": (consistency_loss(clean, aug, certain), own_weight(step, LAMBDA))})


SYSTEM = System(
    title="FixMatch",
    about="trained on D1 and on augmented D2 with the labels that it is certain of",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
)
