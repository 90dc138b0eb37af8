"""Figures of utterances and prototypes on the plane of `layout`.

M utterances of the sample, C classes.
The figure of a page (`panels`) and the live one (`epoch`) have the same traces, all of them WebGL.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import compress
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.texts import in_figure
from ipr_widgets import colours, look
from ipr_widgets.layout import FEWEST, Plane
from ipr_widgets.votes import TIED, present

TITLE = "Utterances and prototypes on one UMAP plane"
TOO_FEW = f"UMAP needs at least {FEWEST} utterances; the setting `map_size` says how many it gets"
SYMBOLS = {
    "D1": "circle", "D2": "cross-thin-open", "D3": "diamond-open", "V1": "square-open", "V2": "triangle-up-open",
}  # fmt: skip
_AGREEMENT = {True: ("same class", colours.SAME), False: ("different classes", colours.DIFFERENT)}
_ENTROPY = [[0, "#4A6FB5"], [0.5, "#21918C"], [1, "#8FBF2F"]]
"""The middle of Viridis: its lightness grows steadily, and both ends show on a dark and on a light page."""
_SIZE = 7  # pixels of a point
_UNSELECTED = 0.12  # opacity while others are selected
_STAYS = dict(marker=dict(opacity=1))  # with any selection

Rows = NDArray[np.bool_]
Trace = dict[str, Any]  # as plotly's JSON
Extent = tuple[float, float, float, float]
Groups = Callable[[DataFrame, Sequence[str]], Iterator[tuple[str, Rows, object]]]


@dataclass(frozen=True)
class View:
    """What a reader looks at on the plane."""

    selection: Sequence[int] = ()
    """Rows of the utterance table that stand out; none: all are alike."""
    focus: int = -1
    """The utterance in view; rows that are not on the plane are not marked."""
    trail: NDArray[np.floating] = field(default_factory=lambda: np.empty((0, 2)))
    """(E, 2) where the utterance in view was in each epoch so far."""
    size: int = _SIZE
    """Of a point, in pixels."""
    recordings: NDArray[np.floating] = field(default_factory=lambda: np.empty((0, 2)))
    """(S, 2) where recordings of a microphone are."""
    emotions: Sequence[str] = ()
    """S names, their single labels."""


@dataclass(frozen=True)
class Colouring:
    """A way to colour the points."""

    meaning: str
    """A sentence above the plane, about 50 letters, so that two lines hold it."""
    groups: Groups
    """The utterances' table and the classes → an entry of the legend each: name, (M,) its utterances, their colour."""
    of_prototypes: bool = False
    """Whether only a system with prototypes has this colouring."""
    scale: bool = False
    """Whether the colour is a number, in bits, and a colour bar explains it."""


def table(
    utterances: DataFrame,
    soft_model: NDArray,
    soft_prototypes: NDArray | None,
    classes: Sequence[str],
    by_prototypes: bool,
) -> DataFrame:
    """Return the utterances with the columns of an epoch that colours and words need.

    soft_model, soft_prototypes: (M, C) shares by the classifier and by the prototypes, None where a system has none
    by_prototypes: whether the system labels with its prototypes
    returns: with columns classifier and single_label (names), entropy (bits), prototypes (names) and agree (bool)
    """
    names = np.asarray(classes)
    model = names[np.asarray(soft_model).argmax(axis=1)]
    if soft_prototypes is None:
        return utterances.assign(classifier=model, single_label=model, entropy=metrics.entropy(soft_model))
    prototypes = names[np.asarray(soft_prototypes).argmax(axis=1)]
    return utterances.assign(
        classifier=model,
        prototypes=prototypes,
        single_label=prototypes if by_prototypes else model,
        agree=model == prototypes,
        entropy=metrics.entropy(soft_prototypes if by_prototypes else soft_model),
    )


