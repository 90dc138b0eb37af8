"""Training from a notebook: live, with the board, where someone watches; waited for where nobody does."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import display

from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training.advance import ProgressBar, Until, advance
from ipr_core.training.runner import IDLE, Began, Changed, Runner
from ipr_widgets import board
from ipr_widgets.live import LiveFigure
from ipr_widgets.state import RunState

_latest: list[Live] = []  # the training of this kernel: one at a time, since all share torch's random generator


def attended(live: bool | None = None) -> bool:
    """Whether someone watches this kernel in a page.

    live: as a notebook's parameter says; None: a Jupyter server that opens a notebook in a page names it in the
    kernel's environment, while papermill, nbconvert and nbval start kernels without a server
    """
    return "JPY_SESSION_NAME" in os.environ if live is None else live


def train(run: Run, data: Dataset, until: Until = "end", live: bool | None = None) -> Live | Waited:
    """Train a run from where it stands; what comes back shows its figures.

    live: see `attended`. If so this returns at once, and the run that comes back is shown as the board: training goes
    on in a thread. Run again while it does, the same training comes back; another run's training in this kernel is
    stopped first, and goes on from its last epoch when it is started again.
    raises what training failed with, if it is waited for
    """
    if not attended(live):
        return Waited(advance(run, data, until, ProgressBar(run.config, until)), until)
    if _latest and _latest[0].runner.active:
        if _latest[0].run.folder == run.folder:
            return _latest[0]
        _latest[0].runner.stop()
        _latest[0].wait()
    _latest[:] = [Live(run, data, until)]
    return _latest[0]


class Waited:
    """A run that was trained while the notebook waited."""

    def __init__(self, run: Run, until: Until):
        self.run, self._until = run, until

    @property
    def events(self) -> list[EpochEnd]:
        """Of the epochs asked for, without their arrays."""
        return _asked(self.run.history(), self.run, self._until)

    def show(self, draw: Callable[..., go.Figure], *further: Any) -> go.Figure:
        """A figure of the epochs: `draw(events, *further)`."""
        return draw(self.events, *further)

    def wait(self) -> Run:
        """The run."""
        return self.run

    def _ipython_display_(self) -> None:
        """Shows nothing: the figures that follow do."""


class Live:
    """A run that is trained in a thread: shown as the board, and by figures that follow it."""

    def __init__(self, run: Run, data: Dataset, until: Until):
        self.state, self.runner, self._until = RunState(), Runner(until), until
        self._run, self._shown = run, []
        self.runner.watch(self.state.on_event)
        self.runner.watch(self._on_event)
        self.board = board.board(self.state, self.runner, run, data)
        self.runner.start(lambda: (run, data))

    @property
    def run(self) -> Run:
        return self.state.run or self._run

    @property
    def events(self) -> list[EpochEnd]:
        """Of the epochs asked for, as far as they are trained, without their arrays."""
        return _asked(self.state.events or self.run.history(), self.run, self._until)

    def show(self, draw: Callable[..., go.Figure], *further: Any) -> go.Figure | None:
        """A figure of the epochs so far, `draw(events, *further)`, drawn anew after each.

        While training rests a plain figure is in its place, which a saved notebook keeps; once started again it is
        drawn anew as before. Where training has ended already it is plain for good.
        """
        with self.state.lock:
            figure = draw(self.events, *further)
            if not self.runner.active:
                return figure
            live = LiveFigure(figure)
            place = display(live._repr_mimebundle_()[0], raw=True, display_id=True)
            self._shown.append((live, place, lambda: draw(self.events, *further)))
        return None

    def wait(self) -> Run:
        """The run, once training has ended; raises what it failed with."""
        self.runner.wait()
        return self.run

    def _on_event(self, event: object) -> None:
        with self.state.lock, self.state.guard("figures"):
            if isinstance(event, Began | EpochEnd):
                for live, _, draw in self._shown:
                    live.draw(draw())
            elif isinstance(event, Changed) and event.state == "preparing":
                for live, place, _ in self._shown:
                    place.update(live._repr_mimebundle_()[0], raw=True)
            elif isinstance(event, Changed) and event.state in IDLE:
                # The live one stays behind it: a page that was loaded again takes no update, and goes on showing that.
                for _, place, draw in self._shown:
                    place.update(pio.renderers["plotly_mimetype"].to_mimebundle(draw().to_dict()), raw=True)

    def _ipython_display_(self) -> None:
        display(self.board)


def _asked(events: Sequence[EpochEnd], run: Run, until: Until) -> list[EpochEnd]:
    """The warm-up's alone where no more was asked for: the run may be trained further already."""
    end = run.config.training.warm_up if until == "warm_up" else len(events)
    return list(events[:end])


def explore(run: Run, data: Dataset, live: bool | None = None) -> w.VBox | None:
    """The board of a run that is trained, where someone watches; nothing where nobody does.  live: see `attended`"""
    return board.replay(run, data) if attended(live) else None
