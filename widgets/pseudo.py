"""Pseudo-labels of D2: agreement with the truth (Figure 3), counts per class, gate and losses."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
import plotly.graph_objects as go
from ipywidgets import HTML, Layout, Tab, VBox

from ipr_core import metrics
from ipr_core.runs.events import EpochEnd
from ipr_core.texts import SENTENCE, in_figure, in_html
from ipr_widgets import curves, look, matrices
from ipr_widgets.live import LiveFigure, Touch
from ipr_widgets.state import RunState

_NAME = "pseudo-labels"
_HEIGHT = 224
_ALL, _HARDLY = 0.8, 0.02
"""Shares of D2 above or below which a class is suspected of a collapse."""
NO_VIEWS = "No views in this epoch: in the warm-up there are none, nor in runs of earlier versions"
_FAR = 0.2, 0.04
"""Distances above or below the true share, if that is known, within which there is no suspicion."""

_D2 = look.term("D2", "The ambiguous utterances. Training does not see their labels.")
_D3 = look.term("D3", "The most ambiguous utterances, kept for testing.")
_PSEUDO = look.term("pseudo-labels", "The emotion that the classifier or the prototypes give an utterance of D2.")
_GATE = look.term("gate", "Eq. 4: an utterance moves a prototype only if the classifier names its two views alike.")
_MOVES = look.term("moves", "Eq. 4: an utterance of D2 moves the prototype of its class a little towards itself.")
_BETA = look.term("β", "How much the pseudo-labels weigh in the loss, Eq. 6 and 7; 0 in the warm-up.")
_UAR = look.term("UAR", "Unweighted average recall: the mean over the classes of the share that is recognised.")

_TABS: dict[str, tuple[Callable[[RunState], go.Figure], str]] = {
    "Agreement": (
        lambda state: curves.agreement(state.events),
        f"{_PSEUDO} of {_D2} that are right (Figure 3).",
    ),
    "Counts": (
        lambda state: curves.label_counts(state.events, state.classes, true_counts(state)),
        f"{_PSEUDO} of {_D2} per class; dotted: the true counts, where they are known.",
    ),
    "Gate": (
        lambda state: curves.gate(state.events),
        f"Share of {_D2} that passes the {_GATE}.",
    ),
    "Two views": (
        lambda state: _views(state),
        f"Classes of both views of {_D2}; on the diagonal alike, as the {_GATE} asks. A click on a cell selects them.",
    ),
    "Moves": (
        lambda state: curves.moves(state.events, state.classes),
        f"Labels of {_D2} that its {_MOVES} changed each epoch, and how far they moved each prototype.",
    ),
    "Losses": (
        lambda state: curves.losses(state.events),
        f"The terms of the loss before their weights; that of {_D2} is weighted by {_BETA}.",
    ),
    "β": (
        lambda state: curves.beta(state.events),
        f"{_BETA}, the weight of the {_PSEUDO} in the loss, over the epochs.",
    ),
    "Scores": (
        lambda state: curves.scores(state.events),
        f"Recognition on {_D3}: accuracy, {_UAR} and macro-F1.",
    ),
    "Confusion": (
        lambda state: _confusion(state),
        f"{_D3} by the classifier, in utterances. A click on a cell selects them.",
    ),
}
"""A tab's title → its figure, and the sentence above it."""


class Panel(VBox):
    """A figure a tab, about 320 px high, and a line that warns of a collapse.

    Only the open tab is redrawn.
    """

    def __init__(self, state: RunState):
        self.state = state
        self.figures = {name: LiveFigure() for name in _TABS}
        self.explanations = {name: HTML(text) for name, (_, text) in _TABS.items()}
        self._sheets = {name: VBox([self.explanations[name], self.figures[name]]) for name in _TABS}
        self.tabs = Tab(layout=Layout(width="100%"))
        self.warning = HTML()
        self._stale: set[str] = set()
        self._redraw()
        state.follow(self._redraw, ["run", "events"])
        state.follow(self._move, ["epoch"], patient=True)
        self.tabs.observe(self._show, "selected_index")
        for name, rows in _OF_EPOCH.items():
            self.figures[name].on_touch(partial(self._on_touch, rows))
        super().__init__([self.warning, self.tabs], layout=Layout(width="100%"))

    def _redraw(self) -> None:
        self._stale.update(_TABS)
        self._choose_tabs()
        self._move()

    def _choose_tabs(self) -> None:
        """Offer the tabs that apply to the run's system; keep the open one if possible."""
        tabs, names = self.tabs, tab_names(self.state)
        if names != list(tabs.titles):
            title = tabs.titles[tabs.selected_index] if tabs.titles else names[0]
            tabs.children = [self._sheets[name] for name in names]
            tabs.titles = names  # in a message of their own: the page gives new tabs no titles
            tabs.selected_index = names.index(title) if title in names else 0

    def _move(self) -> None:
        self._stale.update(_OF_EPOCH)
        with self.state.guard(f"{_NAME}, words"):
            self.warning.value = words(self.state)
        self._show()

    def _show(self, _: object = None) -> None:
        """Draw the open tab if it is out of date."""
        with self.state.lock, self.state.guard(_NAME):
            name = self.tabs.titles[self.tabs.selected_index or 0]
            figure, draw = self.figures[name], _TABS[name][0]
            if name in self._stale:
                with figure.drawing(_NAME, _HEIGHT):
                    figure.draw(look.compact(draw(self.state), _HEIGHT))
                self._stale.remove(name)
            if name not in _OF_EPOCH:
                figure.mark(self.state.epoch)

    def _on_touch(self, rows: Callable[[RunState, str, str], tuple[int, ...]], touch: Touch) -> None:
        """Select the utterances of a cell of a matrix."""
        with self.state.lock, self.state.guard(f"{_NAME}, touch"):
            if touch.kind == "click" and touch.points:
                self.state.change(selection=rows(self.state, touch.points[0]["y"], touch.points[0]["x"]))


