"""Prototype similarity: the cosine matrix of one epoch, and every pair's trend over the epochs (Figure 2), linked."""

from __future__ import annotations

from itertools import combinations

import plotly.graph_objects as go
from ipywidgets import HTML, Box, Dropdown, GridBox, HBox, Layout, VBox

from ipr_widgets import curves, live, look, matrices
from ipr_widgets.live import LiveFigure, Touch
from ipr_widgets.state import RunState

_NAME = "prototype similarity"
_HEIGHT = 310
_MOST_IN_LEGEND = 10
_EVERY = "all pairs", ()
_PROTOTYPES = look.term("prototypes", "One embedding an emotion: the mean of its precise utterances, then refined.")
_COSINE = look.term(
    "cosine", "Of the angle between two prototypes: 1 the same direction, 0 a right angle, −1 opposite."
)
_ABOUT = f"How alike the {_PROTOTYPES} are: their {_COSINE} at one epoch, and over the epochs (Figure 2)."


def panel(state: RunState) -> Box:
    """Matrix and trends side by side, about 350 px high. A pair that is pointed at in one is marked in both."""
    matrix = live.panel(state, f"{_NAME}, matrix", _matrix, ["run", "epoch", "pair"], turn=_page)
    trends = live.panel(state, f"{_NAME}, trends", _trends, ["run", "events", "pair"], marked=True)
    _hear(state, matrix)
    _hear(state, trends)
    head = HBox([pairs(state), HTML(_ABOUT)], layout=Layout(align_items="center", flex_flow="row wrap", width="100%"))
    columns = "minmax(0, 2fr) minmax(0, 3fr)"
    return VBox([head, GridBox([matrix, trends], layout=Layout(grid_template_columns=columns, width="100%"))])


def pairs(state: RunState) -> Dropdown:
    """The pair that is marked, chosen by keyboard as well."""
    choice = Dropdown(options=[_EVERY], tooltip="Two prototypes to be marked in both figures")
    choice.layout = Layout(width="13rem")

    def offer() -> None:
        names = state.classes
        both = [(f"{names[i]} and {names[j]}", (i, j)) for i, j in combinations(range(len(names)), 2)]
        if tuple(choice.options) != (_EVERY, *both):
            choice.options = [_EVERY, *both]
        choice.value = state.pair

    def follow() -> None:
        with state.guard(_NAME):
            offer()

    def chosen(change: dict[str, tuple[int, ...]]) -> None:
        with state.guard(_NAME):
            state.change(pair=change["new"])

    offer()
    state.follow(follow, ["data", "pair"])
    choice.observe(chosen, "value")
    return choice


def pointed(touch: Touch, classes: tuple[str, ...]) -> tuple[int, ...]:
    """The pair of classes that a touch of the matrix or of a trend names; () for the diagonal, or for leaving."""
    if touch.kind == "leave" or not touch.points:
        return ()
    point = touch.points[0]
    two = point["meta"] or sorted(classes.index(point[axis]) for axis in "xy")
    return tuple(two) if two[0] != two[1] else ()


def _hear(state: RunState, figure: LiveFigure) -> None:
    def hear(touch: Touch) -> None:
        with state.guard(_NAME):
            if touch.kind in ("hover", "click", "leave"):
                state.change(pair=pointed(touch, state.classes))

    figure.on_touch(hear)


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
