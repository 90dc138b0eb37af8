"""Figures over the epochs, drawn from the events of a running or a finished run.

C classes. Every function takes the events in their order; an empty list gives a figure that says so.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations
from typing import Any

import plotly.graph_objects as go

from ipr_core.runs.events import EpochEnd
from ipr_core.texts import in_figure
from ipr_widgets import colours, look

Events = Sequence[EpochEnd]

_MARKERS = 20  # on an emotion's line, so that those of many epochs do not cover it
TERMS = {
    "total": ("total", colours.INK, "solid"),
    "precise": ("loss on D1", "#6699CC", "dot"),
    "ambiguous": ("loss on D2", "#AA4499", "dash"),
    "contrastive": ("contrastive (Eq. 5)", "#999933", "dashdot"),
}
"""Loss term → title, colour and dash. The losses on D1 and D2 differ by system: cross-entropies, margins, hinges."""


def losses(events: Events) -> go.Figure:
    """Draw the loss terms before their weights, and their weighted total.

    Terms that a system lacks are left out.
    """
    fig = look.figure("Loss terms, mean over the steps of an epoch", yaxis_title="Loss", yaxis_rangemode="tozero")
    for name in ordered({name: value for event in events for name, value in event.losses.items() if value}):
        title, colour, dash = term(name)
        fig.add_trace(_line(events, [_trained(event, name) for event in events], title, colour, dash))
    return look.over_epochs(fig, events)


def ordered(values: Mapping[str, float]) -> list[str]:
    """Return the names of the loss terms that are not 0, those of TERMS first."""
    return [name for name in dict.fromkeys([*TERMS, *values]) if values.get(name)]


def term(name: str) -> tuple[str, str, str]:
    """Return title, colour and dash of a loss term, from TERMS or from its name."""
    return TERMS.get(name) or (name, colours.colour(f"loss {name}"), "longdash")


def beta(events: Events) -> go.Figure:
    """Draw β, the weight of the loss on D2 (Eq. 7)."""
    fig = look.figure("Weight of the loss on the ambiguous utterances (Eq. 7)", 300, yaxis_title="β")
    fig.add_trace(_line(events, [event.beta for event in events], "β", colours.PROTOTYPES))
    return look.over_epochs(fig, events)


def scores(events: Events) -> go.Figure:
    """Draw accuracy, UAR and macro-F1 of the classifier on D3, and the prototypes' accuracy."""
    fig = look.figure("Recognition on D3, the most ambiguous utterances", yaxis_title="Score on D3, %")
    curves = {
        "accuracy": ("accuracy", colours.MODEL, "solid"),
        "uar": ("UAR (mean recall of the classes)", "#6699CC", "dash"),
        "macro_f1": ("macro-F1", "#999933", "dot"),
        "accuracy_prototypes": ("accuracy of the nearest prototype", colours.PROTOTYPES, "solid"),
    }
    for key, (name, colour, dash) in curves.items():
        values = look.percent([getattr(event, key) for event in events])
        if not _absent(values):
            fig.add_trace(_line(events, values, name, colour, dash))
    return look.over_epochs(fig, events)


def cosine_trends(events: Events, classes: Sequence[str], pair: Sequence[int] | None = None) -> go.Figure:
    """Draw the cosine of every two prototypes over the epochs (Figure 2).

    Each curve has the colours of its two emotions. A trace's `meta` is its pair of class numbers, a cell of
    `matrices.cosines`.
    pair: class numbers i < j whose curve stands out, none or empty for all alike
    """
    fig = look.figure("Cosine between prototypes over the epochs", yaxis_title="Cosine")
    if _absent([event.cosines for event in events]):
        return look.note(fig, look.NO_PROTOTYPES)
    for i, j in combinations(range(len(classes)), 2):
        values = [event.cosines[i][j] if event.cosines else None for event in events]
        trace = _line(events, values, f"{classes[i]} and {classes[j]}", colours.colour(classes[i]))
        marker = dict(color=colours.colour(classes[j]), symbol=colours.symbol(classes[j]), size=7)
        fig.add_trace(trace.update(mode="lines+markers", marker=marker, meta=[i, j]))
    if pair:
        for trace in fig.data:
            marked = list(trace.meta) == list(pair)
            trace.update(opacity=1 if marked else 0.15, line_width=4 if marked else 1)
    return look.over_epochs(fig, events)


def agreement(events: Events) -> go.Figure:
    """Draw the share of D2 whose pseudo-label is true, by classifier and by prototypes (Figure 3)."""
    fig = look.figure("Pseudo-labels of D2 that agree with the truth", yaxis_title="Agreement on D2, %")
    by_model = [event.agreement_model for event in events]
    by_prototypes = [event.agreement_prototypes for event in events]
    if events and not any(share is not None for share in by_model + by_prototypes):
        look.note(fig, "The true labels of D2 are not known")
    fig.add_trace(_line(events, look.percent(by_model), "the classifier's", colours.MODEL, "dash"))
    if not _absent([event.labels_prototypes for event in events]):
        fig.add_trace(_line(events, look.percent(by_prototypes), "the prototypes'", colours.PROTOTYPES))
    return look.over_epochs(fig, events)


