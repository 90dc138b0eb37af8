"""Baseline+: D1, and D2 with the classifier's own soft labels (Table 3).

The labels are those of the evaluation pass before the epoch. With the soft label of the very same forward
pass the cross-entropy on D2 would have no gradient, and baseline+ would be the baseline.
"""

from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.ipr import ambiguous_loss
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import System


def refinement_terms(step: Step) -> Terms:
    """Return CE on D1, and on D2 with the classifier's own labels."""
    return terms(step, ambiguous=own_label_loss(step))


def own_label_loss(step: Step) -> Tensor:
    """Return CE on D2 with the classifier's own labels, soft or hard by the reading `own_target`."""
    method, soft = step.method, step.classifier_soft
    target = method.target if method.own_target == "same" else method.own_target
    return ambiguous_loss(step, soft, eq.pseudo_labels(soft), target)


SYSTEM = System(
    title="baseline+",
    about="trained on D1 and on D2 with its own labels",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    shows_beta=True,
    shows_prototypes=True,
    printed_accuracy=66.85,
)
