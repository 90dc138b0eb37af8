"""The explorer's row of controls for a listener who corrects a label."""

from __future__ import annotations

import getpass
from collections.abc import Callable

import ipywidgets as w
from pandas import Series

from ipr_core.runs import corrections
from ipr_core.texts import SENTENCE, in_html, plain
from ipr_widgets import utterance
from ipr_widgets.parts import THIN, column_layout, error_text, follow
from ipr_widgets.state import RunState


class Correction(w.VBox):
    """Controls that keep or withdraw a correction of the utterance in view."""

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
        controls = [self.label, self.author, self.note, self.keep, self.withdraw]
        for control, share in zip(controls, (3, 3, 4, 2, 2), strict=True):
            control.layout = w.Layout(**THIN, flex=f"{share} 1 0")
        self.message = w.HTML(layout=w.Layout(**THIN, height="20px", overflow="hidden"))
        self.message.add_class("ipr-corrected")
        row = w.HBox(controls, layout=w.Layout(**THIN, overflow="hidden"))
        super().__init__([row, self.message], layout=column_layout())
        self.keep.on_click(lambda _: self.write(self.label.value))
        self.withdraw.on_click(lambda _: self.write(corrections.WITHDRAWN))
        follow(state, "corrections", ["run", "focus", "corrected"], self.show)

    def show(self) -> None:
        """Show the correction that counts, if there is one."""
        state, focused = self.state, self.state.focus >= 0
        self.note.value = ""
        self.keep.disabled, self.withdraw.disabled = not focused, True
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

    def write(self, label: str | None) -> None:
        """Keep this label as a correction; WITHDRAWN withdraws the one that counts."""
        with self.state.guard("corrections"):
            self.guarded(lambda: self._add(label))

    def guarded(self, act: Callable[[], Series | None]) -> Series | None:
        """Return the result of `act`, or show its error; an unforeseen one is raised too."""
        try:
            return act()
        except Exception as error:
            self.message.value = error_text(error)
            if not isinstance(error, ValueError):
                raise
            return None

    def _add(self, label: str | None) -> None:
        state = self.state
        if label is None or state.focus < 0:
            raise ValueError("choose an emotion first")
        run, data, _ = state.opened
        corrections.add(run, data.table["id"].iloc[state.focus], label, self.author.value, self.note.value)
        Correction.last_author = self.author.value
        state.change(corrected=state.corrected + 1)


def _newest(state: RunState) -> Series | None:
    """Return the correction that counts for the utterance in view."""
    run, data, _ = state.opened
    table, id = corrections.newest(run), data.table["id"].iloc[state.focus]
    return table.loc[id] if id in table.index else None


def _user() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # a container may know no names
        return ""
