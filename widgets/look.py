"""The look of every figure, on light and dark pages."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import plotly.io as pio
from IPython import get_ipython
from IPython.display import HTML, display
from plotly.subplots import make_subplots

from ipr_core.runs.events import EpochEnd
from ipr_core.texts import SENTENCE, in_html
from ipr_widgets import colours

pio.renderers.default = "plotly_mimetype"  # the figure's data alone: JupyterLab draws it, offline
pio.renderers["plotly_mimetype"].config = dict(toImageButtonOptions=dict(format="svg"))  # the camera saves shapes
pd.options.display.html.use_mathjax = False  # else two $ in the ids of a table make a formula

_SHARE = "sendChartToCloud"  # a button that would upload the figure to plotly's makers
_NOT_IN_MAPS = [_SHARE, "zoomin", "zoomout", "autoscale"]
NOT_IN_PANELS = [*_NOT_IN_MAPS, "zoom", "pan", "select", "lasso"]
"""Buttons that would cover a small figure's title; dragging zooms, a double click undoes it."""

NO_EPOCH = "No epoch has been trained yet"
NO_PROTOTYPES = "This system has no prototypes"

THEMED = """<style>
.jp-RenderedPlotly .infolayer text, .jp-RenderedPlotly [class*="axislayer"] text,
.jp-RenderedPlotly text[style*="fill: rgb(117, 117, 117)"] {
    fill: var(--jp-ui-font-color1) !important;
}
</style>"""
"""JupyterLab's own colour of text, light or dark, for what figures in a notebook's outputs write in `colours.INK`."""

_AXIS = dict(
    gridcolor=colours.GRID, zerolinecolor=colours.GRID, linecolor=colours.INK, tickcolor=colours.INK, ticks="outside",
    ticklen=4, automargin=True, title=dict(standoff=8),
)  # fmt: skip

TEMPLATE = go.layout.Template(
    layout=dict(
        paper_bgcolor="rgba(0, 0, 0, 0)",
        plot_bgcolor="rgba(0, 0, 0, 0)",
        font=dict(color=colours.INK, size=13),
        title=dict(x=0, xref="paper", font=dict(size=15)),
        margin=dict(l=60, r=20, t=50, b=50),
        xaxis=_AXIS,
        yaxis=_AXIS,
        legend=dict(bgcolor="rgba(0, 0, 0, 0)"),
        modebar=dict(bgcolor="rgba(0, 0, 0, 0)", color=colours.INK, activecolor=colours.INK, remove=_SHARE),
        annotationdefaults=dict(font=dict(color=colours.INK)),
        hovermode="closest",
    )
)


def figure(title: str, height: int = 380, **layout: object) -> go.Figure:
    """Return an empty figure with the template."""
    return go.Figure(layout=dict(template=TEMPLATE, title=title, height=height, **layout))


def panels(title: str, names: Sequence[str], height: int = 380, **grid: object) -> go.Figure:
    """Return an empty figure of several panels with the template.

    grid: further arguments of plotly's make_subplots; without any, the panels stand in a row and share one y axis
    """
    row: dict[str, Any] = dict(rows=1, cols=len(names), shared_yaxes=True, horizontal_spacing=0.05)
    fig = make_subplots(subplot_titles=list(names), **row | grid)
    return fig.update_layout(template=TEMPLATE, title=title, height=height, margin_t=80)


def over_epochs(fig: go.Figure, events: Sequence[EpochEnd]) -> go.Figure:
    """Let the x axes count epochs from 0, as Eq. 7 does, and shade the warm-up."""
    fig.update_xaxes(title="Epoch", tickformat="d", rangemode="nonnegative")
    if not events:
        return note(fig, NO_EPOCH)
    fig.update_xaxes(range=[events[0].epoch - 0.5, events[-1].epoch + 0.5])
    if len(events) < 8:  # else plotly writes whole numbers at halves
        fig.update_xaxes(dtick=1)
    warm_up = [event.epoch for event in events if event.phase == "warm_up"]
    if warm_up:
        fig.add_vrect(
            x0=warm_up[0] - 0.5, x1=warm_up[-1] + 0.5, fillcolor=colours.SHADE, line_width=0, layer="below",
            annotation=dict(text="warm-up", font_size=11), annotation_position="top left",
        )  # fmt: skip
    return fig


def compact(fig: go.Figure, height: int) -> go.Figure:
    """Fit a figure to a panel of the board, about 500 px wide."""
    legend = dict(orientation="h", x=0, xref="container", y=0, yref="container", yanchor="bottom", font_size=11)
    margin = dict(l=55, r=10, t=56 if "xaxis2" in fig.layout else 34, b=70 if _has_legend(fig) else 44)
    layout = fig.layout  # attribute by attribute: update_layout takes milliseconds, at every move of a slider
    layout.height, layout.width, layout.margin = height, None, margin
    layout.title.font.size, layout.font.size = 13, 11
    layout.legend.update(legend)
    layout.modebar.remove = _NOT_IN_MAPS if layout.dragmode == "select" else NOT_IN_PANELS
    return fig.update_xaxes(title_standoff=2).update_annotations(font_size=11)


def vector(fig: go.Figure) -> go.Figure:
    """Return a figure whose points are all drawn as shapes: WebGL's are pixels, coarse in print."""
    if not any(trace.type == "scattergl" for trace in fig.data):
        return fig
    description = fig.to_dict()
    for trace in description["data"]:
        trace["type"] = trace["type"].removesuffix("gl")
    return go.Figure(description)


def percent(shares: Sequence[float | None]) -> list[float | None]:
    """Return shares in per cent; None, a gap in the curve, stays None."""
    return [None if share is None else 100 * share for share in shares]


def term(word: str, meaning: str) -> str:
    """Return a technical word as HTML, explained when the pointer or the keyboard reaches it."""
    return f'<abbr title="{in_html(meaning, SENTENCE)}" tabindex="0">{in_html(word)}</abbr>'


def _has_legend(fig: go.Figure) -> bool:
    entries = [trace for trace in fig.data if trace.type != "heatmap" and trace.showlegend is not False]
    return fig.layout.showlegend is not False and len(entries) > 1


def note(fig: go.Figure, text: str) -> go.Figure:
    """Write why there is nothing to draw in the middle, and hide the axes."""
    fig.update_xaxes(visible=False).update_yaxes(visible=False)
    return fig.add_annotation(text=text, x=0.5, y=0.5, xref="paper", yref="paper", showarrow=False, font_size=14)


def _theme() -> None:
    """Put THEMED on the page of the notebook that imports this; an output that shows nothing."""
    if getattr(get_ipython(), "kernel", None):
        display(HTML(THEMED))


_theme()
