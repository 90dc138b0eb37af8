"""Control: baseline+ with IPR's contrastive term: all of IPR but the prototypes' labels."""

from ipr_core.method.systems.ipr import ambiguous_loss, contrastive_loss
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import System


def refine(step: Step) -> Terms:
    """Return CE on D1 and on D2 with the classifier's own labels, and the contrastive term."""
    soft = step.classifier_soft
    return terms(step, ambiguous=ambiguous_loss(step, soft), contrastive=contrastive_loss(step, soft))


SYSTEM = System(
    title="baseline+, contrastive",
    about="baseline+ with the contrastive term of Eq. 5",
    refine=refine,
    ambiguous_views=2,
    shows_beta=True,
    shows_prototypes=True,
    shows_gate=True,
)
