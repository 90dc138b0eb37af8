"""Utterances and prototypes on one plane, by UMAP.  M utterances of the sample, C classes, D embedding."""

from __future__ import annotations

import warnings
from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame
from scipy.linalg import orthogonal_procrustes

from ipr_core.events import EpochEnd
from widgets import colours, look
from widgets.votes import PARTS

Points = NDArray[np.floating]

NEIGHBOURS = 15
"""Neighbours whose closeness the plane keeps; UMAP's own default."""
_NEARLY_RIGHT = dict(n_epochs=100, learning_rate=0.1)
"""UMAP's own optimisation from a plane that is nearly right already; from nothing it takes 500 epochs at rate 1."""
SYMBOLS = {"D1": "circle", "D2": "cross-thin-open", "D3": "diamond-open"}


def umap_plane(events: Sequence[EpochEnd], seed: int = 0) -> list[tuple[Points, Points]]:
    """The sample's embeddings and the prototypes of several epochs on one plane.

    Each epoch has a UMAP of its own that starts from the plane before it and is laid onto it: what stays among its
    neighbours stays in its place. On a demo run this was as faithful as independent planes (trustworthiness 0.99;
    one reducer for all epochs had 0.97 in those it was not fitted on) and moved points as little as AlignedUMAP,
    in a tenth of its time. Cosine distance, as utterances meet prototypes.

    events: with arrays   seed: the same one gives the same planes
    returns: for each event, utterances (M, 2) and prototypes (C, 2); empty if the sample has no NEIGHBOURS
    """
    if not events or len(events[0].arrays["map"]) <= NEIGHBOURS:
        return []
    planes: list[Points] = []
    for event in events:
        vectors = np.concatenate([event.arrays["map"], event.arrays["prototypes"]])
        if planes:
            points = _umap(seed, init=planes[-1], **_NEARLY_RIGHT).fit_transform(vectors)
            planes.append(_onto(points, planes[-1]))
        else:
            planes.append(_umap(seed).fit_transform(vectors))
    size = len(events[0].arrays["map"])
    return [(points[:size], points[size:]) for points in planes]


def panels(
    planes: Sequence[tuple[Points, Points]], utterances: DataFrame, classes: Sequence[str], names: Sequence[str]
) -> go.Figure:
    """Planes side by side: utterances by truth (colour) and part (symbol), prototypes as stars. Drawn with WebGL.

    planes: of `umap_plane`   utterances: the sample's M rows of the utterance table   names: a panel's title each
    Every point's `customdata` is its utterance's id.
    """
    if not planes:
        return look.note(look.figure("Utterances and prototypes"), f"UMAP needs more than {NEIGHBOURS} utterances")
    fig = look.panels("Utterances and prototypes on one UMAP plane", names, 520, shared_xaxes="all", shared_yaxes="all")
    for column, (points, prototypes) in enumerate(planes, start=1):
        for c, name in enumerate(classes):
            mine = (utterances["label"] == name).to_numpy()
            fig.add_trace(_utterances(points[mine], utterances[mine], name), 1, column)
            fig.add_trace(_star(prototypes[c], name), 1, column)
    keys = [_key(name, colours.of(name), "circle", group=name) for name in classes]
    keys += [_key(PARTS[part], colours.INK, symbol, group="parts") for part, symbol in SYMBOLS.items()]
    fig.add_traces([*keys, _key("prototype", colours.INK, "star", group="parts")], 1, 1)
    fig.update_xaxes(title="UMAP, first axis (no unit)", showticklabels=False)
    fig.update_yaxes(title="UMAP, second axis (no unit)", showticklabels=False, col=1)
    return fig


def _umap(seed: int, **start: object):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ImportWarning)  # umap announces that its parametric form lacks TensorFlow
        import umap  # here, because it takes seconds
    # A seed makes UMAP single-threaded; saying so spares its warning.
    return umap.UMAP(n_neighbors=NEIGHBOURS, metric="cosine", random_state=seed, n_jobs=1, **start)


def _onto(points: Points, before: Points) -> Points:
    """Shift, turn and scale a plane so that it lies on the one before: UMAP scales what it starts from.  both (N, 2)"""
    centre = points.mean(axis=0)
    turn, stretch = orthogonal_procrustes(points - centre, before - before.mean(axis=0))
    return (points - centre) @ turn * (stretch / ((points - centre) ** 2).sum()) + before.mean(axis=0)


def _utterances(points: Points, rows: DataFrame, name: str) -> go.Scattergl:
    return go.Scattergl(
        x=points[:, 0].astype(np.float32),
        y=points[:, 1].astype(np.float32),
        mode="markers",
        name=name,
        legendgroup=name,
        showlegend=False,
        marker=dict(color=colours.of(name), size=6, opacity=0.75, symbol=[SYMBOLS[part] for part in rows["part"]],
                    line=dict(width=1, color=colours.of(name))),
        customdata=rows["id"].tolist(),
        text=rows["part"].tolist(),
        hovertemplate=f"%{{customdata}}, %{{text}}<extra>{name}</extra>",
    )  # fmt: skip


def _star(point: Points, name: str) -> go.Scattergl:
    return go.Scattergl(
        x=point[:1].astype(np.float32),
        y=point[1:].astype(np.float32),
        mode="markers",
        name=f"prototype of {name}",
        legendgroup=name,
        showlegend=False,
        marker=dict(color=colours.of(name), size=20, symbol="star", line=dict(width=2, color=colours.INK)),
        hovertemplate=f"prototype<extra>{name}</extra>",
    )


def _key(name: str, colour: str, symbol: str, group: str) -> go.Scattergl:
    """An entry of the legend without a point of its own; emotions are shown and hidden by theirs."""
    marker = dict(color=colour, symbol=symbol, size=9)
    return go.Scattergl(x=[None], y=[None], mode="markers", name=name, marker=marker, legendgroup=group)
