"""BNM (Cui et al., CVPR 2020): CE on D1, and the largest nuclear norm of D2's outputs.

The norm of a batch of predictions grows with their certainty and with how many classes they name.
"""

import torch
from torch import Tensor

from ipr_core.method.systems.step import Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

LAMBDA = 1.0
"""Weight of the norm (section 4.1)."""


def nuclear_norm(shares: Tensor) -> Tensor:
    """Return ‖A‖_*, the sum of A's singular values.

    shares: (B, C)
    returns: scalar, at most √(B · min(B, C))
    """
    return torch.linalg.matrix_norm(shares, ord="nuc")


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1) − λ ‖softmax(D2)‖_* / B (Eq. 11)."""
    shares = step.ambiguous.logits.softmax(dim=-1)
    return terms(step, extra={"− nuclear norm / B": (-nuclear_norm(shares) / len(shares), own_weight(step, LAMBDA))})


SYSTEM = System(
    title="BNM",
    about="trained on D1; its predictions on D2 are made certain and varied by their nuclear norm",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    printed_accuracy=68.75,
)
