"""Batches: the cells of a grid, what is done of them already, and the others at work on Dask workers.

All that a batch knows lies in the run folders, so the same command goes on where a killed one was, and what a batch
does can be looked at from anywhere. A cell is done if its run is finished with the settings, the corpus's content and
the code's version of today, and the notebooks are executed as they are today. Where corpus or code is another one, the
old run is kept apart in `superseded`, and the cell is done again; where only a notebook is, just that is executed.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from time import sleep, time
from typing import TYPE_CHECKING, Any

from pandas import DataFrame

from ipr_core.batch import cells, warm_ups
from ipr_core.batch.cells import Task
from ipr_core.batch.grid import Cell, Grid, attempt
from ipr_core.batch.watching import duration
from ipr_core.config import Config, SettingsError
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import Dataset, load
from ipr_core.runs import provenance
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run, RunError, default_runs, digest
from ipr_core.training.advance import encoder_faults

if TYPE_CHECKING:
    from distributed import Client, Future

SUPERSEDED = "superseded"
"""The folder for runs that another corpus or another version of the code made."""
_TICK = 0.5  # seconds between two looks at the workers
_BESIDE = 20.0  # seconds that a cell takes beside training, until one has been measured


@dataclass(frozen=True)
class Todo:
    """A cell, and why it is to be done; an empty reason where it is done."""

    cell: Cell
    run: Run
    why: str
    again: bool = False
    """Whether what lies in its run folder is superseded."""
    seconds: float | None = None
    """What it will take, by finished runs like it; None where there is none."""


@dataclass(frozen=True)
class Plan:
    """A grid, checked, beside what is done of it."""

    grid: Grid
    runs: Path
    todo: tuple[Todo, ...]
    data: dict[Any, Dataset]
    """The corpora, partitioned."""

    @property
    def left(self) -> list[Todo]:
        """What is to be done, in order."""
        return [each for each in self.todo if each.why]


def runs_of(grid: Grid, runs: Path | str | None = None) -> list[Run]:
    """The runs of a grid that exist, in the grid's order."""
    place = Path(runs or default_runs())
    return [run for run in (Run(place / cell.name) for cell in grid.cells) if run.exists]


# The plan.


def plan(
    where: str | Path | None = None,
    asked: dict[str, Any] | None = None,
    runs: Path | str | None = None,
    any_version: bool = False,
    progress: bool = True,
) -> Plan:
    """Read a grid, its corpora and its encoders, check everything, and see what is done.

    where, asked: see `grid.read`   any_version: whether what another version of the code finished is done too
    raises SettingsError with the faults of grid, corpora and encoders at once; nothing has been written then
    """
    grid, faults, configs = attempt(where, asked)
    data, unreadable = _data(configs, whole=not faults, progress=progress)
    faults += unreadable
    place = Path(runs or default_runs()).absolute()
    faults += encoder_faults(configs, place)
    if faults:
        raise SettingsError(faults)
    corpus = {key: digest(each) for key, each in data.items()}
    todo = [_todo(grid, cell, place, corpus[_corpus(cell.config)], any_version) for cell in grid.cells]
    return Plan(grid, place, tuple(_timed(todo, place)), data)


def show(what: Plan, jobs: int, who: str) -> str:
    """The plan in words: every cell and what there is to do, who does it, and how long that may take.

    jobs: cells at a time   who: the workers, in words
    """
    lines = [f"{what.grid.title}: {what.grid.about}".removesuffix(": ")]
    lines += [f"  {each.cell.name}  {_described(each.cell)}: {each.why or 'done'}" for each in what.todo]
    count, left = len(what.todo), what.left
    lines += [f"{count} cells, {count - len(left)} done, {len(left)} to do" + (f" by {who}" if left else "")]
    known = [each.seconds for each in left if each.seconds is not None]
    if known:
        seconds = max(sum(known) / len(known) * len(left) / jobs, *known)
        lines += [f"about {duration(seconds)}, {jobs} at a time, by the clocks of finished runs like these"]
        if len(known) < len(left):
            lines += [f"{len(left) - len(known)} of them are taken to be as the others: no run like them is finished"]
    elif left:
        lines += ["how long it takes is not known: there is no finished run like these"]
    return "\n".join(lines)


