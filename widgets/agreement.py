"""Figures of how far listeners agree, and a panel of them.  C labels, R listeners."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import plotly.graph_objects as go
from ipywidgets import HTML, Layout, Tab, VBox
from pandas import DataFrame

from ipr_core.config import Config, Data
from ipr_core.data import raters
from ipr_core.data.cache import default_cache
from ipr_core.texts import in_figure
from ipr_core.votes import agreement, merge, record
from ipr_widgets import colours, look
from ipr_widgets.live import LiveFigure

PAIRS, LISTENERS = 15, 40
"""The most pairs of emotions and listeners that a figure shows; more would be too much for a page."""
NO_VOTES = "No utterance has two votes"
NO_NAMES = "It is not known who gave the votes"
NO_TIMES = "There is no listening test"
_COEFFICIENTS = (
    ("alpha", "Krippendorff's α", colours.SAME, "circle"),
    ("kappa", "Fleiss' κ", colours.DIFFERENT, "diamond-open"),
)
"""Column, title, colour and symbol."""
_ROW = 22  # pixels of a row of bars

_TERMS = {
    "α": look.term("α", "Krippendorff's alpha, nominal: 1 all agree, 0 as by chance."),
    "κ": look.term("κ", "Fleiss' kappa: 1 all agree, 0 as by chance."),
    "agreement": look.term("agreement", "Of the votes of others on the same utterances, the share for the same label."),
    "consistency": look.term("consistency", "How much of a vote is the same when the clip comes again."),
}
_WORDS = {
    "Classes": f"{_TERMS['α']} and {_TERMS['κ']} of all emotions, and of each against the rest, with 95 % intervals.",
    "Pairs": "Which two emotions are heard in the same utterance, as a share of all disagreement.",
    "Listeners": f"Each listener's {_TERMS['agreement']} and {_TERMS['consistency']}, and what was heard how often.",
    "Time": "Votes of the listening tests.",
}


class Panel(VBox):
    """The figures of a corpus's agreement, a tab each."""

    def __init__(self, votes: DataFrame, tests: DataFrame | None = None):
        """votes: of `raters.tidy`   tests: of `votes.record.read`, for consistency and times"""
        votes = agreement.comparable(votes)
        pairs = agreement.pairs_of_votes(raters.coded(votes))
        has_pairs = len(pairs.utterances) > 0
        repeats = agreement.consistency(tests) if tests is not None else None
        figures = {
            "Classes": coefficients(agreement.coefficients(pairs) if has_pairs else DataFrame()),
            "Pairs": confusions(agreement.confusions(pairs) if has_pairs else DataFrame()),
            "Listeners": listeners(agreement.listeners(votes), repeats),
        }
        if tests is not None:
            figures["Time"] = over_time(agreement.over_time(tests))
        self.figures = {name: LiveFigure(figure) for name, figure in figures.items()}
        sheets = [VBox([HTML(_WORDS[name]), figure]) for name, figure in self.figures.items()]
        self.tabs = Tab(sheets, titles=list(figures), layout=Layout(width="100%"))
        super().__init__([self.tabs], layout=Layout(width="100%"))


def panel(corpus: Config | Data, votes: Path | str | None = None) -> Panel:
    """Return the panel of a corpus's votes.

    corpus: its settings   votes: a folder of listening tests, merged into the corpus's votes
    raises CorpusError if the corpus cannot be read, VoteError if a file of votes is damaged
    """
    data = corpus.data if isinstance(corpus, Config) else corpus
    tests = None if votes is None else record.read(votes)
    merged = merge.merge(data, tests, default_cache())
    return Panel(raters.tidy(merged.votes, data), tests)


def coefficients(table: DataFrame) -> go.Figure:
    """Draw α and κ of all labels and of each against the rest, with their intervals.

    table: of `agreement.coefficients`; empty: there is none
    """
    fig = look.figure("Agreement, per emotion", 120 + 2 * _ROW * max(len(table), 4))
    if table.empty:
        return look.note(fig, NO_VOTES)
    names = [in_figure(str(name)) for name in table.index]
    for column, title, colour, symbol in _COEFFICIENTS:
        value, low, high = (table[f"{column}{part}"] for part in ("", "_low", "_high"))
        error = dict(type="data", symmetric=False, array=high - value, arrayminus=value - low, thickness=1, width=4)
        marker = dict(color=colour, symbol=symbol, size=9)
        fig.add_trace(go.Scatter(x=value, y=names, mode="markers", name=title, marker=marker, error_x=error))
    fig.add_vline(x=0, line=dict(color=colours.INK, dash="dash", width=1))
    return fig.update_xaxes(title="1: all agree; 0: as by chance").update_yaxes(autorange="reversed")


