"""A plotly figure that lives in a notebook's page: it is redrawn in place, and tells what a reader does to it.

plotly's own FigureWidget sends its five megabytes of script with every figure and checks every change of a trace;
here the script reaches a page once, and a figure is sent whole, as the drawing functions made it.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import anywidget
import plotly.graph_objects as go
import plotly.io as pio
import traitlets as t
from ipywidgets import Layout, Text, widget_serialization

from ipr_widgets import curves, look
from ipr_widgets.state import RunState

_SCRIPT = Path(__file__).with_name("live.js")


@dataclass(frozen=True)
class Touch:
    """What a reader did to a figure."""

    kind: str
    """click, hover, leave (the pointer left a point), select (box or lasso), deselect"""
    points: list[dict[str, Any]]
    """Each with `trace` and `point` (their numbers), `x`, `y`, and the trace's `meta` and the point's `customdata`."""


class Library(anywidget.AnyWidget):
    """plotly.js of the installed plotly, for every figure of a page."""

    _esm = _SCRIPT
    source = t.Bytes().tag(sync=True)


class LiveFigure(anywidget.AnyWidget):
    """A figure in the page."""

    _esm = _SCRIPT
    sheet = t.Instance(Text, help="what is drawn on, for the page").tag(sync=True, **widget_serialization)
    figure = t.Unicode(help="data, layout as plotly's JSON")
    height = t.Int(380, help="pixels")

    def __init__(self, figure: go.Figure | None = None):
        _library()
        # A widget of its own: anywidget's hear nothing any more in a page that was too busy for two seconds when
        # they were made.
        self.sheet = Text()
        # A plot is as wide as its place; without min_width a row of them would not shrink.
        super().__init__(layout=Layout(width="100%", min_width="0", overflow="hidden"))
        self._hears: list[Callable[[Touch], None]] = []
        self._drawn, self._marked = dict(data=[], layout={}), -1
        self.on_msg(self._on_touch)
        if figure is not None:
            self.draw(figure)

    def draw(self, figure: go.Figure, at: int = -1) -> None:
        """Show this figure instead; zoom, and traces hidden by the legend, stay as they are.

        at: an epoch to `mark`, none if below 0
        """
        self.height = int(figure.layout.height or self.height)
        figure.update_layout(uirevision="same", autosize=True, width=None, height=self.height)
        self._drawn, self._marked = figure.to_dict(), at
        self._show()

    def turn(self, traces: Sequence[Any], title: str) -> None:
        """Show these under this title, as on another page: the frame stays, which takes plotly longest to make.

        traces: plotly's, or their JSON
        """
        self._drawn["data"] = go.Figure(traces, _validate=False).to_dict()["data"]
        self._drawn["layout"]["title"]["text"] = title
        self._show()

    def mark(self, at: int) -> None:
        """Move the line at the epoch that is looked at, and draw nothing else anew.  at: none if below 0"""
        if at != self._marked:
            self._marked = at
            self._show()

    def _show(self) -> None:
        layout, lines = self._drawn["layout"], curves.marks(self._drawn["data"], self._marked)
        shown = self._drawn | dict(layout=layout | dict(shapes=[*layout.get("shapes", ()), *lines]))
        self.figure = self.sheet.value = pio.to_json(shown, validate=False)

    def on_touch(self, hear: Callable[[Touch], None]) -> None:
        """Call this with whatever a reader does to the figure."""
        self._hears.append(hear)

    def close(self) -> None:
        self.sheet.close()
        super().close()

    def _on_touch(self, _: object, content: dict[str, Any], buffers: object) -> None:
        touch = Touch(content["kind"], content["points"])
        for hear in self._hears:
            hear(touch)


def panel(
    state: RunState,
    name: str,
    draw: Callable[[RunState], go.Figure],
    on: Sequence[str],
    marked: bool = False,
    patient: bool = False,
    turn: Callable[[RunState], tuple[Sequence[Any], str] | None] | None = None,
) -> LiveFigure:
    """A figure that follows the state: drawn now, and again when one of the traits `on` changes.

    name: of the widget, for `state.faults`; a drawing that fails says so in its place, and nothing else stops
    marked: whether its x axis counts epochs, and a line is to follow the one that is looked at
    patient: see `RunState.follow`
    turn: what `LiveFigure.turn` takes, for where nothing but the epoch has changed; None where it has to be drawn
    """
    figure, framed = LiveFigure(), None

    def redraw() -> None:
        nonlocal framed
        with state.lock, state.guard(name):
            frame = [getattr(state, trait) for trait in on if trait != "epoch"] + [state.epoch < 0]
            same = framed is not None and all(a is b for a, b in zip(frame, framed, strict=True))
            try:
                framed = None  # until it is drawn
                page = turn(state) if turn and same else None
                if page:
                    figure.turn(*page)
                else:
                    figure.draw(draw(state), state.epoch if marked else -1)
                framed = frame
            except Exception as error:
                figure.draw(look.note(look.figure(name), f"This figure failed: {error}"))
                raise

    state.follow(redraw, on, patient)
    if marked:
        state.follow(lambda: figure.mark(state.epoch), ["epoch"], patient=True)
    redraw()
    return figure


@cache
def _library() -> Library:
    """One a kernel; a page has it before any figure that is made later."""
    package = importlib.util.find_spec("plotly")
    source = Path(package.origin).with_name("package_data") / "plotly.min.js"  # type: ignore[union-attr,arg-type]
    return Library(source=source.read_bytes())
