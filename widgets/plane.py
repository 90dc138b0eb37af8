"""Drawing utterances and prototypes on the plane of `layout`.  M utterances of the sample, C classes.

Both the figure of a page (`panels`) and the live one (`epoch`) are the same traces, WebGL all of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_widgets import colours, look
from ipr_widgets.layout import FEWEST, Plane
from ipr_widgets.votes import PARTS

TITLE = "Utterances and prototypes on one UMAP plane"
TOO_FEW = f"UMAP needs at least {FEWEST} utterances; the setting `map_size` says how many it gets"
SYMBOLS = {"D1": "circle", "D2": "cross-thin-open", "D3": "diamond-open"}
_AGREEMENT = {True: ("same class", colours.SAME), False: ("different classes", colours.DIFFERENT)}
_ENTROPY = [[0, "#4A6FB5"], [0.5, "#21918C"], [1, "#8FBF2F"]]
"""The middle of Viridis: ever lighter, for any sight, and its ends still show on a dark and on a light page."""
_UNSELECTED = 0.12  # opacity while others are selected
_STAYS = dict(marker=dict(opacity=1))  # whatever is selected

Rows = NDArray[np.bool_]
Trace = dict[str, Any]  # as plotly's JSON
Extent = tuple[float, float, float, float]


@dataclass(frozen=True)
class Colouring:
    """What the colour of a point says."""

    meaning: str
    """A sentence above the plane, about 50 letters, so that two lines hold it."""
    groups: Callable[[DataFrame, Sequence[str]], Iterator[tuple[str, Rows, object]]]
    """The utterances' table and the classes → an entry of the legend each: name, (M,) its utterances, their colour."""
    of_prototypes: bool = False
    """Whether only a system with prototypes can be so coloured."""
    scale: bool = False
    """Whether the colour is a number, in bits, and a colour bar explains it."""


def table(
    utterances: DataFrame, own: NDArray, soft: NDArray | None, classes: Sequence[str], by_prototypes: bool
) -> DataFrame:
    """The utterances with what colours and words need of an epoch.

    own, soft: (M, C) shares by the classifier and by the prototypes, None where a system has none
    by_prototypes: who the system labels with
    returns: with columns classifier and single_label (names), entropy (bits), prototypes (names) and agree (bool)
    """
    names = np.asarray(classes)
    model = names[np.asarray(own).argmax(axis=1)]
    if soft is None:
        return utterances.assign(classifier=model, single_label=model, entropy=metrics.entropy(own))
    prototypes = names[np.asarray(soft).argmax(axis=1)]
    return utterances.assign(
        classifier=model,
        prototypes=prototypes,
        single_label=prototypes if by_prototypes else model,
        agree=model == prototypes,
        entropy=metrics.entropy(soft if by_prototypes else own),
    )


