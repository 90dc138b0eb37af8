"""Control: baseline+ with IPR's contrastive term: all of IPR but the prototypes' labels."""

from ipr_core.method import equations as eq
from ipr_core.method.systems.baseline_plus import own_label_loss
from ipr_core.method.systems.ipr import contrastive_loss
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import System


def refinement_terms(step: Step) -> Terms:
    """Return CE on D1 and on D2 with the classifier's own labels, and the contrastive term."""
    labels, labels_augmented = map(eq.pseudo_labels, (step.classifier_soft, step.ambiguous_augmented.logits))
    contrastive = contrastive_loss(step, labels, labels_augmented)
    return terms(step, ambiguous=own_label_loss(step), contrastive=contrastive)


SYSTEM = System(
    title="baseline+, contrastive",
    about="baseline+ with the contrastive term of Eq. 5",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    shows_beta=True,
    shows_prototypes=True,
    shows_gate=True,
)
