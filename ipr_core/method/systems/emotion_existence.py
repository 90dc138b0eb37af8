"""Emotion existence (Ando et al., Interspeech 2019): which emotions exist, and which one dominates.

Its authors train in two steps: the existence model, then the dominant one by means of its outputs. Here the first half
of the warm-up is the first step. From then on the dominant model learns, and the existence model goes on learning: both
read one embedding, which the dominant model's loss moves. Without a warm-up both begin together. On D2 it learns, as
retrained for IPR's paper, from its own soft label: an emotion exists if its share is at least 1 / C.
"""

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Classifier, Network, System

STEP = 0.5
"""Reading: the share of the warm-up in which existence is learnt alone."""
TOLERANCE = 1e-6
"""Of a share: in float32 one of C even shares may lie below 1 / C."""


def existence_loss(logits: Tensor, existence: Tensor) -> Tensor:
    """Return the binary cross-entropy, the mean over utterances and emotions.

    logits: (B, C)   existence: (B, C), 0 or 1
    returns: scalar
    """
    return F.binary_cross_entropy_with_logits(logits, existence)


def exists(shares: Tensor) -> Tensor:
    """Return 1 where an emotion's share is at least 1 / C, else 0.  shares: (B, C)   returns: (B, C)"""
    return (shares >= 1 / shares.shape[-1] - TOLERANCE).to(shares)


class Existence(Classifier):
    """A sigmoid for each emotion, and the dominant emotion from the embedding and those.

    `scores`: (B, 2, C), the logits of both
    """

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.existence = nn.Sequential(nn.Linear(dim, dim), nn.GELU(), nn.Linear(dim, n_classes))
        self.dominant = nn.Sequential(nn.Linear(dim + n_classes, dim), nn.GELU(), nn.Linear(dim, n_classes))

    def forward(self, embedding: Tensor) -> Tensor:
        existence = self.existence(embedding)
        shares = existence.detach().sigmoid()  # the first model is the second one's input, not trained by it
        return torch.stack([existence, self.dominant(torch.cat([embedding, shares], dim=1))], dim=1)

    def logits(self, scores: Tensor) -> Tensor:
        return scores[:, 1]


def loss(scores: Tensor, shares: Tensor) -> Tensor:
    """Return the sum of both models' losses.

    scores: (B, 2, C)   shares: (B, C) the soft label, one-hot on D1
    returns: scalar
    """
    return existence_loss(scores[:, 0], exists(shares)) + eq.cross_entropy(scores[:, 1], shares)


def warm_up_terms(step: Step) -> Terms:
    """Return the loss on D1: the existence model's in the first of two steps, both models' in the second."""
    if step.progress < STEP:
        return terms(step, precise=existence_loss(step.precise.scores[:, 0], exists(step.one_hot)))
    return terms(step, precise=loss(step.precise.scores, step.one_hot))


def refinement_terms(step: Step) -> Terms:
    """Return both losses on D1, and on D2 with the classifier's soft labels."""
    precise = loss(step.precise.scores, step.one_hot)
    return terms(step, precise=precise, ambiguous=loss(step.ambiguous.scores, step.classifier_soft))


SYSTEM = System(
    title="emotion existence",
    about="which emotions are there and which is dominant, trained on D1 and on D2 with its own labels",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(classifier=Existence),
    printed_accuracy=57.80,
)
