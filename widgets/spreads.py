"""Figures over several runs of a batch, by system, seed and setting.  R runs, C classes."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from pandas import DataFrame

from ipr_core.method.systems import SYSTEMS
from ipr_core.results import comparisons, over_seeds, soft_labels
from ipr_core.results import reachable as reach
from ipr_core.results.table import DEVIATION, Table
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.texts import in_figure
from ipr_widgets import colours, look

LOOKS = {
    "baseline": ("#3179C3", "dash", "square"),
    "baseline_augmented": ("#3179C3", "dot", "square-open"),
    "baseline_plus": ("#13974C", "longdash", "triangle-up"),
    "baseline_plus_contrastive": ("#13974C", "dashdot", "triangle-up-open"),
    "ipr": ("#A9459B", "solid", "circle"),
    "supervised": ("#039FD8", "longdashdot", "diamond"),
    "deep_spectrum": ("#1D678D", "solid", "diamond-open"),
    "attention_pooling": ("#AE2153", "dash", "cross"),
    "emotion_existence": ("#845613", "dot", "x"),
    "capsules": ("#3957B8", "dashdot", "circle-open"),
    "majority": ("#5D743D", "longdash", "cross-open"),
    "mcil": ("#F06859", "dot", "triangle-down"),
    "mmd": ("#977E73", "dash", "star"),
    "daan": ("#7E4E6D", "longdash", "triangle-left"),
    "dann": ("#BF861D", "dashdot", "hexagram"),
    "bnm": ("#056C4B", "longdashdot", "triangle-right"),
    "committee": ("#8562AB", "dashdot", "pentagon"),
    "ipr_committee": ("#B25718", "longdashdot", "circle-dot"),
    "fixmatch": ("#878700", "solid", "x-open"),
    "freematch": ("#538F8B", "dot", "triangle-down-open"),
    "softmatch": ("#5C8D2C", "longdashdot", "star-open"),
    "pico": ("#E760A8", "solid", "hourglass"),
    "oracle": ("#7E92AC", "dash", "bowtie"),
}
"""A system's colour, dash and marker. None is an emotion's colour; a control has that of its counterpart.

Two systems with the same dash differ in lightness too, so that their curves are told apart in grey, and no two have the
same marker. The colours of the tables' systems differ with red-blind, green-blind and blue-blind sight.
"""

CURVES = {"accuracy": "accuracy on D3", "agreement_prototypes": "prototypes right on D2"}
"""The fields of the events that are drawn over the epochs, and their titles."""
MEASURES = tuple(title for name, title in over_seeds.SOFT.items() if name != "no_majority")
"""The measures of soft labels that are drawn."""


_DASHES = "solid", "dot", "dash"


def looks(system: str) -> tuple[str, str]:
    """Return a system's colour and dash, from LOOKS or from its number."""
    colour, dash, _ = _look(system)
    return colour, dash


def symbol(system: str) -> str:
    """Return a system's marker."""
    return _look(system)[2]


def _look(system: str) -> tuple[str, str, str]:
    return LOOKS.get(system) or (colours.numbered(list(SYSTEMS).index(system)), "dashdot", "asterisk-open")


def curves(runs: Sequence[Run], scores: dict[str, str] | None = None) -> go.Figure:
    """Draw scores over the epochs: means over the seeds in bands of one standard deviation.

    scores: fields of the events and their titles, a panel each
    """
    scores = scores or CURVES
    fig = look.panels("Over the epochs: mean and standard deviation over the seeds", list(scores.values()), 420)
    legend: set[str] = set()
    for column, score in enumerate(scores, start=1):
        spread = over_seeds.over_epochs(runs, score)
        for system, frame in spread.groupby("system", sort=False):
            for trace in (_band(frame, system), _curve(frame, system).update(showlegend=system not in legend)):
                fig.add_trace(trace, row=1, col=column)
            legend.add(system)
    fig.update_yaxes(title="Share of the utterances, %", col=1)
    fig.update_layout(legend=dict(orientation="h", y=-0.2, yanchor="top"))
    return look.over_epochs(fig, _longest(runs))


