"""What is installed and at hand on this machine, and the cure for what is not as it should be."""

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
    """One thing looked at. str() is its line; a problem's has the cure."""

    what: str
    found: str
    cure: str = ""

    @property
    def ok(self) -> bool:
        return not self.cure

    def __str__(self) -> str:
        return f"{'ok' if self.ok else 'PROBLEM':<8} {self.what:<14} {self.found}" + f"; {self.cure}" * (not self.ok)


def checks(runs: Path | None = None) -> Iterator[Check]:
    """Everything worth a look before a long run.

    runs: where runs are to lie
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
    """A package that must import, not only lie there: versions that do not fit each other fail only then."""
    try:
        found = importlib.import_module(name)
    except Exception as error:  # whatever a broken installation raises
        return Check(name, f"does not import ({error})", "install the versions in requirements.lock")
    return Check(name, found.__version__)


def gpu() -> Check:
    """The GPU that training would take."""
    import torch

    if not torch.cuda.is_available():
        return Check("GPU", "none; training runs on the CPU")
    free, total = torch.cuda.mem_get_info()
    return Check("GPU", f"{torch.cuda.get_device_name()}, {_gib(free):.0f} of {_gib(total):.0f} GiB free")


def memory() -> Check:
    """Memory that can be had without swapping."""
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    lines = Path("/proc/meminfo").read_text().splitlines() if Path("/proc/meminfo").exists() else []
    free = next((1024 * int(line.split()[1]) for line in lines if line.startswith("MemAvailable")), total)
    cure = "" if _gib(free) >= _LEAST_MEMORY else f"close something: the demo needs {_LEAST_MEMORY:g} GiB"
    return Check("memory", f"{_gib(free):.1f} of {_gib(total):.1f} GiB free", cure)


def disk(what: str, folder: Path) -> Check:
    """Whether a folder, which may not exist yet, can be written and has room."""
    folder = folder.expanduser().absolute()
    there = next(place for place in (folder, *folder.parents) if place.exists())
    free = _gib(shutil.disk_usage(there).free)
    cures = [
        f"{there} cannot be written; name another folder by $IPR_{what.upper()}" * (not os.access(there, os.W_OK)),
        f"make room: {_LEAST_DISK:g} GiB are needed" * (free < _LEAST_DISK),
    ]
    return Check(what, f"{folder}, {free:.0f} GiB free", "; ".join(filter(None, cures)))


def encoders() -> Check:
    """Speech encoders that can be used now: compact always, and what Hugging Face's cache holds."""
    from huggingface_hub import CacheNotFound, constants, scan_cache_dir

    try:
        models = sorted(repo.repo_id for repo in scan_cache_dir().repos if repo.repo_type == "model")
    except CacheNotFound:
        models = []
    offline = "not allowed (HF_HUB_OFFLINE)" if constants.HF_HUB_OFFLINE else "allowed"
    return Check("encoders", f"{', '.join(['compact', *models])}; downloads are {offline}")


def notebooks() -> Check:
    """Where the notebooks of the main job lie."""
    from ipr_core.batch.notebooks import NotebookError, main_job

    try:
        return Check("notebooks", str(main_job()[0].parent))
    except NotebookError as error:
        return Check("notebooks", "not found", str(error))


def _gib(size: float) -> float:
    return size / 2**30
