"""Torch's switches that decide how sums are rounded: training sets its own and gives the caller's back.

A notebook cell, a drawing or a watcher may change any of them in the thread that trains. umap-learn in a cell
changes the number of threads, for example. A run must not depend on that.
"""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeVar

import torch

Item = TypeVar("Item")


def _threads_of_a_new_thread() -> int:
    """Read torch's number of threads where nothing of the calling thread has changed it."""
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(torch.get_num_threads).result()


PROCESS_THREADS = _threads_of_a_new_thread()
"""The number of threads that torch had when this process began: $OMP_NUM_THREADS, or the machine's cores."""


@dataclass(frozen=True)
class Switches:
    """Torch's switches of a thread or a process; the defaults are those of a fresh process."""

    threads: int
    flush_denormal: bool = False
    dtype: torch.dtype = torch.float32
    device: str = "cpu"
    matmul_precision: str = "highest"
    tf32_convolutions: bool = True
    deterministic: bool = False
    warn_only: bool = False
    benchmark: bool = False

    @classmethod
    def read(cls) -> Switches:
        """Read the switches as they are in this thread."""
        return cls(
            threads=torch.get_num_threads(),
            flush_denormal=_flushes_denormal(),
            dtype=torch.get_default_dtype(),
            device=str(torch.get_default_device()),
            matmul_precision=torch.get_float32_matmul_precision(),
            tf32_convolutions=torch.backends.cudnn.allow_tf32,
            deterministic=torch.are_deterministic_algorithms_enabled(),
            warn_only=torch.is_deterministic_algorithms_warn_only_enabled(),
            benchmark=torch.backends.cudnn.benchmark,
        )

    def set(self) -> None:
        """Set the switches in this thread. The number of threads is also that of threads that begin later."""
        torch.set_num_threads(self.threads)
        torch.set_flush_denormal(self.flush_denormal)
        torch.set_default_dtype(self.dtype)
        if str(torch.get_default_device()) != self.device:  # a setter that costs every later call
            torch.set_default_device(self.device)
        torch.set_float32_matmul_precision(self.matmul_precision)
        torch.backends.cudnn.allow_tf32 = self.tf32_convolutions
        torch.use_deterministic_algorithms(self.deterministic, warn_only=self.warn_only)
        torch.backends.cudnn.benchmark = self.benchmark


def _flushes_denormal() -> bool:
    """Tell whether this thread rounds numbers near zero to zero; torch has no getter."""
    smallest = torch.tensor(5e-324, dtype=torch.float64, device="cpu")
    return bool(smallest * 1 == 0)


@contextlib.contextmanager
def conditions(threads: int) -> Iterator[None]:
    """Compute with a fresh process's switches and so many threads; afterwards the caller's are back."""
    caller, training = Switches.read(), Switches(threads)
    if caller != training:
        training.set()
    try:
        with contextlib.ExitStack() as stack:
            stack.enter_context(torch.inference_mode(False))
            stack.enter_context(torch.enable_grad())
            for device in ("cpu", "cuda"):
                if torch.is_autocast_enabled(device):
                    stack.enter_context(torch.autocast(device, enabled=False))
            yield
    finally:
        if Switches.read() != caller:
            caller.set()


def under_conditions(items: Generator[Item, None, None], threads: int) -> Generator[Item, None, None]:
    """Yield the items, each made under `conditions`; while the caller has an item, its own switches are on."""
    try:
        while True:
            with conditions(threads):
                try:
                    item = next(items)
                except StopIteration:
                    return
            yield item
    finally:
        items.close()
