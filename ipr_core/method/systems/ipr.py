"""IPR: D1, and D2 with the prototypes' labels, the contrastive term, and prototypes that D2 moves (section 2)."""

from ipr_core.method.systems.step import Step, System, Terms, ambiguous_loss, contrastive_term, terms


def refine(step: Step) -> Terms:
    """CE on D1 and on D2 with the prototypes' labels, and the contrastive term (Eq. 6)."""
    return terms(step, ambiguous=ambiguous_loss(step, step.soft), contrastive=contrastive_term(step, step.soft))


SYSTEM = System(
    title="IPR",
    about="trained on D1 and on D2 with the prototypes' labels and the contrastive term; D2 moves the prototypes",
    refine=refine,
    ambiguous_views=2,
    shows_beta=True,
    moves_prototypes=True,
    shows_prototypes=True,
    shows_gate=True,
    paper=70.75,
)
