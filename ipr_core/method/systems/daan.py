"""DAAN (Yu et al., ICDM 2019): DANN with a discriminator for all utterances and one for each class.

ω, the share of the classes' discriminators, follows after each epoch from the A-distances that their errors give. The
errors are counted over the epoch, not read from the losses: those are scaled by λ and ω, and ω would measure itself.
As in the authors' code (jindongwang/transferlearning, code/deep/DAAN) they are those of the discriminators that a step
finds, not of those that it leaves. Its soft labels are constants here; there a gradient passes them, not reversed.
"""

import torch
from torch import Tensor, nn

from ipr_core.method.systems.dann import Discriminator, domain_loss, embeddings_and_domains, reverse, schedule
from ipr_core.method.systems.step import Companion, Step, Terms, own_weight, terms
from ipr_core.method.systems.system import System


def a_distance(error: Tensor) -> Tensor:
    """Return d = 2 (1 − 2 ε) for a discriminator's error ε, at least 0: worse than chance tells nothing."""
    return (2 * (1 - 2 * error)).clamp(min=0)


def dynamic_factor(globally: Tensor, locally: Tensor) -> Tensor:
    """Return ω = d_g / (d_g + mean_c d_c), ½ where no discriminator tells anything (Eq. 8).

    globally: d_g, the A-distance over all utterances   locally: (C,) d_c, that of each class
    returns: scalar in [0, 1]
    """
    total = globally + locally.mean()
    return torch.where(total > 0, globally / total.clamp_min(1e-12), torch.full_like(total, 0.5))


class Adversaries(Companion):
    """A discriminator of D1 and D2 for all utterances, one for each class, and their errors in this epoch.

    The attributes' names are keys of checkpoints.
    """

    omega: Tensor
    wrong: Tensor
    """(1 + C,) errors of this epoch, of the one discriminator and of each class's."""
    seen: Tensor
    """(1 + C,) embeddings of this epoch, each counted by its class's share."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.all = Discriminator(dim)
        self.each = nn.ModuleList(Discriminator(dim) for _ in range(n_classes))
        self.register_buffer("omega", torch.tensor(0.5))  # no preference at first
        self.register_buffer("wrong", torch.zeros(1 + n_classes))
        self.register_buffer("seen", torch.zeros(1 + n_classes))

    def forward(self, embeddings: Tensor, shares: Tensor) -> tuple[Tensor, Tensor]:
        """Return the logits of D2 by the one discriminator (N,) and by each class's (N, C).

        A class's discriminator sees the embeddings times that class's share.
        embeddings: (N, D)   shares: (N, C)
        """
        parts = zip(self.each, shares.T, strict=True)
        logits = [discriminator(share[:, None] * embeddings) for discriminator, share in parts]
        return self.all(embeddings)[:, 0], torch.cat(logits, dim=1)

    def before_step_(self, step: Step) -> None:
        embeddings, domains = embeddings_and_domains(step)
        shares = _shares(step)
        globally, locally = self(embeddings, shares)
        wrong = (torch.cat([globally[:, None], locally], dim=1) > 0) != (domains[:, None] > 0)  # (N, 1 + C)
        counts = torch.cat([torch.ones_like(shares[:, :1]), shares], dim=1)
        self.wrong += (wrong * counts).sum(dim=0)
        self.seen += counts.sum(dim=0)

    def after_epoch_(self) -> None:
        distances = a_distance(self.wrong / self.seen.clamp_min(1e-12))
        self.omega.copy_(dynamic_factor(distances[0], distances[1:]))
        self.wrong.zero_()
        self.seen.zero_()


def _shares(step: Step) -> Tensor:
    """Return the classifier's soft labels of D1 and D2 as constants: (N, C)."""
    return torch.cat([step.precise.logits, step.ambiguous.logits]).detach().softmax(dim=-1)


def refinement_terms(step: Step) -> Terms:
    """Return CE(D1) and the discriminators' losses behind the reversal.

    The one for all counts by 1 − ω, the sum of the classes' by ω.
    """
    embeddings, domains = embeddings_and_domains(step)
    reversed_embeddings = reverse(embeddings, own_weight(step, 1.0) * schedule(step.progress))
    adversaries = step.companion_as(Adversaries)
    globally, locally = adversaries(reversed_embeddings, _shares(step))
    omega = adversaries.omega.clone()
    class_sum = domain_loss(locally, domains[:, None].expand_as(locally)) * locally.shape[1]
    loss = (1 - omega) * domain_loss(globally, domains) + omega * class_sum
    return terms(step, extra={"domain": (loss, 1.0)})


SYSTEM = System(
    title="DAAN",
    about="trained on D1, its embeddings kept from telling D1 and D2 apart, over all and class by class",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    companion=Adversaries,
    printed_accuracy=65.75,
)
