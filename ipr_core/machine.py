"""This machine's cores and this process's memory, on Linux, macOS and Windows."""

from __future__ import annotations

import sys

import psutil


def cores() -> int:
    """Return the number of cores that this process may use."""
    process = psutil.Process()
    if hasattr(process, "cpu_affinity"):  # macOS binds no process to cores
        return len(process.cpu_affinity())
    return psutil.cpu_count() or 1


def peak_memory() -> int:
    """Return the most memory that this process has had so far, in bytes."""
    if sys.platform == "win32":
        return psutil.Process().memory_info().peak_wset
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 2**10 * peak  # macOS counts bytes, the others kilobytes
