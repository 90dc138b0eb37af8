"""The utterance explorer: a sorted list, what one utterance sounds like, how it was labelled, and corrections.

N utterances, C classes, M utterances of the sample, D embedding. What is chosen here is the state's focus, and the
other way round: a click on a point anywhere plays that utterance here.
"""

from __future__ import annotations

import functools
import getpass
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core import metrics
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_widgets import live, look, players, utterance
from ipr_widgets.page import Keys
from ipr_widgets.state import RunState
from ipr_widgets.votes import PARTS

SHOWN = 300
"""Rows of the list; who looks for a later one searches by its id."""
LETTERS = 20
"""Of an id that the list shows, so that what stands after it is in sight."""
NEIGHBOURS = 5

ENTROPY, VIEWS, VOTES, WARM_UP, BEFORE = "entropy", "views", "votes", "warm_up", "before"
ORDERS = {
    "least certain first": ENTROPY,
    "prototypes against classifier": VIEWS,
    "soft label against votes": VOTES,
    "changed since the warm-up": WARM_UP,
    "changed since the epoch before": BEFORE,
}
_ORDERS_TIP = (
    "What the list is sorted by, largest first, in bits. Least certain: entropy of the soft label. Against, changed: "
    "Jensen-Shannon divergence of the two soft labels, 0 the same, 1 bit nothing in common."
)
_UNKNOWN = {
    VOTES: "The annotators' votes for each class are not known.",
    WARM_UP: "The epoch that is looked at is not after the warm-up.",
    BEFORE: "There is no epoch before this one.",
}
_NEAREST_TIP = "Utterances of D1 with the largest cosine to this one in the embedding of the epoch that is looked at"
_FILTERS = {"all parts": "", **{name: part for part, name in PARTS.items()}, "selection": "*", "corrected": "!"}

_HEIGHT = "388px"
_SOUND, _SMALL = 196, 150
_THIN = dict(width="auto", min_width="0")

Shares = NDArray[np.floating]
Rows = NDArray[np.int64]


def panel(state: RunState) -> w.Widget:
    """The explorer of the state's run."""
    listed, heard = _List(state), _Heard(state)
    figures = (
        live.panel(state, "sound of the utterance", _sound, ["focus"]),
        live.panel(state, "soft label and votes", _shares, ["focus", "epoch"], patient=True),
        live.panel(state, "history of the soft label", _history, ["focus", "events"], marked=True),
    )
    sides = [
        _column([heard.box, figures[0]], grid_area="1 / 2"),
        _column(figures[1:], grid_area="1 / 3"),
        _column([_Neighbours(state).box, _Correcting(state).box], grid_area="2 / 2 / 3 / 4"),
    ]
    grid = w.Layout(
        width="100%", min_width="0", height=_HEIGHT, overflow="hidden", grid_gap="2px 10px",
        grid_template_columns=" ".join(f"minmax(0, {share}fr)" for share in (32, 33, 31)),
        grid_template_rows="minmax(0, 1fr) auto",
    )  # fmt: skip
    box = w.GridBox([listed.box, *sides, _Page()], layout=grid)
    return box.add_class("ipr-explorer")


class _Page(Keys):
    """The panel's style, and its arrow keys."""

    _css = """
    .ipr-explorer .widget-html-content { line-height: 1.35; font-size: 12px; color: var(--jp-ui-font-color1); }
    .ipr-explorer .widget-select select {
        height: 100%; padding: 2px; font-family: var(--jp-code-font-family); font-size: 11px; overflow-x: auto;
    }
    .ipr-explorer .ipr-head .widget-html-content {
        padding-left: 5px; font-family: var(--jp-code-font-family); font-size: 11px; font-weight: bold;
        white-space: nowrap; line-height: 1;
    }
    .ipr-explorer .ipr-error { color: var(--jp-error-color1); }
    """


# What is listed


def measure(order: str, now: dict[str, Shares], then: Shares | None, votes: Shares, by: str) -> Shares:
    """What the list is sorted by, in bits.

    now: arrays of the epoch that is looked at   then: (N, C) soft labels of the epoch it is compared with
    votes: (N, C), NaN rows where not known   by: the array of `now` that the system labels with
    returns: (N,) NaN where it is not known
    """
    if order == ENTROPY:
        return metrics.entropy(now[by])
    other = {VIEWS: now["soft_model"], VOTES: votes}.get(order, then)
    if other is None:
        return np.full(len(now[by]), np.nan)
    return metrics.js_divergence(now["soft_prototypes"] if order == VIEWS else now[by], other)


