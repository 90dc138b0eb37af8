"""What work takes: time by part, peak memory, arithmetic, and how much arithmetic the machine could do."""

from __future__ import annotations

import contextlib
import platform
import resource
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from time import perf_counter
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

Call = Callable[..., Any]


class Clock:
    """Seconds by part; what is called inside another part is taken from that one."""

    def __init__(self, device: torch.device):
        self.seconds: Counter[str] = Counter()
        self._device, self._inner = device, [0.0]

    def timed(self, part: str, call: Call) -> Call:
        """The same call with its time put down to a part."""

        def clocked(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            took, result = _clocked(lambda: call(*args, **kwargs), self._device)
            self.seconds[part] += took - self._inner.pop()
            self._inner[-1] += took
            return result

        return clocked


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """What a call takes, on a GPU until its work is done."""
    return _clocked(call, device)[0]


def flops(call: Callable[[], Any]) -> int:
    """Floating-point operations of a call's matrix products, convolutions and attention, backward passes too."""
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.bfloat16, size: int = 8192) -> float:
    """FLOPs a second of a large matrix product, the best of ten."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    a @ a
    return 2 * size**3 / min(seconds(lambda: a @ a, device) for _ in range(10))


def forget_peak(device: torch.device) -> None:
    """Measure the peak memory anew from here on, where the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Peak memory in MiB: what the GPU's tensors took, or the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def machine(device: torch.device) -> str:
    """What the work is done on, in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def _clocked(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    _wait(device)
    started = perf_counter()
    result = call()
    _wait(device)
    return perf_counter() - started, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
