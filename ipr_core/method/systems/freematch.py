"""FreeMatch (Wang et al., ICLR 2023): FixMatch whose thresholds follow what the model has learnt, class by class."""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.method.systems.fixmatch import LAMBDA, consistency_loss
from ipr_core.method.systems.step import Beside, Step, System, Terms, terms, weight

FAIRNESS = 0.01
"""Weight of the fairness term relative to the consistency's (Table 8 has 0.01 to 0.05)."""
MOMENTUM = 0.99
"""Reading: of the moving averages, for short runs. The authors' 0.999 is for a million steps; the paper's settings make
some 14,000 on IEMOCAP, the demo some two hundred, in which 0.999 would hardly leave what the averages begin with."""


def thresholds(confidence: Tensor, shares: Tensor) -> Tensor:
    """τ_c = p̃_c / max p̃ · τ, a threshold for each class (Eq. 5 to 8).

    confidence: scalar, τ, mean of the largest share   shares: (C,) p̃, mean soft label   returns: (C,)
    """
    return shares / shares.max() * confidence


def fairness(expected: Tensor, counted: Tensor, shares: Tensor) -> Tensor:
    """L_f = Σ_c a_c log b_c: predictions of a batch are driven from the mean of what was predicted so far (Eq. 11).

    a is `expected` over `counted`, b the mean of `shares` over the counts of their pseudo-labels, both scaled to sum 1.
    Classes that no pseudo-label of the batch names have no b and are left out.

    expected, counted: (C,) mean soft label and share of each pseudo-label so far   shares: (B, C)
    """
    if len(shares) == 0:
        return shares.sum()
    named = F.one_hot(shares.argmax(dim=-1), shares.shape[-1]).to(shares).mean(dim=0)  # (C,)
    there = named > 0
    a = expected / counted.clamp_min(1e-6)
    b = shares.mean(dim=0)[there] / named[there]
    return ((a / a.sum())[there] * (b / b.sum()).log()).sum()


class Averages(Beside):
    """Moving averages over D2: of the largest share, of the soft label and of the pseudo-labels."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("confidence", torch.tensor(1 / n_classes))
        self.register_buffer("shares", torch.full((n_classes,), 1 / n_classes))
        self.register_buffer("counts", torch.full((n_classes,), 1 / n_classes))

    def note_(self, step: Step) -> None:
        shares = step.ambiguous.logits.softmax(dim=-1)
        named = F.one_hot(shares.argmax(dim=-1), shares.shape[-1]).to(shares)
        self.confidence.lerp_(shares.amax(dim=-1).mean(), 1 - MOMENTUM)
        self.shares.lerp_(shares.mean(dim=0), 1 - MOMENTUM)
        self.counts.lerp_(named.mean(dim=0), 1 - MOMENTUM)


def refine(step: Step) -> Terms:
    """CE(D1), the consistency of D2's views above the thresholds, and the fairness term."""
    clean, aug, averages = step.ambiguous.logits, step.ambiguous_augmented.logits, step.beside
    shares, label = clean.detach().softmax(dim=-1).max(dim=-1)
    passed = shares >= thresholds(averages.confidence, averages.shares)[label]
    consistency = consistency_loss(clean, aug, passed.to(clean))
    fair = fairness(averages.shares.clone(), averages.counts.clone(), aug[passed].softmax(dim=-1))
    scale = weight(step, LAMBDA)
    return terms(step, own={"consistency": (consistency, scale), "fairness": (fair, FAIRNESS * scale)})


SYSTEM = System(
    title="FreeMatch",
    about="FixMatch with thresholds that follow what is learnt",
    refine=refine,
    ambiguous_views=2,
    beside=Averages,
)
