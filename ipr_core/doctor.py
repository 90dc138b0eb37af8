"""Checks of this machine: packages, devices, memory, folders; each problem with its cure."""

from __future__ import annotations

import importlib
import platform
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import psutil

from ipr_core.atomic import WriteError, prepare_folder
from ipr_core.data import decoding
from ipr_core.data.cache import default_cache
from ipr_core.machine import cores
from ipr_core.runs.names import default_runs

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
    yield Check("cores", str(cores()))
    yield bounds()
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

    from ipr_core.training.processes import best_device

    kind = best_device().type
    if kind == "cpu":
        return Check("GPU", "none; training runs on the CPU")
    if kind == "mps":
        return Check("GPU", "Apple's, which shares the machine's memory")
    free, total = torch.cuda.mem_get_info()
    return Check("GPU", f"{torch.cuda.get_device_name()}, {_gib(free):.0f} of {_gib(total):.0f} GiB free")


def memory() -> Check:
    """Check the memory that is free without swapping."""
    system = psutil.virtual_memory()
    free, total = system.available, system.total
    cure = "" if _gib(free) >= _LEAST_MEMORY else f"close something: the demo needs {_LEAST_MEMORY:g} GiB"
    return Check("memory", f"{_gib(free):.1f} of {_gib(total):.1f} GiB free", cure)


def bounds() -> Check:
    """Say which bounds this system sets to the processes that decode audio."""
    memory = f"at most {_gib(decoding.MEMORY):g} GiB of memory" if decoding.BOUNDS_MEMORY else "memory without a bound"
    time = f"{decoding.LEAST_TIME} s for a small file" if decoding.BOUNDS_TIME else "time without a bound"
    caution = "" if decoding.BOUNDS_MEMORY else " (Linux alone bounds both); decode only files that you trust"
    return Check("decoding", f"{memory}, {time}{caution}")


def disk(title: str, folder: Path) -> Check:
    """Check that a folder, which may not exist yet, can be written and has space."""
    folder = folder.expanduser().absolute()
    parent = next(path for path in (folder, *folder.parents) if path.exists())
    free = _gib(shutil.disk_usage(parent).free)
    cure = f"make room: {_LEAST_DISK:g} GiB are needed" if free < _LEAST_DISK else ""
    try:
        prepare_folder(folder)
    except WriteError as error:
        cure = f"{error} by $IPR_{title.upper()}"
    return Check(title, f"{folder}, {free:.0f} GiB free", cure)


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
