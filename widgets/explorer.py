"""The utterance explorer: a sorted list, one utterance's sound and labels, its neighbours, and corrections.

N utterances, C classes, M utterances of the sample, D embedding. A choice here is the state's focus, and a click on a
point in any panel plays that utterance here.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import ipywidgets as w
import numpy as np
import plotly.graph_objects as go
import traitlets as t

from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.texts import in_html, plain
from ipr_core.training.trained import calibration
from ipr_widgets import live, look, players, utterance
from ipr_widgets.corrections import Correction
from ipr_widgets.keys import SPEEDS, Shortcuts, emotion_keys
from ipr_widgets.listing import Listing, Rows, Shares, run_facts, soft_labels
from ipr_widgets.page import Keys
from ipr_widgets.parts import THIN, column, column_layout, follow
from ipr_widgets.state import RunState

NEIGHBOURS = 5
_NEAREST_TIP = "Utterances of D1 with the largest cosine to this one in the embedding of the epoch that is looked at"
_LISTS_WIDTH = "270px"  # at least, so that an id, its bits, its part and a long emotion stand in a line
_PAUSE = 0.35  # seconds between two utterances that are heard one after the other
_HISTORY = 102  # pixels of height


def panel(state: RunState) -> Explorer:
    """Return the explorer of the state's run."""
    return Explorer(state)


class Explorer(w.GridBox):
    """The list on the left, and on the right everything about the utterance in view."""

    def __init__(self, state: RunState):
        self.state, self.shortcuts, self.hint = state, Shortcuts(self._press), w.HTML()
        self.hint.layout = w.Layout(**THIN, grid_area="4 / 1 / 5 / 4")
        self.hint.add_class("ipr-keys")
        follow(state, "keys", ["run", "focus"], self._offer_keys)  # first: keys count once an utterance shows
        self.listing, self.player = Listing(state), Player(state)
        self.sound = live.panel(state, "sound of the utterance", _sound, ["focus"])
        self.shares = live.panel(state, "soft label and votes", _shares, ["focus", "epoch"], patient=True)
        self.history = live.panel(state, "history of the soft label", _history, ["focus", "events"], marked=True)
        self.neighbours, self.correction = Neighbours(state), Correction(state)
        self.neighbours.beside.on_click(self._hear_beside)
        self.player.layout.grid_area = "1 / 2 / 2 / 4"
        parts = [
            column([self.sound], grid_area="2 / 2"),
            column([self.shares, self.history], grid_area="2 / 3"),
            column([self.neighbours, self.correction], grid_area="3 / 2 / 4 / 4"),
            self.hint,
        ]
        grid = w.Layout(
            width="100%", min_width="0", overflow="hidden", grid_gap="2px 10px",
            grid_template_columns=f"minmax({_LISTS_WIDTH}, 3fr) repeat(2, minmax(0, 3fr))",
            grid_template_rows="auto 1fr auto auto",
        )  # fmt: skip
        super().__init__([self.listing, self.player, *parts, Keys(), self.shortcuts], layout=grid)
        self.add_class("ipr-explorer")
        for control, name in ((self.player.speed, "speed"), (self.player.loop, "loop")):
            t.dlink((control, "value"), (self.shortcuts, name))

    def _hear_beside(self, _: object) -> None:
        with self.state.lock, self.state.guard("player"):
            self.player.play_beside(self.neighbours.rows[0])

    def _offer_keys(self) -> None:
        classes, self.shortcuts.focus = self.state.classes, self.state.focus
        if [key["name"] for key in self.shortcuts.emotions] != [plain(name) for name in classes] or not self.hint.value:
            self.shortcuts.emotions = emotion_keys(classes)
            self.hint.value = self.shortcuts.hint

    def _press(self, kind: str, number: int) -> None:
        """Do what a key means: a correction and the next utterance, a step in the list, or an undo."""
        with self.state.lock, self.state.guard("keys"):
            if kind == "emotion":
                self._correct(self.state.classes[number])
            elif kind == "undo":
                self.correction.take_back()
            elif kind == "late":
                self.correction.message.value = "Nothing is kept: the next utterance came first. Press the key again."
            else:
                self._turn_to(self.listing.neighbour(1 if kind == "next" else -1))

    def _correct(self, label: str) -> None:
        # The next one first: the utterance in view may leave the list once it is corrected.
        row, following = self.state.focus, self.listing.neighbour(1)
        if self.correction.write(label):
            id = self.state.opened.data.table["id"].iloc[row]
            self._turn_to(following)
            last = " This was the last one of the list." if following == row else ""
            self.correction.message.value = f"Kept {utterance.emotion(label)} for {in_html(id)}.{last}"

    def _turn_to(self, row: int) -> None:
        if row >= 0:
            self.state.change(focus=row)


