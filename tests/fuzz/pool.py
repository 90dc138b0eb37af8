"""Trials in processes forked from one that has imported everything, with bounds on time and memory."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import shutil
import signal
import traceback
from collections.abc import Iterable, Iterator
from importlib import import_module
from multiprocessing.connection import Connection, wait
from pathlib import Path
from time import monotonic
from typing import NamedTuple

import numpy as np
import psutil

from fuzz import run_folders, workbench
from fuzz.trials import MEMORY, Verdict
from fuzz.workbench import Workbench

SECONDS = 60
"""A trial that takes longer hangs: all take a second or two on a machine that is not busy."""
_TRIALS = 40  # after which a worker has enough
_LOOK = 0.1  # seconds between two looks at the processes
_PRELOADED = [
    "fuzz.audio", "fuzz.tables", "fuzz.grids", "fuzz.run_folders", "ipr_core.annotation", "ipr_core.batch.plan",
    "ipr_core.batch.watching", "ipr_core.cli", "ipr_core.results.summary", "ipr_core.training.advance",
    "torch._dynamo",  # which the optimiser imports, for seconds
]  # fmt: skip


class Task(NamedTuple):
    """A trial that can be done again: the same numbers give the same input."""

    kind: str
    number: int
    seed: int

    def __str__(self) -> str:
        return f"{self.kind}:{self.number}"


class _Worker:
    """A process that does one trial after another, and leads a group of those that it starts."""

    def __init__(self, root: Path):
        self._connection, remote = context().Pipe()
        self._process = context().Process(target=_serve, args=(root, remote))
        self._process.start()
        remote.close()
        self._trials = 0

    def start(self, task: Task, folder: Path) -> None:
        """Begin a trial in an empty folder."""
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.task, self.folder, self._began = task, folder, monotonic()
        self._trials += 1
        self._connection.send(task)

    def verdict(self) -> Verdict | None:
        """Return the verdict on the trial, None while there is none; a process beyond a bound is ended."""
        outcome = ""
        if self._connection.poll():
            with contextlib.suppress(EOFError):
                return self._connection.recv()
            self._process.join()
            outcome = f"died of {self._process.exitcode}"
        elif monotonic() - self._began > SECONDS:
            outcome = "hang"
        elif _resident(self._process.pid) > 2 * MEMORY:  # for the machine's sake
            outcome = "memory"
        if not outcome:
            return None
        self.end()
        return Verdict(outcome, _damage(self.folder))

    @property
    def is_worn(self) -> bool:
        """Whether another process shall do the next trial."""
        return self._trials >= _TRIALS or not self._process.is_alive()

    def end(self) -> None:
        """End the process with all that it started."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.join()
        self._connection.close()

    def fileno(self) -> int:
        return self._connection.fileno()


def context() -> multiprocessing.context.ForkServerContext:
    """Return the way in which processes are made."""
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(_PRELOADED)
    return forkserver


def make_workbench(root: Path) -> Workbench:
    """Return the workbench of a root folder, made in a process of its own where there is none yet."""
    bench = Workbench(root / "workbench")
    if not bench.folder.exists():
        root.mkdir(parents=True, exist_ok=True)
        process = context().Process(target=_make, args=(bench,))
        process.start()
        process.join()
        if process.exitcode:
            raise SystemExit("the workbench could not be made")
    return bench


def _make(bench: Workbench) -> None:
    workbench.make(bench.folder)
    run_folders.make_references(bench)


def results(tasks: Iterable[Task], root: Path, jobs: int) -> Iterator[tuple[Task, Path, Verdict]]:
    """Do trials, `jobs` at a time, and yield each with its folder and its verdict.

    root: a folder with the workbench; trials are done beside it. The folder of a good trial is removed.
    """
    queue = iter(tasks)
    idle: list[_Worker] = []
    busy: list[_Worker] = []
    while True:
        while len(busy) < jobs and (task := next(queue, None)):
            worker = idle.pop() if idle else _Worker(root)
            worker.start(task, root / f"{task.kind}-{task.number}")
            busy.append(worker)
        if not busy:
            break
        wait(busy, _LOOK)
        for worker in busy.copy():
            if verdict := worker.verdict():
                busy.remove(worker)
                if verdict.good:
                    shutil.rmtree(worker.folder, ignore_errors=True)
                yield worker.task, worker.folder, verdict
                if worker.is_worn:
                    worker.end()
                else:
                    idle.append(worker)
    for worker in idle:
        worker.end()


def _serve(root: Path, connection: Connection) -> None:
    os.setsid()
    os.chdir(root)
    while True:
        connection.send(_verdict(connection.recv(), root))


def _verdict(task: Task, root: Path) -> Verdict:
    folder = root / f"{task.kind}-{task.number}"
    os.environ |= {"HOME": str(folder), "IPR_RUNS": str(folder / "runs"), "IPR_CACHE": str(folder / "cache")}
    draw = np.random.default_rng([task.seed, *task.kind.encode(), task.number])
    try:
        return import_module(f"fuzz.{task.kind}").trial(task.number, draw, folder, Workbench(root / "workbench"))
    except Exception:  # of the fuzz itself
        return Verdict("no verdict", _damage(folder), traceback.format_exc())


def _damage(folder: Path) -> str:
    """Return the damage that a trial has noted before its command."""
    note = folder / "damage.txt"
    return note.read_text() if note.exists() else "not yet damaged"


def _resident(pid: int | None) -> int:
    """Return the MiB that a process and those that it started have in memory."""
    try:
        process = psutil.Process(pid)
        return sum(member.memory_info().rss for member in [process, *process.children(recursive=True)]) >> 20
    except psutil.NoSuchProcess:
        return 0
