"""Prototype similarity: linked cosine matrix of one epoch and trends over the epochs (Figure 2)."""

from __future__ import annotations

from itertools import combinations

import plotly.graph_objects as go
from ipywidgets import HTML, Dropdown, GridBox, Layout, VBox

from ipr_core.texts import in_figure, plain
from ipr_widgets import curves, live, look, matrices
from ipr_widgets.live import LiveFigure, Touch
from ipr_widgets.state import RunState

_NAME = "prototype similarity"
_HEIGHT = 272
_MOST_IN_LEGEND = 10
_ALL_PAIRS = "all pairs", ()
_PROTOTYPES = look.term("prototypes", "One embedding an emotion: the mean of its precise utterances, then refined.")
_COSINE = look.term(
    "cosine", "Of the angle between two prototypes: 1 the same direction, 0 a right angle, −1 opposite."
)
_ABOUT = f"How alike the {_PROTOTYPES} are: their {_COSINE} at one epoch, and over the epochs (Figure 2)."


class Panel(VBox):
    """Matrix and trends side by side, about 320 px high.

    A pair that the pointer touches in one is marked in both.
    """

    def __init__(self, state: RunState):
        self.matrix = live.panel(state, f"{_NAME}, matrix", _matrix, ["run", "epoch", "pair"], turn=_page)
        self.trends = live.panel(state, f"{_NAME}, trends", _trends, ["run", "events", "pair"], marked=True)
        for figure in (self.matrix, self.trends):
            _mark_touched_pair(state, figure)
        self.pair_choice, self.about = _pair_choice(state), HTML(_ABOUT).add_class("ipr-caption")
        columns = Layout(grid_template_columns="minmax(0, 2fr) minmax(0, 3fr)", width="100%")
        super().__init__([self.pair_choice, self.about, GridBox([self.matrix, self.trends], layout=columns)])


def touched_pair(touch: Touch, classes: tuple[str, ...]) -> tuple[int, ...]:
    """Return the pair of classes that a touch names; () for the diagonal, or for leaving."""
    if touch.kind == "leave" or not touch.points:
        return ()
    point = touch.points[0]
    names = [in_figure(name) for name in classes]
    pair = point["meta"] or sorted(names.index(point[axis]) for axis in "xy")
    return tuple(pair) if pair[0] != pair[1] else ()


def _pair_choice(state: RunState) -> Dropdown:
    """Make the list of pairs, by which the keyboard marks one."""
    choice = Dropdown(options=[_ALL_PAIRS], tooltip="Two prototypes to be marked in both figures")
    choice.layout = Layout(width="13rem")

    def update() -> None:
        names = state.classes
        pairs = [(f"{plain(names[i])} and {plain(names[j])}", (i, j)) for i, j in combinations(range(len(names)), 2)]
        if tuple(choice.options) != (_ALL_PAIRS, *pairs):
            choice.options = [_ALL_PAIRS, *pairs]
        choice.value = state.pair

    def follow() -> None:
        with state.guard(_NAME):
            update()

    def on_choice(change: dict[str, tuple[int, ...]]) -> None:
        with state.guard(_NAME):
            state.change(pair=change["new"])

    update()
    state.follow(follow, ["data", "pair"])
    choice.observe(on_choice, "value")
    return choice


def _mark_touched_pair(state: RunState, figure: LiveFigure) -> None:
    def on_touch(touch: Touch) -> None:
        with state.guard(_NAME):
            if touch.kind in ("hover", "click", "leave"):
                state.change(pair=touched_pair(touch, state.classes))

    figure.on_touch(on_touch)


def _matrix(state: RunState) -> go.Figure:
    fig = matrices.cosines(state.past[-1:], state.classes, state.pair)
    fig.update_traces(showscale=False)  # every cell says its value
    fig.layout.xaxis.fixedrange = fig.layout.yaxis.fixedrange = True
    return look.compact(fig, _HEIGHT)


def _page(state: RunState) -> tuple[list[go.Heatmap], str] | None:
    if state.past[-1].cosines is None:
        return None
    cells, title = matrices.cosine_page(state.past[-1], state.classes)
    return [cells.update(showscale=False)], title


def _trends(state: RunState) -> go.Figure:
    fig = curves.cosine_trends(state.events, state.classes, state.pair)
    fig.update_layout(showlegend=len(fig.data) <= _MOST_IN_LEGEND)
    return look.compact(fig, _HEIGHT)
