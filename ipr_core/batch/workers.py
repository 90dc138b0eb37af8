"""The workers of a batch: Dask's on this machine, at an address, or in jobs of SLURM or PBS.

A batch uses each through a Dask client. On this machine everything listens on loopback alone. `cluster` is Dask's word.
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
_DASHBOARD = f"{LOOPBACK}:0"  # a free port; None would mean Dask's usual one, on every interface
_RESUBMIT_SECONDS = 10.0  # until lost jobs are submitted again
_CONNECT_TIMEOUT = "20s"
_THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


@dataclass(frozen=True)
class Share:
    """The share of each of several workers on this machine."""

    threads: int
    memory_gb: float
    gpus: tuple[str, ...] = ()
    """The GPUs that workers divide, one each in turn; empty where all share the only one, or there is none."""

    def __str__(self) -> str:
        gpu = f", one of GPUs {', '.join(self.gpus)}" if self.gpus else ""
        return f"{self.threads} thread{'s' * (self.threads > 1)}, about {self.memory_gb:.1f} GB of memory{gpu} each"


@dataclass(frozen=True)
class Job:
    """The resources of each job of SLURM or PBS."""

    queue: str | None = None
    """SLURM's partition, PBS's queue; the site's default if absent."""
    account: str | None = None
    walltime: str = "24:00:00"
    memory: str = "8GB"
    cores: int = 4
    gpus: int = 0
    interface: str | None = None
    """The network interface between workers and batch, such as ib0; the machine's first if absent."""


def share(jobs: int) -> Share:
    """Divide this machine's cores and memory among workers; $OMP_NUM_THREADS, where set, is the threads of each."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    setting = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(setting) if setting.isdigit() and int(setting) else max(1, cores // jobs)
    return Share(threads, _memory_gb() / jobs, _gpus())


@contextlib.contextmanager
def local_workers(jobs: int, share: Share) -> Iterator[Client]:
    """Run worker processes on this machine.

    A worker that dies is replaced. All end with this process, however it ends.
    """
    import dask
    from distributed import Client, LocalCluster

    threads = dict.fromkeys(_THREADS, str(share.threads))
    options = {"distributed.nanny.pre-spawn-environ": threads, "distributed.admin.log-length": 0}
    with (
        _restored_environment(),
        dask.config.set(options),
        LocalCluster(
            n_workers=jobs, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=_DASHBOARD,
            memory_limit=0, silence_logs=logging.CRITICAL, env=threads,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield client


@contextlib.contextmanager
def workers_at(address: str) -> Iterator[Client]:
    """Use the workers of a running Dask scheduler. raises RunError where none answers"""
    from distributed import Client

    try:
        client = Client(address, timeout=_CONNECT_TIMEOUT)
    except (OSError, ValueError) as error:
        raise RunError(f"no Dask scheduler answers at {address}: {error}") from None
    with client:
        yield client


@contextlib.contextmanager
def job_workers(system: str, jobs: int, job: Job, logs: Path) -> Iterator[Client]:
    """Run workers in jobs of SLURM or PBS; a job that ends before the batch is submitted again."""
    from distributed import Client

    logs.mkdir(parents=True, exist_ok=True)
    with job_cluster(system, job, logs) as cluster, _resubmitted(cluster, jobs), Client(cluster) as client:
        yield client


@contextlib.contextmanager
def _resubmitted(cluster: JobQueueCluster, jobs: int) -> Iterator[None]:
    """Keep up the number of jobs: Dask notices a lost one after some seconds, but submits another only on request."""
    end = threading.Event()

    def scale() -> None:
        while True:
            cluster.scale(jobs=jobs)
            if end.wait(_RESUBMIT_SECONDS):
                return

    thread = threading.Thread(target=scale, name="jobs", daemon=True)
    thread.start()
    try:
        yield
    finally:
        end.set()
        thread.join()


def job_cluster(system: str, job: Job, logs: Path) -> JobQueueCluster:
    """Return dask-jobqueue's cluster for "slurm" or "pbs"; it submits its `job_script()`.

    Each job is one Dask worker of one thread, for one cell at a time; the job's cores are for the cell's threads.
    """
    from dask_jobqueue import PBSCluster, SLURMCluster

    settings: dict[str, Any] = {
        "queue": job.queue, "account": job.account, "walltime": job.walltime, "memory": job.memory, "cores": 1,
        "processes": 1, "interface": job.interface, "python": sys.executable, "log_directory": str(logs),
        "local_directory": None, "worker_extra_args": ["--memory-limit", "0"],
        "job_script_prologue": [f"export {name}={job.cores}" for name in _THREADS],
        "scheduler_options": {"dashboard_address": _DASHBOARD, "dashboard": False},
    }  # fmt: skip
    if system == "slurm":
        directives = [f"--gres=gpu:{job.gpus}"] if job.gpus else []
        return SLURMCluster(**settings, job_cpu=job.cores, job_extra_directives=directives)
    gpus = f":ngpus={job.gpus}" if job.gpus else ""
    memory = job.memory.lower().removesuffix("b") + "b"
    return PBSCluster(**settings, resource_spec=f"select=1:ncpus={job.cores}:mem={memory}{gpus}")


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


@contextlib.contextmanager
def _restored_environment() -> Iterator[None]:
    """Restore the environment afterwards: Dask's nanny changes that of the process that starts it."""
    environment = dict(os.environ)
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)


def _gpus() -> tuple[str, ...]:
    """List the GPUs that workers divide: none where there are less than two."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    return tuple(names) if len(names) > 1 else ()
