"""Steps of random tensors for the systems' losses, and those losses in plain Python."""

import math
from collections.abc import Callable

import torch

from ipr_core.config import Method
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import Companion, Step, View

B, C, D, N = 6, 4, 5, 20


def random_tensor(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def random_shares(*shape: int, seed: int = 0) -> torch.Tensor:
    return random_tensor(*shape, seed=seed).softmax(dim=-1)


def random_view(seed: int, scores: torch.Tensor | None = None, logits: torch.Tensor | None = None) -> View:
    """Make a view with a random embedding, its scores and logits random where they are not given."""
    scores = random_tensor(B, C, seed=seed) if scores is None else scores
    logits = scores if logits is None else logits
    return View(random_tensor(B, D, seed=seed + 1).requires_grad_(), logits.requires_grad_(), scores)


def make_step(system: str, progress: float = 0.5, own_weight: float | None = None, **views: View) -> Step:
    """Make a step of the refinement with the system's companion; views that are not given are random."""
    torch.manual_seed(0)
    companion = SYSTEMS[system].companion
    seeds = {"precise": 1, "ambiguous": 5, "ambiguous_augmented": 9}
    return Step(
        method=Method(own_weight=own_weight),
        beta=0.3,
        views={name: random_view(seed) for name, seed in seeds.items()} | views,
        labels=torch.arange(B) % C,
        classifier_soft=random_shares(B, C, seed=13),
        prototype_soft=random_shares(B, C, seed=14),
        prototype_labels=random_shares(B, C, seed=14).argmax(dim=1),
        prototype_labels_augmented=random_shares(B, C, seed=15).argmax(dim=1),
        compared=torch.zeros(B, D),
        compared_augmented=torch.zeros(B, D),
        truth=torch.arange(B) % C,
        rows=torch.arange(7, 7 + B),
        progress=progress,
        companion=companion(D, C, N) if companion else Companion(),
    )


def extra_terms(step: Step, system: str) -> dict[str, tuple[float, float]]:
    """Return the values and weights of a system's extra terms."""
    return {
        name: (value.item(), weight) for name, (value, weight) in SYSTEMS[system].refinement_terms(step).extra.items()
    }


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def cross_entropy(row: list[float], shares: list[float]) -> float:
    return -sum(share * math.log(p) for share, p in zip(shares, softmax(row), strict=True))


def mean_loss(loss: Callable[[list, list], float], rows: torch.Tensor, shares: torch.Tensor) -> float:
    """Return the mean of a loss in plain Python, one utterance after another."""
    return sum(map(loss, rows.tolist(), shares.tolist())) / len(rows)
