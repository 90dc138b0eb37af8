"""The explorer's list of utterances: sorted by a measure, filtered, searched.  N utterances, C classes."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import ipywidgets as w
import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.results.soft_labels import calibrated_labels
from ipr_core.runs.run import Run
from ipr_core.texts import plain
from ipr_widgets.filters import Filters
from ipr_widgets.parts import THIN, column_layout, error_text, follow
from ipr_widgets.state import RunState
from ipr_widgets.votes import TIED

LIMIT = 300
"""The most rows of the list; the search by id finds the others."""
LETTERS = 20
"""Letters of an id in the list, so that the columns after it stay in sight."""

ENTROPY, LABELLERS, VOTES, WARM_UP, PREVIOUS = "entropy", "labellers", "votes", "warm_up", "previous"
ORDERS = {
    "least certain first": ENTROPY,
    "prototypes against classifier": LABELLERS,
    "soft label against votes": VOTES,
    "changed since the warm-up": WARM_UP,
    "changed since the epoch before": PREVIOUS,
}
_ORDERS_TIP = (
    "What the list is sorted by, largest first, in bits. Least certain: entropy of the soft label. Against, changed: "
    "Jensen-Shannon divergence of the two soft labels, 0 the same, 1 bit nothing in common."
)
_UNKNOWN = {
    VOTES: "The annotators' votes for each class are not known.",
    WARM_UP: "The epoch that is looked at is not after the warm-up.",
    PREVIOUS: "There is no epoch before this one.",
}
_NAME = "list of utterances"  # in `RunState.faults`

Shares = NDArray[np.floating]
Rows = NDArray[np.int64]


def measure(order: str, arrays: dict[str, Shares], earlier: Shares | None, votes: Shares, labeller: str) -> Shares:
    """Return the values that the list is sorted by, in bits.

    arrays: of the epoch in view   earlier: (N, C) soft labels of the epoch to compare with
    votes: (N, C), NaN rows where not known   labeller: the array of soft labels that the system labels with
    returns: (N,) NaN where it is not known
    """
    if order == ENTROPY:
        return metrics.entropy(arrays[labeller])
    reference = {LABELLERS: arrays["soft_model"], VOTES: votes}.get(order, earlier)
    if reference is None:
        return np.full(len(arrays[labeller]), np.nan)
    return metrics.js_divergence(arrays["soft_prototypes" if order == LABELLERS else labeller], reference)


def reference_epoch(order: str, epoch: int, warm_up: int) -> int | None:
    """Return the warm-up's last epoch, or the previous one; None where there is none.

    warm_up: how many epochs it has
    """
    reference = {WARM_UP: warm_up - 1, PREVIOUS: epoch - 1}.get(order, -1)
    return reference if 0 <= reference < epoch else None


def largest(values: Shares, mask: NDArray[np.bool_], limit: int = LIMIT) -> Rows:
    """Return the rows of the mask with the largest values, largest first, without NaN."""
    rows = np.flatnonzero(mask & np.isfinite(values))
    return rows[np.argsort(-values[rows], kind="stable")[:limit]]


@dataclass(frozen=True)
class RunFacts:
    """Facts of a run that stay the same in every epoch."""

    ids: NDArray[np.str_]
    """(N,) in lower case."""
    parts: NDArray[np.str_]
    votes: Shares
    sample: Rows
    precise: Rows
    """Numbers of the sample's utterances in D1."""
    labeller: str
    """The array of soft labels that the system labels with."""
    warm_up: int


def run_facts(state: RunState) -> RunFacts:
    """Return the facts of the state's run; needs a run."""
    return _run_facts(state, state.opened.run)


@functools.lru_cache(maxsize=2)
def _run_facts(state: RunState, run: Run) -> RunFacts:
    _, data, system = state.opened
    sample, parts = state.sample, data.table["part"].to_numpy(str)
    ids = np.char.lower(data.table["id"].to_numpy(str))
    labeller = "soft_prototypes" if system.moves_prototypes else "soft_model"
    precise = np.flatnonzero(parts[sample] == "D1")
    return RunFacts(ids, parts, data.votes, sample, precise, labeller, run.config.training.warm_up)


def soft_labels(state: RunState) -> Shares:
    """Return (N, C) the soft labels of the epoch in view, as the run's labels have them in the end; needs an epoch."""
    return calibrated_labels(state.opened.run) if state.final else state.arrays(state.epoch)[run_facts(state).labeller]


def least_certain(state: RunState) -> int:
    """Return the row of the utterance whose soft label is least certain; before there is one, its votes; needs a run.

    returns: -1 if there is no utterance
    """
    if state.epoch < 0:
        doubts = -state.opened.data.table["share"].to_numpy(float)
    else:  # as the list is sorted
        doubts = metrics.entropy(state.arrays(state.epoch)[run_facts(state).labeller])
    return int(np.nanargmax(doubts)) if np.isfinite(doubts).any() else -1