def compared(order: str, epoch: int, warm_up: int) -> int | None:
    """The epoch with which one is compared: the warm-up's last, or the one before it; None where there is none.

    warm_up: how many epochs it has
    """
    then = {WARM_UP: warm_up - 1, BEFORE: epoch - 1}.get(order, -1)
    return then if 0 <= then < epoch else None


def largest(values: Shares, allowed: NDArray[np.bool_], most: int = SHOWN) -> Rows:
    """The allowed rows with the largest values, the largest first, equal ones by row; NaN is left out."""
    rows = np.flatnonzero(allowed & np.isfinite(values))
    return rows[np.argsort(-values[rows], kind="stable")[:most]]


def nearest(vectors: Shares, place: int, candidates: Rows, most: int = NEIGHBOURS) -> tuple[Rows, Shares]:
    """Which of the candidates have the largest cosine to one vector, itself left out.

    vectors: (M, D)   place, candidates: numbers of vectors   returns: numbers of vectors, their cosines
    """
    candidates = candidates[candidates != place]
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors[candidates], axis=1) * np.linalg.norm(vectors[place])
    cosines = vectors[candidates] @ vectors[place] / np.maximum(length, 1e-12)
    first = np.argsort(-cosines, kind="stable")[:most]
    return candidates[first], cosines[first]


@dataclass(frozen=True)
class _Known:
    """What does not change while a run is looked at."""

    ids: NDArray[np.str_]
    """(N,) in lower case."""
    parts: NDArray[np.str_]
    votes: Shares
    sample: Rows
    precise: Rows
    """Which of the sample are D1."""
    by: str
    """The array of soft labels that the system labels with."""
    warm_up: int


@functools.lru_cache(maxsize=2)
def _known(state: RunState, run: Run) -> _Known:
    data, training, sample = state.data, run.config.training, state.sample
    parts = data.table["part"].to_numpy(str)
    by = "soft_prototypes" if run.system.moves_prototypes else "soft_model"
    ids = np.char.lower(data.table["id"].to_numpy(str))
    return _Known(ids, parts, data.votes, sample, np.flatnonzero(parts[sample] == "D1"), by, training.warm_up)


