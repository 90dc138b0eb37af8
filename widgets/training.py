"""Training from a notebook: live with the board if someone watches, waited for if nobody does."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ipywidgets as w
import plotly.graph_objects as go
import plotly.io as pio
from IPython.display import DisplayHandle, display

from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training.advance import Goal, ProgressBar, advance
from ipr_core.training.runner import IDLE, Began, Changed, Runner
from ipr_widgets import abreast, board, comparison
from ipr_widgets.live import LiveFigure
from ipr_widgets.state import RunState

_boards: dict[Path, board.Board] = {}
"""Run folder → its latest board in this kernel, whose view the next one takes over when a cell is run again."""
_latest: list[Live] = []  # the kernel's only training, since all would share torch's random generator


def attended(live: bool | None = None) -> bool:
    """Return whether someone watches this kernel in a page.

    live: a notebook's parameter, which decides if it is not None. A Jupyter server that opens a notebook in a page, and
    Voilà, say so in the kernel's environment, Colab brings a module; papermill, nbconvert and nbval start kernels
    without any of them. An editor cannot be told from its terminal, see `Waited`.
    """
    pages = "JPY_SESSION_NAME" in os.environ or "VOILA_REQUEST_URL" in os.environ or "google.colab" in sys.modules
    return pages if live is None else live


def train(run: Run, data: Dataset, goal: Goal = "end", live: bool | None = None) -> Live | Waited:
    """Train a run from its last epoch, and return the training, which shows its figures.

    live: see `attended`. A live training returns at once, is shown as the board and goes on in a thread. Called again
    meanwhile, this returns the same training. The training of another run in this kernel is stopped first; started
    again, it goes on from its last epoch.
    raises the error of a training that is waited for
    """
    if not attended(live):
        return Waited(advance(run, data, goal, ProgressBar(run.config, goal), wait=_Waiting(run)), goal)
    if _latest and _latest[0].runner.active:
        if _latest[0].run.folder == run.folder:
            return _latest[0]
        _latest[0].runner.stop()
        _latest[0].wait()
    _latest[:] = [Live(run, data, goal)]
    _shown_again(_latest[0].board)
    return _latest[0]


class _Waiting:
    """Says once that another process trains a run."""

    def __init__(self, run: Run):
        self._run, self._said = run, False

    def __call__(self) -> None:
        if not self._said:
            self._said = True
            print(f"Another process trains {self._run.folder.name}; this notebook goes on when it has ended.")


class Waited:
    """A run that was trained while the notebook waited."""

    def __init__(self, run: Run, goal: Goal):
        self.run, self._goal = run, goal

    @property
    def events(self) -> list[EpochEnd]:
        """The events of the requested epochs, without their arrays."""
        return _requested(self.run.history(), self.run, self._goal)

    def show(self, draw: Callable[..., go.Figure], *args: Any) -> go.Figure:
        """Return the figure `draw(events, *args)` of the epochs."""
        return draw(self.events, *args)

    def wait(self) -> Run:
        """Return the run."""
        return self.run

    def _ipython_display_(self) -> None:
        """Display nothing, since the figures that follow do; where an editor may show this, how to get the board."""
        if any(name.startswith("VSCODE_") for name in os.environ):
            print("Trained without the board: set `live = True` in the settings to see it here.")


@dataclass
class Followed:
    """A figure in a notebook's output that follows the training."""

    figure: LiveFigure
    output: DisplayHandle
    draw: Callable[[], go.Figure]


class Live:
    """A run that is trained in a thread, with its board and live figures."""

    def __init__(self, run: Run, data: Dataset, goal: Goal):
        self.state, self.runner, self._goal = RunState(), Runner(goal), goal
        self._run = run
        self.figures: list[Followed] = []
        self.runner.watch(self.state.on_event)
        self.runner.watch(self._on_event)
        self.state.on_event(Began(run, data))  # the board shows at once what is known
        self.board = board.board(self.state, self.runner, run, data)
        self.board.make_ready()
        self.runner.start(lambda: (run, data))

    @property
    def run(self) -> Run:
        """The run in training; the board's form may have begun another one."""
        return self.state.run or self._run

    @property
    def events(self) -> list[EpochEnd]:
        """The events of the requested epochs that are trained already, without their arrays."""
        return _requested(self.state.events or self.run.history(), self.run, self._goal)

    def show(self, draw: Callable[..., go.Figure], *args: Any) -> go.Figure | None:
        """Show the figure `draw(events, *args)` of the epochs so far, drawn anew after each.

        While training rests, a plain figure replaces it, which a saved notebook keeps; when training starts again, so
        does the live one. If training has ended already, the plain figure is returned.
        """
        with self.state.lock:
            figure = draw(self.events, *args)
            if not self.runner.active:
                return figure
            live = LiveFigure(figure)
            output = display(_view(live), raw=True, display_id=True)
            self.figures.append(Followed(live, output, lambda: draw(self.events, *args)))
        return None

    def wait(self) -> Run:
        """Return the run when training has ended.  raises the error of training"""
        self.runner.wait()
        return self.run

    def _on_event(self, event: object) -> None:
        with self.state.lock, self.state.guard("figures"):
            if isinstance(event, Began | EpochEnd):
                for followed in self.figures:
                    followed.figure.draw(followed.draw())
            elif isinstance(event, Changed) and event.state == "preparing":
                for followed in self.figures:
                    followed.output.update(_view(followed.figure), raw=True)
            elif isinstance(event, Changed) and event.state in IDLE:
                # The live one is kept: a page that was loaded again takes no update, and goes on showing it.
                for followed in self.figures:
                    content = followed.draw().to_dict()
                    followed.output.update(pio.renderers["plotly_mimetype"].to_mimebundle(content), raw=True)

    def _ipython_display_(self) -> None:
        display(self.board)


def _view(figure: LiveFigure) -> dict[str, Any]:
    """Return the bundle by which a page shows the figure."""
    return figure._repr_mimebundle_()


def _requested(events: Sequence[EpochEnd], run: Run, goal: Goal) -> list[EpochEnd]:
    """Return the events up to the goal; the run may be trained further already."""
    end = run.config.training.warm_up if goal == "warm_up" else len(events)
    return list(events[:end])


def explore(run: Run, data: Dataset, live: bool | None = None) -> w.VBox | None:
    """Return the board of a trained run if someone watches, else None.  live: see `attended`"""
    return _shown_again(board.replay(run, data)) if attended(live) else None


def side_by_side(
    run: Run, data: Dataset, compare: Sequence[Path | str] | Path | str | None, live: bool | None = None
) -> abreast.Abreast | None:
    """Return one board over this run and others on the same utterances, if someone watches and others are named.

    compare: folders of runs, which may still be trained   live: see `attended`
    raises RunError naming every folder that cannot stand beside this run
    """
    if not compare or not attended(live):
        return None
    runs = comparison.gather(run, compare, unfinished=True)
    in_training = {training.run.folder.resolve(): training.state for training in _latest}
    states = {
        name: in_training[one.folder.resolve()] for name, one in runs.items() if one.folder.resolve() in in_training
    }
    return abreast.board(runs, data, states)


def _shown_again(latest: board.Board) -> board.Board:
    """Return a board after it has taken over the view of the earlier one of its run, if there is one."""
    folder = latest.state.opened.run.folder
    if folder in _boards:
        latest.take_over(_boards[folder])
    _boards.clear()  # of one run: a board holds a corpus
    _boards[folder] = latest
    return latest
