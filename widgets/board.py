"""The board: the linked panels of one run on one screen."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import ipywidgets as w
import traitlets as t

from ipr_core.data.dataset import Dataset
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began, Runner
from ipr_widgets import control, explorer, microphone, pseudo, similarity, umap
from ipr_widgets.listing import least_certain
from ipr_widgets.page import Keys
from ipr_widgets.state import RunState

_MILLISECONDS = 700  # for which a played epoch is shown


class Board(w.VBox):
    """Control, plane, similarity, explorer and pseudo-labels of one run.

    `state` holds the selection, the utterance in view and the marked pair, which are the same in all panels. `panels`
    holds the panels by name.
    """

    def __init__(self, state: RunState, control: w.Widget | None = None):
        self.state = state
        state.follow(self._choose, ["run"])
        self._choose()  # before the player is made, which therefore stays silent
        panels = {name: _guarded(state, name, make) for name, make in _PANELS.items()}
        head = {} if control is None else {"control": control}
        self.panels = head | panels
        self._grid = w.Box([_in_grid(panels[name], area) for name, area in _AREAS.items()]).add_class("ipr-panels")
        state.follow(self._place, ["run"])
        self._place()
        speech = panels["microphone"]
        folds = [speech.fold] if isinstance(speech, microphone.Microphone) else []
        line = w.HBox([panels["epochs"], *folds], layout=w.Layout(width="100%"))
        super().__init__([*head.values(), line, speech, self._grid, Keys()])
        self.add_class("ipr-page").add_class("ipr-board")

    def _place(self) -> None:
        """Leave the similarity and its place out where the run's system has no prototypes."""
        with self.state.guard("board"):
            shows = self.state.shows_prototypes
            self.panels["similarity"].layout.display = None if shows else "none"
            (self._grid.remove_class if shows else self._grid.add_class)("ipr-no-prototypes")

    def take_over(self, earlier: Board) -> None:
        """Show what a reader looked at in an earlier board of the same run: its view, filters, colours, open tab."""
        view, state = earlier.state, self.state
        following = view.epoch >= len(view.events) - 1
        epoch = len(state.events) - 1 if following else min(view.epoch, len(state.events) - 1)
        state.change(epoch=epoch, focus=view.focus, selection=view.selection, pair=view.pair)
        for name, panel in self.panels.items():
            with state.guard(name):
                for control, old in zip(_controls(panel), _controls(earlier.panels[name]), strict=False):
                    _set_again(control, old)

    def make_ready(self) -> None:
        """Prepare the layout of the plane in the background."""
        plane = self.panels["UMAP"]
        if isinstance(plane, umap.UmapPanel):
            plane.source.make_ready()

    def _choose(self) -> None:
        """Look at the least certain utterance until a reader chooses one."""
        with self.state.lock, self.state.guard("board"):
            if self.state.run is not None and self.state.focus < 0:
                self.state.change(focus=least_certain(self.state))


def board(state: RunState, runner: Runner, run: Run, data: Dataset) -> Board:
    """Return the board of a run in training, with its buttons, progress and settings."""
    runs = run.folder.parent
    panel = _guarded(state, "control", lambda _: control.panel(state, runner, run.config, runs, (run, data)))
    return Board(state, panel)


def replay(run: Run, data: Dataset | None = None) -> Board:
    """Return the board that live training drew, from the run's record, without training.

    data: the run's own, if already read   raises RunError if an audio file has changed since
    """
    state = RunState()
    state.on_event(Began(run, data or run.dataset(progress=False)))
    return Board(state)


class EpochBar(w.HBox):
    """A slider and a play button over the epochs.

    It follows the newest epoch unless it was moved back.
    """

    def __init__(self, state: RunState):
        self.state = state
        size = w.Layout(flex="1 1 auto", width="auto", min_width="0")
        tip = "The epoch that every figure shows"
        self.slider = w.IntSlider(description="Epoch", min=0, max=0, layout=size, tooltip=tip)
        self.play = w.Play(min=0, max=0, interval=_MILLISECONDS, tooltip="Play the epochs")
        super().__init__([self.play, self.slider], layout=w.Layout(width="100%", min_width="0"))
        # Not linked in the page: each move of one would reach Python twice, and the figures wait for the second.
        self.slider.observe(self._move, "value")
        self.play.observe(self._move, "value")
        state.observe(self._follow, ["events", "epoch"])
        self._follow()

    def _move(self, change: dict) -> None:
        if self.state.events and change["new"] != self.state.epoch:
            self.state.change(epoch=change["new"])

    def _follow(self, _: object = None) -> None:
        last = max(len(self.state.events) - 1, 0)
        self.slider.disabled = self.play.disabled = last == 0
        self.slider.max = self.play.max = last
        self.slider.value = self.play.value = max(self.state.epoch, 0)


def _controls(panel: w.Widget) -> list[w.Widget]:
    """Return the controls of a panel that a reader sets, in an order that is the same for every board."""
    if isinstance(panel, explorer.Explorer):
        filters, player = panel.listing.filters, panel.player
        return [panel.listing.order, *filters.controls, filters.fold, player.speed, player.loop, player.autoplay]
    if isinstance(panel, umap.UmapPanel):
        return [panel.colour, panel.fold]
    return [panel.tabs] if isinstance(panel, pseudo.Panel) else []


def _set_again(control: w.Widget, old: w.Widget) -> None:
    """Give a control the value of another one of its kind, if it offers that value."""
    name = "selected_index" if isinstance(control, w.Tab) else "value"
    with contextlib.suppress(t.TraitError):
        setattr(control, name, getattr(old, name))


_AREAS = {"UMAP": "plane", "explorer": "explorer", "pseudo-labels": "pseudo", "similarity": "similarity"}
"""Panel → its area of the grid, in the order of the keyboard."""
_PANELS: dict[str, Callable[[RunState], w.Widget]] = {
    "UMAP": lambda state: umap.panel(state),
    "similarity": lambda state: similarity.Panel(state),
    "explorer": lambda state: explorer.panel(state),
    "pseudo-labels": lambda state: pseudo.Panel(state),
    "epochs": EpochBar,
    "microphone": microphone.Microphone,
}
"""Name → the panel of a state, for every run."""


def _guarded(state: RunState, name: str, make: Callable[[RunState], w.Widget]) -> w.Widget:
    """Make a panel; a panel that cannot be made is replaced by a sentence."""
    panel: w.Widget = w.HTML(
        f"The widget <b>{name}</b> failed; training is not touched. <code>board.state.faults</code> says why."
    )
    with state.guard(name):
        panel = make(state)
    return panel


def _in_grid(panel: w.Widget, area: str) -> w.Widget:
    """Put a panel into an area of the board's grid, which it may fill and never widens."""
    panel.layout.grid_area, panel.layout.width = area, "auto"
    panel.layout.min_width, panel.layout.overflow = "0", "hidden"
    return panel
