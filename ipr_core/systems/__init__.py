"""The systems that are compared: which losses on which views. One file each; a new one is added to `SYSTEMS`.

All of them go through the one loop of `train.py`, which gives every system the same batches, the same second
views and the same random numbers, and leaves out the views that a system does not ask for.
"""

from ipr_core.systems import baseline, baseline_augmented, baseline_plus, baseline_plus_contrastive, ipr, supervised
from ipr_core.systems.step import Step, System, Terms, View, precise_loss

SYSTEMS: dict[str, System] = {
    "baseline": baseline.SYSTEM,
    "baseline_augmented": baseline_augmented.SYSTEM,
    "baseline_plus": baseline_plus.SYSTEM,
    "baseline_plus_contrastive": baseline_plus_contrastive.SYSTEM,
    "ipr": ipr.SYSTEM,
    "supervised": supervised.SYSTEM,
}

__all__ = ["SYSTEMS", "Step", "System", "Terms", "View", "precise_loss"]
