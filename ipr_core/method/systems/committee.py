"""Control: MCIL's committee, trained on D1 alone, through the whole training.

A committee has more than three times the baseline's trained parameters. This control measures how much that alone is
worth, before MCIL and majority voting see D2.
"""

from ipr_core.method.systems.mcil import COMMITTEE, warm_up_terms
from ipr_core.method.systems.system import System

SYSTEM = System(
    title="committee, D1 alone",
    about="several classifiers, trained on D1",
    refinement_terms=warm_up_terms,
    warm_up_terms=warm_up_terms,
    network=COMMITTEE,
)
