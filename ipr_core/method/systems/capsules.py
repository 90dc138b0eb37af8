"""Capsule network with dynamic routing over local and global features (Liu et al., ICASSP 2020).

Local capsules are made of every position of a CNN's map, global ones of the map's mean and deviation. Routing (Sabour
et al., NeurIPS 2017, with the biases of their code) sends each to the emotion's capsule that agrees with it; a
capsule's length is how much of the emotion there is. On D2 it learns, as retrained for IPR's paper, from its own soft
label. It begins from nothing, and needs three times the steps of other systems to fit D1.
"""

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import valid
from ipr_core.encoders.spectrogram import SpectrogramCNN
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Classifier, Network, System, Unprojected

LOCAL, GLOBAL, OUT = 8, 8, 16
"""Sizes of a local, a global and an emotion's capsule."""
ROUNDS = 3
"""Rounds of routing."""
PRESENT, ABSENT, DOWN = 0.9, 0.1, 0.5
"""m+, m− and λ of the margin loss (Sabour et al., Eq. 4)."""


def squash(s: Tensor) -> Tensor:
    """Scale s to a length below 1: |s|² / (1 + |s|²) in its direction (Sabour et al., Eq. 1).

    s: (…, K)
    """
    square = s.square().sum(dim=-1, keepdim=True)
    return square / (1 + square) * s / (square + 1e-9).sqrt()


def routed(votes: Tensor, weights: Tensor, bias: Tensor) -> Tensor:
    """Return the emotions' capsules after dynamic routing (Sabour et al., procedure 1).

    votes: (B, I, C, K) the vote of each of I capsules for each emotion's
    weights: (B, I), 0 for padding, each group's sum to 1: the sum over capsules is a mean, so that a longer utterance
    is not a louder one   bias: (C, K) of the emotions' capsules
    returns: (B, C, K), lengths below 1
    """
    constant = votes.detach()  # couplings are no path for gradients
    agreement = torch.zeros_like(constant[..., 0])  # (B, I, C)
    for _ in range(ROUNDS - 1):
        capsules = squash(_weighted_votes(constant, agreement, weights) + bias.detach())
        agreement = agreement + (constant * capsules[:, None]).sum(dim=-1)
    return squash(_weighted_votes(votes, agreement, weights) + bias)


def _weighted_votes(votes: Tensor, agreement: Tensor, weights: Tensor) -> Tensor:
    """Sum each capsule's votes, times C and its coupling: (B, C, K).

    With even couplings it is the weighted mean of the votes.
    """
    coupling = agreement.softmax(dim=-1) * votes.shape[2] * weights[..., None]
    return torch.einsum("bic,bick->bck", coupling, votes)


def margin_loss(lengths: Tensor, shares: Tensor) -> Tensor:
    """Return the margin loss, the mean over the minibatch (Sabour et al., Eq. 4).

    Σ_c s_c max(0, m+ − v_c)² + λ (1 − s_c) max(0, v_c − m−)²

    lengths: (B, C) v   shares: (B, C) s, one-hot on D1
    returns: scalar
    """
    present = shares * (PRESENT - lengths).clamp(min=0).square()
    absent = DOWN * (1 - shares) * (lengths - ABSENT).clamp(min=0).square()
    return (present + absent).sum(dim=-1).mean()


class Capsules(nn.Module):
    """The emotions' capsules side by side: frames (B, F, H), valid (B,) → (B, C · OUT)."""

    def __init__(self, width: int, n_classes: int):
        super().__init__()
        self.types, self.width = width // LOCAL, n_classes * OUT
        self.locals = nn.Linear(width, self.types * LOCAL)
        self.globals = nn.Linear(2 * width, width // GLOBAL * GLOBAL)
        shape = n_classes, OUT
        self.of_local = nn.Parameter(torch.randn(self.types, LOCAL, *shape) / LOCAL**0.5)
        self.of_global = nn.Parameter(torch.randn(width // GLOBAL, GLOBAL, *shape) / GLOBAL**0.5)
        self.bias = nn.Parameter(torch.full(shape, 0.1))

    def forward(self, frames: Tensor, n: Tensor) -> Tensor:
        frames, mask = frames.float(), valid(n, frames.shape[1])
        local = squash(self.locals(frames).unflatten(2, (self.types, LOCAL)))  # (B, F, types, LOCAL)
        whole = squash(self.globals(_mean_and_deviation(frames, n, mask)).unflatten(1, (-1, GLOBAL)))
        votes = torch.einsum("bftl,tlck->bftck", local, self.of_local).flatten(1, 2)
        votes = torch.cat([votes, torch.einsum("btl,tlck->btck", whole, self.of_global)], dim=1)
        shares = (mask / n[:, None]).repeat_interleave(self.types, dim=1) / self.types
        weights = torch.cat([shares, torch.full_like(whole[..., 0], 1 / whole.shape[1])], dim=1)
        return routed(votes, weights, self.bias).flatten(1)


def _mean_and_deviation(frames: Tensor, n: Tensor, mask: Tensor) -> Tensor:
    """Return mean and deviation over the valid frames: (B, 2 H)."""
    mean = frames.sum(dim=1) / n[:, None]
    deviations = (frames - mean[:, None]) * mask[..., None]
    return torch.cat([mean, (deviations.square().sum(dim=1) / n[:, None] + 1e-6).sqrt()], dim=1)


class Lengths(Classifier):
    """The capsules' lengths as `scores` (B, C); soft labels are their shares of the sum."""

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.n_classes = n_classes

    def forward(self, embedding: Tensor) -> Tensor:
        return (embedding.unflatten(1, (self.n_classes, -1)).square().sum(dim=-1) + 1e-9).sqrt()

    def logits(self, scores: Tensor) -> Tensor:
        return scores.log()


def warm_up_terms(step: Step) -> Terms:
    """Return the margin loss of D1."""
    return terms(step, precise=margin_loss(step.precise.scores, step.one_hot))


def refinement_terms(step: Step) -> Terms:
    """Return the margin loss of D1, and of D2 with the classifier's soft labels."""
    precise = margin_loss(step.precise.scores, step.one_hot)
    return terms(step, precise=precise, ambiguous=margin_loss(step.ambiguous.scores, step.classifier_soft))


SYSTEM = System(
    title="capsules",
    about="a capsule network on spectrograms, in three times the steps trained on D1 and on D2 with its own labels",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(encoder=SpectrogramCNN, pool=Capsules, projection=Unprojected, classifier=Lengths, turns=3),
    printed_accuracy=58.55,
)
