"""SoftMatch (Chen et al., ICLR 2023): FixMatch with weights for a threshold.

As in the authors' code (microsoft/Semi-supervised-learning) a minibatch moves the averages before they are used, and
the mean soft label begins as that of the first minibatch.
"""

import torch
from torch import Tensor

from ipr_core.method.systems.fixmatch import LAMBDA, consistency_loss
from ipr_core.method.systems.freematch import MOMENTUM
from ipr_core.method.systems.step import Companion, Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

SPREAD = 2.0
"""n: the Gaussian's deviation is σ / n (appendix A.4)."""


def truncated_gaussian(confidence: Tensor, mean: Tensor, variance: Tensor) -> Tensor:
    """Return exp(−(p − μ)² / (2 σ² / n²)) below the mean, 1 from it on (Eq. 5).

    confidence: (B,) p, largest shares   mean, variance: scalars, μ and σ² of them
    returns: (B,)
    """
    deficit = (confidence - mean).clamp(max=0)
    return torch.exp(-deficit.square() * SPREAD**2 / (2 * variance.clamp_min(1e-12)))


def aligned(shares: Tensor, expected: Tensor) -> Tensor:
    """Scale shares as if every class were predicted equally often (uniform alignment, Eq. 8).

    Only the weights use them.
    shares: (B, C)   expected: (C,) the mean soft label so far
    returns: (B, C), rows sum to 1
    """
    even = shares / expected.clamp_min(1e-6)
    return even / even.sum(dim=-1, keepdim=True)


class Gaussian(Companion):
    """Moving averages over D2: mean and variance of the largest share, and the soft label.

    Reading: their momentum is 0.99, as for FreeMatch and for the same reason; the authors' is 0.999.
    """

    mean: Tensor
    """Scalar."""
    variance: Tensor
    """Scalar."""
    shares: Tensor
    """(C,), 0 before the first step."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("mean", torch.tensor(1 / n_classes))
        self.register_buffer("variance", torch.tensor(1.0))
        self.register_buffer("shares", torch.zeros(n_classes))

    def before_step_(self, step: Step) -> None:
        shares = step.ambiguous.logits.softmax(dim=-1)
        begun = self.shares.any().to(shares)
        self.shares.lerp_(shares.mean(dim=0), 1 - begun * MOMENTUM)
        confidence = aligned(shares, self.shares).amax(dim=-1)
        self.mean.lerp_(confidence.mean(), 1 - MOMENTUM)
        if len(confidence) > 1:  # a single one has no variance
            self.variance.lerp_(confidence.var(), 1 - MOMENTUM)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1), and the consistency of D2's views, weighed by the clean one's certainty."""
    clean, aug = step.ambiguous.logits, step.ambiguous_augmented.logits
    gaussian = step.companion_as(Gaussian)
    confidence = aligned(clean.detach().softmax(dim=-1), gaussian.shares).amax(dim=-1)
    weights = truncated_gaussian(confidence, gaussian.mean, gaussian.variance)
    return terms(step, extra={"consistency": (consistency_loss(clean, aug, weights), own_weight(step, LAMBDA))})


SYSTEM = System(
    title="SoftMatch",
    about="FixMatch with every label of D2, weighed by how certain it is",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    companion=Gaussian,
)
