"""The filters of the explorer's list: part, labels, entropy, speaker, corrections and text, all of which must hold.

N utterances, C classes.
"""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TypeAlias

import ipywidgets as w
import numpy as np
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.runs import corrections
from ipr_core.texts import plain
from ipr_widgets.parts import THIN
from ipr_widgets.state import RunState
from ipr_widgets.votes import PARTS, TIED

Control: TypeAlias = w.Dropdown | w.Text | w.FloatRangeSlider
Mask = NDArray[np.bool_]
Texts = NDArray[np.str_]

ANY = "\0"
"""The value of a filter that lets everything pass; no text of a table is this one."""
SELECTION = "*"
"""The part that is the state's selection."""
NO_LABEL = ""
"""The released label of an utterance that has none."""
_UNKNOWN = "unknown speaker"
_PARTS = {"all parts": ANY, **{name: part for part, name in PARTS.items()}, "selection": SELECTION}
_VERDICTS = {"right or wrong": ANY, "right": True, "wrong": False}
_CORRECTED = {"correction": ANY, "corrected": True, "not corrected": False}
_HALF = w.Layout(**THIN, flex="1 1 40%")


class Filters:
    """The controls of the filters: `part` and `search` always in sight, and `more`, which `fold` opens.

    `on_change` is called when one of them has changed, once if all are cleared.
    """

    def __init__(self, state: RunState, on_change: Callable[[], None]):
        self.state, self._on_change, self._quiet = state, on_change, False
        half = w.Layout(**THIN, flex="1 1 0")
        self.part = w.Dropdown(options=_PARTS, tooltip="Which utterances are listed", layout=half)
        self.search = w.Text(placeholder="search by id", tooltip="Part of the id", layout=half)
        self.single = _choice("single label", "Single label of the epoch that is looked at")
        self.released = _choice("released label", "Released label")
        self.verdict = w.Dropdown(options=_VERDICTS, layout=_HALF)
        self.verdict.tooltip = "Whether the single label is the released one, where there is one"
        self.speaker = _choice("speaker", "Speaker")
        self.corrected = w.Dropdown(options=_CORRECTED, tooltip="Whether a correction counts", layout=_HALF)
        self.bits = w.FloatRangeSlider(
            value=(0, 1), min=0, max=1, step=0.05, description="bits", readout_format=".2f", continuous_update=False,
            style=dict(description_width="auto"), layout=w.Layout(**THIN, flex="1 1 90%"),
        )  # fmt: skip
        self.bits.tooltip = "Entropy of the soft label of the epoch that is looked at, from and to"
        self.clear = w.Button(description="Clear filters", tooltip="List all utterances again", layout=_HALF)
        self.fold = w.ToggleButton(layout=w.Layout(width="auto", flex="0 0 auto", padding="0 8px"))
        self.fold.tooltip = "Show or hide filters by label, speaker and correction"
        rows = [self.single, self.released, self.verdict, self.speaker, self.corrected, self.clear, self.bits]
        self.more = w.HBox(rows, layout=w.Layout(**THIN, flex_flow="row wrap", flex="0 0 auto"))
        for control in self.controls:
            control.observe(self._changed, "value")
        self.fold.observe(self._show, "value")
        self.clear.on_click(lambda _: self.reset())
        self._show()

    @property
    def active(self) -> int:
        """The number of filters that are set."""
        return sum(map(_is_set, self.controls))

    def offer(self) -> None:
        """Offer the classes and speakers of the state's run; choices that it has too stay."""
        data = self.state.data
        names = [(plain(name), name) for name in self.state.classes]
        speakers = [] if data is None else sorted(set(data.table["speaker"].astype(str)), key=_natural)
        with self._one_change():
            _offer(self.single, names)
            _offer(self.released, [*names, (TIED, NO_LABEL)])
            self._offer_bits()
            _offer(self.speaker, [(plain(speaker) or _UNKNOWN, speaker) for speaker in speakers])
        self._show()

    def _offer_bits(self) -> None:
        """Let the range end at the entropy of a soft label that is undecided between all classes."""
        most = math.ceil(20 * math.log2(max(len(self.state.classes), 2))) / 20
        if self.bits.max != most:
            self.bits.max, self.bits.value = most, (0, most)

    def reset(self) -> None:
        """Clear all filters and the search."""
        if self.active:
            with self._one_change():
                for control in self.controls:
                    control.value = _open_value(control)
            self._changed()

    def mask(self, ids: Texts, parts: Texts, soft: Callable[[], NDArray[np.floating]]) -> Mask:
        """Return (N,) whether an utterance passes every filter; needs a run.

        ids: (N,) in lower case   parts: (N,)
        soft: gives the (N, C) soft labels, called if a filter needs them
        raises RunError if the corrections are damaged
        """
        run, data, _ = self.state.opened
        table, classes = data.table, np.array(self.state.classes)

        def single() -> Texts:
            return classes[np.argmax(soft(), axis=1)]

        passing: Sequence[tuple[w.Dropdown, Callable[[Any], Mask]]] = (
            (self.part, lambda part: self._in_part(part, parts)),
            (self.single, lambda name: single() == name),
            (self.released, lambda name: (table["label"] == name).to_numpy()),
            (self.verdict, lambda right: _verdict(table["label"].to_numpy(str), single(), right)),
            (self.speaker, lambda name: (table["speaker"].astype(str) == name).to_numpy()),
            (self.corrected, lambda value: table["id"].isin(corrections.newest(run).index).to_numpy() == value),
        )
        text = self.search.value.strip().lower()
        mask: Mask = np.char.find(ids, text) >= 0 if text else np.ones(len(ids), bool)
        for control, passes in passing:
            if control.value != ANY:
                mask = mask & passes(control.value)
        if _is_set(self.bits):
            low, high = self.bits.value
            bits = metrics.entropy(soft())
            mask = mask & (bits >= low) & (bits <= high)
        return mask

    def _in_part(self, part: str, parts: Texts) -> Mask:
        return np.isin(np.arange(len(parts)), self.state.selection) if part == SELECTION else parts == part

    @property
    def controls(self) -> tuple[Control, ...]:
        """The filters' controls, each of which must let an utterance pass."""
        labels = self.single, self.released, self.verdict, self.speaker, self.corrected
        return self.part, self.search, *labels, self.bits

    @contextlib.contextmanager
    def _one_change(self) -> Iterator[None]:
        """Keep quiet about every change until the last one."""
        self._quiet = True
        try:
            yield
        finally:
            self._quiet = False

    def _changed(self, _: object = None) -> None:
        if not self._quiet:
            self._show()
            self._on_change()

    def _show(self, _: object = None) -> None:
        self.more.layout.display = None if self.fold.value else "none"
        self.fold.description = f"Filters: {self.active}" if self.active else "Filters"
        self.fold.button_style = "info" if self.active else ""
        self.clear.disabled = not self.active