def _described(cell: Cell) -> str:
    training = cell.config.training
    return f"{training.system}, seed {training.seed}" + (f", {cell.varied}" if cell.varied else "")


def _corpus(config: Config) -> Any:
    return config.data, config.partition


def _data(configs: Iterable[Config], whole: bool, progress: bool) -> tuple[dict[Any, Dataset], list[str]]:
    """Every corpus once, and what is wrong with them; where the grid has faults already only their tables are read."""
    data, faults = {}, []
    for config in {_corpus(config): config for config in configs}.values():
        try:
            if whole:
                data[_corpus(config)] = load(config, progress=progress)
            else:
                faults += [str(fault) for fault in corpora.survey(config.data)[1]]
        except CorpusError as error:
            faults += str(error).splitlines()
    return data, list(dict.fromkeys(faults))


def _todo(grid: Grid, cell: Cell, place: Path, corpus: str, any_version: bool) -> Todo:
    run = Run(place / cell.name)
    if not run.exists:
        return Todo(cell, run, "not begun")
    meta, what = run.meta, cells.record(run)
    if meta["corpus"] != corpus:
        return Todo(cell, run, "the corpus has changed since it was done", again=True)
    if meta.get("code") != provenance.version() and not any_version:
        return Todo(cell, run, "made by another version of the code", again=True)
    if what.status == "failed":
        return Todo(cell, run, f"failed: {what.error.splitlines()[0]}")
    if not run.finished:
        return Todo(cell, run, f"{run.epochs} of {cell.config.training.epochs} epochs done")
    absent = [path.stem for path in grid.notebooks if not cells.executed(what, path)]
    return Todo(cell, run, f"trained; to execute: {', '.join(absent)}" if absent else "")


# How long it takes.


def _timed(todo: Sequence[Todo], place: Path) -> Iterator[Todo]:
    """Every cell with what it will take, by the clocks of finished runs like it; a shared warm-up counts once."""
    clocks = _clocks(place)
    warm: set[str] = set()
    for each in todo:
        found = clocks.get((_cost(each.cell.config), each.cell.config.training.system)) or clocks.get(
            (_cost(each.cell.config), "")
        )
        if not each.why or not found:
            yield each
            continue
        training = each.cell.config.training
        group = warm_ups.key(each.cell.config, "", "")
        trained = 0 if each.again or not each.run.exists else each.run.epochs
        if group in warm:
            trained = max(trained, training.warm_up)
        warm.add(group)
        rest = [found[epoch >= training.warm_up] for epoch in range(trained, training.epochs)]
        yield Todo(each.cell, each.run, each.why, each.again, sum(rest) + found[2])


def _clocks(place: Path) -> dict[tuple[str, str], tuple[float, float, float]]:
    """Seconds of an epoch in the warm-up and after it, and those beside training, by what they depend on."""
    seen: dict[tuple[str, str], list[tuple[float, float, float]]] = {}
    for run in map(Run, sorted(path.parent for path in place.glob("*/labels.csv"))):
        if not run.exists:
            continue
        history, config, what = run.history(), run.config, cells.record(run)
        phases = [
            _mean([e.clock["seconds"] for e in history if (e.phase == "refinement") == after]) for after in (0, 1)
        ]
        own = sum(e.clock["seconds"] for e in history[config.training.warm_up if what.warm_up_of else 0 :])
        beside = max(0.0, what.seconds - own) if what.seconds and what.attempts == 1 else _BESIDE
        for system in ("", config.training.system):
            seen.setdefault((_cost(config), system), []).append((*phases, beside))
    return {key: tuple(median(values) for values in zip(*all_, strict=True)) for key, all_ in seen.items()}


def _cost(config: Config) -> str:
    """What an epoch's time depends on beside the system."""
    training = config.training
    return repr([config.data, config.partition, config.audio.max_seconds, config.encoder, training.batch_size,
                 training.precision, training.device])  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


# At work.


