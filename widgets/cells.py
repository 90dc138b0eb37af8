"""A batch in a notebook: the live table of its cells, wherever they are trained."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ipywidgets as w
import pandas as pd
from pandas import DataFrame

from ipr_core.batch import grid
from ipr_core.batch.watching import STATES, status
from ipr_core.texts import SENTENCE, in_html
from ipr_core.training.pace import duration

_MARKS = {"waiting": "○", "running": "◐", "done": "●", "failed": "✕"}
_SECONDS = 2.0


def watch(source: str | Path, runs: Path | str | None = None, **options: Any) -> Cells:
    """Return the live table of a batch's cells.

    source: the name of a shipped grid, or a grid's file   runs: the folder of its runs
    options: those of `ipr batch`, for example `seeds=[0, 1]` or `settings=dict(corpus="ravdess")`
    raises SettingsError with all of a grid's faults
    """
    batch = grid.read(source, options)
    return Cells(lambda: status(batch, runs))


class Cells(w.HTML):
    """A table that is updated every two seconds until no cell waits or runs."""

    def __init__(self, status: Callable[[], DataFrame], seconds: float = _SECONDS):
        super().__init__()
        self._status, self._seconds, self._closed = status, seconds, threading.Event()
        if self.update():
            threading.Thread(target=self._follow, name="cells", daemon=True).start()

    def update(self) -> bool:
        """Update the table now.  returns: whether a cell still waits or runs"""
        table = self._status()
        self.value = page(table)
        return bool(table["status"].isin(("waiting", "running")).any())

    def close(self) -> None:
        """Stop the updates, and leave the page."""
        self._closed.set()
        super().close()

    def _follow(self) -> None:
        unfinished = True
        while unfinished and not self._closed.wait(self._seconds):
            try:
                unfinished = self.update()
            except Exception as error:  # a folder that is away for a moment, say
                self.value = f"The batch cannot be read: {in_html(error, SENTENCE)}"


def page(table: DataFrame) -> str:
    """Return the table of `watching.status` as HTML in the page's own colours."""
    counts = ", ".join(f"{(table['status'] == state).sum()} {state}" for state in STATES)
    rows = "".join(_row(row) for row in table.itertuples())
    head = "".join(f"<th>{name}</th>" for name in ("", "system", "seed", "varied", "status", "epochs", "time", "run"))
    style = "font-size: 12px; line-height: 1.4; color: var(--jp-ui-font-color1); border-spacing: 10px 0"
    return f'<b>{counts}</b><table style="{style}"><tr style="text-align: left">{head}</tr>{rows}</table>'


def _row(row: Any) -> str:
    bar = f'<progress value="{row.epoch}" max="{row.epochs}" title="epoch {row.epoch} of {row.epochs}"></progress>'
    error = in_html(row.error.partition("\n")[0], SENTENCE)
    texts = [in_html(text, SENTENCE) for text in (row.system, row.seed, row.varied)]
    cells = [_MARKS[row.status], *texts, row.status, bar, _time(row), in_html(row.run, SENTENCE)]
    columns = "".join(f"<td>{cell}</td>" for cell in cells)
    reason = f'<tr><td></td><td colspan="7" style="color: var(--jp-error-color1)">{error}</td></tr>' if error else ""
    return f"<tr>{columns}</tr>{reason}"


def _time(row: Any) -> str:
    if row.status == "running":
        return "" if pd.isna(row.left) else f"{duration(row.left)} left"
    return "" if row.status == "waiting" or pd.isna(row.seconds) else duration(row.seconds)
