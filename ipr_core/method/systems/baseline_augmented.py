"""Control: the baseline with a second, augmented view of every utterance of D1.

IPR sees augmented speech and the baseline does not. This control measures how much that alone is worth.
"""

from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import System

SYSTEM = System(
    title="baseline, augmented",
    about="trained on D1 and on augmented D1",
    refinement_terms=terms,
    precise_views=2,
    shows_prototypes=True,
)
