"""Work on a CPU's cores that is made of many small steps: a part a core, instead of all cores at every step.

torch shares every operation among its threads and waits for the last of them. Where an operation takes microseconds,
or where another process has one of the cores, the waiting costs more than the work.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier
from typing import TypeVar

import torch

Part = TypeVar("Part")


def on_cores(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Calls `work` with every part, on as many threads as torch has here, in each of which torch has one."""
    for done in [_pool(torch.get_num_threads()).submit(work, part) for part in parts]:
        done.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = Barrier(threads + 1)

    def alone() -> None:
        torch.set_num_threads(1)  # of this thread, and of threads that begin later
        torch.get_num_threads()  # a thread takes its number up when it is first used: here, before the others' is back
        ready.wait()

    pool = ThreadPoolExecutor(threads, "augment")
    for _ in range(threads):
        pool.submit(alone)
    ready.wait()
    torch.set_num_threads(threads)
    return pool


os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of these threads
