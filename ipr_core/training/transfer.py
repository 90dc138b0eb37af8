"""Copies from the host to the device of training, for which a GPU need not be waited for."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor


def on_device(values: Sequence[Any] | NDArray[np.int64] | Tensor, device: torch.device | str) -> Tensor:
    """Copy numbers of the host to a device, without waiting for what a GPU has in hand.

    A GPU copies from pinned memory by itself; from any other the host waits until all work before it is done.
    """
    tensor, device = torch.as_tensor(values), torch.device(device)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
