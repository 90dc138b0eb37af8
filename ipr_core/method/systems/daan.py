"""DAAN (Yu et al., ICDM 2019): DANN with a discriminator for all and one for each class, weighed by what they find.

ω, the share of the classes' discriminators, is taken anew after each epoch from the A-distances that their errors give.
The errors are plain ones, counted over the epoch: losses are scaled by λ and ω, and would make ω measure itself.
"""

import torch
from torch import Tensor, nn

from ipr_core.method.systems.dann import Discriminator, both, domain_loss, reverse, schedule
from ipr_core.method.systems.step import Beside, Step, System, Terms, terms, weight


def a_distance(error: Tensor) -> Tensor:
    """d = 2 (1 − 2 ε) for a discriminator's error ε, not below 0: one that is worse than chance has found nothing."""
    return (2 * (1 - 2 * error)).clamp(min=0)


def dynamic_factor(globally: Tensor, locally: Tensor) -> Tensor:
    """ω = d_g / (d_g + mean_c d_c), ½ where no discriminator finds anything (Eq. 8).

    globally: the A-distance of all   locally: (C,) of each class   returns: scalar in [0, 1]
    """
    both_ = globally + locally.mean()
    return torch.where(both_ > 0, globally / both_.clamp_min(1e-12), torch.full_like(both_, 0.5))


class Adversaries(Beside):
    """A discriminator of D1 and D2 for all utterances and one for each class, and what they found in this epoch."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.all = Discriminator(dim)
        self.each = nn.ModuleList(Discriminator(dim) for _ in range(n_classes))
        self.register_buffer("omega", torch.tensor(0.5))  # neither is preferred before anything is known
        self.register_buffer("wrong", torch.zeros(1 + n_classes))
        self.register_buffer("seen", torch.zeros(1 + n_classes))

    def forward(self, embeddings: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Logits of D2 by the one (N,) and by each class's (N, C), which sees embeddings times that class's share."""
        each = [one(share[:, None] * embeddings) for one, share in zip(self.each, shares.T, strict=True)]
        return self.all(embeddings)[:, 0], torch.cat(each, dim=1)

    def note_(self, step: Step) -> None:
        embeddings, domains = both(step)
        shares = _shares(step)
        globally, locally = self(embeddings, shares)
        wrong = (torch.cat([globally[:, None], locally], dim=1) > 0) != (domains[:, None] > 0)  # (N, 1 + C)
        counts = torch.cat([torch.ones_like(shares[:, :1]), shares], dim=1)
        self.wrong += (wrong * counts).sum(dim=0)
        self.seen += counts.sum(dim=0)

    def settle_(self) -> None:
        distances = a_distance(self.wrong / self.seen.clamp_min(1e-12))
        self.omega.copy_(dynamic_factor(distances[0], distances[1:]))
        self.wrong.zero_()
        self.seen.zero_()


def _shares(step: Step) -> Tensor:
    """(N, C) what the classifier says of D1 and D2, a constant."""
    return torch.cat([step.precise.logits, step.ambiguous.logits]).detach().softmax(dim=-1)


def refine(step: Step) -> Terms:
    """CE(D1), and (1 − ω) of the one discriminator's loss and ω of the classes' sum, behind the reversal."""
    embeddings, domains = both(step)
    turned = reverse(embeddings, weight(step, 1.0) * schedule(step.progress))
    globally, locally = step.beside(turned, _shares(step))
    omega = step.beside.omega.clone()
    each = domain_loss(locally, domains[:, None].expand_as(locally)) * locally.shape[1]  # a sum over the classes
    loss = (1 - omega) * domain_loss(globally, domains) + omega * each
    return terms(step, own={"domain": (loss, 1.0)})


SYSTEM = System(
    title="DAAN",
    about="trained on D1, its embeddings kept from telling D1 and D2 apart, over all and class by class",
    refine=refine,
    ambiguous_views=1,
    beside=Adversaries,
    paper=65.75,
)
