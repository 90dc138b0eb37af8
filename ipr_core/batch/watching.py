"""A batch in the terminal: the table of its cells drawn again and again, or a line for every change elsewhere."""

from __future__ import annotations

import shutil
import sys
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any, TextIO

import pandas as pd
from pandas import DataFrame

STATES = ("waiting", "running", "done", "failed")
_LEAST = 1.0  # seconds between two looks
_SHARE = 0.05  # of the time that looking may take


class Screen:
    """Shows what `look` gives, `batch.status` for example, at every call that is not too soon after the last.

    In a terminal the table stays in its place; anywhere else every change of a cell's state is a line.
    """

    def __init__(self, look: Callable[[], DataFrame], out: TextIO | None = None):
        self._look, self._out = look, out or sys.stdout
        self._next, self._height = 0.0, 0
        self._states: dict[str, str] = {}

    def __call__(self, last: bool = False) -> None:
        """Look and show; `last` whatever time has passed."""
        began = monotonic()
        if began < self._next and not last:
            return
        table = self._look()
        (self._draw if self._out.isatty() else self._tell)(table)
        self._states = dict(zip(table["run"], table["status"], strict=True))
        self._next = monotonic() + max(_LEAST, (monotonic() - began) / _SHARE)

    def follow(self) -> int:
        """Show until nothing waits and nothing runs; returns 1 where something failed, else 0."""
        while True:
            self(last=True)
            states = set(self._states.values())
            if not states & {"waiting", "running"}:
                return int("failed" in states)
            sleep(_LEAST)

    def _draw(self, table: DataFrame) -> None:
        width, height = shutil.get_terminal_size()
        shown = [line[: width - 1] for line in lines(table, height - 1)]
        up = f"\x1b[{self._height}F" if self._height else ""
        self._out.write(f"{up}\x1b[J" + "".join(line + "\n" for line in shown))
        self._out.flush()
        self._height = len(shown)

    def _tell(self, table: DataFrame) -> None:
        told = {row.run: row for row in table.itertuples()}
        first = not self._states
        for name, row in told.items():
            if row.status != self._states.get(name, "waiting") and not (first and row.status == "done"):
                print(_line(row), file=self._out)
        self._out.flush()


def lines(table: DataFrame, height: int = 0) -> list[str]:
    """The table of cells as lines, their counts last; where it is higher than `height`, only what runs or failed."""
    counts = ", ".join(f"{(table['status'] == state).sum()} {state}" for state in STATES)
    if height and len(table) >= height:
        table = table[table["status"].isin(("running", "failed"))][: height - 1]
    width = table["run"].str.len().max() if len(table) else 0
    return [*(_line(row, width) for row in table.itertuples()), counts]


def duration(seconds: float) -> str:
    """Seconds in words: 48 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def _line(row: Any, width: int = 0) -> str:
    return f"{row.run:<{width}}  {row.status:<8}{_words(row)}".rstrip()


def _words(row: Any) -> str:
    if row.status == "failed":
        return row.error.partition("\n")[0]
    if row.status == "done":
        return "" if pd.isna(row.seconds) else duration(row.seconds)
    left = "" if pd.isna(row.left) else f", {duration(row.left)} left"
    return f"epoch {row.epoch} of {row.epochs}{left}" if row.epoch or row.status == "running" else ""
