"""Training: from a configuration to a trained run (`advance`), by one loop (`loop`) for every system.

It knows configurations, data, encoders, the method and run folders. Batches, results and everything that draws stay
outside. Torch's number of threads is read here first, before anything can change it; see `conditions`.
"""

from ipr_core.training import conditions

__all__ = ["conditions"]
