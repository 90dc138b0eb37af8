"""Figures of class-by-class matrices.  C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from ipr_core.runs.events import EpochEnd
from ipr_core.texts import in_figure
from ipr_widgets import colours, look


def cosines(events: Sequence[EpochEnd], classes: Sequence[str], pair: Sequence[int] | None = None) -> go.Figure:
    """Draw the cosine between every two prototypes after the last of these epochs (Figure 2).

    pair: class numbers i < j whose two cells are outlined, none or empty for none
    """
    if not events:
        return look.note(_square("Cosine between prototypes"), look.NO_EPOCH)
    if events[-1].cosines is None:
        return look.note(_square("Cosine between prototypes"), look.NO_PROTOTYPES)
    cells, title = cosine_page(events[-1], classes)
    fig = _square(title).add_trace(cells)
    for x, y in (pair, pair[::-1]) if pair else ():
        edges = dict(x0=x - 0.5, x1=x + 0.5, y0=y - 0.5, y1=y + 0.5)
        fig.add_shape(type="rect", **edges, line=dict(color=colours.INK, width=4))
    return _titled(fig, "Prototype", "Prototype")


def cosine_page(event: EpochEnd, classes: Sequence[str]) -> tuple[go.Heatmap, str]:
    """Return the parts of `cosines` that differ from epoch to epoch: the cells and the title."""
    return cosine_cells(event.cosines or [], classes), f"Cosines of prototypes, epoch {event.epoch}"


def confusion(counts: ArrayLike, classes: Sequence[str], title: str = "Confusion on D3") -> go.Figure:
    """Draw a confusion matrix: in every cell the count and its share of the row.

    counts: (C, C), truth by row, prediction by column; a class that does not occur has a row of zeros
    """
    fig = _square(title)
    fig.add_trace(confusion_cells(counts, classes))
    return _titled(fig, "Predicted", "True")


def views(counts: ArrayLike, classes: Sequence[str], title: str) -> go.Figure:
    """Draw how often the classifier names the classes of two views, the gate of Eq. 4 open on the diagonal.

    counts: (C, C), the class of k by row, of k^aug by column
    """
    fig = _square(title)
    hover = "k: %{y}, k^aug: %{x}: %{customdata} utterances, %{z:.1f} % of the row<extra></extra>"
    fig.add_trace(confusion_cells(counts, classes).update(hovertemplate=hover))
    return _titled(fig, "Second view, k^aug", "First view, k")


def cosine_cells(cosines: ArrayLike, classes: Sequence[str]) -> go.Heatmap:
    """Return a matrix of cosines as a trace, its values in the cells.  cosines: (C, C)"""
    names = [in_figure(name) for name in classes]
    return go.Heatmap(
        z=np.asarray(cosines, float), x=names, y=names, zmin=-1, zmax=1, colorscale=colours.COSINES,
        texttemplate="%{z:.2f}", textfont_color=colours.ON_COLOUR, colorbar=dict(title="Cosine"), xgap=2, ygap=2,
        hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
    )  # fmt: skip


def confusion_cells(counts: ArrayLike, classes: Sequence[str]) -> go.Heatmap:
    """Return a confusion matrix as a trace, with shares of the row.  counts: (C, C)"""
    counts = np.asarray(counts)
    total = counts.sum(axis=1, keepdims=True)
    share = 100 * counts / np.maximum(total, 1)
    text = [[f"{n}<br>{p:.0f} %" for n, p in zip(*row, strict=True)] for row in zip(counts, share, strict=True)]
    names = [in_figure(name) for name in classes]
    return go.Heatmap(
        z=share, x=names, y=names, zmin=0, zmax=100, colorscale=colours.SHARES, text=text,
        texttemplate="%{text}", textfont_color=colours.ON_COLOUR, colorbar=dict(title="Share of<br>the row, %"),
        xgap=2, ygap=2, customdata=counts,
        hovertemplate="truth %{y}, predicted %{x}: %{customdata} utterances, %{z:.1f} %<extra></extra>",
    )  # fmt: skip


def _square(title: str) -> go.Figure:
    """Return an empty figure for a matrix, the first class at the top left."""
    xaxis = dict(showgrid=False, constrain="domain")
    yaxis = dict(autorange="reversed", scaleanchor="x", showgrid=False)
    return look.figure(title, 420, width=580, xaxis=xaxis, yaxis=yaxis)


def _titled(fig: go.Figure, x: str, y: str) -> go.Figure:
    fig.layout.xaxis.title.text, fig.layout.yaxis.title.text = x, y
    return fig
