"""Control: IPR with MCIL's committee as its network.

MCIL has more than three times IPR's trained parameters. This control compares the two with the same network. Prototypes
lie in the space of all members' embeddings side by side, and each member learns D1's labels and the prototypes'.
"""

from dataclasses import replace

import torch

from ipr_core.method.systems.ipr import ambiguous_loss, contrastive_loss
from ipr_core.method.systems.mcil import COMMITTEE, members_loss, warm_up_terms
from ipr_core.method.systems.step import Step, Terms, View, terms
from ipr_core.method.systems.system import System


def member_steps(step: Step) -> list[Step]:
    """Return the step as each of M members sees it: with its own logits in place of the committee's."""
    members = range(step.ambiguous.scores.shape[1])
    return [replace(step, views={name: _of_member(view, m) for name, view in step.views.items()}) for m in members]


def _of_member(view: View, member: int) -> View:
    logits = view.scores[:, member]
    return View(view.embedding, logits, logits)


def refinement_terms(step: Step) -> Terms:
    """Return the terms of Eq. 6, the cross-entropies of D1 and of D2 the mean over the members."""
    losses = [ambiguous_loss(own, step.prototype_soft, step.prototype_labels) for own in member_steps(step)]
    return terms(
        step,
        precise=members_loss(step.precise.scores, step.labels),
        ambiguous=torch.stack(losses).mean(),
        contrastive=contrastive_loss(step, step.prototype_labels, step.prototype_labels_augmented),
    )


SYSTEM = System(
    title="IPR, committee",
    about="IPR with several classifiers, each trained on the prototypes' labels of D2",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=2,
    shows_beta=True,
    moves_prototypes=True,
    shows_prototypes=True,
    shows_gate=True,
    network=COMMITTEE,
)
