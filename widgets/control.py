"""The bar that starts, pauses, resumes and stops training, and shows its progress."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from pathlib import Path

import ipywidgets as w
import torch

from ipr_core.atomic import WriteError
from ipr_core.config import Config, SettingsError
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import Dataset
from ipr_core.encoders import EncoderError
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.run import Run, RunError
from ipr_core.texts import SENTENCE, in_html
from ipr_core.training.advance import prepare
from ipr_core.training.loop import LossError
from ipr_core.training.pace import estimate, seconds_left
from ipr_core.training.runner import IDLE, Runner
from ipr_widgets import curves
from ipr_widgets.again import Again
from ipr_widgets.form import Form
from ipr_widgets.state import RunState

# Without icons: a screen reader would read an icon, a letter of a font, as a part of the name.
_BUTTONS = {
    "Start": ("Trains with these settings: a new run, or one begun before from its last finished epoch", IDLE),
    "Pause": ("Waits after this step; the notebook stays usable", ("preparing", "running")),
    "Resume": ("Goes on after a pause", ("pausing", "paused")),
    "Stop": (
        "Ends after this step; Start goes on from the last finished epoch. JupyterLab's ■ interrupts a cell, not this",
        ("preparing", "running", "following", "pausing", "paused"),
    ),
}
"""Name → its tooltip, and the states of the runner in which it can be pressed."""

_STATUS = {
    "ready": "Ready: Start trains",
    "preparing": "Preparing: the corpus is read, decoded and partitioned …",
    "running": "Training",
    "following": "Following: another process trains this run, whose epochs show here",
    "pausing": "Pausing after this step …",
    "paused": "Paused: Resume goes on",
    "stopping": "Stopping after this step …",
    "stopped": "Stopped: Start goes on from the last finished epoch",
    "finished": "Finished",
    "failed": "Failed",
}
_BAR = {"paused": "warning", "pausing": "warning", "finished": "success", "failed": "danger"}
_SENTENCES = (SettingsError, RunError, CorpusError, EncoderError, LossError, WriteError)  # their messages name the cure
_SMALLER = "The memory is too small: a smaller <code>batch_size</code> or <code>max_seconds</code> needs less."
_ROOM = "Free disk space, then Start goes on from the last finished epoch."
_CURES = {
    (torch.OutOfMemoryError, ""): _SMALLER,
    (RuntimeError, "can't allocate memory"): _SMALLER,  # torch's message on a CPU
    # By their words: safetensors raises no OSError.
    (Exception, os.strerror(errno.ENOSPC)): _ROOM,
    (Exception, os.strerror(errno.EDQUOT)): _ROOM,
}
"""Kind of error, and words of its message → the cure, as HTML."""


def panel(
    state: RunState,
    runner: Runner,
    config: Config,
    runs: Path | str | None = None,
    prepared: tuple[Run, Dataset] | None = None,
) -> Control:
    """Return the control of a runner that `state` watches.

    config: the first settings of the form   runs: the folder of new runs   prepared: the run of `config`, its data
    """
    return Control(state, runner, config, runs, prepared)


class Control(w.VBox):
    """Buttons, progress, the newest numbers, and the settings behind a toggle."""

    def __init__(
        self,
        state: RunState,
        runner: Runner,
        config: Config,
        runs: Path | str | None = None,
        prepared: tuple[Run, Dataset] | None = None,
    ):
        self.prepared, self.first_config = prepared, config
        self._state, self._runner, self._runs = state, runner, runs
        self._run: Run | None = None
        self._config = config  # of the run, read once: reading it at every step takes too long
        self._form: Form | None = None
        self.buttons = {name: _button(name) for name in _BUTTONS}
        self.settings = w.ToggleButton(
            description="Settings", layout=w.Layout(width="auto"),
            tooltip="Shows or hides the settings; changed ones count from the next Start on",
        )  # fmt: skip
        self.epochs, self.steps = _bar("epochs", "Epochs that are trained"), _bar("steps", "Steps of this epoch")
        self.status, self.numbers, self.trouble = w.HTML(), w.HTML(), w.HTML()
        self.drawer = w.VBox(layout=w.Layout(display="none"))
        bar = [*self.buttons.values(), self.settings, self.epochs, self.steps]
        row = w.HBox(bar, layout=w.Layout(align_items="center", width="100%"))
        self.again = Again(state, self._start_again, runs)
        super().__init__([row, self.status, self.numbers, self.trouble, self.again, self.drawer])
        for name, act in zip(_BUTTONS, (self._start, runner.pause, runner.resume, runner.stop), strict=True):
            self.buttons[name].on_click(self._guarded(act, name))
        self.settings.observe(self._guarded(self._fold), "value")
        state.follow(self._guarded(self._show), traits=("run", "data", "status", "step", "events", "error", "faults"))
        self._guarded(self._show)()

    @property
    def form(self) -> Form:
        """The form of the settings, made when it is first needed.

        It would be half of the board's models, and a page that is loaded again leaves out widgets whose models it has
        not received in two seconds.
        """
        if self._form is None:
            self._form = Form(self.first_config)
            self._form.observe(self._guarded(self._show), "config")
        return self._form

    @property
    def config(self) -> Config | None:
        """The settings that Start trains; None while a setting is wrong."""
        return self.first_config if self._form is None else self._form.config

    def _start(self) -> None:
        config = self.config
        if config is None:
            raise SettingsError(list(self.form.faults))
        self._runner.start(lambda: self._find(config))

    def _start_again(self, find: Callable[[], tuple[Run, Dataset]]) -> None:
        """Train the run that `find` prepares, whose settings the form then shows."""

        def prepared() -> tuple[Run, Dataset]:
            self.prepared = run, data = find()
            self.first_config, self._form = run.config, None
            return run, data

        self.settings.value = False
        self._runner.start(prepared)

    def _find(self, config: Config) -> tuple[Run, Dataset]:
        """Return the run of these settings with its data, from memory where it is there."""
        pairs = [(self._state.run, self._state.data), self.prepared or (None, None)]
        runs = [(run, data) for run, data in pairs if run is not None and data is not None and run.exists]
        for run, data in runs:
            if run.config == config:
                return run, data
        corpus = config.data, config.partition
        corpora = [data for run, data in runs if (run.config.data, run.config.partition) == corpus]
        return prepare(config, self._runs, progress=False, data=corpora[0] if corpora else None)

    def _fold(self) -> None:
        if self.settings.value:
            self.drawer.children = [self.form]
        self.drawer.layout.display = None if self.settings.value else "none"

    def _guarded(self, act: Callable[[], None], name: str = "control") -> Callable[..., None]:
        """Return `act` for a button or an observer: one at a time, its errors guarded."""

        def call(*_: object) -> None:
            with self._state.lock, self._state.guard(name):
                act()

        return call

    def _show(self) -> None:
        state = self._state
        if state.run is not None and state.run is not self._run:
            self._run, self._config = state.run, state.run.config
        training = self._config.training
        last = training.warm_up if self._runner.goal == "warm_up" else training.epochs
        for name, button in self.buttons.items():
            button.disabled = state.status not in _BUTTONS[name][1] or (name == "Start" and self.config is None)
        self._show_progress(last)
        changes = [] if self.config is None else list(self.config.differences(self._config))
        faults = self._form.faults if self._form is not None and self.config is None else ()
        self.status.value = status(state, self._config, last, changes, faults)
        shows_beta = state.system is None or state.system.shows_beta
        self.numbers.value = numbers(state.step, state.events[-1] if state.events else None, shows_beta)
        self.trouble.value = trouble(state.error, state.faults, self._runner.fault)

    def _show_progress(self, last: int) -> None:
        state, count = self._state, len(self._state.events)
        _set(self.epochs, min(count, last), last, state.status)
        if state.step is not None:
            _set(self.steps, state.step.step, state.step.steps, state.status)
        else:
            _set(self.steps, 0, 0, state.status)


def status(state: RunState, config: Config, last: int, changes: Sequence[str] = (), faults: Sequence[str] = ()) -> str:
    """Return the runner's state, the run's progress and the time left as HTML.

    last: how many epochs to train   changes: names of the settings that make another run of the next Start
    faults: of wrong settings, a sentence each
    """
    sentence = _STATUS[state.status]
    if state.status == "running" and state.step is None:
        sentence = "Training: the model, and views of the speech where it is frozen, are made ready …"
    if changes:
        first = "Start" if state.status in IDLE else "this run goes on as it is; Stop, then Start"
        sentence = f"{sentence.partition(':')[0]}: {first} begins another run: {in_html(', '.join(changes), SENTENCE)}"
    if faults:
        sentence = f"{sentence.partition(':')[0]}: Start waits for a right setting: {in_html(faults[0], SENTENCE)}"
    words = [f"<b>{sentence}</b>"]
    if state.run is not None and state.data is not None:
        warming_up = state.status == "running" and state.step and len(state.events) < config.training.warm_up
        words[0] += ", warm-up" if warming_up else ""
        words.append(f"{min(len(state.events), last)} of {last} epochs are trained")
        if state.status not in IDLE:
            precise, ambiguous = (len(state.data.rows(part)) for part in ("D1", "D2"))
            seconds = seconds_left(state.events, config, last, precise, ambiguous, state.step)
            words.append("time left: known after an epoch" if seconds is None else f"{estimate(seconds)} left")
        words.append(f"run {in_html(state.run.folder.name, SENTENCE)}")
    return _line(words)


def numbers(step: StepEnd | None, event: EpochEnd | None, beta: bool = True) -> str:
    """Return the newest step's losses and the newest epoch's numbers as HTML.

    beta: whether it weighs a loss of the system
    """
    words = []
    if step is not None:
        values = dict(zip(step.names, step.values.tolist(), strict=True))
        terms = [_number(in_html(curves.term(name)[0]), f"{values[name]:.3f}") for name in curves.ordered(values)]
        words.append(_hint(f"Loss: {', '.join(terms)}", "Of the newest step; the terms are before their weights"))
    return _line(words + ([] if event is None else _of_epoch(event, beta)))


def trouble(error: BaseException | None, faults: dict[str, str], fault: Exception | None = None) -> str:
    """Return the error of training with its cure, and the errors of widgets, as HTML.

    faults: widget → its error   fault: a watcher's
    """
    parts = []
    if error is not None:
        message = _lines(error) if isinstance(error, _SENTENCES) else _unforeseen(error)
        style = "white-space: pre-wrap; max-height: 9em; overflow: auto; padding: 2px 6px"
        parts.append(
            f'<div role="alert" style="{style}; border-left: 3px solid var(--jp-error-color1)">{message}</div>'
        )
    failed = [f"{widget}: {text}" for widget, text in faults.items()]
    if fault is not None:
        failed.append(f"{type(fault).__name__}: {fault}")
    if failed:
        parts.append(f"<div>A widget failed ({in_html('; '.join(failed), SENTENCE)}); training goes on.</div>")
    return _line(["".join(parts)]) if parts else ""


def _of_epoch(event: EpochEnd, beta: bool) -> list[str]:
    utterances, audio = event.clock["utterances_per_second"], event.clock["audio_seconds_per_second"]
    speed = _number("utterances", f"{utterances:.0f}/s") + ", " + _number("audio", f"{audio:.0f} s/s")
    memory = _number("memory", f"{event.clock['peak_memory_mb']:,.0f} MB")
    accuracy = _number("accuracy on D3", f"{100 * event.accuracy:.1f} %")
    weight = _hint(_number("β", f"{event.beta:.3f}"), "Weight of the loss on D2 in the latest epoch (Eq. 7)")
    return [
        _hint(accuracy, "Of the classifier after the latest epoch, on the utterances that annotators agreed on least"),
        *([weight] if beta else []),
        _hint(
            speed,
            "Utterances, and seconds of audio, trained on a second in the latest epoch; a second view is not counted",
        ),
        _hint(memory, "The most used so far: of the GPU, or of the kernel where it trains on the CPU"),
    ]


def _unforeseen(error: BaseException) -> str:
    cures = [cure for (kind, words), cure in _CURES.items() if isinstance(error, kind) and words in str(error)]
    message = f"{type(error).__name__}: {_lines(error)}"
    return "\n".join([message, *cures[:1], "<code>training.wait()</code> shows the traceback."])


def _lines(error: BaseException) -> str:
    """Return an error's lines as HTML: a corpus may have many faults."""
    return "\n".join(in_html(line, SENTENCE) for line in str(error).splitlines())


def _button(name: str) -> w.Button:
    return w.Button(description=name, tooltip=_BUTTONS[name][0], layout=w.Layout(width="auto"))


def _bar(name: str, tooltip: str) -> w.IntProgress:
    size = w.Layout(flex="1 1 0", width="auto", min_width="6em")
    return w.IntProgress(description=name, tooltip=tooltip, layout=size, style=dict(description_width="9em"))


def _set(bar: w.IntProgress, value: int, end: int, state: str) -> None:
    kind = bar.description.split()[0]
    bar.max = max(end, 1)
    bar.value, bar.description, bar.bar_style = value, f"{kind} {value} of {end}", _BAR.get(state, "info")


def _number(name: str, value: str) -> str:
    return f"{name} <b>{value}</b>"


def _hint(html: str, sentence: str) -> str:
    return f'<span title="{in_html(sentence, SENTENCE)}" tabindex="0">{html}</span>'


def _line(words: Sequence[str]) -> str:
    style = "line-height: 1.4; font-size: var(--jp-ui-font-size1); color: var(--jp-ui-font-color1)"
    return f'<div style="{style}">{" · ".join(words)}</div>' if words else ""
