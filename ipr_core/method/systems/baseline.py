"""Baseline: D1 alone, through the whole training (Table 3)."""

from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import System

SYSTEM = System(
    title="baseline",
    about="trained on D1",
    refinement_terms=terms,
    shows_prototypes=True,
    printed_accuracy=64.25,
)
