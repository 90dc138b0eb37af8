"""The plan of a batch: which cells of a grid are done already, and the others at work on Dask workers.

Everything a batch knows lies in the run folders, so the same command goes on after a kill, and a batch can be watched
from anywhere. A cell is done if its run is finished with the present settings, corpus, encoder and version of the code,
and the notebooks are executed in their present versions. Finished cells are skipped. Where corpus, encoder or code has
changed, the old run is moved to `superseded` and the cell is run again; where only a notebook has changed, that
notebook alone is executed.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import median
from time import sleep, time
from typing import TYPE_CHECKING, Any

from ipr_core.atomic import write_text
from ipr_core.batch import cells, warm_ups
from ipr_core.batch.cells import Task
from ipr_core.batch.grid import Cell, Grid, named, try_read, tuning_of
from ipr_core.config import Config, SettingsError
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import Dataset, load
from ipr_core.runs import provenance
from ipr_core.runs.names import default_runs
from ipr_core.runs.run import Run, RunError, digest
from ipr_core.training.advance import encoder_faults
from ipr_core.training.model import encoder_digest
from ipr_core.training.pace import duration

if TYPE_CHECKING:
    from distributed import Future

    from ipr_core.batch.workers import Workers

SUPERSEDED = "superseded"
"""The folder for runs that another corpus, encoder or version of the code made."""
_TICK = 0.5  # seconds between two looks at the workers
_OVERHEAD = 20.0  # seconds that a cell takes besides training, until one has been measured


@dataclass(frozen=True)
class PlannedCell:
    """A cell, and the reason to work at it; the reason is empty where it is done."""

    cell: Cell
    run: Run
    reason: str
    superseded: bool = False
    """Whether the run in its folder belongs to another corpus, encoder or version of the code."""
    seconds: float | None = None
    """Its estimated time by finished runs like it; None where there is none."""


@dataclass(frozen=True)
class Plan:
    """A grid, checked, with the state of each cell."""

    grid: Grid
    runs: Path
    """The folder of the runs."""
    cells: tuple[PlannedCell, ...]
    data: dict[Any, Dataset]
    """The corpora, partitioned."""

    @property
    def unfinished(self) -> list[PlannedCell]:
        """The cells to work at, in order."""
        return [planned for planned in self.cells if planned.reason]


def runs_of(grid: Grid, runs: Path | str | None = None) -> list[Run]:
    """Return the runs of a grid that exist, in the grid's order."""
    folder = Path(runs or default_runs())
    return [run for run in (Run(folder / cell.name) for cell in grid.cells) if run.exists]


# The plan.


def make_plan(
    source: str | Path | None = None,
    options: dict[str, Any] | None = None,
    runs: Path | str | None = None,
    any_version: bool = False,
    progress: bool = True,
) -> Plan:
    """Read a grid, its corpora and its encoders, check everything, and find the finished cells.

    source, options: see `grid.read`   any_version: whether cells that another version of the code finished count too
    raises SettingsError with the faults of grid, corpora and encoders at once; nothing has been written then
    """
    return plan_grid(*try_read(source, options), runs, any_version, progress)


def plan_grid(
    grid: Grid,
    faults: list[str],
    configs: list[Config],
    runs: Path | str | None = None,
    any_version: bool = False,
    progress: bool = True,
) -> Plan:
    """Plan a grid with the faults that it has, as `grid.try_read` returns them; see `make_plan`."""
    folder = Path(runs or default_runs()).absolute()
    faults += named(grid.source, encoder_faults(configs, folder))
    data, corpus_faults = _load_all(configs, whole=not faults, progress=progress)
    faults += corpus_faults
    if faults:
        raise SettingsError(faults)
    digests = {key: digest(dataset) for key, dataset in data.items()}
    planned = [_planned(grid, cell, folder, digests[_corpus(cell.config)], any_version) for cell in grid.cells]
    return Plan(grid, folder, tuple(_with_estimates(planned, folder)), data)


def describe(plan: Plan, jobs: int, workers: str) -> str:
    """Describe a plan: every cell with its reason, who works at them, and the estimated time.

    jobs: cells at a time   workers: in words
    """
    lines = [f"{plan.grid.title}: {plan.grid.about}".removesuffix(": ")]
    lines += [f"  {cell.cell.name}  {_settings_in_words(cell.cell)}: {cell.reason or 'done'}" for cell in plan.cells]
    count, unfinished = len(plan.cells), plan.unfinished
    summary = f"{count} cells, {count - len(unfinished)} done, {len(unfinished)} to do"
    lines += [summary + (f" by {workers}" if unfinished else "")]
    estimates = [cell.seconds for cell in unfinished if cell.seconds is not None]
    if estimates:
        seconds = max(sum(estimates) / len(estimates) * len(unfinished) / jobs, *estimates)
        lines += [f"about {duration(seconds)}, {jobs} at a time, by the clocks of finished runs like these"]
        if len(estimates) < len(unfinished):
            count = len(unfinished) - len(estimates)
            lines += [f"{count} of them are taken to be as the others: no run like them is finished"]
    elif unfinished:
        lines += ["no estimate of the time: there is no finished run like these"]
    return "\n".join(lines)


