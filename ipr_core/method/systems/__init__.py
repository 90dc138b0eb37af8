"""The systems that are compared: which losses on which views. One file each, named in `config`; README.md says how.

All of them go through the one loop of `train.py`, which gives every system the same batches, the same second
views and the same random numbers, and leaves out the views that a system does not ask for.
"""

from importlib import import_module

from ipr_core import config
from ipr_core.method.systems.step import Step, System, Terms, View, precise_loss

SYSTEMS: dict[str, System] = {name: import_module(f"ipr_core.method.systems.{name}").SYSTEM for name in config.SYSTEMS}

__all__ = ["SYSTEMS", "Step", "System", "Terms", "View", "precise_loss"]