class Player(w.VBox):
    """The sound of the utterance in view, and its caption."""

    def __init__(self, state: RunState):
        self.state, self._ready, self._run = state, False, state.run
        self.audio = w.Audio(value=players.SILENCE, format="mp3", autoplay=False, loop=False, controls=True)
        self.audio.layout = w.Layout(height="32px", min_width="0", flex="1 1 180px", visibility="hidden")
        self.audio.add_class("ipr-player")
        self.autoplay = w.Checkbox(True, description="autoplay", indent=False)
        self.autoplay.layout = w.Layout(width="auto", flex="0 0 auto", min_width="0")
        self.speed = w.Dropdown(options=[(f"{speed:g} ×", speed) for speed in SPEEDS], value=1.0)
        self.speed.tooltip, self.speed.layout = "Speed of the sound; its pitch stays", w.Layout(**THIN, flex="0 0 72px")
        self.loop = w.ToggleButton(description="Loop", layout=w.Layout(width="auto", flex="0 0 auto", padding="0 6px"))
        self.loop.tooltip = "Play again and again what the waveform shows: drag over a part of it, double click for all"
        # Three lines in any case: the figures below must not move with every utterance.
        self.caption = w.HTML(layout=w.Layout(**THIN, min_height="48px", flex="0 0 auto")).add_class("ipr-utterance")
        controls = w.HBox(
            [self.audio, self.speed, self.loop, self.autoplay], layout=w.Layout(**THIN, flex_flow="row wrap")
        )
        super().__init__([controls, self.caption], layout=column_layout())
        follow(state, "player", ["run", "focus", "clicks"], self._play)
        self._ready = True
        follow(state, "utterance", ["focus", "epoch", "status"], self._show_caption)

    def _play(self) -> None:
        focus = self.state.focus
        sound = players.mp3(self.state.opened.data.waves[focus]) if focus >= 0 else players.SILENCE
        if bytes(self.audio.value) == sound:
            self.audio.value = players.SILENCE  # else a second click on the utterance would change nothing
        self.audio.layout.visibility = "visible" if focus >= 0 else "hidden"
        with self.audio.hold_sync():
            # A new panel, and a run that has just begun, stay silent: the reader has clicked nothing yet.
            clicked, self._run = self._ready and self._run is self.state.run, self.state.run
            self.audio.autoplay = focus >= 0 and clicked and self.autoplay.value
            self.audio.value = sound

    def play_beside(self, row: int) -> None:
        """Play the utterance in view and then another one, a row of the utterance table."""
        waves, pause = self.state.opened.data.waves, np.zeros(round(_PAUSE * SAMPLE_RATE), np.int16)
        self.audio.autoplay = True
        self.audio.value = players.SILENCE  # else a second press would change nothing
        self.audio.value = players.mp3(np.concatenate([waves[self.state.focus], pause, waves[row]]))

    def _show_caption(self) -> None:
        state = self.state
        if state.focus < 0:
            self.caption.value = f"{utterance.NOTHING}: choose one from the list, or click a point."
            return
        row = state.opened.data.table.iloc[state.focus]
        cut = f" (the player has its first {players.LONGEST:g} s)" if row["duration"] > players.LONGEST else ""
        calibrated = state.final and calibration(state.opened.run).utterances > 0
        self.caption.value = utterance.caption(row, _soft(state), state.classes, calibrated) + cut


def nearest(vectors: Shares, number: int, candidates: Rows, limit: int = NEIGHBOURS) -> tuple[Rows, Shares]:
    """Return the candidates with the largest cosine to one vector, without itself.

    vectors: (M, D)   number, candidates: of vectors   returns: numbers of vectors, their cosines
    """
    candidates = candidates[candidates != number]
    vectors = np.asarray(vectors, np.float32)
    length = np.linalg.norm(vectors[candidates], axis=1) * np.linalg.norm(vectors[number])
    cosines = vectors[candidates] @ vectors[number] / np.maximum(length, 1e-12)
    order = np.argsort(-cosines, kind="stable")[:limit]
    return candidates[order], cosines[order]