def confusions(table: DataFrame) -> go.Figure:
    """Draw which two labels are confused, the most confused first.  table: of `agreement.confusions`"""
    table = table.head(PAIRS)
    fig = look.figure("Emotions that are confused", 120 + _ROW * max(len(table), 4))
    if table.empty:
        return look.note(fig, NO_VOTES)
    names = [f"{in_figure(a)}, {in_figure(b)}" for a, b in zip(table["one"], table["other"], strict=True)]
    share, low, high = (100 * table[name] for name in ("share", "low", "high"))
    error = dict(type="data", symmetric=False, array=high - share, arrayminus=share - low, thickness=1, width=4)
    error["color"] = colours.INK
    bar = go.Bar(
        x=share, y=names, orientation="h", error_x=error, marker_color=colours.MODEL, customdata=table["times_chance"],
        hovertemplate="%{y}: %{x:.1f} % of all disagreement, %{customdata:.2f} times chance<extra></extra>",
    )  # fmt: skip
    fig.add_trace(bar)
    return fig.update_xaxes(title="Share of all disagreement, %").update_yaxes(autorange="reversed")


def listeners(table: DataFrame, repeats: DataFrame | None = None) -> go.Figure:
    """Draw each listener's agreement with the others and consistency, and the share of each label.

    table: of `agreement.listeners`, those with the most votes first   repeats: of `agreement.consistency`
    """
    labels = [name for name in table.columns if name not in ("votes", "compared", "agreement")]
    total, table = len(table), table.head(LISTENERS)
    limit = f", the {LISTENERS} with the most votes of {total:,}" if total > LISTENERS else ""
    titles = ["Agreement and consistency", "Emotions heard"]
    fig = look.panels(f"Listeners{limit}", titles, 160 + _ROW * max(len(table), 4))
    if table.empty:
        return look.note(fig, NO_NAMES)
    names = [in_figure(str(name)) for name in table.index]
    fig.add_trace(_dots(table["agreement"], names, "agreement with others", colours.SAME, table["votes"]), row=1, col=1)
    if repeats is not None and len(repeats):
        consistency = repeats.reindex(table.index)
        dots = _dots(
            consistency["consistency"], names, "consistency on repeats", colours.DIFFERENT, consistency["repeats"]
        )
        fig.add_trace(dots.update(marker_symbol="diamond-open"), row=1, col=1)
    for label in labels:
        bar = go.Bar(x=100 * table[label], y=names, orientation="h", name=in_figure(label))
        fig.add_trace(bar.update(marker_color=colours.colour(label)), row=1, col=2)
    fig.update_xaxes(title="0 to 1", range=[-0.02, 1.02], col=1).update_xaxes(title="Share of the votes, %", col=2)
    fig.update_yaxes(type="category", autorange="reversed")
    return fig.update_layout(barmode="stack", legend_traceorder="normal")


def over_time(table: DataFrame) -> go.Figure:
    """Draw how many votes each listener had given when.  table: of `agreement.over_time`"""
    fig = look.figure("Votes over time", 380, xaxis_title="Time, UTC", yaxis_title="Votes, repeats included")
    if table.empty:
        return look.note(fig, NO_TIMES)
    for i, name in enumerate(table["listener"].unique()[:LISTENERS]):
        rows = table[table["listener"] == name]
        line = dict(color=colours.numbered(i), shape="hv")
        fig.add_trace(go.Scatter(x=rows["time"], y=rows["votes"], mode="lines", name=in_figure(name), line=line))
    return fig.update_layout(showlegend=True)


def _dots(values: Sequence[float], names: Sequence[str], title: str, colour: str, votes: Sequence[float]) -> go.Scatter:
    marker = dict(color=colour, size=9)
    hover = "%{y}: %{x:.2f}, of %{customdata:.0f}<extra></extra>"
    return go.Scatter(
        x=values, y=names, mode="markers", name=title, marker=marker, customdata=votes, hovertemplate=hover
    )
