"""The systems that are compared, one file each, named in `ipr_core/names.py`.

README.md tells how to add one. A system says which losses it has on which views. All of them go through the one loop
of `training/loop.py`: the same minibatches, second views and random numbers for each. Nothing of `training`, `runs` or
`batch` is imported here.
"""

from importlib import import_module

from ipr_core import config
from ipr_core.method.systems.system import System

SYSTEMS: dict[str, System] = {name: import_module(f"ipr_core.method.systems.{name}").SYSTEM for name in config.SYSTEMS}
