"""Control: baseline+ with IPR's contrastive term, so everything of IPR but the prototypes' labels."""

from ipr_core.method.systems.step import Step, System, Terms, ambiguous_loss, contrastive_term, terms


def refine(step: Step) -> Terms:
    """CE on D1 and on D2 with the model's own labels, and the contrastive term."""
    return terms(step, ambiguous=ambiguous_loss(step, step.own), contrastive=contrastive_term(step, step.own))


SYSTEM = System(
    title="baseline+, contrastive",
    about="baseline+ with the contrastive term of Eq. 5",
    refine=refine,
    ambiguous_views=2,
    shows_beta=True,
    shows_prototypes=True,
    shows_gate=True,
)
