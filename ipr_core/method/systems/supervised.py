"""Supervised: D1 and D2 with their true labels, the upper bound (Table 3).

D2 has the same weight as D1 from the end of the warm-up on: its labels are certain, so nothing has to grow.
An utterance whose votes tie has no label, and no loss.
"""

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import System


def refinement_terms(step: Step) -> Terms:
    """Return CE on D1 and on D2, both with true labels."""
    labelled = step.truth >= 0
    loss = eq.cross_entropy(step.ambiguous.logits, step.truth.clamp(min=0), labelled.float())
    return terms(step, ambiguous=loss, beta=step.method.alpha)


SYSTEM = System(
    title="supervised",
    about="trained on D1 and D2 with true labels",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    shows_prototypes=True,
    printed_accuracy=72.3,
)
