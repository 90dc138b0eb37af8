"""The progress of a batch, read from its run folders, and the table of its cells in a terminal."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from time import monotonic, sleep, time
from typing import Any, TextIO

import pandas as pd
from pandas import DataFrame

from ipr_core.batch import cells
from ipr_core.batch.grid import Cell, Grid
from ipr_core.config import Config
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.names import default_runs
from ipr_core.runs.run import Run
from ipr_core.training.pace import duration, seconds_left

STATES = ("waiting", "running", "done", "failed")
_INTERVAL = 1.0  # seconds between two looks, at least
_SHARE = 0.05  # of the time that looking may take


def status(grid: Grid, runs: Path | str | None = None) -> DataFrame:
    """Return a row for each cell: its run, its progress, and its error, read from the run folders alone.

    status: waiting, running, done or failed   left: seconds, nan where not known   seconds: of the last attempt
    """
    folder = Path(runs or default_runs())
    return DataFrame([_row(grid, cell, Run(folder / cell.name)) for cell in grid.cells])


def _row(grid: Grid, cell: Cell, run: Run) -> dict[str, Any]:
    training, record = cell.config.training, cells.read_record(run)
    state = record.status
    if state == "running" and not cells.busy(run):
        state = "waiting"  # for the next batch: the last one was killed
    if state == "done" and not all(cells.executed(record, path) for path in grid.notebooks):
        state = "waiting"
    history = run.history() if state == "running" else []
    return {
        "run": cell.name, "system": training.system, "seed": training.seed, "varied": cell.varied, "status": state,
        "epoch": run.epochs, "epochs": training.epochs,
        "left": _seconds_left(run, history, cell.config) if state == "running" else float("nan"),
        "seconds": record.seconds if record.seconds is not None else float("nan"), "attempts": record.attempts,
        "error": record.error,
    }  # fmt: skip


def _seconds_left(run: Run, history: Sequence[EpochEnd], config: Config) -> float:
    """Estimate the seconds that a run still trains; NaN before its first epoch."""
    sizes = run.table["part"].value_counts()
    seconds = seconds_left(history, config, config.training.epochs, sizes["D1"], sizes.get("D2", 0))
    if seconds is None:
        return float("nan")
    return max(0.0, seconds - (time() - (run.folder / "events.jsonl").stat().st_mtime))


class Screen:
    """A view of the table that `look` returns, `status` for example, renewed at most once a second.

    In a terminal the table stays in its place; anywhere else every change of a cell's state is a line.
    """

    def __init__(self, look: Callable[[], DataFrame], stream: TextIO | None = None):
        self._look, self._stream = look, stream or sys.stdout
        self._next, self._height = 0.0, 0
        self._states: dict[str, str] = {}

    def __call__(self, last: bool = False) -> None:
        """Look and show, unless it is too soon after the last time.  last: whatever time has passed"""
        start = monotonic()
        if start < self._next and not last:
            return
        table = self._look()
        (self._draw if self._stream.isatty() else self._print_changes)(table)
        self._states = dict(zip(table["run"], table["status"], strict=True))
        self._next = monotonic() + max(_INTERVAL, (monotonic() - start) / _SHARE)

    def follow(self) -> int:
        """Show until no cell waits or runs; returns 1 where a cell failed, else 0."""
        while True:
            self(last=True)
            states = set(self._states.values())
            if not states & {"waiting", "running"}:
                return int("failed" in states)
            sleep(_INTERVAL)

    def _draw(self, table: DataFrame) -> None:
        width, height = shutil.get_terminal_size()
        rows = [line[: width - 1] for line in lines(table, height - 1)]
        cursor = f"\x1b[{self._height}F" if self._height else ""  # up to the table's first line
        self._stream.write(f"{cursor}\x1b[J" + "".join(row + "\n" for row in rows))
        self._stream.flush()
        self._height = len(rows)

    def _print_changes(self, table: DataFrame) -> None:
        first = not self._states
        for row in table.itertuples():
            if row.status != self._states.get(row.run, "waiting") and not (first and row.status == "done"):
                print(_line(row), file=self._stream)
        self._stream.flush()


def lines(table: DataFrame, height: int = 0) -> list[str]:
    """Return the table of cells as lines, their counts last.

    height: lines at most; a higher table is cut to the cells that run or failed
    """
    counts = ", ".join(f"{(table['status'] == state).sum()} {state}" for state in STATES)
    if height and len(table) >= height:
        table = table[table["status"].isin(("running", "failed"))][: height - 1]
    width = table["run"].str.len().max() if len(table) else 0
    return [*(_line(row, width) for row in table.itertuples()), counts]


def _line(row: Any, width: int = 0) -> str:
    return f"{row.run:<{width}}  {row.status:<8}{_progress(row)}".rstrip()


def _progress(row: Any) -> str:
    if row.status == "failed":
        return row.error.partition("\n")[0]
    if row.status == "done":
        return "" if pd.isna(row.seconds) else duration(row.seconds)
    remaining = "" if pd.isna(row.left) else f", {duration(row.left)} left"
    return f"epoch {row.epoch} of {row.epochs}{remaining}" if row.epoch or row.status == "running" else ""