def label_counts(events: Events, classes: Sequence[str], truth: Sequence[int] | None = None) -> go.Figure:
    """Draw the utterances of D2 per pseudo-label; one class that takes all is a collapse.

    truth: (C,) utterances of D2 per true label, dotted; None if not known
    """
    fields = {"by the prototypes": "labels_prototypes", "by the classifier": "labels_model"}
    fields = {title: key for title, key in fields.items() if not _absent([getattr(event, key) for event in events])}
    fig = look.panels("Pseudo-labels of D2 per class", list(fields))
    for column, key in enumerate(fields.values(), start=1):
        for c, name in enumerate(classes):
            line = _of_emotion(events, [getattr(event, key)[c] for event in events], name)
            fig.add_trace(line.update(legendgroup=line.name, showlegend=column == 1), row=1, col=column)
    fig.update_yaxes(title="Utterances", rangemode="tozero", col=1)
    look.over_epochs(fig, events)
    if truth is not None:
        panels = ("", "2")[: len(fields)]
        lines = [_truth(n, name, panel) for panel in panels for name, n in zip(classes, truth, strict=True)]
        fig.layout.shapes += tuple(map(go.layout.Shape, lines))
    return fig


def gate(events: Events) -> go.Figure:
    """Draw the share of D2 that moves prototypes (Eq. 4): both views got the same class."""
    fig = look.figure("Utterances that pass the gate of Eq. 4", 300, yaxis_title="Share of D2, %", yaxis_range=[0, 102])
    shares = look.percent([event.gate for event in events])
    fig.add_trace(_line(events, shares, "passed", colours.PROTOTYPES))
    if events and all(share is None for share in shares):
        look.note(fig, "No epoch so far compared two views of D2")
    return look.over_epochs(fig, events)


def moves(events: Events, classes: Sequence[str]) -> go.Figure:
    """Draw what D2's moves of the prototypes did each epoch (Eq. 4): to D2's labels, and to the prototypes.

    Left the utterances of D2 that they gave another pseudo-label, and those whose pseudo-label is another one than by
    D1's class means. Right the angle of each prototype's move.
    """
    names = ["D2's labels", "moves, degrees"]
    fig = look.panels("What D2's moves of the prototypes did (Eq. 4)", names, shared_yaxes=False)
    if events and not any(event.angles for event in events):
        return look.note(fig, "D2 has moved no prototypes so far")
    counts = {
        "changed by this epoch's moves": ("labels_changed", colours.PROTOTYPES, "solid"),
        "other than by D1's means": ("labels_beyond_d1", "#999933", "dash"),
    }
    for name, (key, colour, dash) in counts.items():
        fig.add_trace(_line(events, [getattr(event, key) for event in events], name, colour, dash), row=1, col=1)
    for c, name in enumerate(classes):
        angles = [event.angles[c] if event.angles else None for event in events]
        fig.add_trace(_of_emotion(events, angles, name), row=1, col=2)
    fig.update_yaxes(title="Utterances", col=1)
    return look.over_epochs(fig.update_yaxes(rangemode="tozero"), events)


def marks(traces: Sequence[dict[str, Any]], epoch: int) -> list[dict[str, Any]]:
    """Return a thin vertical line in every panel at an epoch; none below 0.

    traces: as plotly's JSON
    """
    if epoch < 0:
        return []
    line = dict(type="line", x0=epoch, x1=epoch, y0=0, y1=1, line=dict(color=colours.INK, width=1))
    panels = dict.fromkeys((trace.get("xaxis", "x"), trace.get("yaxis", "y")) for trace in traces)
    return [line | dict(xref=x, yref=f"{y} domain") for x, y in panels]


def _truth(count: int, name: str, panel: str) -> dict[str, Any]:
    """Return a dotted line across a panel; plotly's own add_hline takes milliseconds for each."""
    ends = dict(type="line", xref=f"x{panel} domain", x0=0, x1=1, yref=f"y{panel}", y0=count, y1=count)
    return ends | dict(line=dict(color=colours.colour(name), dash="dot", width=1))


def _absent(values: Sequence[Any]) -> bool:
    """Return whether there are epochs, none of which has a value."""
    return len(values) > 0 and all(value is None for value in values)


def _trained(event: EpochEnd, term: str) -> float | None:
    """Return a loss term; None in the warm-up for the terms that it lacks."""
    absent = event.phase == "warm_up" and term in ("ambiguous", "contrastive")
    return None if absent else event.losses.get(term)


def _of_emotion(events: Events, values: Sequence[float | None], name: str) -> go.Scatter:
    """Draw an emotion's value an epoch, with its colour and its marker."""
    marker = dict(symbol=colours.symbol(name), size=6, maxdisplayed=_MARKERS)
    return _line(events, values, name, colours.colour(name)).update(marker=marker)


def _line(events: Events, values: Sequence[float | None], name: str, colour: str, dash: str = "solid") -> go.Scatter:
    """Draw one value an epoch, with markers so that a single epoch is seen."""
    return go.Scatter(
        x=[event.epoch for event in events],
        y=list(values),
        name=in_figure(name),
        mode="lines+markers",
        marker=dict(size=4),
        line=dict(color=colour, dash=dash, width=2),
        hovertemplate="epoch %{x}: %{y:.3~g}",
    )