def _verdict(released: Texts, single: Texts, right: bool) -> Mask:
    """Return (N,) whether there is a released label, and the single label is it, or is not."""
    return (released != NO_LABEL) & ((released == single) == right)


def _choice(every: str, tooltip: str) -> w.Dropdown:
    return w.Dropdown(options=[(every, ANY)], tooltip=tooltip, layout=_HALF)


def _offer(control: w.Dropdown, options: Sequence[tuple[str, str]]) -> None:
    """Offer these options after the first one, and keep the choice if it is among them."""
    every, value = control.options[0], control.value
    if tuple(control.options) != (every, *options):
        control.options = (every, *options)
        control.value = value if value in [option for _, option in options] else ANY


def _open_value(control: Control) -> Any:
    """Return the value that lets everything pass."""
    if isinstance(control, w.FloatRangeSlider):
        return control.min, control.max
    return "" if isinstance(control, w.Text) else ANY


def _is_set(control: Control) -> bool:
    return control.value != _open_value(control)


def _natural(text: str) -> list[tuple[int, str]]:
    """Return a key that sorts 2 before 10."""
    pieces = (piece.lstrip("0") if piece.isdigit() else piece for piece in re.split(r"(\d+)", text))
    return [(len(piece) if i % 2 else 0, piece) for i, piece in enumerate(pieces)]  # every second one is a number
