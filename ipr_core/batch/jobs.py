"""Workers in jobs of SLURM or PBS: submitted, looked after while a batch goes on, and cancelled at its end.

dask-jobqueue writes the script of a job. A job that ends before the batch is submitted again; jobs that end before
their worker comes, each time, end the batch, with the last words of one.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import shlex
import sys
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from ipr_core.batch import commands
from ipr_core.batch.commands import CommandError, CommandMissingError
from ipr_core.sentence import SentenceError

if TYPE_CHECKING:
    from distributed.security import Security

_log = logging.getLogger(__name__)

LOOK_SECONDS = 5.0
"""Time between two looks at the jobs."""
_TRIES = 3  # of a job that ends before its worker comes
_LISTED_SECONDS = 10.0  # until a submitted job must be listed by its queue
_LOST_SECONDS = 60.0  # until a worker that went away without its job is given up
_UNKNOWN_SECONDS = 120.0  # until a job is given up where nothing lists the queue
_RETRY_SECONDS = 60.0  # until a job is submitted again after a refusal
_CANCEL_SECONDS = 20.0
_NUMBER = re.compile(r"^(?:Submitted batch job (\d+)|(\d+)(?:[.;\[]\S*)?\s*$)", re.MULTILINE)
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")
"""The environment's variables that set how many threads a process computes with."""


class WorkersError(SentenceError, RuntimeError):
    """No job will work for the batch; the message has the queueing system's own words."""


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


@dataclass(frozen=True)
class System:
    """A queueing system by its commands."""

    name: str
    submit: str
    cancel: str
    listing: tuple[str, ...]
    """Lists jobs, a line each: first the number, last but one the state."""
    ended: frozenset[str]
    """States of jobs that are listed although they have ended."""


_USER = os.getuid() if hasattr(os, "getuid") else 0  # Windows has no numbers of users, and no SLURM
SYSTEMS = {
    "slurm": System(
        "SLURM", "sbatch", "scancel", ("squeue", "--noheader", f"--user={_USER}", "--format=%i %T %P"),
        frozenset({"COMPLETING", "COMPLETED", "FAILED", "CANCELLED"}),
    ),
    "pbs": System("PBS", "qsub", "qdel", ("qstat",), frozenset("CEF")),
}  # fmt: skip


def script(system: System, job: Job, logs: Path, address: str, name: str, security: Security, end: Path) -> str:
    """Return the script of a job, in which one Dask worker of one thread runs; its cores are for the cell's threads.

    address, name: the scheduler's, and the worker's   security: credentials in files
    end: the file that will have the job's exit code
    """
    from dask_jobqueue.pbs import PBSJob
    from dask_jobqueue.slurm import SLURMJob

    settings: dict[str, Any] = {
        "queue": job.queue, "account": job.account, "walltime": job.walltime, "memory": job.memory, "cores": 1,
        "processes": 1, "interface": job.interface, "python": shlex.quote(sys.executable), "log_directory": str(logs),
        "local_directory": None, "security": security, "protocol": "tls://",
        "worker_extra_args": ["--memory-limit", "0", "--no-dashboard", "--dashboard-address", "127.0.0.1:0"],
        "job_script_prologue": [
            f"export IPR_JOB_END={shlex.quote(str(end))}",
            """trap 'echo $? > "$IPR_JOB_END"' EXIT""",
            "export DASK_DISTRIBUTED__WORKER__HTTP__ROUTES='[]'",
            *(f"export {variable}={job.cores}" for variable in THREADS),
        ],
    }  # fmt: skip
    if system.name == "SLURM":
        directives = [f"--gres=gpu:{job.gpus}"] if job.gpus else []
        return SLURMJob(address, name, job_cpu=job.cores, job_extra_directives=directives, **settings).job_script()
    gpus = f":ngpus={job.gpus}" if job.gpus else ""
    memory = job.memory.lower().removesuffix("b") + "b"
    return PBSJob(
        address, name, resource_spec=f"select=1:ncpus={job.cores}:mem={memory}{gpus}", **settings
    ).job_script()


@dataclass
class _Submission:
    """A job in the queue or at work."""

    number: str
    worker: str
    """The name of its worker."""
    end: Path
    submitted: float
    connected: float | None = None
    """When its worker was last connected; None before it came."""


