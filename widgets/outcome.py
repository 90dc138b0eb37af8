"""Figures of a finished run's outcome: recognition with intervals, recall by class and by speaker, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import plotly.graph_objects as go
from pandas import DataFrame
from scipy.stats import binomtest

from ipr_core import metrics
from ipr_core.results import reliability as calibration
from ipr_core.results.fairness import FEMALE, MALE
from ipr_core.results.significance import accuracy_interval
from ipr_core.results.table import Table
from ipr_core.runs.run import Run
from ipr_core.texts import in_figure
from ipr_widgets import colours, look, spreads

SPEAKERS = 60
"""The most speakers that a figure shows one by one: of more, the half with the lowest recall and that with the highest.
"""
_OF_SEX = {FEMALE: ("circle", colours.SAME), MALE: ("square", colours.DIFFERENT), "": ("diamond", colours.PROTOTYPES)}
"""Symbol and colour of a speaker."""


def recognition(runs: Sequence[Run]) -> go.Figure:
    """Draw the accuracy of runs on D3 with 95 % intervals, beside that of always the same emotion.

    runs: finished ones on the same utterances, which `accuracy_interval` judges one by one
    """
    fig = look.figure("Recognition of D3, 95 % intervals", 130 + 45 * len(runs))
    fig.update_xaxes(title="Accuracy, %", rangemode="tozero").update_yaxes(autorange="reversed", type="category")
    for number, run in enumerate(runs):
        accuracy, interval = 100 * run.history()[-1].accuracy, accuracy_interval(run)
        name = run.system.title + (
            f" {number + 1}" if run.system.title in [r.system.title for r in runs[:number]] else ""
        )
        colour, symbol = spreads.looks(run.config.training.system)[0], spreads.symbol(run.config.training.system)
        point = go.Scatter(
            x=[accuracy], y=[in_figure(name)], mode="markers", marker=dict(color=colour, symbol=symbol, size=11),
            error_x=_ends(accuracy, interval.low, interval.high), showlegend=False, hovertemplate="%{y}: %{x:.1f} %",
        )  # fmt: skip
        fig.add_trace(point)
    labels = runs[0].table.query("part == 'D3'")["label"]
    guess = 100 * labels.value_counts(normalize=True).max()
    fig.add_vline(x=guess, line=dict(color=colours.INK, dash="dash", width=1))
    words = dict(text="always the same emotion", x=guess, y=1, yref="paper", yanchor="bottom", xanchor="center")
    return fig.add_annotation(**words, showarrow=False, font_size=11).update_yaxes(title="System")


def recalls(run: Run) -> go.Figure:
    """Draw the recall of each class on D3, with Wilson's 95 % intervals: of other utterances of the class."""
    classes, confusion = run.meta["classes"], np.asarray(run.history()[-1].confusion)
    fig = look.figure("Recall of each emotion on D3", 130 + 32 * len(classes))
    fig.update_xaxes(title="Recall, %", range=[-3, 103]).update_yaxes(autorange="reversed", type="category")
    for name, right, total in zip(classes, np.diag(confusion), confusion.sum(axis=1), strict=True):
        if total:
            low, high = binomtest(int(right), int(total)).proportion_ci(method="wilson")
            share = 100 * right / total
            point = go.Scatter(
                x=[share], y=[in_figure(name)], mode="markers", marker=dict(color=colours.colour(name), size=11),
                error_x=_ends(share, 100 * low, 100 * high), showlegend=False, customdata=[total],
                hovertemplate="%{y}: %{x:.0f} % of %{customdata} utterances<extra></extra>",
            )  # fmt: skip
            fig.add_trace(point)
    return fig.update_yaxes(title="Emotion")


