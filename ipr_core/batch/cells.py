"""A cell of a batch: its notebooks in its run folder, and `cell.json`, the record of its progress.

Whoever works at a cell holds its lock, so that nobody works at it twice, whatever batch or machine it belongs to.
A batch relies on the record and the lock alone: killed at any moment, it reads them and goes on.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import platform
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from time import sleep, time
from typing import Any

from ipr_core.atomic import is_locked, locked, write_text
from ipr_core.batch import notebooks, warm_ups
from ipr_core.runs import files, provenance
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import advance

_log = logging.getLogger(__name__)
_POLL_SECONDS = 0.2


class CellError(RuntimeError):
    """A cell that failed; the message is in its record too."""


@dataclass(frozen=True)
class Record:
    """The content of `cell.json`, whose keys are these fields."""

    status: str = "waiting"
    """waiting, running, done or failed; running counts only while the lock is held."""
    code: str = ""
    """The version of the code, see `provenance.version`."""
    corpus: str = ""
    """The digest of the corpus's content."""
    notebooks: dict[str, str] = field(default_factory=dict)
    """Notebooks executed whole: name → version."""
    attempts: int = 0
    """How often work at it has begun."""
    began: float | None = None
    ended: float | None = None
    seconds: float | None = None
    """Duration of the last attempt."""
    error: str = ""
    warm_up_of: str = ""
    """The run whose warm-up it took over."""
    where: str = ""
    """Machine and process."""
    threads: str = ""


@dataclass(frozen=True)
class Task:
    """A worker's orders, in plain values."""

    run_folder: str
    notebooks: tuple[str, ...]
    parameters: Mapping[str, Any]
    code: str
    cwd: str
    """The folder that relative paths start from."""
    gpus: tuple[str, ...] = ()
    """Where workers share a machine's GPUs: one for each worker, in turn."""


def read_record(run: Run) -> Record:
    """Read a cell's record; without a file it is that of a waiting cell, and so it is where the file is damaged."""
    path = run.folder / "cell.json"
    if not path.exists():
        return Record()
    try:
        return Record(**files.read_json(path))
    except (files.FileError, TypeError) as error:  # TypeError: keys that no record has
        reason = error if isinstance(error, files.FileError) else f"{path} is no record of a cell"
        _log.warning("%s; its notebooks are executed again, and the run is kept", reason)
        return Record()


def save_record(run: Run, record: Record) -> None:
    """Write a cell's record, whole."""
    write_text(run.folder / "cell.json", json.dumps(asdict(record), indent=1, ensure_ascii=False))


def executed(record: Record, notebook: Path) -> bool:
    """Tell whether a notebook has been executed whole in its present version."""
    return record.notebooks.get(notebook.stem) == provenance.notebook_version(notebook)


def busy(run: Run) -> bool:
    """Tell whether somebody works at the cell right now."""
    return is_locked(_lock_path(run))


def work(task: Task) -> float:
    """Work at a cell, or at the unfinished part of it, where nobody else does.

    returns: the seconds it took, 0 where it was done already
    raises CellError with the reason of a failure; the record has it too, and the failed notebook is kept
    """
    run = Run(Path(task.run_folder))
    if not run.exists:
        raise CellError(f"no run folder {task.run_folder} here; workers need the batch's run folder, at the same path")
    with locked(_lock_path(run)):
        record, corpus = read_record(run), _corpus(run)
        if record.status == "done" and not _unexecuted(task, record):
            return 0.0
        start = time()
        record = replace(
            record, status="running", code=task.code, corpus=corpus, attempts=record.attempts + 1,
            began=start, ended=None, seconds=None, error="", where=f"{platform.node()}, process {os.getpid()}",
            threads=os.environ.get("OMP_NUM_THREADS", ""),
        )  # fmt: skip
        save_record(run, record)
        try:
            record = _work(run, task, record)
        except Exception as error:
            _save_end(run, read_record(run), start, "failed", str(error) or repr(error))
            raise CellError(str(error) or repr(error)) from None
        return _save_end(run, record, start, "done")


def _corpus(run: Run) -> str:
    try:
        return run.meta["corpus"]
    except RunError as error:
        raise CellError(str(error)) from None


def mark_failed(run: Run, error: str) -> None:
    """Record that a cell failed outside of its own work: its workers died, say. Skips one that somebody works at."""
    with contextlib.suppress(BlockingIOError), locked(_lock_path(run), wait=False):
        record = read_record(run)
        if record.status != "done":
            save_record(run, replace(record, status="failed", error=error, ended=time()))


def _work(run: Run, task: Task, record: Record) -> Record:
    """Take over another run's warm-up where there is one, then execute the notebooks in one kernel.

    Without notebooks the run is trained here.
    """
    if (code := provenance.version_now()) != task.code:
        raise CellError(f"{platform.node()} has another version of the code than the batch: {code}, not {task.code}")
    _wait_for_training(run)
    if not run.finished and (donor := warm_ups.reuse(run)) is not None:
        record = replace(record, warm_up_of=donor.folder.name)
        save_record(run, record)
    if not task.notebooks:
        with gpu(task.gpus):
            advance(run, run.dataset(progress=False))
        return record
    folder = run.folder / "notebooks"
    with gpu(task.gpus), notebooks.kernel(folder / "kernel.log", task.cwd) as kernel:
        for notebook in _unexecuted(task, record):
            notebooks.execute(notebook, folder / notebook.name, task.parameters, kernel, progress=False)
            version = {notebook.stem: provenance.notebook_version(notebook)}
            record = replace(record, notebooks=record.notebooks | version)
            save_record(run, record)
    if not run.finished:
        raise CellError("its notebooks ended, but the run is not trained to its end; 02_refinement trains it")
    return record


def _save_end(run: Run, record: Record, start: float, status: str, error: str = "") -> float:
    end = time()
    save_record(run, replace(record, status=status, error=error, ended=end, seconds=end - start))
    return end - start


def _unexecuted(task: Task, record: Record) -> list[Path]:
    """List the notebooks that have not been executed in their present version."""
    return [path for path in map(Path, task.notebooks) if not executed(record, path)]


def _lock_path(run: Run) -> Path:
    return run.folder / ".cell.lock"


def _wait_for_training(run: Run) -> None:
    """Wait while another process trains the run: a killed worker's kernel for a second, or someone in JupyterLab."""
    while True:
        with contextlib.suppress(RunError), run.locked():
            return
        sleep(_POLL_SECONDS)


@contextlib.contextmanager
def gpu(gpus: tuple[str, ...]) -> Iterator[None]:
    """Restrict the kernels of this worker to its GPU; without `gpus` nothing changes."""
    if not gpus:
        yield
        return
    from distributed import get_worker

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = gpus[int(get_worker().name) % len(gpus)]
    try:
        yield
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        if visible is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = visible
