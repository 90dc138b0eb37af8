"""Figures over several runs of a batch: what systems, seeds and settings make of it. R runs, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas import DataFrame

from ipr_core.method.systems import SYSTEMS
from ipr_core.results import over_seeds
from ipr_core.results.table import DEVIATION, Table
from ipr_core.runs.run import Run
from ipr_widgets import colours, look

LOOKS = {
    "baseline": ("#6699CC", "solid"),
    "baseline_augmented": ("#6699CC", "dot"),
    "baseline_plus": ("#999933", "solid"),
    "baseline_plus_contrastive": ("#999933", "dot"),
    "ipr": ("#AA4499", "solid"),
    "supervised": ("#44AA99", "dash"),
}
"""A system's colour and dash; a control has the colour of what it controls. None is an emotion's."""


def looks(system: str) -> tuple[str, str]:
    """A system's colour and dash: those of LOOKS, or what its place among the systems gives."""
    return LOOKS.get(system) or (colours.numbered(list(SYSTEMS).index(system)), "dashdot")


CURVES = {"accuracy": "accuracy on D3", "agreement_prototypes": "prototypes right on D2"}
"""What is drawn over the epochs: fields of the events."""

_BESIDE = tuple(title for name, title in over_seeds.SOFT.items() if name != "no_majority")


def curves(runs: Sequence[Run], scores: dict[str, str] | None = None) -> go.Figure:
    """Scores over the epochs, a curve a system: the mean over its seeds, and a band of one standard deviation.

    scores: fields of the events and their titles, a panel each
    """
    scores = scores or CURVES
    fig = look.panels("Over the epochs: mean and standard deviation over the seeds", list(scores.values()), 420)
    told: set[str] = set()
    for column, score in enumerate(scores, start=1):
        spread = over_seeds.over_epochs(runs, score)
        for system, of in spread.groupby("system", sort=False):
            for trace in (_band(of, system), _curve(of, system).update(showlegend=system not in told)):
                fig.add_trace(trace, row=1, col=column)
            told.add(system)
    fig.update_yaxes(title="Share of the utterances, %", col=1)
    fig.update_layout(legend=dict(orientation="h", y=-0.2, yanchor="top"))
    return look.over_epochs(fig, _longest(runs))


def recalls(table: Table, classes: Sequence[str]) -> go.Figure:
    """Recall of each class on D3, a group of points a system; bars are one standard deviation over the seeds.

    table: `seeds.recalls`
    """
    fig = look.figure("Recall of each class on D3", 420, xaxis_title="System", yaxis_title="Recall, %")
    fig.update_layout(scattermode="group", yaxis_range=[-3, 103])
    frame = table.values
    for name in classes if len(frame) else ():
        marker = dict(color=colours.colour(name), size=9)
        trace = go.Scatter(x=frame["system"], y=frame[name], mode="markers", name=name, marker=marker)
        fig.add_trace(trace.update(error_y=_bars(frame, name), hovertemplate="%{x}: %{y:.1f} %"))
    return fig if len(frame) else look.note(fig, table.lacking)


def differences(table: Table) -> go.Figure:
    """Differences as a dot plot with their 95 % intervals, and the band of the noise; a row as in the table.

    table: `significance.over_seeds`, `significance.over_utterances` or `ablations.effects`
    """
    frame = table.values
    titles = {"over_seeds": "over seeds", "over_utterances": "over utterances of D3", "ablations": "to the base"}
    height = 170 + 30 * len(frame)
    fig = look.figure(f"Differences {titles.get(table.name, '')} and their 95 % intervals", height)
    fig.update_xaxes(title="Difference, points", zeroline=True, zerolinecolor=colours.INK)
    if frame.empty:
        return look.note(fig.update_yaxes(title="Comparison"), table.lacking)
    band = frame["noise"].max() if "noise" in frame else np.nan
    if np.isfinite(band):
        fig.add_vrect(x0=-band, x1=band, fillcolor=colours.SHADE, line_width=0, layer="below")
        fig.add_annotation(text="noise", x=0, y=1, yref="paper", yanchor="bottom", showarrow=False, font_size=11)
    fig.add_trace(_dots(frame))
    named = frame.columns[0].capitalize()
    return fig.update_yaxes(title=named, autorange="reversed", type="category", showgrid=False)