def confused(state: RunState, truth: str, prediction: str) -> tuple[int, ...]:
    """Return the rows of D3 with this label that the classifier names so in the epoch in view.

    truth, prediction: names of classes as figures have them   needs an epoch
    """
    names = [in_figure(name) for name in state.classes]
    data, named = state.opened.data, state.arrays(state.epoch)["soft_model"].argmax(axis=1)
    rows = data.rows("D3")
    cell = (data.labels[rows] == names.index(truth)) & (named[rows] == names.index(prediction))
    return tuple(np.asarray(rows)[cell].tolist())


def named_by_views(state: RunState, first: str, second: str) -> tuple[int, ...]:
    """Return the rows of D2 whose views the classifier named so in the epoch in view.

    first, second: names of classes as figures have them, of k and of k^aug   needs an epoch with views
    """
    names = [in_figure(name) for name in state.classes]
    cell = state.arrays(state.epoch)["views"] == [names.index(first), names.index(second)]
    return tuple(np.flatnonzero(cell.all(axis=1)).tolist())


_OF_EPOCH = {"Two views": named_by_views, "Confusion": confused}
"""The tabs that show one epoch instead of all → the utterances of a cell, by the names of its row and its column."""


def _views(state: RunState) -> go.Figure:
    title = "Classes of the two views of D2"
    if not state.past:
        return look.note(look.figure(title), look.NO_EPOCH)
    views, size = state.arrays(state.epoch).get("views"), len(state.classes)
    if views is None:
        return look.note(look.figure(title), NO_VIEWS)
    first, second = views[(views >= 0).all(axis=1)].T
    fig = matrices.views(
        metrics.confusion(first, second, size), state.classes, f"{title}, epoch {state.past[-1].epoch}"
    )
    return fig.update_traces(texttemplate="%{customdata}", showscale=False)


def _confusion(state: RunState) -> go.Figure:
    if not state.past:
        return look.note(look.figure("Confusion on D3"), look.NO_EPOCH)
    event = state.past[-1]
    fig = matrices.confusion(event.confusion, state.classes, f"Confusion on D3, epoch {event.epoch}")
    return fig.update_traces(texttemplate="%{customdata}", showscale=False)


def tab_names(state: RunState) -> list[str]:
    """Return the titles of the tabs that apply to the run's system; all without a run."""
    system = state.system
    applies = dict(Gate=system.shows_gate, Moves=system.moves_prototypes, β=system.shows_beta) if system else {}
    if system:
        applies["Two views"] = system.shows_gate
    return [name for name in _TABS if applies.get(name, True)]


def true_counts(state: RunState) -> list[int] | None:
    """Return (C,) utterances of D2 per true label; None if they are not known."""
    if state.data is None or (state.events and state.events[-1].agreement_model is None):
        return None
    labels = state.data.labels[state.data.rows("D2")]
    return np.bincount(labels[labels >= 0], minlength=len(state.data.classes)).tolist()


def collapse(event: EpochEnd, classes: Sequence[str], truth: Sequence[int] | None = None) -> list[str]:
    """Return a sentence for every class that wrongly gets nearly all of D2, or hardly any.

    truth: (C,) utterances of D2 per true label, None if they are not known
    """
    sentences = []
    for labeller, counts in (("prototypes", event.labels_prototypes), ("classifier", event.labels_model)):
        if counts is None:
            continue
        true_shares = _shares(truth) if truth is not None else np.full(len(classes), np.nan)
        for name, share, true in zip(classes, _shares(counts), true_shares, strict=True):
            if (share > _ALL and not share - true < _FAR[0]) or (share < _HARDLY and not true - share < _FAR[1]):
                contrast = "" if np.isnan(true) else f"; {100 * true:.0f} % are"
                sentences.append(f"by the {labeller}, {100 * share:.0f} % of D2 are {name}{contrast}")
    return sentences


def words(state: RunState) -> str:
    """Describe the counts of the epoch in view, as HTML."""
    if not state.past:
        return "No pseudo-labels yet."
    event = state.past[-1]
    sentences = collapse(event, state.classes, true_counts(state))
    if sentences:
        colour = "var(--jp-error-color0, currentColor)"
        collapses = in_html("; ".join(sentences), SENTENCE)
        return f'<b style="color: {colour}">Collapse at epoch {event.epoch}:</b> {collapses}.'
    labeller, counts = "prototypes", event.labels_prototypes
    if counts is None:
        labeller, counts = "classifier", event.labels_model
    low, high = 100 * min(_shares(counts)), 100 * max(_shares(counts))
    return f"Epoch {event.epoch}: no collapse; by the {labeller} every class has {low:.0f} to {high:.0f} % of D2."


def _shares(counts: Sequence[int]) -> np.ndarray:
    return np.asarray(counts) / max(sum(counts), 1)