def run(what: Plan, client: Client, gpus: tuple[str, ...] = (), watch: Callable[[], None] = int) -> list[str]:
    """Do what is left of a plan on a client's workers; returns the failures, a sentence each.

    Cells with the same warm-up wait until one of them has trained it, unless that one fails. A cell whose worker dies
    is done by another one.  watch: called about twice a second
    """
    left = {each.run.folder: each for each in what.left}
    for each in left.values():
        _make_room(each, what)
    groups = {each.run.folder: warm_ups.key_of(each.run) for each in what.todo}
    at_work: dict[Path, Future] = {}
    failures: list[str] = []
    while left or at_work:
        for folder in _ready(left, at_work, groups):
            at_work[folder] = _submit(client, left.pop(folder), what, gpus)
        for folder in [folder for folder, future in at_work.items() if future.done()]:
            failures += _outcome(Run(folder), at_work.pop(folder))
        watch()
        sleep(_TICK)
    return failures


def _ready(left: dict[Path, Todo], at_work: Iterable[Path], groups: dict[Path, str | None]) -> list[Path]:
    """The cells that need not wait for a warm-up: it is there, or there is none, or they are the first to train it."""
    training = {groups[folder] for folder in at_work if not Run(folder).warmed_up}
    warm = {groups[folder] for folder in groups if Run(folder).warmed_up}
    ready = []
    for folder in left:
        group = groups[folder]
        if group is None or group in warm or group not in training:
            ready.append(folder)
            training.add(group)
    return ready


def _make_room(each: Todo, what: Plan) -> None:
    """A run folder for the cell, what is superseded out of its way. raises RunError where somebody uses that"""
    if each.again:
        if cells.busy(each.run):
            raise RunError(f"{each.run.folder} is at work for another batch; wait for it, or stop it")
        with each.run.locked():
            old = each.run.folder.parent / SUPERSEDED / f"{each.run.folder.name}-{time():.0f}"
            old.parent.mkdir(exist_ok=True)
            each.run.folder.rename(old)
    if not each.run.exists:
        Run.create(each.cell.config, what.data[_corpus(each.cell.config)], what.runs)


def _submit(client: Client, each: Todo, what: Plan, gpus: tuple[str, ...]) -> Future:
    task = Task(
        str(each.run.folder), tuple(map(str, what.grid.notebooks)), each.cell.parameters(what.runs),
        provenance.version(), os.getcwd(), gpus,
    )  # fmt: skip
    return client.submit(cells.work, task, key=f"{each.cell.name}-{os.urandom(4).hex()}", pure=False)


def _outcome(run: Run, future: Future) -> list[str]:
    """What went wrong, if anything did; it is in the cell's record, whoever noticed it."""
    error = future.exception()
    if error is None:
        return []
    if not isinstance(error, cells.CellError):
        cells.give_up(run, str(error) or repr(error))
    return [f"{run.folder.name}: {error}"]


# Watching.


def status(grid: Grid, runs: Path | str | None = None) -> DataFrame:
    """A row a cell: what it is, how far it is, and what went wrong, read from the run folders alone.

    status: waiting, running, done or failed   left: seconds, nan where not known   seconds: of the last attempt
    """
    place = Path(runs or default_runs())
    return DataFrame([_row(grid, cell, Run(place / cell.name)) for cell in grid.cells])


def _row(grid: Grid, cell: Cell, run: Run) -> dict[str, Any]:
    training = cell.config.training
    what = cells.record(run)
    state = what.status
    if state == "running" and not cells.busy(run):
        state = "waiting"  # for the next batch: the last one was killed
    if state == "done" and not all(cells.executed(what, path) for path in grid.notebooks):
        state = "waiting"
    history = run.history() if state == "running" else []
    return {
        "run": cell.name, "system": training.system, "seed": training.seed, "varied": cell.varied, "status": state,
        "epoch": run.epochs, "epochs": training.epochs,
        "left": _left(run, history, cell.config) if state == "running" else float("nan"),
        "seconds": what.seconds if what.seconds is not None else float("nan"), "attempts": what.attempts,
        "error": what.error,
    }  # fmt: skip


def _left(run: Run, history: Sequence[EpochEnd], config: Config) -> float:
    """Seconds that a run still trains: its own epochs' mean, those of its present phase where there are any."""
    if not history:
        return float("nan")
    phase = [event.clock["seconds"] for event in history if event.phase == history[-1].phase]
    since = time() - (run.folder / "events.jsonl").stat().st_mtime
    return max(0.0, (config.training.epochs - len(history)) * _mean(phase) - since)