class _List:
    """The sorted list with its filters."""

    def __init__(self, state: RunState):
        self.state, self.filling = state, False
        self.matching: tuple[int, ...] = ()
        wide = w.Layout(width="auto", min_width="0", flex="0 0 auto")
        half = w.Layout(width="auto", min_width="0", flex="1 1 0")
        self.order = w.Dropdown(options=tuple(ORDERS.items()), tooltip=_ORDERS_TIP, layout=wide)
        self.part = w.Dropdown(options=_FILTERS, tooltip="Which utterances are listed", layout=half)
        self.search = w.Text(placeholder="search by id", tooltip="Part of the id", layout=half)
        self.head = w.HTML(layout=wide).add_class("ipr-head")
        self.rows = w.Select(rows=8, layout=w.Layout(width="auto", min_width="0", min_height="0", flex="1 1 auto"))
        self.rows.tooltip = "Id, bits, part and released label of an utterance. Choose one to hear it."
        self.said = w.HTML(layout=w.Layout(min_width="0", flex="1 1 auto"))
        self.take = w.Button(description="Select these", layout=w.Layout(width="auto", flex="0 0 auto"))
        self.take.tooltip = "Makes all that match the selection, as a box drawn over the plane does"
        rows = w.HBox([self.part, self.search], layout=wide), w.HBox([self.said, self.take], layout=wide)
        self.box = _column([self.order, rows[0], self.head, self.rows, rows[1]], grid_area="1 / 1 / 3 / 2")
        for control in (self.order, self.part, self.search):
            control.observe(self.refill, "value")
        self.rows.observe(self.choose, "value")
        self.take.on_click(self.select)
        _follow(state, "orders of the list", ["run"], self.offer)
        _follow(state, "list of utterances", ["run", "epoch", "selection", "corrected"], self.fill)
        _follow(state, "choice in the list", ["focus"], self.mark)

    def offer(self) -> None:
        """The orders that say something of the run's system."""
        system, now = self.state.system, self.order.value
        has = system is None or system.shows_prototypes
        orders = {name: order for name, order in ORDERS.items() if has or order != VIEWS}
        if tuple(orders.items()) != tuple(self.order.options):
            self.order.options = tuple(orders.items())
            self.order.value = now if now in orders.values() else ENTROPY

    def refill(self, _: object) -> None:
        with self.state.lock, self.state.guard("list of utterances"):
            self.fill()

    def fill(self) -> None:
        """Sort and filter anew."""
        try:
            rows, values = self.listed()
        except Exception as error:
            self.said.value = _error(error)
            raise
        table = self.state.data.table.iloc[rows] if len(rows) else DataFrame(columns=["part", "label", "id"])
        texts = zip(values, table["part"], table["label"], table["id"], strict=True)
        # Of non-breaking spaces, since a page makes one of several.
        wide = min(max(map(len, table["id"]), default=2), LETTERS)
        names = [f"{_cut(id):{wide}} {value:4.2f} {part}   {label}" for value, part, label, id in texts]
        self.head.value = f"{'id':{wide}} bits part label".replace(" ", "\u00a0")
        self.show([(name.replace(" ", "\u00a0"), row) for name, row in zip(names, rows.tolist(), strict=True)])

    def listed(self) -> tuple[Rows, Shares]:
        """The rows to show and what they are sorted by; says how many there are."""
        state, nothing = self.state, (np.empty(0, np.int64), np.empty(0))
        self.matching, self.take.disabled = (), True
        if state.run is None or state.epoch < 0:
            self.said.value = "No epoch has been trained yet."
            return nothing
        known, order = _known(state, state.run), self.order.value
        then = compared(order, state.epoch, known.warm_up)
        soft_then = None if then is None else state.arrays(then)[known.by]
        values = measure(order, state.arrays(state.epoch), soft_then, known.votes, known.by)
        allowed = self.allowed(known)
        rows = largest(values, allowed)
        self.matching, self.take.disabled = tuple(np.flatnonzero(allowed).tolist()), not allowed.any()
        self.said.value = f"{len(rows):,} of {allowed.sum():,} that match"
        if allowed.any() and not len(rows):
            self.said.value = _UNKNOWN[order]
        return rows, values[rows]

    def allowed(self, known: _Known) -> NDArray[np.bool_]:
        """(N,) whether an utterance passes the filters."""
        which, state = self.part.value, self.state
        if which == "*":
            allowed = np.isin(np.arange(len(known.ids)), state.selection)
        elif which == "!":
            allowed = state.data.table["id"].isin(corrections.newest(state.run).index).to_numpy()
        else:
            allowed = known.parts == which if which else np.ones(len(known.ids), bool)
        return allowed & (np.char.find(known.ids, self.search.value.strip().lower()) >= 0)

    def show(self, options: list[tuple[str, int]]) -> None:
        self.filling = True
        try:
            with self.rows.hold_sync():
                self.rows.index = None  # else the first of the new ones would count as chosen
                self.rows.options = options
                self.mark()
        finally:
            self.filling = False

    def mark(self) -> None:
        """Show which one is looked at, where it is listed."""
        before, self.filling = self.filling, True
        try:
            listed = [row for _, row in self.rows.options]  # not as a dict: ids that are cut may be alike
            self.rows.value = self.state.focus if self.state.focus in listed else None
        finally:
            self.filling = before

    def choose(self, change: dict[str, int | None]) -> None:
        # The lock first: the list may be being filled in the training thread.
        with self.state.lock, self.state.guard("choice in the list"):
            if not self.filling and change["new"] is not None:
                self.state.change(focus=change["new"])

    def select(self, _: object) -> None:
        with self.state.lock, self.state.guard("choice in the list"):
            self.state.change(selection=self.matching)


def _cut(id: str) -> str:
    """An id as the list shows it: of a long one the end, where ids differ."""
    return id if len(id) <= LETTERS else f"…{id[1 - LETTERS :]}"


# What is seen and heard of the one that is looked at


