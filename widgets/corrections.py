"""The explorer's row of controls for a listener who corrects a label."""

from __future__ import annotations

import getpass
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

import ipywidgets as w
from pandas import Series

from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.texts import SENTENCE, in_html, plain
from ipr_widgets import utterance
from ipr_widgets.parts import THIN, column_layout, error_text, follow
from ipr_widgets.state import RunState

Result = TypeVar("Result")


class Change(NamedTuple):
    """A line that this kernel has added to a run's corrections, and the line of the same utterance before it."""

    row: int
    """The utterance's row in the table."""
    line: dict[str, Any]
    earlier: dict[str, Any] | None
    """None where the utterance had no line."""


_CHANGES: defaultdict[Path, list[Change]] = defaultdict(list)
"""The folder of a run → what this kernel has changed and not undone, oldest first."""


class Correction(w.VBox):
    """Controls that keep, withdraw or undo a correction."""

    last_author: str | None = None
    """The author of the latest correction in this kernel."""

    def __init__(self, state: RunState):
        self.state = state
        self.label = w.Dropdown(tooltip="The emotion that you hear")
        self.author = w.Text(Correction.last_author or _user(), placeholder="your name")
        self.author.tooltip = "Who makes the correction"
        self.note = w.Text(placeholder="note, if any", tooltip="Kept with the correction")
        self.keep = w.Button(description="Keep", tooltip="Keep the correction in the run folder")
        self.withdraw = w.Button(description="Withdraw", tooltip="Take the utterance's correction back")
        self.undo = w.Button(description="Undo", tooltip="Take the last correction of this session back")
        fields, buttons = [self.label, self.author, self.note], [self.keep, self.withdraw, self.undo]
        for control in fields:
            control.layout = w.Layout(**THIN, flex="1 1 76px")
        for button in buttons:
            button.layout = w.Layout(**THIN, flex="0 0 auto", padding="0 6px")
        self.message = w.HTML(layout=w.Layout(**THIN, min_height="20px"))
        self.message.add_class("ipr-corrected")
        row = w.HBox([*fields, *buttons], layout=w.Layout(**THIN, flex_flow="row wrap"))
        super().__init__([row, self.message], layout=column_layout())
        self.keep.on_click(lambda _: self.write(self.label.value))
        self.withdraw.on_click(lambda _: self.write(corrections.WITHDRAWN))
        self.undo.on_click(lambda _: self.take_back())
        follow(state, "corrections", ["run", "focus", "corrected"], self.show)

    def show(self) -> None:
        """Show the correction that counts, if there is one."""
        state, focused = self.state, self.state.focus >= 0
        self.note.value = ""
        self.keep.disabled, self.withdraw.disabled = not focused, True
        self.undo.disabled = state.run is None or not _CHANGES[state.run.folder]
        self.label.options = [("emotion?", None), *((plain(name), name) for name in state.classes)]
        self.label.index = 0  # the label of one utterance must not be mistaken for the next one's
        self.message.value = "A correction changes the single label that <code>ipr annotate</code> gives."
        correction = self.guarded(lambda: _newest(state)) if focused else None
        if correction is not None:
            self.withdraw.disabled, self.label.value = False, correction["label"]
            note = f": {in_html(correction['note'], SENTENCE)}" if correction["note"] else ""
            author, time = in_html(correction["who"]), in_html(correction["when"])
            self.message.value = (
                f"Corrected to {utterance.emotion(correction['label'])}, kept by {author} at {time}{note}"
            )

    def write(self, label: str | None) -> bool:
        """Keep this label as a correction; WITHDRAWN withdraws the one that counts.  returns: whether it is kept"""
        with self.state.guard("corrections"):
            return self.guarded(lambda: self._add(label)) is not None
        return False

    def take_back(self) -> None:
        """Undo the last correction or withdrawal that this kernel has made in the run, and turn to its utterance."""
        with self.state.guard("corrections"):
            self.guarded(self._take_back)

    def guarded(self, act: Callable[[], Result]) -> Result | None:
        """Return the result of `act`, or show its error; an unforeseen one is raised too."""
        try:
            return act()
        except Exception as error:
            self.message.value = error_text(error)
            if not isinstance(error, ValueError):
                raise
            return None

    def _add(self, label: str | None) -> Change:
        state = self.state
        if label is None or state.focus < 0:
            raise ValueError("choose an emotion first")
        run, data, _ = state.opened
        id = data.table["id"].iloc[state.focus]
        earlier = _last(run, id)
        corrections.add(run, id, label, self.author.value, self.note.value)
        Correction.last_author = self.author.value
        change = Change(state.focus, _last(run, id) or {}, earlier)
        _CHANGES[run.folder].append(change)
        state.change(corrected=state.corrected + 1)
        return change

    def _take_back(self) -> None:
        run, changes = self.state.opened.run, _CHANGES[self.state.opened.run.folder]
        if not changes:
            raise ValueError("this session has no correction left to undo")
        row, line, earlier = changes[-1]
        id, last = line["id"], _last(run, line["id"])
        if last != line:
            changes.pop()
            raise ValueError(f"{id} was corrected again in another session, so that nothing is undone")
        if earlier is None or earlier["label"] == corrections.WITHDRAWN:
            label, note, back = corrections.WITHDRAWN, "undo", "has no correction now"
        else:
            label, back = earlier["label"], f"is {utterance.emotion(earlier['label'])} again"
            note = f"undo: kept by {earlier['who']} at {earlier['when']} {earlier['note']}"
        corrections.add(run, id, label, self.author.value, note)
        changes.pop()
        restored = _last(run, id) or {}  # is now what the change before it, if this kernel's, has added
        changes[:] = [change._replace(line=restored) if change.line == earlier else change for change in changes]
        self.state.change(corrected=self.state.corrected + 1, focus=row)
        self.message.value = f"Undone: {in_html(id)} {back}"


def _newest(state: RunState) -> Series | None:
    """Return the correction that counts for the utterance in view."""
    run, data, _ = state.opened
    table, id = corrections.newest(run), data.table["id"].iloc[state.focus]
    return table.loc[id] if id in table.index else None


def _last(run: Run, id: str) -> dict[str, Any] | None:
    """Return the last line of an utterance, a withdrawal too; None if it has none."""
    table = corrections.read(run)
    lines = table[table["id"] == id].to_dict("records")
    return lines[-1] if lines else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may know no names
        return ""
