"""Baseline+: D1, and D2 with the model's own soft labels (Table 3).

The labels are those of the evaluation pass before the epoch: with the soft label of the very same forward
pass the cross-entropy on D2 has no gradient at all, and baseline+ would be the baseline.
"""

from ipr_core.method.systems.step import Step, System, Terms, ambiguous_loss, terms


def refine(step: Step) -> Terms:
    """CE on D1, and on D2 with the model's own labels."""
    return terms(step, ambiguous=ambiguous_loss(step, step.own))


SYSTEM = System(
    title="baseline+",
    about="trained on D1 and on D2 with its own labels",
    refine=refine,
    ambiguous_views=1,
    shows_beta=True,
    shows_prototypes=True,
    paper=66.85,
)
