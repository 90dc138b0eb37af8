"""MCIL (Zhou et al., IEEE/ACM TASLP 2022): several classifiers label D2 together and learn from it.

Each goes another way from the pooled vectors to its logits. In the evaluation pass before an epoch they label D2 by
their mean distribution, and in the epoch all train on that label: so they interact once an epoch.
"""

import math

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Classifier, Network, System


def mean_distribution(scores: Tensor) -> Tensor:
    """Return the logarithm of the members' mean soft label.

    scores: (B, M, C) logits
    returns: (B, C)
    """
    return scores.log_softmax(dim=-1).logsumexp(dim=1) - math.log(scores.shape[1])


class Members(nn.Module):
    """Four different ways from a pooled vector (B, P) to an embedding (B, D).

    Their embeddings lie side by side: (B, 4 D).
    """

    def __init__(self, width: int, choice: Encoder):
        super().__init__()
        size = choice.embedding or width
        self.ways = nn.ModuleList(
            [
                nn.Linear(width, size),
                nn.Sequential(nn.Linear(width, 2 * size), nn.GELU(), nn.Linear(2 * size, size)),
                nn.Sequential(nn.Linear(width, size), nn.Tanh(), nn.Linear(size, size), nn.Tanh()),
                nn.Sequential(nn.Linear(width, 4 * size), nn.ReLU(), nn.Dropout(0.5), nn.Linear(4 * size, size)),
            ]
        )
        self.dim = len(self.ways) * size

    def forward(self, pooled: Tensor) -> Tensor:
        return torch.cat([way(pooled) for way in self.ways], dim=1)


class Committee(Classifier):
    """A linear layer for each member's part of the embedding.

    `scores`: (B, M, C), the members' logits
    """

    members = 4

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.heads = nn.ModuleList(nn.Linear(dim // self.members, n_classes) for _ in range(self.members))

    def forward(self, embedding: Tensor) -> Tensor:
        parts = embedding.chunk(self.members, dim=1)
        return torch.stack([head(part) for head, part in zip(self.heads, parts, strict=True)], dim=1)

    def logits(self, scores: Tensor) -> Tensor:
        return mean_distribution(scores)


def members_loss(scores: Tensor, target: Tensor) -> Tensor:
    """Return the mean of the members' cross-entropies.

    scores: (B, M, C)   target: (B,) classes or (B, C) shares
    returns: scalar
    """
    return torch.stack([eq.cross_entropy(logits, target) for logits in scores.unbind(dim=1)]).mean()


def warm_up_terms(step: Step) -> Terms:
    """Return every member's CE on D1."""
    return terms(step, precise=members_loss(step.precise.scores, step.labels))


def refinement_terms(step: Step) -> Terms:
    """Return every member's CE on D1, and on D2 with the members' mean distribution."""
    precise = members_loss(step.precise.scores, step.labels)
    return terms(step, precise=precise, ambiguous=members_loss(step.ambiguous.scores, step.classifier_soft))


COMMITTEE = Network(projection=Members, classifier=Committee)
"""The committee in place of projection and classifier."""

SYSTEM = System(
    title="MCIL",
    about="several classifiers, trained on D1 and on D2 with their mean distribution",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=COMMITTEE,
    printed_accuracy=67.00,
)
