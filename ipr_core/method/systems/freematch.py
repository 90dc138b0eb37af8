"""FreeMatch (Wang et al., ICLR 2023): FixMatch whose thresholds follow the model, class by class.

As in the authors' code (microsoft/Semi-supervised-learning) a minibatch moves the averages before they are used.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.method.systems.fixmatch import LAMBDA, consistency_loss
from ipr_core.method.systems.step import Companion, Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

FAIRNESS = 0.01
"""Weight of the fairness term relative to the consistency's (Table 8 has 0.01 to 0.05)."""
MOMENTUM = 0.99
"""Reading: of the moving averages, for short runs. The authors' 0.999 is for a million steps. The paper's settings make
some 14,000 on IEMOCAP, the demo some two hundred, in which 0.999 would hardly leave the averages' first values."""


def thresholds(confidence: Tensor, shares: Tensor) -> Tensor:
    """Return τ_c = p̃_c / max p̃ · τ, a threshold for each class (Eq. 5 to 8).

    confidence: scalar, τ, mean of the largest share   shares: (C,) p̃, mean soft label
    returns: (C,)
    """
    return shares / shares.max() * confidence


def fairness(expected: Tensor, counts: Tensor, shares: Tensor, certain: Tensor) -> Tensor:
    """Return L_f = Σ_c a_c log b_c, which drives a minibatch from the mean prediction so far (Eq. 11).

    a is `expected` over `counts`, b the mean of `shares` over the counts of their pseudo-labels, both scaled to sum 1.
    Classes that no pseudo-label of the minibatch names have no b and are left out. Shapes do not depend on who is
    certain, so that no GPU is waited for.

    expected, counts: (C,) mean soft label and share of each pseudo-label so far   shares: (B, C)
    certain: (B,) bool, the utterances that count
    returns: scalar, 0 where none counts
    """
    labels = F.one_hot(shares.argmax(dim=-1), shares.shape[-1]).to(shares)
    size = certain.sum().clamp_min(1)
    mean, frequency = ((part * certain[:, None]).sum(dim=0) / size for part in (shares, labels))  # (C,)
    absent = frequency == 0
    a = expected / counts.clamp_min(1e-6)
    b = (mean / frequency.masked_fill(absent, 1)).masked_fill(absent, 0)
    ratio = (b / b.sum().clamp_min(torch.finfo(b.dtype).tiny)).masked_fill(absent, 1)
    return (a / a.sum() * ratio.log()).sum()


class Averages(Companion):
    """Moving averages over D2: of the largest share, of the soft label and of the pseudo-labels."""

    confidence: Tensor
    """Scalar."""
    shares: Tensor
    """(C,)"""
    counts: Tensor
    """(C,)"""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("confidence", torch.tensor(1 / n_classes))
        self.register_buffer("shares", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("counts", torch.full((n_classes,), 1 / n_classes))

    def before_step_(self, step: Step) -> None:
        shares = step.ambiguous.logits.softmax(dim=-1)
        labels = F.one_hot(shares.argmax(dim=-1), shares.shape[-1]).to(shares)
        self.confidence.lerp_(shares.amax(dim=-1).mean(), 1 - MOMENTUM)
        self.shares.lerp_(shares.mean(dim=0), 1 - MOMENTUM)
        self.counts.lerp_(labels.mean(dim=0), 1 - MOMENTUM)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1), the consistency of D2's views above the thresholds, and the fairness term."""
    clean, aug = step.ambiguous.logits, step.ambiguous_augmented.logits
    averages = step.companion_as(Averages)
    shares, label = clean.detach().softmax(dim=-1).max(dim=-1)
    certain = shares >= thresholds(averages.confidence, averages.shares)[label]
    consistency = consistency_loss(clean, aug, certain.to(clean))
    fair = fairness(averages.shares, averages.counts, aug.softmax(dim=-1), certain)
    weight = own_weight(step, LAMBDA)
    return terms(step, extra={"consistency": (consistency, weight), "fairness": (fair, FAIRNESS * weight)})


SYSTEM = System(
    title="FreeMatch",
    about="FixMatch with thresholds that follow what is learnt",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    companion=Averages,
)
