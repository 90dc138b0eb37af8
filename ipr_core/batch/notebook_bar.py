"""The progress of a notebook that is executed: its cells, and how far the training in it has come."""

from __future__ import annotations

import contextlib
import sys
import threading
from collections.abc import Callable
from time import perf_counter
from typing import Any

from tqdm import tqdm

from ipr_core.progress import is_watched, say
from ipr_core.runs.run import Run
from ipr_core.sentence import SentenceError

Look = Callable[[], str]
"""Tells in words how far something has come; "" where there is nothing to tell."""
_INTERVAL = 1.0  # seconds between two looks, at least
_SHARE = 0.05  # of the time that looking may take
_FORM = "{desc}: {percentage:3.0f}%|{bar:20}| {n_fmt}/{total_fmt} cells [{elapsed}{postfix}]"


def training_of(run: Run) -> Look:
    """Return the look at a run's folder: its epochs, and the accuracy on D3 after the last of them."""

    def look() -> str:
        with contextlib.suppress(SentenceError, OSError):  # its files are being written
            if events := run.history():
                return f"epoch {len(events)} of {run.config.training.epochs}, accuracy on D3 {events[-1].accuracy:.3f}"
        return ""

    return look


class NotebookBar:
    """A bar of a notebook's cells with the words of a look, renewed each second; for others than a terminal one line.

    title: the notebook   cells: their number
    look: at what the notebook works at; the line at the end has its words if they changed meanwhile
    """

    def __init__(self, title: str, cells: int, look: Look = lambda: ""):
        self._title, self._look, self._first = title, look, look()
        self._is_watched = is_watched()
        self._bar: tqdm[Any] = tqdm(
            total=cells, desc=title, file=sys.stderr, bar_format=_FORM, disable=not self._is_watched
        )
        self._start, self._end = perf_counter(), threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> NotebookBar:
        if self._is_watched:
            self._thread.start()
        return self

    def count(self, **_: object) -> None:
        """Count a cell, as a hook of nbclient."""
        self._bar.update()

    def __exit__(self, kind: object, *_: object) -> None:
        self._end.set()
        if self._is_watched:
            self._thread.join()
            self._show()
            self._bar.close()
        elif kind is None:
            words = self._look()
            suffix = f", {words}" if words != self._first else ""
            say(f"Notebook {self._title}: {perf_counter() - self._start:.0f} s{suffix}")

    def _follow(self) -> None:
        pause = _INTERVAL
        while not self._end.wait(pause):
            start = perf_counter()
            self._show()
            pause = max(_INTERVAL, (perf_counter() - start) / _SHARE)

    def _show(self) -> None:
        self._bar.set_postfix_str(self._look())