def _by_class(column: str) -> Callable[[DataFrame, Sequence[str]], Iterator[tuple[str, Rows, object]]]:
    def groups(rows: DataFrame, classes: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
        for name in classes:
            yield name, (rows[column] == name).to_numpy(), colours.colour(name)

    return groups


def _by_entropy(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    yield "entropy", np.full(len(rows), True), rows["entropy"].to_numpy(np.float32)


def _by_agreement(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    for agree, (name, colour) in _AGREEMENT.items():
        yield name, (rows["agree"] == agree).to_numpy(), colour


def _by_part(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    for part, name in PARTS.items():
        yield name, (rows["part"] == part).to_numpy(), colours.PARTS[part]


def _by_speaker(rows: DataFrame, _: Sequence[str]) -> Iterator[tuple[str, Rows, object]]:
    """One trace, however many speakers: what is pointed at names its own."""
    names, which = np.unique(rows["speaker"].to_numpy(str), return_inverse=True)
    each = np.array([colours.numbered(i) for i in range(len(names))], object)
    yield "speakers", np.full(len(rows), True), each[which].tolist()


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
    PARTITION: Colouring("D1 precise, D2 ambiguous, unlabelled, D3 for testing.", _by_part),
    SPEAKER: Colouring("A colour each; point at one to read whose.", _by_speaker),
}


def panels(
    planes: Sequence[Plane], utterances: DataFrame, classes: Sequence[str], names: Sequence[str], by: str = TRUTH
) -> go.Figure:
    """Planes side by side, coloured by one of COLOURINGS, symbols by part, prototypes as stars.

    planes: of `layout.planes`   names: a panel's title each
    utterances: the sample's M rows of the utterance table, with the columns that `table` adds unless coloured by
        truth, partition or speaker. Every point's `customdata` is its utterance's row, the table's index
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
        traces = _traces(plane, utterances, classes, by)
        fig.add_traces(traces, rows=1, cols=column)
        fig.update_traces(showlegend=column == 1 and not COLOURINGS[by].scale, col=column)
    fig.add_traces(_keys(by, planes[0]), rows=1, cols=1)
    return _axes(fig, extent(planes))


def epoch(
    plane: Plane,
    utterances: DataFrame,
    classes: Sequence[str],
    title: str,
    by: str = TRUTH,
    within: Extent | None = None,
    selection: Sequence[int] = (),
    focus: int = -1,
) -> go.Figure:
    """One epoch's plane, with what is selected and looked at.

    utterances: as for `panels`   within: the axes' `extent`, the plane's own if absent
    selection, focus: rows of the utterance table; those that are not on the plane are not marked
    """
    fig = look.figure(title, 380, dragmode="select", selectionrevision=f"{by} {hash(tuple(selection))}")
    fig.update_layout(showlegend=True, legend_uirevision=by)  # what is hidden of one colouring is not in the next
    _axes(fig, within or extent([plane]))
    # Unchecked: plotly would compare each point's symbol with hundreds of names.
    return go.Figure(traces(plane, utterances, classes, by, selection, focus), fig.layout, _validate=False)


def traces(
    plane: Plane, utterances: DataFrame, classes: Sequence[str], by: str, selection: Sequence[int], focus: int
) -> list[Trace]:
    """What `epoch` draws, without the frame around it, which is the same for every epoch."""
    chosen = utterances.index.isin(selection) if len(selection) else None
    ring = _ring(plane.points[utterances.index == focus])
    return [*_traces(plane, utterances, classes, by, chosen), ring, *_keys(by, plane)]


def extent(planes: Sequence[Plane]) -> Extent:
    """The range of both axes that holds every one of these planes: x from, to, y from, to."""
    points = np.concatenate([part for plane in planes for part in plane])
    low, high = points.min(axis=0), points.max(axis=0)
    edge = 0.04 * max(*(high - low), 1e-6)
    return low[0] - edge, high[0] + edge, low[1] - edge, high[1] + edge


def _axes(fig: go.Figure, within: Extent) -> go.Figure:
    """The same range in every epoch: points move, not the frame."""
    fig.update_xaxes(title="UMAP, first axis (no unit)", showticklabels=False, range=within[:2], zeroline=False)
    fig.update_yaxes(showticklabels=False, range=within[2:], zeroline=False)
    return fig.update_yaxes(title="UMAP, second axis (no unit)", selector=0)


def _traces(
    plane: Plane, utterances: DataFrame, classes: Sequence[str], by: str, chosen: Rows | None = None
) -> list[Trace]:
    """Utterances, a trace a legend's entry, and the prototypes.  chosen: (M,) those selected, None if nothing is"""
    order = utterances["part"].to_numpy(str).argsort(kind="stable")  # an entry of the legend shows its first: a circle
    points, utterances = plane.points[order], utterances.iloc[order]
    chosen = None if chosen is None else chosen[order]
    words, symbols = _words(utterances), np.array([SYMBOLS[part] for part in utterances["part"]], object)
    rows, traces = utterances.index.to_numpy(), []
    for name, mine, colour in COLOURINGS[by].groups(utterances, classes):
        trace = _cloud(points[mine], name, colour, COLOURINGS[by].scale and np.log2(len(classes)))
        trace |= dict(customdata=rows[mine].tolist(), text=words[mine])
        trace["marker"]["symbol"] = symbols[mine]
        if chosen is not None:
            trace["selectedpoints"] = np.flatnonzero(chosen[mine]).tolist()
        traces.append(trace)
    return [*traces, _stars(plane.prototypes, classes)] if len(plane.prototypes) else traces


def _markers(points: NDArray, name: str, **trace: object) -> Trace:
    """points: (N, 2)"""
    x, y = np.asarray(points, np.float32).T
    return dict(type="scattergl", x=x, y=y, mode="markers", name=name) | trace


def _cloud(points: NDArray, name: str, colour: object, most: float) -> Trace:
    """most: the end of the colour scale in bits, 0 where the colour is one"""
    bar = dict(title=dict(text="Entropy,<br>bits", side="top"), thickness=10, len=0.9)
    line = dict(colorscale=_ENTROPY, cmin=0, cmax=most) if most else {}  # a cross is nothing but its line
    scaled = line | dict(colorbar=bar) if most else {}
    return _markers(
        points,
        name,
        showlegend=isinstance(colour, str),
        marker=dict(color=colour, size=7, opacity=0.8, line=dict(width=1.5, color=colour, **line), **scaled),
        unselected=dict(marker=dict(opacity=_UNSELECTED)),
        hovertemplate="%{text}<extra></extra>",
    )


def _words(rows: DataFrame) -> NDArray[np.object_]:
    """(M,) what an utterance says when it is pointed at."""
    columns = {name: rows[name].tolist() for name in rows}
    known = zip(columns["id"], columns["part"], columns["label"], strict=True)
    told = [f"<b>{id}</b>, {part}<br>truth: {label}" for id, part, label in known]
    if "speaker" in rows:
        told = [f"{text}<br>speaker: {name}" for text, name in zip(told, columns["speaker"], strict=True)]
    if "prototypes" in rows:
        told = [f"{text}<br>prototypes: {name}" for text, name in zip(told, columns["prototypes"], strict=True)]
    if "classifier" in rows:
        found = zip(told, columns["classifier"], columns["entropy"], strict=True)
        told = [f"{text}<br>classifier: {name}<br>entropy: {bits:.2f} bits" for text, name, bits in found]
    return np.array(told, object)


def _stars(points: NDArray, classes: Sequence[str]) -> Trace:
    """With an edge of ink: a star has the colour of the cloud it lies in, and white is not seen on a light page."""
    marker = dict(color=[colours.colour(name) for name in classes], size=20, symbol="star")
    return _markers(
        points,
        "prototypes",
        showlegend=False,
        marker=marker | dict(line=dict(width=2, color=colours.INK), opacity=1),
        unselected=_STAYS,
        text=list(classes),
        hovertemplate="prototype of %{text}<extra></extra>",
    )


def _ring(points: NDArray) -> Trace:
    """Round the utterance that is looked at; in no one's way when it is clicked."""
    marker = dict(color="rgba(0, 0, 0, 0)", size=18, symbol="circle", line=dict(width=3, color=colours.INK))
    return _markers(points, "looked at", marker=marker, showlegend=False, hoverinfo="skip", unselected=_STAYS)


def _keys(by: str, plane: Plane) -> list[Trace]:
    """Entries of the legend for what symbols mean, where colours do not say it already."""
    symbols = {} if by == PARTITION else {PARTS[part]: symbol for part, symbol in SYMBOLS.items()}
    ink = dict(color=colours.INK, size=9, line=dict(width=1.5, color=colours.INK))
    return [
        _markers(np.full((1, 2), np.nan), name, marker=ink | dict(symbol=symbol))
        for name, symbol in (symbols | ({"prototype": "star"} if len(plane.prototypes) else {})).items()
    ]
