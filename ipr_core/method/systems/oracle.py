"""The oracle: how good would D2's labels have to be? Baseline+ whose labels are made better, or worse, by the truth.

The labels are the classifier's at the end of the warm-up, kept to the end, so that their share of right ones is known.
`oracle` and `oracle_share` say what is done to them: a share of the wrong ones is put right, or left out (a gate that
knows), or all are the truth but for a share of random errors. A system's gain on D3 over that share is the curve of
what is reachable on a corpus. No result of it is one of a system that anybody could have.
"""

import torch
from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Companion, Step, Terms, terms
from ipr_core.method.systems.system import System


class FirstLabels(Companion):
    """The classifier's soft labels of the end of the warm-up, and each utterance's lot."""

    soft: Tensor
    """(N, C), of the utterances that were in a step."""
    seen: Tensor
    """(N,) whether an utterance was in a step."""
    lot: Tensor
    """(N,) uniform in [0, 1): whether an utterance is of the share."""
    shift: Tensor
    """(N,) from the true class to the wrong one, 1 to C − 1."""

    def __init__(self, dim: int, n_classes: int, n: int):
        super().__init__()
        self.register_buffer("soft", torch.zeros(n, n_classes))
        self.register_buffer("seen", torch.zeros(n, dtype=torch.bool))
        self.register_buffer("lot", torch.rand(n))
        self.register_buffer("shift", torch.randint(1, n_classes, (n,)))

    def before_step_(self, step: Step) -> None:
        seen = self.seen[step.rows, None]
        self.soft[step.rows] = torch.where(seen, self.soft[step.rows], step.classifier_soft)
        self.seen[step.rows] = True


def labels(step: Step) -> tuple[Tensor, Tensor]:
    """Return the labels of a step's utterances of D2 (B,), and their weights (B,), 0 for one that is left out."""
    first, method = step.companion_as(FirstLabels), step.method
    own, drawn = eq.pseudo_labels(first.soft[step.rows]), first.lot[step.rows] < method.oracle_share
    truth = torch.where(step.truth < 0, own, step.truth)  # of a tied utterance none is known
    every = torch.ones_like(first.lot[step.rows])
    if method.oracle == "random":
        return torch.where(drawn, (truth + first.shift[step.rows]) % first.soft.shape[1], truth), every
    wrong = drawn & (own != truth)
    return (own, every.masked_fill(wrong, 0)) if method.oracle == "gate" else (torch.where(wrong, truth, own), every)


def refinement_terms(step: Step) -> Terms:
    """Return CE on D1, and on D2 with the oracle's labels; its mean is over the minibatch, left out ones included."""
    target, weights = labels(step)
    losses = torch.nn.functional.cross_entropy(step.ambiguous.logits, target, reduction="none")
    return terms(step, ambiguous=(weights * losses).mean())


SYSTEM = System(
    title="oracle",
    about="trained on D1 and on D2 with labels that the truth has made better; no system that anybody could have",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    shows_beta=True,
    shows_prototypes=True,
    companion=FirstLabels,
)
