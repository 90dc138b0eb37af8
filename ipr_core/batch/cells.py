"""A cell of a batch at work: its notebooks in its run folder, and `cell.json` there, which says how far it is.

Whoever works at a cell holds its lock, so that nobody works at it twice, whatever batch or machine it belongs to.
The record and the lock are all that a batch goes by: killed at any moment, it reads them and goes on.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import sleep, time
from typing import Any

from ipr_core.atomic import is_locked, locked, write_text
from ipr_core.batch import notebooks, warm_ups
from ipr_core.runs import provenance
from ipr_core.runs.run import Run, RunError

_AGAIN = 0.2  # seconds between two looks at a lock


class CellError(RuntimeError):
    """A cell that could not be done; the message is in its record too."""


@dataclass(frozen=True)
class Record:
    """What `cell.json` says."""

    status: str = "waiting"
    """waiting, running, done or failed; running counts only while the lock is held."""
    code: str = ""
    """The version of the code, see `provenance.version`."""
    corpus: str = ""
    """The digest of the corpus's content."""
    notebooks: dict[str, str] = field(default_factory=dict)
    """Executed whole: name → version of the notebook."""
    attempts: int = 0
    """How often it was begun."""
    began: float | None = None
    ended: float | None = None
    seconds: float | None = None
    """What the last attempt took."""
    error: str = ""
    warm_up_of: str = ""
    """The run whose warm-up it took over."""
    where: str = ""
    """Machine and process."""
    threads: str = ""


@dataclass(frozen=True)
class Task:
    """What a worker is told, in plain values."""

    folder: str
    notebooks: tuple[str, ...]
    parameters: Mapping[str, Any]
    code: str
    place: str
    """The folder that relative paths start from."""
    gpus: tuple[str, ...] = ()
    """Where workers share a machine's GPUs: one for each worker, in turn."""


def record(run: Run) -> Record:
    """How far a cell is; one that has not begun where there is no record."""
    path = run.folder / "cell.json"
    return Record(**json.loads(path.read_text("utf-8"))) if path.exists() else Record()


def save(run: Run, what: Record) -> None:
    """Write a cell's record, whole."""
    write_text(run.folder / "cell.json", json.dumps(asdict(what), indent=1, ensure_ascii=False))


def executed(what: Record, notebook: Path) -> bool:
    """Whether a notebook is executed whole, as it is now."""
    return what.notebooks.get(notebook.stem) == provenance.notebook_version(notebook)


def busy(run: Run) -> bool:
    """Whether somebody works at the cell right now."""
    return is_locked(_lock(run))


def work(task: Task) -> float:
    """Do a cell, or what is left of it, where nobody else does; returns the seconds it took, 0 where it was done.

    raises CellError with what stopped it; the record says it too, and the notebook that stopped is kept
    """
    run = Run(Path(task.folder))
    if not run.exists:
        raise CellError(f"{task.folder} is not to be seen here; workers need the batch's run folder, at the same path")
    with locked(_lock(run)):
        before = record(run)
        if before.status == "done" and not _left(task, before):
            return 0.0
        began = time()
        running = replace(
            before, status="running", code=task.code, corpus=run.meta["corpus"], attempts=before.attempts + 1,
            began=began, ended=None, seconds=None, error="", where=f"{platform.node()}, process {os.getpid()}",
            threads=os.environ.get("OMP_NUM_THREADS", ""),
        )  # fmt: skip
        save(run, running)
        try:
            done = _do(run, task, running)
        except Exception as error:
            _end(run, record(run), "failed", str(error) or repr(error))
            raise CellError(str(error) or repr(error)) from None
        return _end(run, done, "done")


def give_up(run: Run, why: str) -> None:
    """Note that a cell failed outside of its own work: its workers died, say. Nothing where somebody works at it."""
    with contextlib.suppress(BlockingIOError), locked(_lock(run), wait=False):
        if record(run).status != "done":
            save(run, replace(record(run), status="failed", error=why, ended=time()))


def _do(run: Run, task: Task, running: Record) -> Record:
    """The warm-up of another run where there is one, and the notebooks in one kernel."""
    if (code := provenance.version_now()) != task.code:
        raise CellError(f"{platform.node()} has another version of the code than the batch: {code}, not {task.code}")
    _wait_for_the_last_trainer(run)
    if not run.finished and (other := warm_ups.reuse(run)) is not None:
        running = replace(running, warm_up_of=other.folder.name)
        save(run, running)
    place = run.folder / "notebooks"
    with _gpu(task.gpus), notebooks.kernel(place / "kernel.log", task.place) as kernel:
        for notebook in _left(task, running):
            notebooks.execute(notebook, place / notebook.name, task.parameters, kernel, progress=False)
            made = {notebook.stem: provenance.notebook_version(notebook)}
            running = replace(running, notebooks=running.notebooks | made)
            save(run, running)
    if not run.finished:
        raise CellError("its notebooks ended, but the run is not trained to its end; 02_refinement trains it")
    return running


def _end(run: Run, last: Record, status: str, error: str = "") -> float:
    ended = time()
    save(run, replace(last, status=status, error=error, ended=ended, seconds=ended - last.began))
    return ended - last.began


def _left(task: Task, so_far: Record) -> list[Path]:
    """The notebooks that are not executed yet, or not as they are now."""
    return [path for path in map(Path, task.notebooks) if not executed(so_far, path)]


def _lock(run: Run) -> Path:
    """The lock of whoever works at the cell."""
    return run.folder / ".cell.lock"


def _wait_for_the_last_trainer(run: Run) -> None:
    """The kernel of a killed worker lives on for a second, and someone in JupyterLab may be training this very run."""
    while True:
        with contextlib.suppress(RunError), run.locked():
            return
        sleep(_AGAIN)


@contextlib.contextmanager
def _gpu(gpus: tuple[str, ...]) -> Iterator[None]:
    """The GPU of this worker, for the kernels that it starts; whatever there is where no GPUs are shared out."""
    if not gpus:
        yield
        return
    from distributed import get_worker

    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(get_worker().name) % len(gpus)]
    try:
        yield
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before