class _Heard:
    """Who speaks, and the player."""

    def __init__(self, state: RunState):
        self.state, self.ready = state, False
        self.player = w.Audio(value=players.SILENCE, format="mp3", autoplay=False, loop=False, controls=True)
        self.player.layout = w.Layout(height="32px", min_width="0", flex="1 1 auto", visibility="hidden")
        self.player.add_class("ipr-player")
        self.listen = w.Checkbox(True, description="autoplay", indent=False)
        self.listen.layout = w.Layout(width="auto", flex="0 0 auto")
        self.text = w.HTML(layout=w.Layout(**_THIN, height="66px", overflow="hidden auto", flex="0 0 auto"))
        self.text.add_class("ipr-utterance")
        row = w.HBox([self.player, self.listen], layout=w.Layout(**_THIN, overflow="hidden", flex="0 0 auto"))
        self.box = _column([row, self.text], flex="0 0 auto")
        _follow(state, "player", ["focus"], self.play)
        self.ready = True
        _follow(state, "utterance", ["focus", "epoch"], self.tell)

    def play(self) -> None:
        chosen = self.state.focus >= 0
        self.player.layout.visibility = "visible" if chosen else "hidden"
        with self.player.hold_sync():
            # Not when the panel is made: nobody has clicked anything yet.
            self.player.autoplay = chosen and self.ready and self.listen.value
            self.player.value = players.mp3(self.state.data.waves[self.state.focus]) if chosen else players.SILENCE

    def tell(self) -> None:
        state = self.state
        if state.focus < 0:
            self.text.value = f"{utterance.NOTHING}: choose one from the list, or click a point."
            return
        row = state.data.table.iloc[state.focus]
        cut = f" (the player has its first {players.LONGEST:g} s)" if row["duration"] > players.LONGEST else ""
        self.text.value = utterance.caption(row, _soft(state), state.classes) + cut


class _Neighbours:
    """The nearest precise utterances, as buttons that choose them."""

    def __init__(self, state: RunState):
        self.state = state
        self.rows: list[int] = []
        self.said = w.HTML(layout=w.Layout(min_width="0", flex="0 1 auto"))
        thin = dict(width="auto", min_width="0", flex="1 1 0", padding="0 4px")
        self.buttons = [w.Button(layout=w.Layout(**thin)) for _ in range(NEIGHBOURS)]
        for number, button in enumerate(self.buttons):
            button.on_click(functools.partial(self.choose, number))
        row = w.Layout(**_THIN, overflow="hidden", align_items="center", min_height="32px")
        self.box = w.HBox([self.said, *self.buttons], layout=row)
        _follow(state, "nearest utterances", ["focus", "epoch"], self.find)

    def find(self) -> None:
        state = self.state
        self.rows, cosines = [], np.empty(0)
        self.said.value = f"{look.term('Nearest in D1', _NEAREST_TIP)}:"
        if state.focus >= 0 and state.epoch >= 0:
            known = _known(state, state.run)
            place = np.searchsorted(known.sample, state.focus)
            if place < len(known.sample) and known.sample[place] == state.focus:
                found, cosines = nearest(state.arrays(state.epoch)["map"], int(place), known.precise)
                self.rows = known.sample[found].tolist()
            else:
                self.said.value += f" not known, it is not in the sample of {len(known.sample):,} embeddings (map_size)"
        self.show(cosines)

    def show(self, cosines: Shares) -> None:
        for number, button in enumerate(self.buttons):
            used = number < len(self.rows)
            button.layout.display = None if used else "none"
            if used:
                row = self.state.data.table.iloc[self.rows[number]]
                button.description = f"{row['label']} {cosines[number]:.2f}"
                button.tooltip = f"{row['id']}, speaker {row['speaker']}: cosine {cosines[number]:.3f}; hear it"

    def choose(self, number: int, _: object = None) -> None:
        with self.state.guard("nearest utterances"):
            self.state.change(focus=self.rows[number])


def _sound(state: RunState) -> go.Figure:
    if state.focus < 0:
        return utterance.sound(None, height=_SOUND)
    return utterance.sound(state.data.waves[state.focus], state.data.table["id"].iloc[state.focus], height=_SOUND)


def _shares(state: RunState) -> go.Figure:
    if state.focus < 0:
        return utterance.shares(None, None, None, state.classes, height=_SMALL)
    arrays = state.arrays(state.epoch) if state.epoch >= 0 else {}
    prototypes, model = (arrays[name][state.focus] if arrays else None for name in ("soft_prototypes", "soft_model"))
    prototypes = prototypes if state.system.shows_prototypes else None
    return utterance.shares(
        prototypes, model, _known(state, state.run).votes[state.focus], state.classes, height=_SMALL
    )