def _settings_in_words(cell: Cell) -> str:
    training = cell.config.training
    return f"{training.system}, seed {training.seed}" + (f", {cell.varied}" if cell.varied else "")


def _corpus(config: Config) -> Any:
    return config.data, config.partition


def _load_all(configs: Iterable[Config], whole: bool, progress: bool) -> tuple[dict[Any, Dataset], list[str]]:
    """Load every corpus once, and list the corpora's faults.

    whole: else only the tables of those that are not generated are read, for their faults
    """
    data, faults = {}, []
    for config in {_corpus(config): config for config in configs}.values():
        try:
            if whole:
                data[_corpus(config)] = load(config, progress=progress)
            elif config.data.corpus not in corpora.GENERATED:
                faults += [str(fault) for fault in corpora.survey(config.data)[1]]
        except CorpusError as error:
            faults += str(error).splitlines()
    return data, list(dict.fromkeys(faults))


def _planned(grid: Grid, cell: Cell, folder: Path, corpus: str, any_version: bool) -> PlannedCell:
    run = Run(folder / cell.name)
    if not run.exists:
        return PlannedCell(cell, run, "not begun")
    try:
        change = _change(run, cell.config, corpus, any_version)
        return PlannedCell(cell, run, change or _rest(grid, cell, run), superseded=bool(change))
    except RunError as error:  # a damaged run; the others are planned, and it fails in this sentence
        return PlannedCell(cell, run, str(error).partition("\n")[0])


def _change(run: Run, config: Config, corpus: str, any_version: bool) -> str:
    """Say what has changed since a run was made, so that it is made anew; nothing if it is as it would be now."""
    if run.meta["corpus"] != corpus:
        return "the corpus has changed since it was done"
    if None not in (digests := (run.encoder, encoder_digest(config))) and digests[0] != digests[1]:
        return "the encoder has changed since it was done"
    if run.meta.get("code") != provenance.version() and not any_version:
        return "made by another version of the code"
    return ""


def _rest(grid: Grid, cell: Cell, run: Run) -> str:
    """Say what is left to do for a run; nothing if it is done."""
    record = cells.read_record(run)
    if record.status == "failed":
        return f"failed: {record.error.partition(chr(10))[0]}"
    if not run.finished:
        return f"{run.epochs} of {cell.config.training.epochs} epochs done"
    missing = [path.stem for path in grid.notebooks if not cells.executed(record, path)]
    return f"trained; to execute: {', '.join(missing)}" if missing else ""


# Estimated times.


@dataclass(frozen=True)
class _Clock:
    """Seconds of a run: of an epoch in the warm-up, of one after it, and of everything besides training."""

    warm_up: float
    refinement: float
    overhead: float


def _with_estimates(planned: Sequence[PlannedCell], folder: Path) -> Iterator[PlannedCell]:
    """Yield every cell with its estimated time by finished runs like it; a shared warm-up counts once."""
    clocks = _clocks(folder)
    groups: set[str | None] = set()
    for cell in planned:
        config, training = cell.cell.config, cell.cell.config.training
        clock = clocks.get((_cost(config), training.system)) or clocks.get((_cost(config), ""))
        if not cell.reason or clock is None:
            yield cell
            continue
        group = warm_ups.key(config, "", "")
        epochs = 0 if cell.superseded or not cell.run.exists else cell.run.epochs
        if group in groups:
            epochs = max(epochs, training.warm_up)
        groups.add(group)
        refinement = training.epochs - max(epochs, training.warm_up)
        warm_up = max(0, training.warm_up - epochs)
        yield replace(cell, seconds=warm_up * clock.warm_up + refinement * clock.refinement + clock.overhead)


def _clocks(folder: Path) -> dict[tuple[str, str], _Clock]:
    """Return the median clock of finished runs by `_cost` and system; by system "" that of all systems."""
    clocks: dict[tuple[str, str], list[_Clock]] = {}
    for run in map(Run, sorted(path.parent for path in folder.glob("*/labels.csv"))):
        with contextlib.suppress(RunError):  # a damaged neighbour, which need not be a cell
            clock, config = _clock(run), run.config
            for system in ("", config.training.system):
                clocks.setdefault((_cost(config), system), []).append(clock)
    return {key: _median(group) for key, group in clocks.items()}


