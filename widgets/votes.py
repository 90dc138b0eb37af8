"""Figures of what the annotators said: the partition, and soft labels against votes.  N utterances, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.data import ambiguity
from ipr_widgets import colours, look

Shares = NDArray[np.floating]

PARTS = {"D1": "D1, precise", "D2": "D2, ambiguous", "D3": "D3, test"}
_EDGES = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
"""Bins of vote shares: nobody, nearly nobody … nearly everybody, everybody."""
POINTS, SPEAKERS = 5000, 60
"""Utterances and speakers that a figure shows one by one: more would be too much for a page, and for the eye."""


def partition(table: DataFrame, classes: Sequence[str]) -> go.Figure:
    """Utterances of each class in D1, D2 and D3.  table: the partitioned utterance table"""
    fig = look.figure("The partition, per class", barmode="group", xaxis_title="Part", yaxis_title="Utterances")
    for name, counts in _counts(table, "label", classes).items():
        fig.add_trace(go.Bar(x=list(PARTS.values()), y=counts, name=name, marker_color=colours.colour(name), text=counts))
    return fig


def partition_by_speaker(table: DataFrame, classes: Sequence[str]) -> go.Figure:
    """Utterances of each speaker in D1, D2 and D3, stacked by class; of many speakers the most heard."""
    known = table["speaker"].value_counts()
    speakers = sorted(known.index[:SPEAKERS])
    some = f": the {SPEAKERS} with the most utterances of {len(known):,}" if len(known) > SPEAKERS else ""
    fig = look.panels(f"The partition, per speaker{some}", list(PARTS.values()), 170 + 16 * len(speakers))
    for column, part in enumerate(PARTS, start=1):
        here = table[table["part"] == part]
        for name in classes:
            count = here[here["label"] == name].groupby("speaker").size().reindex(speakers, fill_value=0)
            bar = go.Bar(x=count.tolist(), y=speakers, orientation="h", name=name, marker_color=colours.colour(name))
            fig.add_trace(bar.update(legendgroup=name, showlegend=column == 1), row=1, col=column)
    fig.update_xaxes(title="Utterances").update_yaxes(type="category", autorange="reversed")
    return fig.update_yaxes(title="Speaker", col=1).update_layout(barmode="stack", legend_traceorder="normal")


def soft_against_votes(soft: Shares, votes: Shares, classes: Sequence[str]) -> go.Figure:
    """How much the soft label gives a class, where the annotators gave it so much; on the diagonal both are the same.

    soft, votes: (N, C), rows sum to 1; utterances whose votes are not known (NaN) are left out
    A point is the mean over the utterances whose vote share lies in one bin, its bar their middle half.
    """
    fig = look.figure("Soft labels against the annotators' votes", 460, yaxis_rangemode="tozero")
    fig.update_layout(xaxis_title="Share of the votes, %", yaxis_title="Share in the soft label, %")
    known = np.isfinite(votes).all(axis=1)
    if not known.any():
        return look.note(fig, "The annotators' votes for each class are not known")
    fig.add_trace(_diagonal(100))
    for c, name in enumerate(classes):
        fig.add_trace(_by_share(100 * soft[known, c], 100 * votes[known, c], name))
    return fig


def entropy_against_entropy(soft: Shares, votes: Shares, parts: Sequence[str]) -> go.Figure:
    """How undecided the soft label is, against how undecided the annotators were; their rank correlation in the title.

    soft, votes: (N, C), rows sum to 1; rows of NaN are left out   parts: (N,) "D1", "D2" or "D3"
    Of many utterances the points are a sample, always the same one; the correlation is that of all.
    """
    fig = look.figure("Entropy of soft labels and of votes", 460)
    fig.update_layout(xaxis_title="Entropy of the votes, bits", yaxis_title="Entropy of the soft label, bits")
    known = np.isfinite(votes).all(axis=1)
    if not known.any():
        return look.note(fig, "The annotators' votes for each class are not known")
    x, y = metrics.entropy(votes[known]), metrics.entropy(soft[known])
    fig.add_trace(_diagonal(np.log2(votes.shape[1])))
    shown = np.random.default_rng(0).permutation(len(x))[:POINTS]
    some = f"{POINTS:,} of {len(x):,} utterances, " if len(x) > POINTS else ""
    for part in PARTS:
        mine = np.sort(shown[np.asarray(parts)[known][shown] == part])
        marker = dict(color=colours.PARTS[part], opacity=0.6, size=6)
        fig.add_trace(go.Scattergl(x=x[mine], y=y[mine], mode="markers", name=PARTS[part], marker=marker))
    correlation = f"rank correlation {_rank_correlation(x, y)}"
    return fig.update_layout(title=f"Entropy of soft labels and of votes: {some}{correlation}")


def entropies(soft: Shares, parts: Sequence[str]) -> go.Figure:
    """How undecided the soft labels of D1, D2 and D3 are.  soft: (N, C)   parts: (N,)"""
    fig = look.panels("Entropy of the soft labels", list(PARTS.values()), 340)
    entropy, highest = metrics.entropy(soft), np.log2(soft.shape[1])
    edges = np.linspace(0, highest + 1e-6, 21)
    bins, middles = dict(start=0, end=edges[-1], size=edges[1]), (edges[1:] + edges[:-1]) / 2
    for column, part in enumerate(PARTS, start=1):
        counts, _ = np.histogram(entropy[np.asarray(parts) == part], edges)  # here, so that the page gets no more
        bars = go.Histogram(x=middles, y=counts, histfunc="sum", xbins=bins, histnorm="percent", showlegend=False)
        fig.add_trace(bars.update(marker_color=colours.PARTS[part]), row=1, col=column)
    fig.update_xaxes(title="Entropy, bits", range=[0, highest])
    return fig.update_yaxes(title="Utterances of the part, %", col=1)


def _counts(table: DataFrame, by: str, names: Sequence[str]) -> dict[str, list[int]]:
    """Utterances of each name in D1, D2 and D3."""
    counts = ambiguity.summary(table, by).set_index([by, "part"])["count"]
    return {name: [int(counts.get((name, part), 0)) for part in PARTS] for name in names}


def _by_share(soft: Shares, votes: Shares, name: str) -> go.Scatter:
    """Means and quartiles of the soft shares in every bin of vote shares that has utterances."""
    place = np.digitize(votes, 100 * _EDGES[1:-1], right=True)
    bins = np.unique(place)
    x = [votes[place == b].mean() for b in bins]
    y = np.array([soft[place == b].mean() for b in bins])
    low, high = np.array([np.percentile(soft[place == b], (25, 75)) for b in bins]).T
    error = dict(symmetric=False, array=(high - y).clip(0), arrayminus=(y - low).clip(0), thickness=1, width=3)
    counts = [int((place == b).sum()) for b in bins]
    return go.Scatter(
        x=x, y=y, error_y=error, mode="lines+markers", name=name, line_color=colours.colour(name), customdata=counts,
        hovertemplate="votes %{x:.0f} %, soft label %{y:.0f} %, %{customdata} utterances",
    )  # fmt: skip


def _diagonal(end: float) -> go.Scatter:
    line = dict(color=colours.INK, dash="dash", width=1)
    return go.Scatter(x=[0, end], y=[0, end], mode="lines", line=line, name="the same", hoverinfo="skip")


def _rank_correlation(x: Shares, y: Shares) -> str:
    """Spearman's; "–" where one of both does not vary."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "–"
    from scipy.stats import spearmanr

    return f"{spearmanr(x, y).statistic:.2f}"