def _by_class(column: str) -> Groups:
    def groups(rows: DataFrame, classes: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
        for name in classes:
            yield name, (rows[column] == name).to_numpy(), colours.colour(name)
        if (unlabelled := (rows[column] == "").to_numpy()).any():
            yield TIED, unlabelled, colours.INK

    return groups


def _by_entropy(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    yield "entropy", np.full(len(rows), True), rows["entropy"].to_numpy(np.float32)


def _by_agreement(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    for agree, (name, colour) in _AGREEMENT.items():
        yield name, (rows["agree"] == agree).to_numpy(), colour


def _by_part(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    for part, name in present(rows["part"]).items():
        yield name, (rows["part"] == part).to_numpy(), colours.PARTS[part]


def _by_speaker(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    """Yield one trace for all speakers; a point under the pointer names its own."""
    names, numbers = np.unique(rows["speaker"].to_numpy(str), return_inverse=True)
    palette = np.array([colours.numbered(i) for i in range(len(names))], object)
    yield "speakers", np.full(len(rows), True), palette[numbers].tolist()


TRUTH, PARTITION, SPEAKER = "true emotion", "partition", "speaker"
COLOURINGS = {
    TRUTH: Colouring("The released label; training sees that of D1 alone.", _by_class("label")),
    "prototypes' pseudo-label": Colouring(
        "The emotion of the nearest prototype (Eq. 3).", _by_class("prototypes"), True
    ),
    "classifier's pseudo-label": Colouring("The emotion that the classifier names.", _by_class("classifier")),
    "soft-label entropy": Colouring(
        "Of the soft label: 0 bits certain, log2 C undecided.",
        _by_entropy,
        scale=True,
    ),
    "agreement of the two": Colouring("Whether classifier and prototypes say the same.", _by_agreement, True),
    PARTITION: Colouring("D1 precise, D2 ambiguous, unlabelled, D3 for testing, V held out.", _by_part),
    SPEAKER: Colouring("A colour each; point at one to read whose.", _by_speaker),
}


def panels(
    planes: Sequence[Plane], utterances: DataFrame, classes: Sequence[str], names: Sequence[str], colouring: str = TRUTH
) -> go.Figure:
    """Draw planes side by side, symbols by part, prototypes as stars.

    planes: of `layout.planes`   names: a panel's title each   colouring: one of COLOURINGS
    utterances: the sample's M rows of the utterance table, with the columns that `table` adds unless coloured by
        truth, partition or speaker. Every point's `customdata` begins with its utterance's row, the table's index
    """
    if not planes:
        return look.note(look.figure(TITLE), TOO_FEW)
    fig = look.panels(
        TITLE if len(planes[0].prototypes) else "Utterances on one UMAP plane",
        names,
        520,
        shared_xaxes="all",
        shared_yaxes="all",
    )
    for column, plane in enumerate(planes, start=1):
        fig.add_traces(_traces(plane, utterances, classes, colouring), rows=1, cols=column)
        in_legend = column == 1 and not COLOURINGS[colouring].scale
        fig.update_traces(dict(showlegend=in_legend), lambda trace: trace.showlegend is not False, col=column)
    fig.add_traces(_keys(colouring, planes[0], utterances), rows=1, cols=1)
    return _axes(fig, extent(planes))


def epoch(
    plane: Plane,
    utterances: DataFrame,
    classes: Sequence[str],
    title: str,
    colouring: str = TRUTH,
    axes: Extent | None = None,
    view: View | None = None,
) -> go.Figure:
    """Draw one epoch's plane as a reader looks at it.

    utterances: as for `panels`   axes: their range, the `extent` of the plane if absent
    """
    view = view or View()
    fig = look.figure(title, 380, dragmode="select", selectionrevision=f"{colouring} {hash(tuple(view.selection))}")
    fig.update_layout(showlegend=True, legend_uirevision=colouring)  # traces hidden in one colouring show in the next
    _axes(fig, axes or extent([plane]))
    # Unchecked: plotly would compare each point's symbol with hundreds of names.
    return go.Figure(traces(plane, utterances, classes, colouring, view), fig.layout, _validate=False)


def traces(plane: Plane, utterances: DataFrame, classes: Sequence[str], colouring: str, view: View) -> list[Trace]:
    """Return the traces of `epoch`, without the frame, which is the same for every epoch."""
    mask = utterances.index.isin(view.selection) if len(view.selection) else None
    ring = _ring(plane.points[utterances.index == view.focus])
    clouds = _traces(plane, utterances, classes, colouring, mask, view.size)
    return [*clouds, _path(view.trail), ring, _recordings(view), *_keys(colouring, plane, utterances)]


def extent(planes: Sequence[Plane]) -> Extent:
    """Return the range of both axes that holds these planes: x from, to, y from, to."""
    points = np.concatenate([part for plane in planes for part in plane])
    low, high = points.min(axis=0), points.max(axis=0)
    edge = 0.04 * max(*(high - low), 1e-6)
    return low[0] - edge, high[0] + edge, low[1] - edge, high[1] + edge


def _axes(fig: go.Figure, axes: Extent) -> go.Figure:
    """Set the range of the axes, the same in every epoch: points move, not the frame."""
    fig.update_xaxes(title="UMAP, first axis (no unit)", showticklabels=False, range=axes[:2], zeroline=False)
    fig.update_yaxes(showticklabels=False, range=axes[2:], zeroline=False)
    return fig.update_yaxes(title="UMAP, second axis (no unit)", selector=0)


def _traces(
    plane: Plane,
    utterances: DataFrame,
    classes: Sequence[str],
    colouring: str,
    mask: Rows | None = None,
    size: int = _SIZE,
) -> list[Trace]:
    """Return a trace for each entry of the legend, and the prototypes'.

    mask: (M,) whether an utterance is selected, None if there is no selection
    """
    order = utterances["part"].to_numpy(str).argsort(kind="stable")  # the legend shows the first symbol: a circle
    points, utterances = plane.points[order], utterances.iloc[order]
    mask = None if mask is None else mask[order]
    facts, words = _facts(utterances)
    symbols, traces = np.array([SYMBOLS[part] for part in utterances["part"]], object), []
    for name, group, colour in COLOURINGS[colouring].groups(utterances, classes):
        trace = _cloud(points[group], name, colour, COLOURINGS[colouring].scale and np.log2(len(classes)), size)
        trace |= dict(customdata=list(compress(facts, group)), hovertemplate=words)
        trace["marker"]["symbol"] = symbols[group]
        if mask is not None:
            trace["selectedpoints"] = np.flatnonzero(mask[group]).tolist()
        traces.append(trace)
    return [*traces, _stars(plane.prototypes, classes)] if len(plane.prototypes) else traces


def _markers(points: NDArray, name: str, **trace: object) -> Trace:
    """Return a WebGL trace of markers.  points: (N, 2)"""
    x, y = np.asarray(points, np.float32).T
    return dict(type="scattergl", x=x, y=y, mode="markers", name=in_figure(name)) | trace


def _cloud(points: NDArray, name: str, colour: object, scale_end: float, size: int) -> Trace:
    """Return the trace of a group of utterances, without their facts.

    scale_end: of the colour scale in bits, 0 for a single colour   size: of a point in pixels
    """
    bar = dict(title=dict(text="Entropy,<br>bits", side="top"), thickness=10, len=0.9)
    line = dict(colorscale=_ENTROPY, cmin=0, cmax=scale_end) if scale_end else {}  # a cross is only a line
    scaled = line | dict(colorbar=bar) if scale_end else {}
    return _markers(
        points,
        name,
        showlegend=isinstance(colour, str),
        marker=dict(color=colour, size=size, opacity=0.8, line=dict(width=1.5, color=colour, **line), **scaled),
        unselected=dict(marker=dict(opacity=_UNSELECTED)),
    )


def _facts(rows: DataFrame) -> tuple[list[list[object]], str]:
    """Return each utterance's facts, its row first, and the template that makes words of them under the pointer.

    The words themselves would be three times as many bytes, which a page gets at every move of its slider.
    """
    kinds = {"label": "truth", "speaker": "speaker", "prototypes": "prototypes", "classifier": "classifier"}
    names = [name for name in kinds if name in rows]
    columns = [list(map(in_figure, rows[name].astype(str).tolist())) for name in ("id", "part", *names)]
    columns[2] = [label or TIED for label in columns[2]]
    words = ["<b>%{customdata[1]}</b>, %{customdata[2]}"]
    words += [f"{kinds[name]}: %{{customdata[{i}]}}" for i, name in enumerate(names, start=3)]
    if "entropy" in rows:
        words.append(f"entropy: %{{customdata[{len(columns) + 1}]:.2f}} bits")
        columns.append(rows["entropy"].round(2).tolist())
    facts = [list(row) for row in zip(rows.index.tolist(), *columns, strict=True)]
    return facts, "<br>".join(words) + "<extra></extra>"


def _stars(points: NDArray, classes: Sequence[str]) -> Trace:
    """Return the prototypes as stars.

    They have an edge of ink: a star has the colour of its cloud, and a white edge is invisible on a light page.
    """
    marker = dict(color=[colours.colour(name) for name in classes], size=20, symbol="star")
    return _markers(
        points,
        "prototypes",
        showlegend=False,
        marker=marker | dict(line=dict(width=2, color=colours.INK), opacity=1),
        unselected=_STAYS,
        text=[in_figure(name) for name in classes],
        hovertemplate="prototype of %{text}<extra></extra>",
    )


def _path(points: NDArray) -> Trace:
    """Return the way of the utterance in view from epoch to epoch, a thin line.  points: (E, 2)"""
    line = dict(color=colours.INK, width=1, dash="dot")
    return _markers(points, "its way", line=line, showlegend=False, hoverinfo="skip") | dict(mode="lines")


def _ring(points: NDArray) -> Trace:
    """Return a ring round the utterance in view, which no click meets."""
    marker = dict(color="rgba(0, 0, 0, 0)", size=18, symbol="circle", line=dict(width=3, color=colours.INK))
    return _markers(points, "looked at", marker=marker, showlegend=False, hoverinfo="skip", unselected=_STAYS)


def _recordings(view: View) -> Trace:
    """Return the recordings of a microphone as numbered squares in the colours of their single labels."""
    line = dict(width=2, color=colours.INK)
    return _markers(
        view.recordings,
        "recording",
        marker=dict(color=[colours.colour(name) for name in view.emotions], size=15, symbol="square", line=line),
        showlegend=len(view.recordings) > 0,
        unselected=_STAYS,
        text=[str(number) for number in range(1, len(view.recordings) + 1)],
        textposition="top center",
        hovertemplate="recording %{text}<extra></extra>",
    ) | dict(mode="markers+text")


def _keys(colouring: str, plane: Plane, utterances: DataFrame) -> list[Trace]:
    """Return the legend's entries for the symbols, unless the colours show the parts already."""
    symbols = (
        {} if colouring == PARTITION else {name: SYMBOLS[part] for part, name in present(utterances["part"]).items()}
    )
    ink = dict(color=colours.INK, size=9, line=dict(width=1.5, color=colours.INK))
    return [
        _markers(np.full((1, 2), np.nan), name, marker=ink | dict(symbol=symbol))
        for name, symbol in (symbols | ({"prototype": "star"} if len(plane.prototypes) else {})).items()
    ]
