"""Figures of the partition, and of soft labels against votes.  N utterances, C classes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.texts import in_figure
from ipr_widgets import colours, look

Shares = NDArray[np.floating]

PARTS = {
    "D1": "D1, precise",
    "D2": "D2, ambiguous",
    "D3": "D3, test",
    "V1": "V1, held out of D1",
    "V2": "V2, held out of D2",
}
TIED = "tied votes"
"""An utterance without a label, since two or more classes have the most votes."""
_EDGES = np.array([0.0, 0.1, 0.3, 0.5, 0.7, 0.9, 1.0])
"""Edges of the bins of vote shares: nobody, nearly nobody … nearly everybody, everybody."""
POINTS, SPEAKERS = 5000, 60
"""The most utterances and speakers that a figure shows one by one; more would be too much for a page."""


def present(parts: Iterable[str]) -> dict[str, str]:
    """Return those of PARTS that have an utterance.  parts: (N,) of the utterances"""
    names = set(parts)
    return {part: title for part, title in PARTS.items() if part in names}


def partition(table: DataFrame, classes: Sequence[str]) -> go.Figure:
    """Draw the utterances of each class in each part.  table: the partitioned utterance table"""
    fig = look.figure("The partition, per class", barmode="group", xaxis_title="Part", yaxis_title="Utterances")
    parts = list(present(table["part"]).values())
    for label, (title, colour) in labels(table, classes).items():
        counts = _counts(table, label)
        fig.add_trace(go.Bar(x=parts, y=counts, name=title, marker_color=colour, text=counts, textposition="outside"))
    return fig.update_traces(cliponaxis=False)


def partition_by_speaker(table: DataFrame, classes: Sequence[str]) -> go.Figure:
    """Draw the utterances of each speaker in each part, stacked by class.

    Of many speakers only the most frequent are drawn.
    """
    totals = table["speaker"].value_counts()
    speakers = sorted(totals.index[:SPEAKERS])
    names = [in_figure(name) for name in speakers]
    limit = f": the {SPEAKERS} with the most utterances of {len(totals):,}" if len(totals) > SPEAKERS else ""
    parts = present(table["part"])
    fig = look.panels(f"The partition, per speaker{limit}", list(parts.values()), 170 + 16 * len(speakers))
    for column, part in enumerate(parts, start=1):
        rows = table[table["part"] == part]
        for label, (title, colour) in labels(table, classes).items():
            count = rows[rows["label"] == label].groupby("speaker").size().reindex(speakers, fill_value=0)
            bar = go.Bar(x=count.tolist(), y=names, orientation="h", name=title, marker_color=colour)
            fig.add_trace(bar.update(legendgroup=bar.name, showlegend=column == 1), row=1, col=column)
    fig.update_xaxes(title="Utterances").update_yaxes(type="category", autorange="reversed")
    return fig.update_yaxes(title="Speaker", col=1).update_layout(barmode="stack", legend_traceorder="normal")


def soft_against_votes(soft: Shares, votes: Shares, classes: Sequence[str]) -> go.Figure:
    """Draw each class's share in the soft labels against its share of the votes.

    soft, votes: (N, C), rows sum to 1; utterances without votes (NaN) are left out
    A point is the mean over the utterances whose vote share lies in one bin, its bar their middle half.
    """
    fig = look.figure("Soft labels against the annotators' votes", 460, yaxis_rangemode="tozero")
    fig.update_layout(xaxis_title="Share of the votes, %", yaxis_title="Share in the soft label, %")
    has_votes = np.isfinite(votes).all(axis=1)
    if not has_votes.any():
        return look.note(fig, "The annotators' votes for each class are not known")
    fig.add_trace(_diagonal(100))
    for c, name in enumerate(classes):
        fig.add_trace(_by_share(100 * soft[has_votes, c], 100 * votes[has_votes, c], name))
    return fig


def entropy_against_entropy(soft: Shares, votes: Shares, parts: Sequence[str]) -> go.Figure:
    """Draw the entropy of the soft labels against that of the votes, and their correlation.

    soft, votes: (N, C), rows sum to 1; rows of NaN are left out   parts: (N,) of PARTS
    Of many utterances the points are a fixed sample; the correlation is that of all.
    """
    fig = look.figure("Entropy of soft labels and of votes", 460)
    fig.update_layout(xaxis_title="Entropy of the votes, bits", yaxis_title="Entropy of the soft label, bits")
    has_votes = np.isfinite(votes).all(axis=1)
    if not has_votes.any():
        return look.note(fig, "The annotators' votes for each class are not known")
    x, y = metrics.entropy(votes[has_votes]), metrics.entropy(soft[has_votes])
    fig.add_trace(_diagonal(np.log2(votes.shape[1])))
    sample = np.random.default_rng(0).permutation(len(x))[:POINTS]
    limit = f"{POINTS:,} of {len(x):,} utterances, " if len(x) > POINTS else ""
    for part in present(parts):
        rows = np.sort(sample[np.asarray(parts)[has_votes][sample] == part])
        marker = dict(color=colours.PARTS[part], opacity=0.6, size=6)
        fig.add_trace(go.Scattergl(x=x[rows], y=y[rows], mode="markers", name=PARTS[part], marker=marker))
    correlation = f"rank correlation {_rank_correlation(x, y)}"
    return fig.update_layout(title=f"Entropy of soft labels and of votes: {limit}{correlation}")


def entropies(soft: Shares, parts: Sequence[str]) -> go.Figure:
    """Draw the entropy of the soft labels of each part.  soft: (N, C)   parts: (N,) of PARTS"""
    shown = present(parts)
    fig = look.panels("Entropy of the soft labels", list(shown.values()), 340)
    entropy, highest = metrics.entropy(soft), np.log2(soft.shape[1])
    edges = np.linspace(0, highest + 1e-6, 21)
    bins, middles = dict(start=0, end=edges[-1], size=edges[1]), (edges[1:] + edges[:-1]) / 2
    for column, part in enumerate(shown, start=1):
        counts, _ = np.histogram(entropy[np.asarray(parts) == part], edges)  # here, so that the page gets no more
        bars = go.Histogram(x=middles, y=counts, histfunc="sum", xbins=bins, histnorm="percent", showlegend=False)
        fig.add_trace(bars.update(marker_color=colours.PARTS[part]), row=1, col=column)
    fig.update_xaxes(title="Entropy, bits", range=[0, highest])
    return fig.update_yaxes(title="Utterances of the part, %", col=1)


def _counts(table: DataFrame, label: str) -> list[int]:
    """Count the utterances of a label in each part."""
    parts = table.loc[table["label"] == label, "part"]
    return [int((parts == part).sum()) for part in present(table["part"])]


def labels(table: DataFrame, classes: Sequence[str]) -> dict[str, tuple[str, str]]:
    """Return each label of the utterances with its title and colour: the classes, and "" where votes tie."""
    looks = {name: (in_figure(name), colours.colour(name)) for name in classes}
    return looks | ({"": (TIED, colours.INK)} if (table["label"] == "").any() else {})


def _by_share(soft: Shares, votes: Shares, name: str) -> go.Scatter:
    """Draw means and quartiles of the soft shares in every bin of vote shares."""
    number = np.digitize(votes, 100 * _EDGES[1:-1], right=True)
    bins = np.unique(number)
    x = [votes[number == b].mean() for b in bins]
    y = np.array([soft[number == b].mean() for b in bins])
    low, high = np.array([np.percentile(soft[number == b], (25, 75)) for b in bins]).T
    error = dict(symmetric=False, array=(high - y).clip(0), arrayminus=(y - low).clip(0), thickness=1, width=3)
    counts = [int((number == b).sum()) for b in bins]
    return go.Scatter(
        x=x, y=y, error_y=error, mode="lines+markers", name=in_figure(name),
        line_color=colours.colour(name), marker_symbol=colours.symbol(name),
        customdata=counts, hovertemplate="votes %{x:.0f} %, soft label %{y:.0f} %, %{customdata} utterances",
    )  # fmt: skip


def _diagonal(end: float) -> go.Scatter:
    line = dict(color=colours.INK, dash="dash", width=1)
    return go.Scatter(x=[0, end], y=[0, end], mode="lines", line=line, name="the same", hoverinfo="skip")


def _rank_correlation(x: Shares, y: Shares) -> str:
    """Return Spearman's rank correlation; "–" if x or y does not vary."""
    if np.ptp(x) == 0 or np.ptp(y) == 0:
        return "–"
    from scipy.stats import spearmanr

    return f"{spearmanr(x, y).statistic:.2f}"