class Listing(w.VBox):
    """The sorted list with its filters; the row that is chosen is the state's focus."""

    def __init__(self, state: RunState):
        self.state, self._filling = state, False
        self._matches: tuple[int, ...] = ()
        wide = w.Layout(**THIN, flex="0 0 auto")
        self.order = w.Dropdown(options=tuple(ORDERS.items()), tooltip=_ORDERS_TIP)
        self.order.layout = w.Layout(**THIN, flex="1 1 0")
        self.filters = Filters(state, self._on_filter)
        self.head = w.HTML(layout=wide).add_class("ipr-head")
        self.choice = w.Select(rows=8, layout=w.Layout(**THIN, min_height="0", flex="1 1 auto"))
        self.choice.tooltip = "Id, bits, part and released label of an utterance. Choose one to hear it."
        self.count = w.HTML(layout=w.Layout(min_width="0", flex="1 1 auto"))
        self.select = w.Button(description="Select these", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.select.tooltip = "Makes all that match the selection, as a box drawn over the plane does"
        rows = [self.order, self.filters.fold], [self.filters.part, self.filters.search], [self.count, self.select]
        head, filters, foot = (w.HBox(widgets, layout=wide) for widgets in rows)
        children = [head, filters, self.filters.more, self.head, self.choice, foot]
        super().__init__(children, layout=column_layout(grid_area="1 / 1 / 4 / 2"))
        self.order.observe(self._on_filter, "value")
        self.choice.observe(self._on_choice, "value")
        self.select.on_click(self._on_select)
        follow(state, "orders of the list", ["run"], self._offer)
        follow(state, "filters of the list", ["run"], self.filters.offer)
        follow(state, _NAME, ["run", "epoch", "selection", "corrected", "status"], self._fill)
        follow(state, "choice in the list", ["focus"], self._mark)

    @property
    def rows(self) -> list[int]:
        """The listed rows of the utterance table, in order."""
        return [row for _, row in self.choice.options]  # not a dict: shortened ids may be equal

    def neighbour(self, step: int) -> int:
        """Return the row that is `step` lines further down than the one in view; the first if that is not listed.

        returns: the row in view at the list's ends, -1 if the list is empty
        """
        rows, focus = self.rows, self.state.focus
        if focus not in rows:
            return rows[0] if rows else -1
        return rows[min(max(rows.index(focus) + step, 0), len(rows) - 1)]

    def _offer(self) -> None:
        """Offer the orders that the run's system has."""
        order = self.order.value
        orders = {name: key for name, key in ORDERS.items() if self.state.shows_prototypes or key != LABELLERS}
        if tuple(orders.items()) != tuple(self.order.options):
            self.order.options = tuple(orders.items())
            self.order.value = order if order in orders.values() else ENTROPY

    def _fill(self) -> None:
        """Sort and filter anew."""
        try:
            rows, values = self._sorted_rows()
        except Exception as error:
            self.count.value = error_text(error)
            raise
        data = self.state.data
        table = data.table.iloc[rows] if data is not None and len(rows) else DataFrame(columns=["part", "label", "id"])
        texts = zip(values, table["part"], table["label"], table["id"], strict=True)
        # Of non-breaking spaces, since a page makes one of several.
        wide = min(max(map(len, table["id"]), default=2), LETTERS)
        names = [
            f"{_short(id):{wide}} {value:4.2f} {part}   {plain(label) or TIED}" for value, part, label, id in texts
        ]
        self.head.value = f"{'id':{wide}} bits part label".replace(" ", "\u00a0")
        self._show([(name.replace(" ", "\u00a0"), row) for name, row in zip(names, rows.tolist(), strict=True)])

    def _sorted_rows(self) -> tuple[Rows, Shares]:
        """Return the rows to list and their values, and show how many match."""
        state = self.state
        self._matches, self.select.disabled = (), True
        if state.run is None or state.epoch < 0:
            state.change(listed=None)
            self.count.value = "No epoch has been trained yet."
            return np.empty(0, np.int64), np.empty(0)
        facts, order = run_facts(state), self.order.value
        reference = reference_epoch(order, state.epoch, facts.warm_up)
        earlier = None if reference is None else state.arrays(reference)[facts.labeller]
        values = measure(order, state.arrays(state.epoch), earlier, facts.votes, facts.labeller)
        mask = self.filters.mask(facts.ids, facts.parts, lambda: soft_labels(state))
        rows = largest(values, mask)
        self._matches, self.select.disabled = tuple(np.flatnonzero(mask).tolist()), not mask.any()
        state.change(listed=self._matches if self.filters.active else None)
        self.count.value = f"{len(rows):,} of {mask.sum():,} that match"
        if mask.any() and not len(rows):
            self.count.value = _UNKNOWN[order]
        return rows, values[rows]

    def _show(self, options: list[tuple[str, int]]) -> None:
        self._filling = True
        try:
            with self.choice.hold_sync():
                self.choice.index = None  # else the first of the new ones would count as a choice
                self.choice.options = options
                self._mark()
        finally:
            self._filling = False

    def _mark(self) -> None:
        """Mark the utterance in view, if it is in the list."""
        filling, self._filling = self._filling, True
        try:
            self.choice.value = self.state.focus if self.state.focus in self.rows else None
        finally:
            self._filling = filling

    def _on_filter(self, _: object = None) -> None:
        with self.state.lock, self.state.guard(_NAME):
            self._fill()

    def _on_choice(self, change: dict[str, int | None]) -> None:
        # The lock first: the training thread may be filling the list.
        with self.state.lock, self.state.guard("choice in the list"):
            if not self._filling and change["new"] is not None:
                self.state.change(focus=change["new"])

    def _on_select(self, _: object) -> None:
        with self.state.lock, self.state.guard("choice in the list"):
            self.state.change(selection=self._matches)


def _short(id: str) -> str:
    """Return an id, or the end of a long one, where ids differ."""
    id = plain(id, letters=len(id))
    return id if len(id) <= LETTERS else f"…{id[1 - LETTERS :]}"