class Jobs:
    """The jobs of a batch.

    make_script: worker's name and file for the exit code → the job's script   workers: the names of those connected
    folder: the batch's private one, for scripts and exit codes   logs: where the jobs' own output goes
    """

    def __init__(
        self, system: System, count: int, make_script: Callable[[str, Path], str], workers: Callable[[], set[str]],
        folder: Path, logs: Path,
    ):  # fmt: skip
        self._system, self._target, self._make_script, self._workers = system, count, make_script, workers
        self._folder, self._logs = folder, logs
        self._jobs: list[_Submission] = []
        self._submissions = 0
        self._early_ends = 0  # in a row
        self._last_words = ""
        self._next_look = self._next_submission = 0.0

    def start(self) -> None:
        """Submit the jobs. raises WorkersError with the queueing system's words where it takes none"""
        self._fill_up()
        numbers = ", ".join(job.number for job in self._jobs)
        _log.info("%s has job %s; cells wait until it begins", self._system.name, numbers)

    def check(self) -> None:
        """Look after the jobs, at most every few seconds. raises WorkersError where none will work any more"""
        if monotonic() < self._next_look:
            return
        self._drop_ended()
        if self._early_ends < _TRIES * self._target:
            self._fill_up()
        elif not self._jobs:
            raise WorkersError(self._last_words)
        self._next_look = monotonic() + LOOK_SECONDS

    def cancel(self) -> None:
        """Cancel every job."""
        self._cancel(self._jobs)
        self._jobs = []

    def _drop_ended(self) -> None:
        workers, listing, now = self._workers(), self._listing(), monotonic()
        for job in self._jobs:
            if job.worker in workers:
                job.connected, self._early_ends = now, 0
        ended = [job for job in self._jobs if job.connected != now and self._has_ended(job, listing, now)]
        self._jobs = [job for job in self._jobs if job not in ended]
        self._cancel(ended)  # one whose end is not certain may hold resources
        failures = [job for job in ended if job.connected is None]
        self._early_ends += len(failures)
        if failures:
            self._last_words = self._describe(failures[-1])

    def _has_ended(self, job: _Submission, listing: set[str] | None, now: float) -> bool:
        """Tell whether a job without a connected worker has ended.

        listing: the numbers of jobs in the queue and at work, None where nothing lists them
        """
        if job.end.exists():
            return True
        if job.connected is not None and now - job.connected > _LOST_SECONDS:
            return True
        if listing is None:
            return job.connected is None and now - job.submitted > _UNKNOWN_SECONDS
        return job.number not in listing and now - job.submitted > _LISTED_SECONDS

    def _listing(self) -> set[str] | None:
        """Return the numbers of the jobs in the queue and at work; None where the system has no command for it."""
        try:
            lines = [line.split() for line in commands.run(self._system.listing).splitlines()]
        except CommandMissingError:
            return None
        except CommandError as error:  # a queue that is not there for a while has not lost its jobs
            _log.warning("%s; the jobs are taken to be in the queue", error)
            return {job.number for job in self._jobs}
        return {words[0].partition(".")[0] for words in lines if len(words) > 2 and words[-2] not in self._system.ended}

    def _fill_up(self) -> None:
        """Submit jobs until there are enough; a refusal matters only where there is no job at all."""
        if self._jobs and monotonic() < self._next_submission:
            return
        try:
            while len(self._jobs) < self._target:
                self._jobs.append(self._submit())
        except WorkersError as error:
            if not self._jobs:
                raise
            self._next_submission = monotonic() + _RETRY_SECONDS
            _log.warning("%s", error)

    def _submit(self) -> _Submission:
        self._submissions += 1
        worker = f"ipr-{self._submissions}"
        end, file = self._folder / f"{worker}.end", self._folder / f"{worker}.sh"
        file.write_text(self._make_script(worker, end), "utf-8")
        try:
            answer = commands.run([self._system.submit, str(file)])
        except CommandError as error:
            raise WorkersError(
                f"{self._system.name} takes no job: {error}\nWhat a job asks for is stated by --partition, --account, "
                "--walltime, --memory, --cores and --gpus; the same command continues the batch"
            ) from None
        match = _NUMBER.search(answer)
        if match is None:
            raise WorkersError(
                f"{self._system.name} takes no job: {self._system.submit} names none, but prints: {answer or 'nothing'}"
            )
        return _Submission(match[1] or match[2], worker, end, monotonic())

    def _cancel(self, jobs: Iterable[_Submission]) -> None:
        if numbers := [job.number for job in jobs]:
            with contextlib.suppress(CommandError):  # those that have ended cannot be cancelled
                commands.run([self._system.cancel, *numbers], _CANCEL_SECONDS)

    def _describe(self, job: _Submission) -> str:
        """Return the sentence on jobs that ended before their worker came, with the last words of one."""
        name, code = self._system.name, job.end.read_text().strip() if job.end.exists() else ""
        logs = [file for file in self._logs.iterdir() if re.search(rf"(?<!\d){job.number}(?!\d)", file.name)]
        log = max(logs, key=lambda file: file.stat().st_size, default=None)
        lines = [] if log is None else log.read_text("utf-8", "replace").strip().splitlines()[-5:]
        return "\n".join([
            f"the jobs of {name} end before their worker comes, {_TRIES} times in a row; job {job.number} ended"
            + (f" with code {code}" if code else "")
            + (f" and left no log in {self._logs}" if log is None else f"; the end of its log, {log}:"),
            *lines,
        ])  # fmt: skip
