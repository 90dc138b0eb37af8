"""Live plotly figures in a notebook's page: redrawn in place, and reporting a reader's touches.

plotly's own FigureWidget sends its five megabytes of script with every figure and checks every change of a trace.
Here the script reaches a page once (`page.Script`), and a figure is sent whole, as the drawing functions made it.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
import plotly.io as pio
import traitlets as t

from ipr_widgets import curves
from ipr_widgets.page import Place
from ipr_widgets.parts import failed_figure
from ipr_widgets.state import RunState

_TYPES = ("i1", "u1", "i2", "u2", "i4", "u4", "f4", "f8")  # plotly's names of types of numbers


@dataclass(frozen=True)
class Touch:
    """An action of a reader on a figure."""

    kind: str
    """click, hover, leave (the pointer left a point), select (box or lasso), deselect"""
    points: list[dict[str, Any]]
    """Points, each with `trace` and `point` (their numbers), `x`, `y`, its `customdata` and the trace's `meta`."""


class LiveFigure(Place):
    """A figure in the page."""

    figure = t.Unicode(help="data, layout as plotly's JSON")
    height = t.Int(380, help="pixels")

    def __init__(self, figure: go.Figure | None = None):
        # A plot is as wide as its container; without min_width a row of them would not shrink.
        super().__init__("figure", self._on_touch, width="100%", min_width="0", overflow="hidden")
        self._watchers: list[Callable[[Touch], None]] = []
        self._content: dict[str, Any] = dict(data=[], layout={})
        self._epoch = -1
        if figure is not None:
            self.draw(figure)

    def draw(self, figure: go.Figure, epoch: int = -1) -> None:
        """Show this figure instead; zoom, and traces hidden by the legend, stay as they are.

        epoch: to `mark`, none if below 0
        """
        self.height = int(figure.layout.height or self.height)
        figure.update_layout(uirevision="same", autosize=True, width=None, height=self.height)
        self._content, self._epoch = _packed(figure.to_plotly_json()), epoch
        self._show()

    def turn(self, traces: Sequence[Any], title: str) -> None:
        """Show these traces under this title; the frame stays, which takes plotly longest to make.

        traces: plotly's, or their JSON
        """
        self._content["data"] = [
            _packed(trace if isinstance(trace, dict) else trace.to_plotly_json()) for trace in traces
        ]
        self._content["layout"]["title"]["text"] = title
        self._show()

    def mark(self, epoch: int) -> None:
        """Move the line to an epoch, without a new drawing.  epoch: no line if below 0"""
        if epoch != self._epoch:
            self._epoch = epoch
            self._show()

    @contextmanager
    def drawing(self, name: str, height: int = 380) -> Iterator[None]:
        """Show an error of the drawing in its place, and raise it.  name: of the widget"""
        try:
            yield
        except Exception as error:
            self.draw(failed_figure(name, error, height))
            raise

    def _show(self) -> None:
        layout, lines = self._content["layout"], curves.marks(self._content["data"], self._epoch)
        figure = self._content | dict(layout=layout | dict(shapes=[*layout.get("shapes", ()), *lines]))
        self.figure = self.sheet.value = pio.to_json(figure, validate=False)

    def on_touch(self, watcher: Callable[[Touch], None]) -> None:
        """Call `watcher` with every touch of the figure."""
        self._watchers.append(watcher)

    def _on_touch(self, content: dict[str, Any]) -> None:
        touch = Touch(content["kind"], content["points"])
        for watcher in self._watchers:
            watcher(touch)


def panel(
    state: RunState,
    name: str,
    draw: Callable[[RunState], go.Figure],
    traits: Sequence[str],
    marked: bool = False,
    patient: bool = False,
    turn: Callable[[RunState], tuple[Sequence[Any], str] | None] | None = None,
) -> LiveFigure:
    """Return a figure that is drawn now and whenever one of these traits changes.

    name: of the widget, for `state.faults`; an error is drawn in the figure's place, and nothing else stops
    marked: whether its x axis counts epochs, and a line follows the epoch in view
    patient: see `RunState.follow`
    turn: gives the arguments of `LiveFigure.turn` when only the epoch has changed, or None to draw the figure anew
    """
    figure = LiveFigure()
    frame: list[Any] | None = None

    def redraw() -> None:
        nonlocal frame
        with state.lock, state.guard(name), figure.drawing(name):
            latest = [getattr(state, trait) for trait in traits if trait != "epoch"] + [state.epoch < 0]
            unchanged = frame is not None and all(a is b for a, b in zip(latest, frame, strict=True))
            frame = None  # until it is drawn
            page = turn(state) if turn and unchanged else None
            if page:
                figure.turn(*page)
            else:
                figure.draw(draw(state), state.epoch if marked else -1)
            frame = latest

    state.follow(redraw, traits, patient)
    if marked:
        state.follow(lambda: figure.mark(state.epoch), ["epoch"], patient=True)
    redraw()
    return figure


def _packed(content: Any) -> Any:
    """Return plotly's JSON with its arrays of numbers as typed arrays, which are short and quick to read."""
    if isinstance(content, dict):
        return {name: _packed(part) for name, part in content.items()}
    if isinstance(content, np.ndarray) and content.size and content.dtype.str[1:] in _TYPES:
        return dict(dtype=content.dtype.str[1:], bdata=b64encode(content.tobytes()).decode()) | _shape(content)
    if isinstance(content, np.ndarray):
        return content.tolist()
    return content


def _shape(array: np.ndarray) -> dict[str, str]:
    return dict(shape=", ".join(map(str, array.shape))) if array.ndim > 1 else {}
