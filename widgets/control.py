"""The bar that starts, pauses, resumes and stops training, and says how it goes."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from html import escape
from pathlib import Path

import ipywidgets as w
import torch

from ipr_core.config import Config, SettingsError
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import Dataset
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import prepare
from ipr_core.training.loop import LossError
from ipr_core.training.runner import IDLE, Runner
from ipr_widgets import curves
from ipr_widgets.form import Form
from ipr_widgets.state import RunState

# Without icons: an icon is a letter of a font, which becomes a part of the name that a screen reader says.
_BUTTONS = {
    "Start": ("Trains with these settings: a new run, or one begun before from its last finished epoch", IDLE),
    "Pause": ("Waits after this step; the notebook stays usable", ("preparing", "running")),
    "Resume": ("Goes on after a pause", ("pausing", "paused")),
    "Stop": (
        "Ends after this step; Start goes on from the last finished epoch",
        ("preparing", "running", "pausing", "paused"),
    ),
}
"""Name → what it does, and the states of the runner in which it can be pressed."""

_STATUS = {
    "ready": "Ready: Start trains",
    "preparing": "Preparing: the corpus is read, decoded and partitioned …",
    "running": "Training",
    "pausing": "Pausing after this step …",
    "paused": "Paused: Resume goes on",
    "stopping": "Stopping after this step …",
    "stopped": "Stopped: Start goes on from the last finished epoch",
    "finished": "Finished",
    "failed": "Failed",
}
_BAR = {"paused": "warning", "pausing": "warning", "finished": "success", "failed": "danger"}
_LATEST = 3  # epochs of a phase that say what its next one takes
_SENTENCES = (SettingsError, RunError, CorpusError, LossError)  # they say themselves what to do
_SMALLER = "The memory is too small: a smaller <code>batch_size</code> or <code>max_seconds</code> needs less."
_ROOM = "Free disk space, then Start goes on from the last finished epoch."
_CURES = {
    (torch.OutOfMemoryError, ""): _SMALLER,
    (RuntimeError, "can't allocate memory"): _SMALLER,  # what torch says on a CPU
    # By their words: what safetensors raises is no OSError.
    (Exception, os.strerror(errno.ENOSPC)): _ROOM,
    (Exception, os.strerror(errno.EDQUOT)): _ROOM,
}
"""Kind of error, and words of its message → what to do, as HTML."""


def panel(
    state: RunState,
    runner: Runner,
    config: Config,
    runs: Path | str | None = None,
    found: tuple[Run, Dataset] | None = None,
) -> Control:
    """The control of a runner that `state` watches.

    config: what the form shows at first   runs: the folder of new runs   found: the run of `config`, with its data
    """
    return Control(state, runner, config, runs, found)


class Control(w.VBox):
    """Buttons, progress, the newest numbers, and the settings behind a toggle."""

    def __init__(
        self,
        state: RunState,
        runner: Runner,
        config: Config,
        runs: Path | str | None = None,
        found: tuple[Run, Dataset] | None = None,
    ):
        self._state, self._runner, self._runs, self._found = state, runner, runs, found
        self._of, self._config = None, config  # whose configuration it is: reading it at every step would cost
        self._first, self._form = config, None
        self.buttons = {name: _button(name) for name in _BUTTONS}
        self.settings = w.ToggleButton(
            description="Settings", layout=w.Layout(width="auto"),
            tooltip="Shows or hides the settings; changed ones count from the next Start on",
        )  # fmt: skip
        self.epochs, self.steps = _bar("epochs", "Epochs that are trained"), _bar("steps", "Steps of this epoch")
        self.status, self.numbers, self.trouble = w.HTML(), w.HTML(), w.HTML()
        self._folded = w.VBox(layout=w.Layout(display="none"))
        bar = [*self.buttons.values(), self.settings, self.epochs, self.steps]
        row = w.HBox(bar, layout=w.Layout(align_items="center", width="100%"))
        super().__init__([row, self.status, self.numbers, self.trouble, self._folded])
        for name, act in zip(_BUTTONS, (self._start, runner.pause, runner.resume, runner.stop), strict=True):
            self.buttons[name].on_click(self._guarded(act, name))
        self.settings.observe(self._guarded(self._fold), "value")
        state.follow(self._guarded(self._show), traits=("run", "data", "status", "step", "events", "error", "faults"))
        self._guarded(self._show)()

    @property
    def form(self) -> Form:
        """The settings, made when they are first asked for: half of the board's models would be theirs.

        A page that is loaded again has to find every model of the kernel in two seconds, or leaves widgets out.
        """
        if self._form is None:
            self._form = Form(self._first)
            self._form.observe(self._guarded(self._show), "config")
        return self._form

    @property
    def config(self) -> Config | None:
        """What Start trains; None while a setting is wrong."""
        return self._first if self._form is None else self._form.config

    def _start(self) -> None:
        config = self.config
        if config is None:
            raise SettingsError(list(self.form.faults))
        self._runner.start(lambda: self._find(config))

    def _find(self, config: Config) -> tuple[Run, Dataset]:
        """The run of these settings with its data; what is at hand already is not read again."""
        pairs = ((self._state.run, self._state.data), self._found or (None, None))
        at_hand = [(run, data) for run, data in pairs if run is not None and run.exists]
        for run, data in at_hand:
            if run.config == config:
                return run, data
        corpus = config.data, config.partition
        same = [data for run, data in at_hand if (run.config.data, run.config.partition) == corpus]
        return prepare(config, self._runs, progress=False, data=same[0] if same else None)

    def _fold(self) -> None:
        if self.settings.value:
            self._folded.children = [self.form]
        self._folded.layout.display = None if self.settings.value else "none"

    def _guarded(self, act: Callable[[], None], name: str = "control") -> Callable[..., None]:
        """The same for a button or an observer: one at a time, and whatever it does, nothing else stops."""

        def call(*_: object) -> None:
            with self._state.lock, self._state.guard(name):
                act()

        return call

    def _show(self) -> None:
        state = self._state
        if state.run is not self._of:
            self._of, self._config = state.run, state.run.config
        training = self._config.training
        last = training.warm_up if self._runner.goal == "warm_up" else training.epochs
        for name, button in self.buttons.items():
            button.disabled = state.status not in _BUTTONS[name][1] or (name == "Start" and self.config is None)
        self._show_progress(last)
        self.status.value = status(state, self._config, last, changed(self._config, self.config))
        weighed = state.system is None or state.system.shows_beta
        self.numbers.value = numbers(state.step, state.events[-1] if state.events else None, weighed)
        self.trouble.value = trouble(state.error, state.faults, self._runner.fault)

    def _show_progress(self, last: int) -> None:
        state, done = self._state, len(self._state.events)
        _set(self.epochs, min(done, last), last, state.status)
        if state.step is not None:
            _set(self.steps, state.step.step, state.step.steps, state.status)
        else:
            _set(self.steps, 0, 0, state.status)


def status(state: RunState, config: Config, last: int, changed: Sequence[str] = ()) -> str:
    """What the runner does, how far the run is and how long it will take, as HTML.

    last: the epochs to train   changed: names of the settings by which what Start trains is another run
    """
    told = _STATUS[state.status]
    if changed and state.status in IDLE:
        told = f"{told.partition(':')[0]}: Start begins another run: {escape(', '.join(changed))}"
    words = [f"<b>{told}</b>"]
    if state.run is not None:
        words[0] += ", warm-up" if state.status == "running" and len(state.events) < config.training.warm_up else ""
        words.append(f"{min(len(state.events), last)} of {last} epochs are trained")
        if state.status not in IDLE:
            left = seconds_left(state, config, last)
            words.append("time left: known after an epoch" if left is None else f"{duration(left)} left")
        words.append(f"run {escape(state.run.folder.name)}")
    return _line(words)


def changed(config: Config, asked: Config | None) -> list[str]:
    """Names of the settings that are asked for otherwise; none while what is asked for is wrong."""
    return [] if asked is None else list(asked.differences(config))


def seconds_left(state: RunState, config: Config, last: int) -> float | None:
    """About how long the epochs up to `last` will take; None before one was measured.

    An epoch takes what the latest of its phase took. The refinement's, before its first, is told from the warm-up's by
    how many more views of utterances pass through the encoder.
    """
    events, step, warm_up = state.events, state.step, config.training.warm_up
    if not events:
        return None
    pace = {refining: _pace([event for event in events if (event.epoch >= warm_up) == refining]) for refining in (0, 1)}
    if pace[1] is None:
        training, evaluation = pace[0]
        pace[1] = training * _heavier(config, state.data), evaluation
    ahead = range(len(events), last)
    left = sum(sum(pace[epoch >= warm_up]) for epoch in ahead)
    if ahead and step is not None and step.epoch == ahead[0]:
        left -= pace[step.epoch >= warm_up][0] * step.step / step.steps
    return left


def numbers(step: StepEnd | None, event: EpochEnd | None, beta: bool = True) -> str:
    """The newest step's loss terms, and the newest epoch's β, score, speed and memory, as HTML.

    beta: whether it weighs anything in the system's loss
    """
    words = []
    if step is not None:
        values = dict(zip(step.names, step.values.tolist(), strict=True))
        terms = [_number(curves.term(name)[0], f"{values[name]:.3f}") for name in curves.ordered(values)]
        words.append(_hint(f"Loss: {', '.join(terms)}", "Of the newest step; the terms are before their weights"))
    return _line(words + ([] if event is None else _of_epoch(event, beta)))


def trouble(error: BaseException | None, faults: dict[str, str], fault: Exception | None = None) -> str:
    """Why training failed, with the cure; and what failed beside it, which does not stop it; as HTML.

    faults: widget → what it failed with   fault: a watcher's
    """
    parts = []
    if error is not None:
        told = escape(str(error)) if isinstance(error, _SENTENCES) else _unforeseen(error)
        style = "white-space: pre-wrap; max-height: 9em; overflow: auto; padding: 2px 6px"
        parts.append(f'<div role="alert" style="{style}; border-left: 3px solid var(--jp-error-color1)">{told}</div>')
    failed = [f"{widget}: {text}" for widget, text in faults.items()]
    if fault is not None:
        failed.append(f"{type(fault).__name__}: {fault}")
    if failed:
        parts.append(f"<div>A widget failed ({escape('; '.join(failed))}); training goes on.</div>")
    return _line(["".join(parts)]) if parts else ""


def _of_epoch(event: EpochEnd, beta: bool) -> list[str]:
    utterances, audio = event.clock["utterances_per_second"], event.clock["audio_seconds_per_second"]
    speed = _number("utterances", f"{utterances:.0f}/s") + ", " + _number("audio", f"{audio:.0f} s/s")
    memory = _number("memory", f"{event.clock['peak_memory_mb']:,.0f} MB")
    accuracy = _number("accuracy on D3", f"{100 * event.accuracy:.1f} %")
    weighed = _hint(_number("β", f"{event.beta:.3f}"), "Weight of the loss on D2 in the latest epoch (Eq. 7)")
    return [
        _hint(accuracy, "Of the classifier after the latest epoch, on the utterances that annotators agreed on least"),
        *([weighed] if beta else []),
        _hint(
            speed,
            "Utterances, and seconds of audio, trained on a second in the latest epoch; a second view is not counted",
        ),
        _hint(memory, "The most used so far: of the GPU, or of the kernel where it trains on the CPU"),
    ]


def duration(seconds: float) -> str:
    """In words, no more precise than an estimate is."""
    if seconds < 50:
        return f"about {max(5, 5 * round(seconds / 5))} s"
    minutes = max(1, round(seconds / 60))
    return f"about {minutes} min" if minutes < 60 else f"about {minutes // 60} h {minutes % 60} min"


def _pace(events: Sequence[EpochEnd]) -> tuple[float, float] | None:
    """Seconds of training and of evaluation that an epoch like these takes; None where there is none."""
    clocks = [event.clock for event in events[-_LATEST:]]
    if not clocks:
        return None
    whole = sum(clock["seconds"] for clock in clocks) / len(clocks)
    evaluation = sum(clock["evaluation_seconds"] for clock in clocks) / len(clocks)
    return whole - evaluation, evaluation


def _heavier(config: Config, data: Dataset) -> float:
    """How many times the views of a warm-up epoch pass through the encoder in an epoch of the refinement."""
    system, precise, ambiguous = SYSTEMS[config.training.system], len(data.rows("D1")), len(data.rows("D2"))
    views = (system.precise_views + system.ambiguous_views) / system.precise_views
    return max(precise, ambiguous) / precise * views


def _unforeseen(error: BaseException) -> str:
    cures = [cure for (kind, words), cure in _CURES.items() if isinstance(error, kind) and words in str(error)]
    told = f"{type(error).__name__}: {escape(str(error))}"
    return "\n".join([told, *cures[:1], "<code>training.wait()</code> shows the traceback."])


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
    return f'<span title="{escape(sentence)}" tabindex="0">{html}</span>'


def _line(words: Sequence[str]) -> str:
    style = "line-height: 1.4; font-size: var(--jp-ui-font-size1); color: var(--jp-ui-font-color1)"
    return f'<div style="{style}">{" · ".join(words)}</div>' if words else ""
