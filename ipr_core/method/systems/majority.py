"""Majority voting (the comparison of Zhou et al. 2022): the majority of MCIL's classifiers labels D2."""

import torch.nn.functional as F
from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.mcil import Committee, Members, mean_distribution, members_loss, warm_up_terms
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Network, System


def vote_shares(scores: Tensor) -> Tensor:
    """Return the shares of the members' votes.

    Their mean distribution has one vote more, which breaks ties.
    scores: (B, M, C) logits
    returns: (B, C), rows sum to 1; the largest is the majority's
    """
    n_classes = scores.shape[-1]
    votes = F.one_hot(scores.argmax(dim=-1), n_classes).sum(dim=1)  # (B, C)
    return (votes + mean_distribution(scores).exp()) / (scores.shape[1] + 1)


class Voters(Committee):
    """A committee whose logits are the logarithm of its votes' shares."""

    def logits(self, scores: Tensor) -> Tensor:
        return vote_shares(scores).clamp_min(1e-12).log()


def refinement_terms(step: Step) -> Terms:
    """Return every member's CE on D1, and on D2 with the majority's label."""
    precise = members_loss(step.precise.scores, step.labels)
    majority = eq.pseudo_labels(step.classifier_soft)
    return terms(step, precise=precise, ambiguous=members_loss(step.ambiguous.scores, majority))


SYSTEM = System(
    title="majority voting",
    about="several classifiers, trained on D1 and on D2 with their majority's label",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(projection=Members, classifier=Voters),
    printed_accuracy=65.00,
)