def soft(table: Table, part: str = "D2 and D3") -> go.Figure:
    """Soft labels against the votes, a panel a measure and a point a system; the dashed line is the uniform label's.

    table: `seeds.soft`   part: one of `seeds.PARTS`
    """
    frame = table.values
    whose = "SIMULATED annotators' votes" if "simulated" in table.name else "the annotators' votes"
    title = f"Soft labels against {whose}, {part}: lower is better, of AUPRC higher"
    fig = look.panels(title, _BESIDE, 420, shared_yaxes=False, horizontal_spacing=0.06)
    fig.update_xaxes(title="System", tickangle=-60)
    fig.update_yaxes(title="Mean over the utterances", col=1)
    if frame.empty:
        return look.note(fig, table.lacking)
    frame = frame[frame["part"] == part]
    apart = frame["system"] == over_seeds.UNIFORM
    for column, name in enumerate(_BESIDE, start=1):
        if name in frame:
            fig.add_trace(_points(frame[~apart], name), row=1, col=column)
            _level(fig, frame.loc[apart, name], column)
    return fig


def _curve(of: DataFrame, system: str) -> go.Scatter:
    colour, dash = looks(system)
    return go.Scatter(
        x=of["epoch"], y=of["mean"], name=SYSTEMS[system].title, legendgroup=system, mode="lines+markers",
        line=dict(color=colour, dash=dash, width=2), marker_size=4, hovertemplate="epoch %{x}: %{y:.1f} %",
    )  # fmt: skip


def _band(of: DataFrame, system: str) -> go.Scatter:
    """Mean ± deviation as an area; of one seed there is none, and it has no width."""
    half = of["deviation"].fillna(0)
    x, y = pd.concat([of["epoch"], of["epoch"][::-1]]), pd.concat([of["mean"] + half, (of["mean"] - half)[::-1]])
    return go.Scatter(
        x=x, y=y, fill="toself", fillcolor=looks(system)[0], opacity=0.15, line_width=0, mode="lines",
        legendgroup=system, showlegend=False, hoverinfo="skip", name=f"{SYSTEMS[system].title}, deviation",
    )  # fmt: skip


def _bars(frame: DataFrame, name: str) -> dict:
    """One standard deviation up and down, none where it is not known."""
    spread = frame.get(name + DEVIATION)
    array = np.zeros(len(frame)) if spread is None else spread.fillna(0)
    return dict(type="data", array=array, color=colours.INK, thickness=1.5, width=4)


def _dots(frame: DataFrame) -> go.Scatter:
    up, down = frame["to"] - frame["difference"], frame["difference"] - frame["95 % from"]
    within = frame["within noise"].eq("yes") if "within noise" in frame else pd.Series(False, frame.index)
    marker = dict(color=np.where(within, colours.INK, colours.PROTOTYPES), size=10)
    interval = dict(type="data", symmetric=False, array=up, arrayminus=down, color=colours.INK, thickness=1.5, width=5)
    return go.Scatter(
        x=frame["difference"], y=frame.iloc[:, 0], error_x=interval, mode="markers", marker=marker, showlegend=False,
        hovertemplate="%{y}: %{x:+.2f} points<extra></extra>",
    )  # fmt: skip


def _points(frame: DataFrame, name: str) -> go.Scatter:
    marker = dict(color=[_colour(title) for title in frame["system"]], size=9)
    hover = "%{x}: %{y:.3f}<extra></extra>"
    trace = go.Scatter(x=frame["system"], y=frame[name], mode="markers", marker=marker, hovertemplate=hover)
    return trace.update(error_y=_bars(frame, name), showlegend=False, name=name)


def _level(fig: go.Figure, uniform: pd.Series, column: int) -> None:
    """A dashed line at what uniform soft labels reach."""
    for value in uniform.dropna():
        fig.add_hline(y=value, line=dict(color=colours.INK, dash="dash", width=1), row=1, col=column)


def _colour(title: str) -> str:
    return next(looks(name)[0] for name, system in SYSTEMS.items() if system.title == title)


def _longest(runs: Sequence[Run]) -> Sequence:
    """The events of the longest run, whose warm-up is shaded: comparable runs have the same one."""
    return max((run.history() for run in runs if run.finished), key=len, default=[])