def _clock(run: Run) -> _Clock:
    """Return the clock of a finished run."""
    history, record = run.history(), cells.read_record(run)
    warm_up = [event.clock["seconds"] for event in history if event.phase != "refinement"]
    refinement = [event.clock["seconds"] for event in history if event.phase == "refinement"]
    overhead = _OVERHEAD
    if record.seconds and record.attempts == 1:
        training = sum(refinement) + (0 if record.warm_up_of else sum(warm_up))
        overhead = max(0.0, record.seconds - training)
    return _Clock(_mean(warm_up), _mean(refinement), overhead)


def _median(clocks: Sequence[_Clock]) -> _Clock:
    return _Clock(
        median(clock.warm_up for clock in clocks),
        median(clock.refinement for clock in clocks),
        median(clock.overhead for clock in clocks),
    )


def _cost(config: Config) -> str:
    """Return a text of the settings that an epoch's time depends on, besides the system."""
    training = config.training
    return repr([config.data, config.partition, config.audio.max_seconds, config.encoder, training.batch_size,
                 training.precision, training.device])  # fmt: skip


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


# At work.


def run_plan(plan: Plan, workers: Workers, watch: Callable[[], object] = lambda: None) -> list[str]:
    """Work at the unfinished cells of a plan; returns the failures, a sentence each.

    Cells with the same warm-up wait until one of them has trained it, unless that one fails. A cell whose worker dies
    moves to another worker.  watch: called about twice a second
    raises WorkersError where no worker will work any more; the cells at work are tried again by the next batch
    """
    waiting = {planned.run.folder: planned for planned in plan.unfinished}
    for planned in waiting.values():
        _make_folder(planned, plan)
    groups = {planned.run.folder: warm_ups.run_key(planned.run) for planned in plan.cells}
    futures: dict[Path, Future] = {}
    failures: list[str] = []
    while waiting or futures:
        for folder in _ready(waiting, futures, groups):
            futures[folder] = _submit(workers, waiting.pop(folder), plan)
        workers.check()
        for folder in [folder for folder, future in futures.items() if future.done()]:
            failures += _failures(Run(folder), futures.pop(folder))
        watch()
        sleep(_TICK)
    return failures


def _ready(waiting: Iterable[Path], running: Iterable[Path], groups: dict[Path, str | None]) -> list[Path]:
    """List the cells that need not wait for a warm-up: theirs is trained, or none is shared, or they train it first."""
    training = {groups[folder] for folder in running if not Run(folder).warmed_up}
    trained = {groups[folder] for folder in groups if Run(folder).warmed_up}
    ready = []
    for folder in waiting:
        group = groups[folder]
        if group is None or group in trained or group not in training:
            ready.append(folder)
            training.add(group)
    return ready


def _make_folder(planned: PlannedCell, plan: Plan) -> None:
    """Make a cell's run folder and move a superseded run away. raises RunError where somebody uses that"""
    run = planned.run
    if planned.superseded:
        if cells.busy(run):
            raise RunError(f"{run.folder} is at work for another batch; wait for it, or stop it")
        with run.locked():
            target = run.folder.parent / SUPERSEDED / f"{run.folder.name}-{time():.0f}"
            target.parent.mkdir(exist_ok=True)
            run.folder.rename(target)
    if not run.exists:
        config = planned.cell.config
        Run.create(config, plan.data[_corpus(config)], plan.runs, encoder=encoder_digest(config))
    if plan.grid.tuned:
        write_text(run.folder / "tuning.json", tuning_of(plan.grid, planned.cell.config.training.system))


def _submit(workers: Workers, planned: PlannedCell, plan: Plan) -> Future:
    task = Task(
        str(planned.run.folder), tuple(map(str, plan.grid.notebooks)), planned.cell.parameters(plan.runs),
        provenance.version(), os.getcwd(), workers.gpus,
    )  # fmt: skip
    return workers.client.submit(cells.work, task, key=f"{planned.cell.name}-{os.urandom(4).hex()}", pure=False)


def _failures(run: Run, future: Future) -> list[str]:
    """Return a finished task's failure, if any, and see that the cell's record has it."""
    if future.cancelled():
        return [f"{run.folder.name}: its scheduler gave it up"]
    error = future.exception()
    if error is None:
        return []
    if not isinstance(error, cells.CellError):
        cells.mark_failed(run, str(error) or repr(error))
    return [f"{run.folder.name}: {error}"]