def recalls(table: Table, classes: Sequence[str]) -> go.Figure:
    """Draw the recall of each class on D3; bars are one standard deviation over the seeds.

    table: of `over_seeds.recalls`
    """
    fig = look.figure("Recall of each class on D3", 420, xaxis_title="System", yaxis_title="Recall, %")
    fig.update_layout(scattermode="group", yaxis_range=[-3, 103])
    frame = table.values
    for name in classes if len(frame) else ():
        marker = dict(color=colours.colour(name), symbol=colours.symbol(name), size=9)
        trace = go.Scatter(x=frame["system"], y=frame[name], mode="markers", name=in_figure(name), marker=marker)
        fig.add_trace(trace.update(error_y=_bars(frame, name), hovertemplate="%{x}: %{y:.1f} %"))
    return fig if len(frame) else look.note(fig, table.lacking)


def differences(table: Table) -> go.Figure:
    """Draw differences with their 95 % intervals, and the widest band of the noise; grey ones do not survive.

    table: of `comparisons.differences` or `ablations.effects`
    """
    frame = table.values
    titles = {"over_seeds": " over seeds", "over_utterances": " over utterances of D3", "ablations": " from the base"}
    height = 170 + 30 * len(frame)
    fig = look.figure(f"Differences{titles.get(table.name, '')} and their 95 % intervals", height)
    fig.update_xaxes(title="Difference, points", zeroline=True, zerolinecolor=colours.INK)
    if frame.empty:
        return look.note(fig.update_yaxes(title="Comparison"), table.lacking)
    band = frame.reindex(columns=comparisons.NOISES).max(axis=None)
    if np.isfinite(band):
        fig.add_vrect(x0=-band, x1=band, fillcolor=colours.SHADE, line_width=0, layer="below")
        fig.add_annotation(text="noise", x=0, y=1, yref="paper", yanchor="bottom", showarrow=False, font_size=11)
    fig.add_trace(_dots(frame))
    title = frame.columns[0].capitalize()
    return fig.update_yaxes(title=title, autorange="reversed", type="category", showgrid=False)


def soft(table: Table, part: str = "D2 and D3") -> go.Figure:
    """Draw soft labels against the votes: uncalibrated ones open, constants without colour, uniform ones a dashed line.

    table: of `over_seeds.soft`   part: one of `soft_labels.PARTS`
    """
    frame = table.values
    votes = "SIMULATED annotators' votes" if "simulated" in table.name else "the annotators' votes"
    title = f"Soft labels against {votes}, {part}: lower is better, of AUPRC higher"
    fig = look.panels(title, MEASURES, 420, shared_yaxes=False, horizontal_spacing=0.06)
    fig.update_xaxes(title="System", tickangle=-60)
    fig.update_yaxes(title="Mean over the utterances", col=1)
    if frame.empty:
        return look.note(fig, table.lacking)
    frame = frame[frame["part"] == part]
    uniform = frame["system"] == soft_labels.UNIFORM
    for column, name in enumerate(MEASURES, start=1):
        if name in frame:
            fig.add_trace(_points(frame[~uniform], name), row=1, col=column)
            _level(fig, frame.loc[uniform, name], column)
    return fig


def reachable(runs: Sequence[Run]) -> go.Figure:
    """Draw the gain on D3 over the share of D2's labels that are right: a line a kind of oracle, means and deviations.

    runs: of the oracle and of the baseline
    """
    fig = look.figure("What better labels of D2 would bring", 420)
    fig.update_xaxes(title="Right labels of D2, %").update_yaxes(title="Gain on D3 over the baseline, points")
    points = reach.points(runs)
    if points.empty:
        return look.note(fig, reach.reachable(runs).lacking)
    fig.add_hline(y=0, line=dict(color=colours.INK, dash="dash", width=1))
    for number, (kind, title) in enumerate(reach.KINDS.items()):
        group = points[points["kind"] == kind].groupby("share")
        line = group.agg(right=("right", "mean"), gain=("gain", "mean"), spread=("gain", "std")).sort_values("right")
        curve = go.Scatter(
            x=100 * line["right"], y=line["gain"], error_y=dict(array=line["spread"].fillna(0), thickness=1),
            name=title, mode="lines+markers", line=dict(color=colours.numbered(number), dash=_DASHES[number]),
            hovertemplate="%{x:.0f} % right: %{y:+.1f} points",
        )  # fmt: skip
        fig.add_trace(curve)
    return fig


