"""Emotion existence (Ando et al., Interspeech 2019): is each emotion there at all? From that, which one dominates.

On D2, as IPR's paper has it retrained, by its own soft label: an emotion is there whose share is not below an even one.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Classifier, Network, Step, System, Terms, terms


def existence_loss(logits: Tensor, there: Tensor) -> Tensor:
    """Binary cross-entropy, the mean over utterances and emotions.  logits, there: (B, C), `there` 0 or 1"""
    return F.binary_cross_entropy_with_logits(logits, there)


def exists(shares: Tensor) -> Tensor:
    """(B, C) shares → 1 where an emotion's share is at least 1 / C, else 0."""
    return (shares >= 1 / shares.shape[-1]).to(shares)


class Existence(Classifier):
    """A sigmoid for each emotion, and the dominant one from the embedding and those; `scores` (B, 2, C) has both."""

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.existence = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, n_classes))
        self.dominant = nn.Sequential(nn.Linear(dim + n_classes, dim), nn.GELU(), nn.Linear(dim, n_classes))

    def forward(self, embedding: Tensor) -> Tensor:
        existence = self.existence(embedding)
        known = existence.detach().sigmoid()  # the first model is the second one's input, not trained by it
        return torch.stack([existence, self.dominant(torch.cat([embedding, known], dim=1))], dim=1)

    def logits(self, scores: Tensor) -> Tensor:
        return scores[:, 1]


def loss(scores: Tensor, shares: Tensor) -> Tensor:
    """Both models' losses.  scores: (B, 2, C)   shares: (B, C) the soft label, one-hot on D1"""
    return existence_loss(scores[:, 0], exists(shares)) + eq.cross_entropy(scores[:, 1], shares)


def warm_up(step: Step) -> Terms:
    """Both losses on D1."""
    return terms(step, precise=loss(step.precise.scores, step.certain))


def refine(step: Step) -> Terms:
    """Both losses on D1, and on D2 with its own soft label."""
    precise = loss(step.precise.scores, step.certain)
    return terms(step, precise=precise, ambiguous=loss(step.ambiguous.scores, step.own))


SYSTEM = System(
    title="emotion existence",
    about="which emotions are there and which is dominant, trained on D1 and on D2 with its own labels",
    refine=refine,
    warm_up=warm_up,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(classifier=Existence),
    paper=57.80,
)
