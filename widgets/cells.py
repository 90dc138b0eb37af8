"""A batch in a notebook: the table of its cells, kept up to date while they are done, wherever that is."""

from __future__ import annotations

import threading
from collections.abc import Callable
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as w
import pandas as pd
from pandas import DataFrame

from ipr_core.batch import grid, plan
from ipr_core.batch.watching import STATES, duration

_MARKS = {"waiting": "○", "running": "◐", "done": "●", "failed": "✕"}
_SECONDS = 2.0


def watch(where: str | Path, runs: Path | str | None = None, **asked: Any) -> Cells:
    """The cells of a batch, live.

    where: the name of a shipped grid, or a grid's file   runs: where its runs lie
    asked: what `ipr batch` was asked beside the grid, `seeds=[0, 1]` or `settings=dict(corpus="ravdess")` for example
    raises SettingsError with all of a grid's faults
    """
    stated = grid.read(where, asked)
    return Cells(lambda: plan.status(stated, runs))


class Cells(w.HTML):
    """A table that is looked up every two seconds until nothing waits and nothing runs."""

    def __init__(self, look: Callable[[], DataFrame], seconds: float = _SECONDS):
        super().__init__()
        self._look, self._seconds, self._closed = look, seconds, threading.Event()
        if self.update():
            threading.Thread(target=self._follow, name="cells", daemon=True).start()

    def update(self) -> bool:
        """Look now; whether there is something left to wait for."""
        table = self._look()
        self.value = page(table)
        return bool(table["status"].isin(("waiting", "running")).any())

    def close(self) -> None:
        """Look no more, and leave the page."""
        self._closed.set()
        super().close()

    def _follow(self) -> None:
        left = True
        while left and not self._closed.wait(self._seconds):
            try:
                left = self.update()
            except Exception as error:  # a folder that is away for a moment, say
                self.value = f"The batch cannot be looked at: {escape(str(error))}"


def page(table: DataFrame) -> str:
    """The table of `batch.status` as HTML in the page's own colours."""
    counts = ", ".join(f"{(table['status'] == state).sum()} {state}" for state in STATES)
    rows = "".join(_row(row) for row in table.itertuples())
    head = "".join(f"<th>{name}</th>" for name in ("", "system", "seed", "varied", "status", "epochs", "time", "run"))
    style = "font-size: 12px; line-height: 1.4; color: var(--jp-ui-font-color1); border-spacing: 10px 0"
    return f'<b>{counts}</b><table style="{style}"><tr style="text-align: left">{head}</tr>{rows}</table>'


def _row(row: Any) -> str:
    bar = f'<progress value="{row.epoch}" max="{row.epochs}" title="epoch {row.epoch} of {row.epochs}"></progress>'
    error = escape(row.error.partition("\n")[0])
    cells = [_MARKS[row.status], row.system, row.seed, escape(row.varied), row.status, bar, _time(row), escape(row.run)]
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    why = f'<tr><td></td><td colspan="7" style="color: var(--jp-error-color1)">{error}</td></tr>' if error else ""
    return f"<tr>{columns}</tr>{why}"


def _time(row: Any) -> str:
    if row.status == "running":
        return "" if pd.isna(row.left) else f"{duration(row.left)} left"
    return "" if row.status == "waiting" or pd.isna(row.seconds) else duration(row.seconds)