def reliability(runs: Sequence[Run]) -> go.Figure:
    """Draw how far the votes bear out the soft labels of D2 and D3: mean share of the votes by mean largest share.

    On the dashed line a label is as sure as the votes bear out. A bar is two standard errors up and down. Bins with
    fewer than `calibration.FEWEST` utterances are left out.
    """
    fig = look.figure("Reliability of soft labels on D2 and D3", 300)
    fig.update_layout(xaxis_title="Largest share of a soft label, %", yaxis_title="Votes for it, %")
    if not any(calibration.judged(run) for run in runs):
        return look.note(fig, "The annotators' votes for each class are not known")
    diagonal = dict(color=colours.INK, dash="dash", width=1)
    fig.add_trace(go.Scatter(x=[0, 100], y=[0, 100], mode="lines", line=diagonal, showlegend=False, hoverinfo="skip"))
    for run in runs:
        if judged := calibration.judged(run):
            fig.add_trace(_reliability(run, judged[0], judged[1]))
    classes = len(runs[0].meta["classes"])
    return fig.update_xaxes(range=[100 / classes - 3, 103]).update_yaxes(range=[-3, 103])


def by_speaker(table: Table) -> go.Figure:
    """Draw each speaker's recall on D3 with its interval, the lowest on top.  table: of `fairness.by_speaker`"""
    frame = table.values
    is_long = len(frame) > SPEAKERS
    fig = look.figure("Recall of each speaker on D3", 150 + 17 * min(len(frame), SPEAKERS))
    fig.update_xaxes(title="Recall, %", range=[-3, 103]).update_yaxes(title="Speaker")
    if frame.empty:
        return look.note(fig, table.lacking)
    rows = frame.iloc[[*range(SPEAKERS // 2), *range(len(frame) - SPEAKERS // 2, len(frame))]] if is_long else frame
    sexes = rows["sex"] if "sex" in rows else rows["speaker"].map(lambda _: "")
    for sex, (symbol, colour) in _OF_SEX.items():
        group = rows[sexes == sex]
        if len(group):
            trace = _speakers(group, symbol, colour)
            fig.add_trace(trace.update(name=sex or "sex not known", showlegend=bool((sexes != "").any())))
    names = [in_figure(name) for name in rows["speaker"]]
    fig.update_yaxes(categoryorder="array", categoryarray=names, autorange="reversed", type="category")
    mean = (frame["recall, %"] * frame["utterances"]).sum() / frame["utterances"].sum()
    return fig.add_vline(x=mean, line=dict(color=colours.INK, dash="dash", width=1))


def _reliability(run: Run, soft: np.ndarray, votes: np.ndarray) -> go.Scatter:
    bins = calibration.curve(soft, votes)
    bins = bins[bins["utterances"] >= calibration.FEWEST]
    system = run.config.training.system
    colour, dash = spreads.looks(system)
    error = metrics.expected_calibration_error(soft, votes)
    return go.Scatter(
        x=100 * bins["confidence"], y=100 * bins["votes"], mode="lines+markers", line=dict(color=colour, dash=dash),
        marker=dict(symbol=spreads.symbol(system), size=8), customdata=bins["utterances"],
        name=f"{run.system.title}, ECE {error:.3f}", error_y=dict(array=200 * bins["error"], thickness=1, width=3),
        hovertemplate="share %{x:.0f} %, votes %{y:.0f} %, %{customdata} utterances",
    )  # fmt: skip


def _speakers(rows: DataFrame, symbol: str, colour: str) -> go.Scatter:
    share = rows["recall, %"]
    interval = dict(symmetric=False, array=rows["to"] - share, arrayminus=share - rows["95 % from"])
    return go.Scatter(
        x=share, y=[in_figure(name) for name in rows["speaker"]], mode="markers", customdata=rows["utterances"],
        marker=dict(symbol=symbol, color=colour, size=8), error_x=interval | _BAR,
        hovertemplate="%{y}: %{x:.0f} % of %{customdata} utterances<extra></extra>",
    )  # fmt: skip


_BAR: dict[str, Any] = dict(type="data", color=colours.INK, thickness=1, width=3)


def _ends(value: float, low: float, high: float) -> dict[str, Any]:
    """Return the error bar of a value from low to high; of no length without an interval."""
    if not np.isfinite(low):
        return dict(array=[0]) | _BAR
    return dict(symmetric=False, array=[high - value], arrayminus=[value - low]) | _BAR