def _history(state: RunState) -> go.Figure:
    if state.focus < 0:
        return look.note(utterance.history((), (), (), height=_SMALL), "")
    events = state.events
    soft = state.run.row_over_epochs(_known(state, state.run).by, state.focus)[: len(events)]
    return utterance.history(soft, events, state.classes, height=_SMALL)


def _soft(state: RunState) -> Shares | None:
    """(C,) of the utterance and the epoch that are looked at."""
    return None if state.epoch < 0 else state.arrays(state.epoch)[_known(state, state.run).by][state.focus]


# Corrections


class _Correcting:
    """What a listener takes the utterance for."""

    name: str | None = None
    """Who kept a correction last in this kernel."""

    def __init__(self, state: RunState):
        self.state = state
        self.label = w.Dropdown(tooltip="The emotion that you hear")
        self.who = w.Text(_Correcting.name or _user(), placeholder="your name", tooltip="Who makes the correction")
        self.note = w.Text(placeholder="note, if any", tooltip="Kept with the correction")
        self.keep = w.Button(description="Keep", tooltip="Keep the correction in the run folder")
        self.withdraw = w.Button(description="Withdraw", tooltip="Take the utterance's correction back")
        for control, share in ((self.label, 3), (self.who, 3), (self.note, 4), (self.keep, 2), (self.withdraw, 2)):
            control.layout = w.Layout(**_THIN, flex=f"{share} 1 0")
        self.said = w.HTML(layout=w.Layout(**_THIN, height="20px", overflow="hidden"))
        self.said.add_class("ipr-corrected")
        controls = [self.label, self.who, self.note, self.keep, self.withdraw]
        self.box = _column([w.HBox(controls, layout=w.Layout(**_THIN, overflow="hidden")), self.said])
        self.keep.on_click(lambda _: self.write(self.label.value))
        self.withdraw.on_click(lambda _: self.write(corrections.WITHDRAWN))
        _follow(state, "corrections", ["run", "focus", "corrected"], self.tell)

    def tell(self) -> None:
        """Show the correction that counts."""
        state, chosen = self.state, self.state.focus >= 0
        self.note.value = ""
        self.keep.disabled, self.withdraw.disabled = not chosen, True
        self.label.options = [("emotion?", None), *((name, name) for name in state.classes)]
        self.label.index = 0  # the answer for one utterance must not be taken for the next one's
        self.said.value = "A correction changes the single label that <code>ipr annotate</code> gives."
        made = self.trying(lambda: _correction(state)) if chosen else None
        if made is not None:
            self.withdraw.disabled, self.label.value = False, made["label"]
            note = f": {escape(made['note'])}" if made["note"] else ""
            kept = f"{utterance.emotion(made['label'])}, kept by {escape(made['who'])} at {escape(made['when'])}"
            self.said.value = f"Corrected to {kept}{note}"

    def write(self, label: str | None) -> None:
        with self.state.guard("corrections"):
            self.trying(lambda: self.kept(label))

    def kept(self, label: str | None) -> None:
        state = self.state
        if label is None or state.focus < 0:
            raise ValueError("choose an emotion first")
        id = state.data.table["id"].iloc[state.focus]
        corrections.add(state.run, id, label, self.who.value, self.note.value)
        _Correcting.name = self.who.value
        state.change(corrected=state.corrected + 1)

    def trying(self, act: Callable[[], Series | None]) -> Series | None:
        """Do it; what goes wrong is said here, and what nobody could have known is a fault of the widget too."""
        try:
            return act()
        except Exception as error:
            self.said.value = _error(error)
            if not isinstance(error, ValueError):
                raise
            return None


def _correction(state: RunState) -> Series | None:
    """The one that counts of the utterance that is looked at."""
    made, id = corrections.newest(state.run), state.data.table["id"].iloc[state.focus]
    return made.loc[id] if id in made.index else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may know no names
        return ""


# What the parts share


def _column(children: Sequence[w.Widget], **layout: str) -> w.VBox:
    return w.VBox(children, layout=w.Layout(min_width="0", min_height="0", overflow="hidden", **layout))


def _error(error: Exception) -> str:
    return f'<span class="ipr-error">{escape(str(error))}</span>'


def _follow(state: RunState, name: str, traits: list[str], redraw: Callable[[], None]) -> None:
    """Call `redraw` now, and again after a change of these traits.  name: of the widget, for `state.faults`"""

    def follow() -> None:
        with state.lock, state.guard(name):
            redraw()

    state.follow(follow, traits, patient=True)
    follow()
