"""Comparison of planes, to the bit."""

import numpy as np


def equal_planes(first, second) -> bool:
    """Whether two lists of planes are the same."""
    return len(first) == len(second) and all(
        np.array_equal(a, b) for planes in zip(first, second, strict=True) for a, b in zip(*planes, strict=True)
    )