def _curve(frame: DataFrame, system: str) -> go.Scatter:
    colour, dash = looks(system)
    return go.Scatter(
        x=frame["epoch"], y=frame["mean"], name=SYSTEMS[system].title, legendgroup=system, mode="lines+markers",
        line=dict(color=colour, dash=dash, width=2), marker=dict(size=6, symbol=symbol(system)),
        hovertemplate="epoch %{x}: %{y:.1f} %",
    )  # fmt: skip


def _band(frame: DataFrame, system: str) -> go.Scatter:
    """Draw mean ± deviation as an area; with one seed it has no width."""
    epoch, mean, half = frame["epoch"], frame["mean"], frame["deviation"].fillna(0)
    x, y = pd.concat([epoch, epoch[::-1]]), pd.concat([mean + half, (mean - half)[::-1]])
    return go.Scatter(
        x=x, y=y, fill="toself", fillcolor=looks(system)[0], opacity=0.15, line_width=0, mode="lines",
        legendgroup=system, showlegend=False, hoverinfo="skip", name=f"{SYSTEMS[system].title}, deviation",
    )  # fmt: skip


def _bars(frame: DataFrame, name: str) -> dict[str, Any]:
    """Return bars of one standard deviation up and down, of none if it is not known."""
    spread = frame.get(name + DEVIATION)
    array = np.zeros(len(frame)) if spread is None else spread.fillna(0)
    return dict(type="data", array=array, color=colours.INK, thickness=1.5, width=4)


def _dots(frame: DataFrame) -> go.Scatter:
    upper, lower = frame["to"] - frame["difference"], frame["difference"] - frame["95 % from"]
    grey = pd.Series(False, frame.index)
    for name, word in {"within noise": "yes", "survives": "no"}.items():
        grey |= frame[name].eq(word) if name in frame else False
    marker = dict(color=np.where(grey, colours.INK, colours.PROTOTYPES), size=10)
    ends = dict(array=upper, arrayminus=lower, symmetric=False)
    interval = ends | dict(type="data", color=colours.INK, thickness=1.5, width=5)
    return go.Scatter(
        x=frame["difference"], y=frame.iloc[:, 0].map(in_figure), error_x=interval, mode="markers", marker=marker,
        showlegend=False, hovertemplate="%{y}: %{x:+.2f} points<extra></extra>",
    )  # fmt: skip


def _points(frame: DataFrame, name: str) -> go.Scatter:
    titles = frame["system"].str.removesuffix(soft_labels.UNCALIBRATED)
    names = [_system(title) for title in titles]
    symbols = np.where(titles == frame["system"], "circle", "circle-open")
    marker = dict(color=[looks(name)[0] if name else colours.INK for name in names], symbol=symbols, size=9)
    hover = "%{text}: %{y:.3f}<extra></extra>"
    trace = go.Scatter(
        x=titles, y=frame[name], text=frame["system"], mode="markers", marker=marker, hovertemplate=hover
    )
    return trace.update(error_y=_bars(frame, name), showlegend=False, name=name)


def _level(fig: go.Figure, uniform: pd.Series, column: int) -> None:
    """Draw a dashed line at the value of uniform soft labels."""
    for value in uniform.dropna():
        fig.add_hline(y=value, line=dict(color=colours.INK, dash="dash", width=1), row=1, col=column)


def _system(title: str) -> str:
    """Return the name of the system with a title; "" of any other one."""
    return next((name for name, system in SYSTEMS.items() if system.title == title), "")


def _longest(runs: Sequence[Run]) -> Sequence[EpochEnd]:
    """Return the longest run's events, whose warm-up is shaded: comparable runs share it."""
    return max((run.history() for run in runs if run.finished), key=len, default=[])
