"""Where the cells of a batch run: Dask workers on this machine, at an address, or started by SLURM or PBS.

All of them are the same to a batch, a Dask client. On this machine everything listens on loopback alone.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ipr_core.runs.run import RunError

if TYPE_CHECKING:
    from dask_jobqueue import JobQueueCluster
    from distributed import Client

LOOPBACK = "127.0.0.1"
_NO_PAGE = f"{LOOPBACK}:0"  # None would mean Dask's usual port, on every interface
_ASKED_AGAIN = 10.0  # seconds until lost jobs are asked for again
_REACHED = "20s"  # within which a scheduler has to answer
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """What each of several workers on this machine has."""

    threads: int
    memory_gb: float
    gpus: tuple[str, ...] = ()
    """More than one: each worker has one of them, in turn. Otherwise all share what there is."""

    def __str__(self) -> str:
        gpu = f", one of GPUs {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.threads} thread{'s' * (self.threads > 1)}, about {self.memory_gb:.1f} GB of memory{gpu} each"


@dataclass(frozen=True)
class Job:
    """What each job of SLURM or PBS asks for."""

    queue: str | None = None
    """SLURM's partition, PBS's queue; the site's default if absent."""
    account: str | None = None
    walltime: str = "24:00:00"
    memory: str = "8GB"
    cores: int = 4
    gpus: int = 0
    interface: str | None = None
    """The network interface that workers reach the batch by, such as ib0; the machine's first if absent."""


def share(jobs: int) -> Share:
    """This machine's cores and memory divided among workers; $OMP_NUM_THREADS, where it is set, is what each has."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    asked = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(asked) if asked.isdigit() and int(asked) else max(1, cores // jobs)
    return Share(threads, _memory_gb() / jobs, _gpus())


@contextlib.contextmanager
def here(jobs: int, has: Share) -> Iterator[Client]:
    """Worker processes on this machine. A worker that dies is replaced; all end with this process, however it ends."""
    import dask
    from distributed import Client, LocalCluster

    threads = dict.fromkeys(_THREADS, str(has.threads))
    silent = {"distributed.nanny.pre-spawn-environ": threads, "distributed.admin.log-length": 0}
    with (
        _environment_kept(),
        dask.config.set(silent),
        LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=_NO_PAGE,
            memory_limit=0, silence_logs=logging.CRITICAL, env=threads,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextlib.contextmanager
def at(address: str) -> Iterator[Client]:
    """The workers of a Dask scheduler that runs already. raises RunError where there is none"""
    from distributed import Client

    try:
        client = Client(address, timeout=_REACHED)
    except (OSError, ValueError) as error:
        raise RunError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield client


@contextlib.contextmanager
def queued(system: str, jobs: int, job: Job, logs: Path) -> Iterator[Client]:
    """Workers that SLURM or PBS starts, one a job; a job that ends before the batch does is asked for again."""
    from distributed import Client

    logs.mkdir(parents=True, exist_ok=True)
    with job_cluster(system, job, logs) as cluster, _kept_at(cluster, jobs), Client(cluster) as client:
        yield client


@contextlib.contextmanager
def _kept_at(cluster: JobQueueCluster, jobs: int) -> Iterator[None]:
    """So many jobs, again and again: Dask notices a lost one after some seconds, but asks for another only if told."""
    over = threading.Event()

    def keep() -> None:
        while True:
            cluster.scale(jobs=jobs)
            if over.wait(_ASKED_AGAIN):
                return

    thread = threading.Thread(target=keep, name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def job_cluster(system: str, job: Job, logs: Path) -> JobQueueCluster:
    """dask-jobqueue's cluster for "slurm" or "pbs"; its `job_script()` is what is submitted.

    Dask sees one place for one cell in each job; the job's cores are for the cell's threads.
    """
    from dask_jobqueue import PBSCluster, SLURMCluster

    settings: dict[str, Any] = {
        "queue": job.queue, "account": job.account, "walltime": job.walltime, "memory": job.memory, "cores": 1,
        "processes": 1, "interface": job.interface, "python": sys.executable, "log_directory": str(logs),
        "local_directory": None, "worker_extra_args": ["--memory-limit", "0"],
        "job_script_prologue": [f"export {name}={job.cores}" for name in _THREADS],
        "scheduler_options": {"dashboard_address": _NO_PAGE, "dashboard": False},
    }  # fmt: skip
    if system == "slurm":
        gpus = [f"--gres=gpu:{job.gpus}"] if job.gpus else []
        return SLURMCluster(**settings, job_cpu=job.cores, job_extra_directives=gpus)
    gpus = f":ngpus={job.gpus}" if job.gpus else ""
    memory = job.memory.lower().removesuffix("b") + "b"
    return PBSCluster(**settings, resource_spec=f"select=1:ncpus={job.cores}:mem={memory}{gpus}")


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


@contextlib.contextmanager
def _environment_kept() -> Iterator[None]:
    """Dask's nanny changes the environment of the process that starts it."""
    before = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


def _gpus() -> tuple[str, ...]:
    """The GPUs that workers share out: none where there are less than two."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return tuple(names) if len(names) > 1 else ()
