"""One board over several runs on the same utterances, finished or in training.

N utterances, C classes, R runs. An utterance, a selection or an epoch that is looked at in one run is looked at in all.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping
from itertools import combinations

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.data.dataset import Dataset
from ipr_core.runs.run import Run
from ipr_core.texts import SENTENCE, in_html, plain
from ipr_core.training.runner import Began
from ipr_widgets import comparison, look, similarity, umap
from ipr_widgets.board import EpochBar
from ipr_widgets.explorer import Player
from ipr_widgets.listing import run_facts
from ipr_widgets.live import LiveFigure
from ipr_widgets.page import Keys
from ipr_widgets.parts import THIN, error_text
from ipr_widgets.state import RunState
from ipr_widgets.votes import TIED

LIMIT = 300
"""The most rows of the list."""
_HEIGHT = 280
_EVERY = 1.0  # seconds between two looks at a run that another process trains
_LINKED = "focus", "selection", "epoch"
_NAME = "runs side by side"


class Abreast(w.VBox):
    """Curves together, the utterances that the runs label differently, and a plane and the prototypes of each run.

    states: of runs on the same utterances, two or more, by name
    """

    def __init__(self, states: Mapping[str, RunState]):
        self.states, self._linking, self._filling = dict(states), False, False
        self.first = next(iter(self.states.values()))
        self.curves = LiveFigure(), LiveFigure()
        self.count, self.choice = w.HTML().add_class("ipr-caption"), w.Select(rows=12)
        self.choice.layout, self.choice.tooltip = w.Layout(**THIN), "Choose an utterance to hear it"
        for state in self.states.values():
            state.observe(self._link, list(_LINKED))
            state.follow(self._draw_curves, ["run", "events"])
            state.follow(self._fill, ["run", "epoch"], patient=True)
        self.choice.observe(self._on_choice, "value")
        self._draw_curves()
        self._fill()
        super().__init__([EpochBar(self.first), self._head(), self._columns(), Keys()])
        self.add_class("ipr-page")

    def _head(self) -> w.GridBox:
        heard = w.VBox([self.count, self.choice, Player(self.first)], layout=w.Layout(min_width="0"))
        columns = w.Layout(grid_template_columns="minmax(0, 2fr) minmax(0, 3fr) minmax(0, 3fr)", width="100%")
        return w.GridBox([heard, *self.curves], layout=columns)

    def _columns(self) -> w.GridBox:
        """Return a column for each run: its name, its plane and its prototypes."""
        columns = []
        for name, state in self.states.items():
            parts = [w.HTML(f"<b>{in_html(name, SENTENCE)}</b>"), umap.panel(state)]
            parts += [similarity.Panel(state)] if state.shows_prototypes else []
            columns.append(w.VBox(parts, layout=w.Layout(min_width="0", overflow="hidden")))
        shares = f"repeat({len(columns)}, minmax(0, 1fr))"
        return w.GridBox(columns, layout=w.Layout(grid_template_columns=shares, grid_gap="8px", width="100%"))

    def _link(self, change: dict) -> None:
        """Look at the same in every other run; a shorter run stays at its newest epoch."""
        if self._linking:
            return
        self._linking = True
        try:
            for state in self.states.values():
                value = change["new"]
                if change["name"] == "epoch":
                    value = min(value, len(state.events) - 1)
                state.change(**{change["name"]: value})
        finally:
            self._linking = False
        if change["name"] == "focus":
            self._mark()

    def _draw_curves(self) -> None:
        runs = {name: state.opened.run for name, state in self.states.items()}
        for figure, draw in zip(self.curves, (comparison.scores, comparison.agreement), strict=True):
            with self.first.lock, self.first.guard(_NAME), figure.drawing(_NAME, _HEIGHT):
                figure.draw(_compact(draw(runs)))

    def _fill(self) -> None:
        """List the utterances that two runs label differently, those first whose soft labels are furthest apart."""
        with self.first.lock, self.first.guard(_NAME):
            try:
                rows = differences(self.states)
            except Exception as error:
                self.count.value = error_text(error)
                raise
            table, names = self.first.opened.data.table, [named(state) for state in self.states.values()]
            epochs = ", ".join(str(state.epoch) for state in self.states.values())
            self.count.value = f"{len(rows):,} of {len(table):,} utterances are labelled differently, epochs {epochs}"
            texts = [
                f"{plain(table['id'].iloc[row])} {table['part'].iloc[row]} {plain(table['label'].iloc[row]) or TIED}: "
                + " | ".join(plain(name[row]) for name in names)
                for row in rows[:LIMIT]
            ]
            self._filling = True
            try:
                with self.choice.hold_sync():
                    self.choice.index = None
                    self.choice.options = list(zip(texts, rows[:LIMIT].tolist(), strict=True))
                    self._mark()
            finally:
                self._filling = False

    def _mark(self) -> None:
        filling, self._filling = self._filling, True
        rows = [row for _, row in self.choice.options]
        self.choice.value = self.first.focus if self.first.focus in rows else None
        self._filling = filling

    def _on_choice(self, change: dict) -> None:
        if not self._filling and change["new"] is not None:
            with self.first.lock, self.first.guard(_NAME):
                self.first.change(focus=change["new"])


def board(runs: Mapping[str, Run], data: Dataset, states: Mapping[str, RunState] | None = None) -> Abreast:
    """Return the board of runs on the utterances of `data`; those still trained by another process are followed.

    states: of runs that are trained in this kernel, by the runs' names
    """
    in_training = states or {}
    # One lock for all: each change of one is a change of the others, and two threads would wait for each other's.
    lock = next((state.lock for state in in_training.values()), threading.RLock())
    opened: dict[str, RunState] = {}
    for name, run in runs.items():
        opened[name] = in_training[name] if name in in_training else _opened(run, data, lock)
    panel = Abreast(opened)
    for name, run in runs.items():
        if name not in in_training and not run.finished:
            threading.Thread(target=_follow, args=(opened[name],), name="following", daemon=True).start()
    return panel


def _opened(run: Run, data: Dataset, lock: threading.RLock) -> RunState:
    state = RunState()
    state.lock = lock
    state.on_event(Began(run, data))
    return state


def named(state: RunState) -> NDArray[np.str_]:
    """Return (N,) the single labels of the epoch in view, "" before there is one."""
    if state.epoch < 0:
        return np.full(len(state.opened.data.table), "")
    return np.array(state.classes)[_soft(state).argmax(axis=1)]


def differences(states: Mapping[str, RunState]) -> NDArray[np.int64]:
    """Return the utterances that two runs label differently at the epochs in view, the furthest apart first.

    How far is the largest Jensen-Shannon divergence of two runs' soft labels. None before every run has an epoch.
    """
    if any(state.epoch < 0 for state in states.values()):
        return np.empty(0, np.int64)
    soft = [_soft(state) for state in states.values()]
    labels = np.stack([shares.argmax(axis=1) for shares in soft])
    far = np.max([metrics.js_divergence(a, b) for a, b in combinations(soft, 2)], axis=0)
    rows = np.flatnonzero((labels != labels[0]).any(axis=0))
    return rows[np.argsort(-far[rows], kind="stable")]


def _soft(state: RunState) -> NDArray[np.floating]:
    """Return (N, C) the uncalibrated soft labels of the epoch in view."""
    return state.arrays(state.epoch)[run_facts(state).labeller].astype(float)


def _follow(state: RunState) -> None:
    """Take in the epochs that another process trains, until the run is finished."""
    run, pause = state.opened.run, threading.Event()
    while True:
        finished = run.finished  # first: epochs may come between the two
        with state.guard(_NAME):
            for event in run.history()[len(state.events) :]:
                state.on_event(event)
        if finished:
            return
        pause.wait(_EVERY)


def _compact(fig: go.Figure) -> go.Figure:
    look.compact(fig, _HEIGHT)
    return fig.update_layout(title_font_size=12)
