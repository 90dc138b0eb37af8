"""This machine's cores and this process's memory, on Linux, macOS and Windows."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil

JOBS = "IPR_JOBS"
"""The environment's variable that says how many workers share this machine, or a GPU of it."""
_CGROUPS, _OWN_CGROUPS = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


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


def present_memory() -> int:
    """Return the memory that this process has now, in bytes."""
    return int(psutil.Process().memory_info().rss)


def whole_memory() -> int:
    """Return the memory of this machine, or the most that a container or a job here may have, in bytes."""
    return min([psutil.virtual_memory().total, *(limit for limit, _ in _limits())])


def free_memory() -> int:
    """Return the memory that is free for programs on this machine, or in this container or job, in bytes."""
    return max(0, min([psutil.virtual_memory().available, *(limit - present for limit, present in _limits())]))


def _limits() -> Iterator[tuple[int, int]]:
    """Yield the memory limits of Linux's control groups that hold this process, and what each has taken, in bytes."""
    try:
        lines = _OWN_CGROUPS.read_text().splitlines()
    except OSError:  # not Linux
        return
    for line in lines:
        _, controllers, name = line.split(":", 2)
        if controllers == "":  # version 2
            yield from _limits_above(_CGROUPS / name.lstrip("/"), "memory.max", "memory.current", "inactive_file")
        elif "memory" in controllers.split(","):
            files = "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"
            yield from _limits_above(_CGROUPS / "memory" / name.lstrip("/"), *files)


def _limits_above(folder: Path, limit: str, present: str, cached: str) -> Iterator[tuple[int, int]]:
    """Yield the limits of a control group and of those that it lies in.  limit, present, cached: names in its files"""
    for group in (folder, *folder.parents):
        if not group.is_relative_to(_CGROUPS):
            return
        try:
            most, used = (group / limit).read_text().strip(), int((group / present).read_text())
            stat = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        except OSError:  # the root has none, nor has a group that a container does not see
            continue
        if most != "max":
            yield int(most), used - int(stat.get(cached, 0))  # files that are only cached make room
