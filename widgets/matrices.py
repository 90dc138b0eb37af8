"""Figures of class-by-class matrices.  C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import ArrayLike

from ipr_core.events import EpochEnd
from widgets import look


def cosines(events: Sequence[EpochEnd], classes: Sequence[str]) -> go.Figure:
    """Cosine between every two prototypes after the last of these epochs (Figure 2)."""
    if not events:
        return look.note(_square("Cosine between prototypes"), look.NO_EPOCH)
    fig = _square(f"Cosine between prototypes, epoch {events[-1].epoch}")
    z = np.asarray(events[-1].cosines, float)
    fig.add_trace(
        go.Heatmap(
            z=z, x=list(classes), y=list(classes), zmin=-1, zmax=1, colorscale="PuOr",
            texttemplate="%{z:.2f}", colorbar=dict(title="Cosine"), xgap=2, ygap=2,
            hovertemplate="%{y} and %{x}: %{z:.3f}<extra></extra>",
        )
    )  # fmt: skip
    return fig.update_layout(xaxis_title="Prototype", yaxis_title="Prototype")


def confusion(counts: ArrayLike, classes: Sequence[str], title: str = "Confusion on D3") -> go.Figure:
    """Truth by row, prediction by column: in every cell the count and its share of the row.

    counts: (C, C); a class that does not occur has a row of zeros
    """
    counts = np.asarray(counts)
    total = counts.sum(axis=1, keepdims=True)
    share = 100 * counts / np.maximum(total, 1)
    text = [[f"{n}<br>{p:.0f} %" for n, p in zip(*row, strict=True)] for row in zip(counts, share, strict=True)]
    fig = _square(title)
    fig.add_trace(
        go.Heatmap(
            z=share, x=list(classes), y=list(classes), zmin=0, zmax=100, colorscale="Blues", text=text,
            texttemplate="%{text}", colorbar=dict(title="Share of<br>the row, %"), xgap=2, ygap=2, customdata=counts,
            hovertemplate="truth %{y}, predicted %{x}: %{customdata} utterances, %{z:.1f} %<extra></extra>",
        )
    )  # fmt: skip
    return fig.update_layout(xaxis_title="Predicted", yaxis_title="True")


def _square(title: str) -> go.Figure:
    """First class at the top left, as a matrix is written."""
    fig = look.figure(title, 420, width=580)
    fig.update_xaxes(showgrid=False, constrain="domain")
    return fig.update_yaxes(autorange="reversed", scaleanchor="x", showgrid=False)
