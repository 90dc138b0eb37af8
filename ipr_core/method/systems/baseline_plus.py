"""Baseline+: D1, and D2 with the classifier's own soft labels (Table 3).

The labels are those of the evaluation pass before the epoch. With the soft label of the very same forward
pass the cross-entropy on D2 would have no gradient, and baseline+ would be the baseline.
"""

from ipr_core.method.systems.ipr import ambiguous_loss
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import System


def refine(step: Step) -> Terms:
    """Return CE on D1, and on D2 with the classifier's own labels."""
    return terms(step, ambiguous=ambiguous_loss(step, step.classifier_soft))


SYSTEM = System(
    title="baseline+",
    about="trained on D1 and on D2 with its own labels",
    refine=refine,
    ambiguous_views=1,
    shows_beta=True,
    shows_prototypes=True,
    paper=66.85,
)
