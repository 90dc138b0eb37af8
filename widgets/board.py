"""The board: control, plane, similarity, explorer and pseudo-labels of one run, linked, on one screen."""

from __future__ import annotations

from collections.abc import Callable

import ipywidgets as w

from ipr_core.data.dataset import Dataset
from ipr_core.method.systems import System
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began, Runner
from ipr_widgets import control, explorer, pseudo, similarity, umap
from ipr_widgets.page import Keys
from ipr_widgets.state import RunState

_MILLISECONDS = 700  # an epoch is shown for, when they are played
_NARROW = 950  # pixels


class Board(w.VBox):
    """The board. Whatever is selected, looked at or marked in one panel is so in all of them: `state` holds it."""

    def __init__(self, state: RunState, head: list[w.Widget]):
        self.state = state
        super().__init__([*head, *_below(state), Keys()])
        self.add_class("ipr-page")


def board(state: RunState, runner: Runner, run: Run, data: Dataset) -> Board:
    """The board of a run that is trained by a runner: with its buttons, its progress and its settings."""
    runs = run.folder.parent
    return Board(state, [_part(state, "control", lambda: control.panel(state, runner, run.config, runs, (run, data)))])


def replay(run: Run, data: Dataset | None = None) -> Board:
    """The same board from a run's record, without training: what live training drew.

    data: the run's own, where they are at hand   raises RunError where an audio file has changed since
    """
    state = RunState()
    state.on_event(Began(run, data or run.dataset(progress=False)))
    return Board(state, [])


def epochs(state: RunState) -> w.HBox:
    """A slider and a play button over the epochs that are trained; it follows the newest unless it was moved back."""
    size = w.Layout(flex="1 1 auto", width="auto", min_width="0")
    slider = w.IntSlider(description="Epoch", min=0, max=0, layout=size, tooltip="The epoch that every figure shows")
    play = w.Play(min=0, max=0, interval=_MILLISECONDS, tooltip="Play the epochs")

    # Not linked in the page: each move of one would reach Python twice, and the figures wait for the second.
    def move(change: dict) -> None:
        if state.events and change["new"] != state.epoch:
            state.change(epoch=change["new"])

    def follow(_: object = None) -> None:
        last = max(len(state.events) - 1, 0)
        slider.disabled = play.disabled = last == 0
        slider.max = play.max = last
        slider.value = play.value = max(state.epoch, 0)

    slider.observe(move, "value")
    play.observe(move, "value")
    state.observe(follow, ["events", "epoch"])
    follow()
    return w.HBox([play, slider], layout=w.Layout(width="100%"))


def _below(state: RunState) -> list[w.Widget]:
    above = [
        _part(state, "UMAP", lambda: umap.panel(state)),
        _part(state, "similarity", lambda: similarity.panel(state)),
    ]
    under = [
        _part(state, "explorer", lambda: explorer.panel(state)),
        _part(state, "pseudo-labels", lambda: pseudo.panel(state)),
    ]
    _only_where(state, above[1], lambda system: system.shows_prototypes)
    return [_part(state, "epochs", lambda: epochs(state)), _row(above, (2, 3)), _row(under, (3, 2))]


def _only_where(state: RunState, part: w.Widget, has: Callable[[System], bool]) -> None:
    """Leave a panel out while the run's system has not what it shows."""

    def follow() -> None:
        with state.guard("board"):
            part.layout.display = "none" if state.system is not None and not has(state.system) else None

    state.follow(follow, ["run"])
    follow()


def _part(state: RunState, name: str, make: Callable[[], w.Widget]) -> w.Widget:
    """A panel; one that cannot be made says so in its place."""
    made: w.Widget = w.HTML(
        f"The widget <b>{name}</b> failed; training is not touched. <code>board.state.faults</code> says why."
    )
    with state.guard(name):
        made = make()
    return made


def _row(parts: list[w.Widget], shares: tuple[int, ...]) -> w.HBox:
    """Beside each other by their shares, below each other where the page is narrower than `_NARROW`."""
    for part, share in zip(parts, shares, strict=True):
        part.layout.flex, part.layout.width = f"{share} 1 {share * _NARROW // sum(shares)}px", "auto"
        part.layout.min_width, part.layout.overflow = "0", "hidden"
    return w.HBox(parts, layout=w.Layout(width="100%", align_items="stretch", flex_flow="row wrap"))
