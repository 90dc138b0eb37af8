"""Pseudo-labels of D2: how many are right (Figure 3), how they spread over the classes, and what trains on them."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import plotly.graph_objects as go
from ipywidgets import HTML, Box, Layout, Tab, VBox

from ipr_core.runs.events import EpochEnd
from ipr_widgets import curves, look
from ipr_widgets.live import LiveFigure
from ipr_widgets.parts import failed_figure
from ipr_widgets.state import RunState

_NAME = "pseudo-labels"
_HEIGHT = 264
_ALL, _HARDLY = 0.8, 0.02
"""A class with a larger or a smaller share of D2 is suspected of a collapse."""
_FAR = 0.2, 0.04
"""So far above or below its true share it must lie for that, where the true one is known."""

_D2 = look.term("D2", "The ambiguous utterances. Training does not see their labels.")
_D3 = look.term("D3", "The most ambiguous utterances, kept for testing.")
_PSEUDO = look.term("pseudo-labels", "The emotion that the classifier or the prototypes give an utterance of D2.")
_GATE = look.term("gate", "Eq. 4: an utterance moves a prototype only if the classifier names its two views alike.")
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
}
"""A tab's title → its figure, and the sentence above it."""


def panel(state: RunState) -> Box:
    """A figure a tab, about 380 px high, and a line that tells of a collapse. Only the tab in sight is redrawn."""
    figures = {name: LiveFigure() for name in _TABS}
    sheets = {name: VBox([HTML(about), figures[name]]) for name, (_, about) in _TABS.items()}
    tabs = Tab(layout=Layout(width="100%"))
    warning, stale = HTML(), set()

    def offer() -> None:
        """The tabs that say something of the run's system; the one in sight stays so if it is one of them."""
        names = offered(state)
        if names != list(tabs.titles):
            seen = tabs.titles[tabs.selected_index] if tabs.titles else names[0]
            tabs.children = [sheets[name] for name in names]
            tabs.titles = names  # in a message of their own: the page gives new tabs no titles
            tabs.selected_index = names.index(seen) if seen in names else 0

    def show(_: object = None) -> None:
        """Draw the tab in sight, unless it is as it should be."""
        with state.lock, state.guard(_NAME):
            name = tabs.titles[tabs.selected_index or 0]
            if name in stale:
                _draw(figures[name], state, _TABS[name][0])
                stale.remove(name)
            figures[name].mark(state.epoch)

    def redraw() -> None:
        stale.update(_TABS)
        offer()
        move()

    def move() -> None:
        with state.guard(f"{_NAME}, words"):
            warning.value = words(state)
        show()

    redraw()
    state.follow(redraw, ["run", "events"])
    state.follow(move, ["epoch"], patient=True)
    tabs.observe(show, "selected_index")
    return VBox([warning, tabs], layout=Layout(width="100%"))


def offered(state: RunState) -> list[str]:
    """Titles of the tabs that say something of the run's system; all of them before there is a run."""
    system = state.system
    told = dict(Gate=system.shows_gate, β=system.shows_beta) if system else {}
    return [name for name in _TABS if told.get(name, True)]


def true_counts(state: RunState) -> list[int] | None:
    """(C,) utterances of D2 per true label; None where they are not known."""
    if state.data is None or (state.events and state.events[-1].agreement_model is None):
        return None
    data = state.data
    return np.bincount(data.labels[data.rows("D2")], minlength=len(data.classes)).tolist()


def collapse(event: EpochEnd, classes: Sequence[str], truth: Sequence[int] | None = None) -> list[str]:
    """A sentence for every class that takes nearly all of D2, or hardly any, while the truth is another.

    truth: (C,) utterances of D2 per true label, None where that is not known
    """
    found = []
    for who, counts in (("prototypes", event.labels_prototypes), ("classifier", event.labels_model)):
        if counts is None:
            continue
        shares = _shares(counts)
        true = _shares(truth) if truth is not None else np.full(len(classes), np.nan)
        for name, share, should in zip(classes, shares, true, strict=True):
            if (share > _ALL and not share - should < _FAR[0]) or (share < _HARDLY and not should - share < _FAR[1]):
                known = "" if np.isnan(should) else f"; {100 * should:.0f} % are"
                found.append(f"by the {who}, {100 * share:.0f} % of D2 are {name}{known}")
    return found


def words(state: RunState) -> str:
    """What the counts say at the epoch that is looked at, as HTML."""
    if not state.past:
        return "No pseudo-labels yet."
    event = state.past[-1]
    found = collapse(event, state.classes, true_counts(state))
    if found:
        colour = "var(--jp-error-color0, currentColor)"
        return f'<b style="color: {colour}">Collapse at epoch {event.epoch}:</b> {"; ".join(found)}.'
    who, counts = (
        ("classifier", event.labels_model)
        if event.labels_prototypes is None
        else ("prototypes", event.labels_prototypes)
    )
    least, most = (100 * of(_shares(counts)) for of in (min, max))
    return f"Epoch {event.epoch}: no collapse; by the {who} every class has {least:.0f} to {most:.0f} % of D2."


def _shares(counts: Sequence[int]) -> np.ndarray:
    return np.asarray(counts) / max(sum(counts), 1)


def _draw(figure: LiveFigure, state: RunState, draw: Callable[[RunState], go.Figure]) -> None:
    """A figure at the panel's size; one that fails says so in its place."""
    try:
        figure.draw(look.compact(draw(state), _HEIGHT), state.epoch)
    except Exception as error:
        figure.draw(failed_figure(_NAME, error, _HEIGHT))
        raise
