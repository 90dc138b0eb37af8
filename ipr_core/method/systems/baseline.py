"""Baseline: D1 alone, through the whole training (Table 3)."""

from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import System

SYSTEM = System(
    title="baseline",
    about="trained on D1",
    refine=terms,
    shows_prototypes=True,
    paper=64.25,
)