class Nearest(w.HBox):
    """The precise utterances that are nearest to one, as buttons that choose them."""

    def __init__(self, state: RunState, more: Sequence[w.Widget] = ()):
        """more: widgets after the buttons"""
        self.state = state
        self.rows: list[int] = []
        self.message = w.HTML(layout=w.Layout(min_width="0", flex="0 1 auto"))
        self.buttons = [w.Button(layout=w.Layout(**THIN, flex="0 0 auto", padding="0 3px")) for _ in range(NEIGHBOURS)]
        for number, button in enumerate(self.buttons):
            button.on_click(functools.partial(self._choose, number))
        row = w.Layout(**THIN, align_items="center", min_height="32px", flex_flow="row wrap")
        super().__init__([self.message, *self.buttons, *more], layout=row)
        self.show((), np.empty(0, np.float32))

    def show(self, rows: Sequence[int], cosines: Shares, excuse: str = "") -> None:
        """Show these rows of the utterance table, nearest first, or why there are none."""
        self.rows = list(rows)
        self.message.value = f"{look.term('Nearest in D1', _NEAREST_TIP)}:{excuse}"
        for number, button in enumerate(self.buttons):
            visible = number < len(self.rows)
            button.layout.display = None if visible else "none"
            if visible:
                row = self.state.opened.data.table.iloc[self.rows[number]]
                button.description = f"{plain(row['label'])} {cosines[number]:.2f}"
                button.tooltip = (
                    f"{plain(row['id'])}, speaker {plain(row['speaker'])}: cosine {cosines[number]:.3f}; hear it"
                )

    def _choose(self, number: int, _: object = None) -> None:
        with self.state.guard("nearest utterances"):
            row = self.rows[number]
            self.state.change(focus=row, clicks=self.state.clicks + (row == self.state.focus))


class Neighbours(Nearest):
    """Those of the utterance in view, and a button to hear the first beside it."""

    def __init__(self, state: RunState):
        self.beside = w.Button(description="A/B", layout=w.Layout(**THIN, flex="0 0 auto", padding="0 4px"))
        self.beside.tooltip = "Hear this utterance, and then the nearest one of D1"
        super().__init__(state, [self.beside])
        follow(state, "nearest utterances", ["focus", "epoch"], self._find)

    def _find(self) -> None:
        state, rows, cosines, excuse = self.state, [], np.empty(0, np.float32), ""
        if state.focus >= 0 and state.epoch >= 0:
            facts = run_facts(state)
            sample, number = facts.sample, int(np.searchsorted(facts.sample, state.focus))
            if number < len(sample) and sample[number] == state.focus:
                numbers, cosines = nearest(state.arrays(state.epoch)["map"], number, facts.precise)
                rows = sample[numbers].tolist()
            else:
                excuse = f" not known, it is not in the sample of {len(sample):,} embeddings (map_size)"
        self.show(rows, cosines, excuse)
        self.beside.disabled = not rows


def _sound(state: RunState) -> go.Figure:
    if state.focus < 0:
        return utterance.sound(None, height=_height(state))
    data = state.opened.data
    return utterance.sound(data.waves[state.focus], data.table["id"].iloc[state.focus], height=_height(state))


def _shares(state: RunState) -> go.Figure:
    if state.focus < 0:
        return utterance.shares(None, None, None, state.classes, height=_height(state) - _HISTORY)
    arrays = state.arrays(state.epoch) if state.epoch >= 0 else {}
    prototypes, model = (arrays[name][state.focus] if arrays else None for name in ("soft_prototypes", "soft_model"))
    prototypes = prototypes if state.shows_prototypes else None
    votes = run_facts(state).votes[state.focus]
    return utterance.shares(prototypes, model, votes, state.classes, height=_height(state) - _HISTORY)


def _history(state: RunState) -> go.Figure:
    if state.focus < 0:
        return look.note(utterance.history(np.empty((0, 0)), (), (), height=_HISTORY), "")
    events = state.events
    soft = state.opened.run.row_over_epochs(run_facts(state).labeller, state.focus)[: len(events)]
    return utterance.history(soft, events, state.classes, height=_HISTORY)


def _height(state: RunState) -> int:
    """Return the height of the sound, beside which all classes' shares and their history stand, in pixels."""
    count = max(len(state.classes), 4)
    return _HISTORY + 68 + count * (18 if count < 7 else 14)


def _soft(state: RunState) -> Shares | None:
    """Return (C,) the soft label in view, as the run's labels have it in the end; None before there is an epoch."""
    return None if state.epoch < 0 else soft_labels(state)[state.focus]
