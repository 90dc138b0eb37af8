"""Checks of this machine: packages, devices, memory, folders; each problem with its cure."""

from __future__ import annotations

import importlib
import os
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from ipr_core.data.cache import default_cache
from ipr_core.runs.run import default_runs

_PACKAGES = ("torch", "torchaudio", "transformers", "soundfile")
_LEAST_MEMORY, _LEAST_DISK = 2.0, 2.0  # GiB that the demo needs, with some to spare


class Check(NamedTuple):
    """One check. str() is its line; that of a problem has the cure."""

    title: str
    state: str
    cure: str = ""

    @property
    def ok(self) -> bool:
        return not self.cure

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'PROBLEM':<8} {self.title:<14} {self.state}" + f"; {self.cure}" * (not self.ok)


def checks(runs: Path | None = None) -> Iterator[Check]:
    """Yield the checks to make before a long run.

    runs: the folder of the runs
    """
    yield Check("python", platform.python_version())
    for name in _PACKAGES:
        yield package(name)
    yield gpu()
    yield memory()
    yield Check("cores", str(len(os.sched_getaffinity(0))))
    yield disk("runs", runs or default_runs())
    yield disk("cache", default_cache())
    yield encoders()
    yield notebooks()


def package(name: str) -> Check:
    """Check that a package imports: versions that do not fit each other fail only then."""
    try:
        module = importlib.import_module(name)
    except Exception as error:  # a broken installation raises anything
        return Check(name, f"does not import ({error})", "install the versions in requirements.lock")
    return Check(name, module.__version__)


def gpu() -> Check:
    """Return the GPU that training would take."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "none; training runs on the CPU")
    free, total = torch.cuda.mem_get_info()
    return Check("GPU", f"{torch.cuda.get_device_name()}, {_gib(free):.0f} of {_gib(total):.0f} GiB free")


def memory() -> Check:
    """Check the memory that is free without swapping."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    free = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), total)
    cure = "" if _gib(free) >= _LEAST_MEMORY else f"close something: the demo needs {_LEAST_MEMORY:g} GiB"
    return Check("memory", f"{_gib(free):.1f} of {_gib(total):.1f} GiB free", cure)


def disk(title: str, folder: Path) -> Check:
    """Check that a folder, which may not exist yet, can be written and has space."""
    folder = folder.expanduser().absolute()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    free = _gib(shutil.disk_usage(parent).free)
    cures = [
        f"{parent} cannot be written; name another folder by $IPR_{title.upper()}" * (not os.access(parent, os.W_OK)),
        f"make room: {_LEAST_DISK:g} GiB are needed" * (free < _LEAST_DISK),
    ]
    return Check(title, f"{folder}, {free:.0f} GiB free", "; ".join(filter(None, cures)))


def encoders() -> Check:
    """List the speech encoders that can be used now: compact, and those in Hugging Face's cache."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        models = sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        models = []
    offline = "not allowed (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "allowed"
    return Check("encoders", f"{', '.join(['compact', *models])}; downloads are {offline}")


def notebooks() -> Check:
    """Check that the notebooks of the main job are there."""
    from ipr_core.batch.notebooks import NotebookError, main_job

    try:
        return Check("notebooks", str(main_job()[0].parent))
    except NotebookError as error:
        return Check("notebooks", "not found", str(error))


def _gib(size: float) -> float:
    return size / 2**30
