"""The workers of a batch: Dask's on this machine, at an address, or in jobs of SLURM or PBS.

A batch uses each through a Dask client. Its own scheduler asks everybody for a certificate (`credentials`), and on this
machine everything listens on loopback alone. `cluster` is Dask's word.
"""

from __future__ import annotations

import contextlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from ipr_core.batch import addresses, credentials, jobs
from ipr_core.batch.addresses import Certificate
from ipr_core.batch.jobs import THREADS, Job, Jobs, WorkersError
from ipr_core.machine import JOBS, cores
from ipr_core.runs.run import RunError

if TYPE_CHECKING:
    from distributed import Client

LOOPBACK = "127.0.0.1"
_DASHBOARD = f"{LOOPBACK}:0"  # a free port; None would mean Dask's usual one, on every interface
_NO_DASHBOARD = {"dashboard": False}
_NO_PAGES: dict[str, list[str]] = {"distributed.scheduler.http.routes": [], "distributed.worker.http.routes": []}


@dataclass(frozen=True)
class Workers:
    """The workers of a batch while it goes on."""

    client: Client
    gpus: tuple[str, ...] = ()
    """The GPUs of this machine that its workers divide."""
    check: Callable[[], None] = lambda: None
    """Looks after the workers, now and then; raises WorkersError where none will work any more."""


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


def share(jobs: int) -> Share:
    """Divide this machine's cores and memory among workers; $OMP_NUM_THREADS, where set, is the threads of each."""
    setting = os.environ.get("OMP_NUM_THREADS", "")
    threads = int(setting) if setting.isdigit() and int(setting) else max(1, cores() // jobs)
    return Share(threads, _memory_gb() / jobs, _gpus())


@contextlib.contextmanager
def local_workers(count: int, share: Share) -> Iterator[Workers]:
    """Run worker processes on this machine.

    A worker that dies is replaced. All end with this process, however it ends.
    """
    import dask
    from distributed import Client, LocalCluster

    sharers = -(-count // max(1, len(share.gpus)))  # of a GPU, or of this machine
    variables = dict.fromkeys(THREADS, str(share.threads)) | {JOBS: str(sharers)}
    options = {"distributed.nanny.pre-spawn-environ": variables, "distributed.admin.log-length": 0}
    security = credentials.temporary()
    with (
        _restored_environment(),
        dask.config.set(options | _NO_PAGES),
        LocalCluster(
            n_workers=count, threads_per_worker=1, processes=True, host=LOOPBACK, dashboard_address=_DASHBOARD,
            memory_limit=0, silence_logs=logging.CRITICAL, env=variables, security=security,
            scheduler_kwargs=_NO_DASHBOARD,
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        yield Workers(client, share.gpus)


@contextlib.contextmanager
def workers_at(address: str, certificate: Certificate | None = None) -> Iterator[Workers]:
    """Use the workers of a running Dask scheduler. raises RunError where none answers; see `addresses.connect`"""
    client = addresses.connect(address, certificate)
    with client:
        yield Workers(client, check=lambda: _check_connection(client, address))


@contextlib.contextmanager
def job_workers(system: str, count: int, job: Job, logs: Path) -> Iterator[Workers]:
    """Run workers in jobs of SLURM or PBS; a job that ends before the batch is submitted again.

    raises WorkersError where the system takes no job; RunError for a network interface that this machine does not have
    """
    import dask
    from distributed import Client, LocalCluster

    security = credentials.temporary()
    with (
        credentials.private_folder(logs) as folder,
        dask.config.set(_NO_PAGES),
        LocalCluster(
            n_workers=0, threads_per_worker=1, dashboard_address=_DASHBOARD, silence_logs=logging.CRITICAL,
            security=security, scheduler_kwargs=_NO_DASHBOARD, **_network(job.interface),
        ) as cluster,
        Client(cluster) as client,
    ):  # fmt: skip
        files = credentials.for_workers(security, folder)

        def script(worker: str, end: Path) -> str:
            return jobs.script(jobs.SYSTEMS[system], job, logs, cluster.scheduler_address, worker, files, end)

        def connected() -> set[str]:
            return {str(worker["name"]) for worker in client.scheduler_info()["workers"].values()}

        submissions = Jobs(jobs.SYSTEMS[system], count, script, connected, folder, logs)
        try:
            submissions.start()
            yield Workers(client, check=submissions.check)
        finally:
            submissions.cancel()


def _network(interface: str | None) -> dict[str, str]:
    """Return where a scheduler listens for the workers of jobs: an interface, or the machine's usual address."""
    from distributed.utils import get_ip, get_ip_interface

    if interface is None:
        return {"host": get_ip()}
    try:
        get_ip_interface(interface)
    except ValueError as error:
        raise RunError(f"--interface is {interface}, which this machine does not have: {error}") from None
    return {"interface": interface}


def _check_connection(client: Client, address: str) -> None:
    if client.status != "running":  # while it connects again, all its cells are cancelled already
        raise WorkersError(f"the Dask scheduler at {address} is gone; the same command continues the batch")


def _memory_gb() -> float:
    return psutil.virtual_memory().total / 1e9


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
