"""DANN (Ganin and Lempitsky, ICML 2015): CE on D1, and embeddings that do not tell D1 from D2.

A discriminator learns which part an embedding comes from; the gradient that reaches the embedding is reversed.
"""

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ipr_core.method.systems.step import Companion, Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System

GROWTH = 10.0
"""γ of λ's schedule (section 4)."""


class _Reverse(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: float) -> Tensor:
        ctx.scale = scale
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None]:
        return -ctx.scale * gradient, None


def reverse(x: Tensor, scale: float) -> Tensor:
    """Return x itself; its gradient is −scale times that of the result."""
    return _Reverse.apply(x, scale)


def schedule(progress: float) -> float:
    """Return λ = 2 / (1 + exp(−γ p)) − 1 (Eq. 14 of Ganin et al., JMLR 2016).

    progress: p in [0, 1]
    returns: from 0 at p = 0 to nearly 1 at p = 1
    """
    return 2 / (1 + math.exp(-GROWTH * progress)) - 1


def domain_loss(logits: Tensor, domains: Tensor) -> Tensor:
    """Return the binary cross-entropy of a discriminator.

    logits: (N,)   domains: (N,) 0 for D1, 1 for D2
    returns: scalar
    """
    return F.binary_cross_entropy_with_logits(logits, domains)


def embeddings_and_domains(step: Step) -> tuple[Tensor, Tensor]:
    """Return the embeddings of D1 and D2 (N, D), and their domains (N,): 0 for D1, 1 for D2."""
    parts = step.precise.embedding, step.ambiguous.embedding
    domains = [part.new_full((len(part),), float(domain)) for domain, part in enumerate(parts)]
    return torch.cat(parts), torch.cat(domains)


class Discriminator(nn.Sequential):
    """Embedding (N, D) → the logit (N, 1) that it comes from D2."""

    def __init__(self, dim: int):
        super().__init__(nn.Linear(dim, dim), nn.ReLU(), nn.Linear(dim, 1))


class Adversary(Companion):
    """One discriminator of D1 and D2."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.discriminator = Discriminator(dim)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1) and the discriminator's loss behind the reversal."""
    embeddings, domains = embeddings_and_domains(step)
    scale = own_weight(step, 1.0) * schedule(step.progress)
    logits = step.companion_as(Adversary).discriminator(reverse(embeddings, scale))[:, 0]
    return terms(step, extra={"domain": (domain_loss(logits, domains), 1.0)})


SYSTEM = System(
    title="DANN",
    about="trained on D1, its embeddings kept from telling D1 and D2 apart (adversary)",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    companion=Adversary,
    printed_accuracy=68.50,
)
