"""The parts that several panels share."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import ipywidgets as w
import plotly.graph_objects as go

from ipr_core.texts import SENTENCE, in_figure, in_html
from ipr_widgets import look
from ipr_widgets.state import RunState

THIN = dict(width="auto", min_width="0")
"""The layout of a widget that may shrink to the width that is left."""


def column(children: Sequence[w.Widget], **layout: str) -> w.VBox:
    """Return the widgets below one another, cut off where they do not fit."""
    return w.VBox(children, layout=column_layout(**layout))


def column_layout(**layout: str) -> w.Layout:
    """Return the layout of a `column`."""
    return w.Layout(min_width="0", min_height="0", overflow="hidden", **layout)


def error_text(error: Exception) -> str:
    """Return an error's message as HTML in the page's colour of errors."""
    return f'<span class="ipr-error">{in_html(error, SENTENCE)}</span>'


def failed_figure(name: str, error: Exception, height: int = 380) -> go.Figure:
    """Return the figure that stands in the place of one that failed.

    name: its title   height: pixels
    """
    return look.note(look.figure(name, height), f"This figure failed: {in_figure(str(error))}")


def follow(state: RunState, name: str, traits: Sequence[str], redraw: Callable[[], None]) -> None:
    """Call `redraw` now, and again after a change of these traits.

    name: of the widget, for `state.faults`
    """

    def guarded() -> None:
        with state.lock, state.guard(name):
            redraw()

    state.follow(guarded, traits, patient=True)
    guarded()
