"""The state that live widgets show.

Training reports its events to it, a reader chooses the epoch and the utterances to look at, and panels follow.
"""

from __future__ import annotations

import asyncio
import dataclasses
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any, NamedTuple

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from ipr_core.data.dataset import Dataset
from ipr_core.method.systems import System
from ipr_core.runs.events import EpochEnd, StepEnd, without_prototypes
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began, Changed
from ipr_core.training.session import map_sample

_STEPS_A_SECOND = 4  # shown by a progress display; more would be work for nothing
_REST = 0.05  # seconds without a move of the slider, after which it rests


class Opened(NamedTuple):
    """A run with its data and its system."""

    run: Run
    data: Dataset
    system: System


class RunState(t.HasTraits):
    """One run as the widgets see it.

    Training calls `on_event` (a watcher of `runner.Runner`), a reader's clicks call `change`. Both may come from any
    thread, and observers never see half a change. Events are kept without their arrays, which are read from the run
    folder when a panel needs them: memory hardly grows with the epochs.
    """

    run = t.Instance(Run, allow_none=True)
    data = t.Instance(Dataset, allow_none=True)
    status = t.Unicode("ready", help="state of the runner, see `runner.State`")
    error = t.Instance(BaseException, allow_none=True, help="why training failed")
    events = t.Tuple(help="EpochEnd without arrays, one an epoch")
    step = t.Instance(StepEnd, allow_none=True, help="the newest one, at most four a second")
    epoch = t.Int(-1, help="the epoch in view, -1 before there is one; it follows the newest")
    pair = t.Tuple(help="two classes whose prototypes are compared: (i, j) with i < j, or () for none")
    focus = t.Int(-1, help="the utterance in view, a row of the utterance table, or -1")
    clicks = t.Int(0, help="grows with every click on the utterance in view, to hear it again")
    selection = t.Tuple(help="the selected utterances, rows of the utterance table")
    listed = t.Tuple(None, allow_none=True, help="rows that pass the list's filters; None: no filter is set")
    recordings = t.Tuple(help="of a microphone, `recording.Recording`, the newest last")
    corrected = t.Int(0, help="grows with every correction")
    faults = t.Dict(help="widget → its latest error")

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self._step_time = 0.0  # of the newest step, by the monotonic clock
        self._waiting: dict[Callable[[], None], asyncio.TimerHandle] = {}
        self._system: tuple[Run | None, System | None] = None, None
        self._arrays: tuple[object, dict[str, np.ndarray]] = None, {}  # those read last, and what they are of

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of the classes; none before there is a run."""
        return self.data.classes if self.data is not None else ()

    @property
    def system(self) -> System | None:
        """The method that the run trains; None before there is a run."""
        if self.run is not None and self._system[0] is not self.run:
            self._system = self.run, self.run.system  # kept, since every panel asks for it at every change
        return None if self.run is None else self._system[1]

    @property
    def opened(self) -> Opened:
        """Return the run with its data and its system.  raises RuntimeError before there is a run"""
        run, data, system = self.run, self.data, self.system
        if run is None or data is None or system is None:
            raise RuntimeError("there is no run to show yet; training begins one, `replay` opens one")
        return Opened(run, data, system)

    @property
    def shows_prototypes(self) -> bool:
        """Whether the run's system has prototypes to show; true before there is a run."""
        return self.system is None or self.system.shows_prototypes

    @property
    def final(self) -> bool:
        """Whether the epoch in view is the last one of a finished run, the epoch of its calibrated labels."""
        return self.run is not None and self.run.finished and self.epoch == self.run.config.training.epochs - 1

    @property
    def past(self) -> tuple[EpochEnd, ...]:
        """The events up to the epoch in view."""
        return self.events[: self.epoch + 1]

    @property
    def highlighted(self) -> tuple[int, ...]:
        """The rows that stand out on the plane: the selection, else what the filters let pass; () for all alike."""
        return self.selection or (self.listed if self.listed else () if self.listed is None else (-1,))

    @property
    def sample(self) -> NDArray[np.int64]:
        """(M,) the rows whose embeddings the arrays hold as `map`; needs a run."""
        run, data, _ = self.opened
        return map_sample(data, run.config.training.map_size)

    def arrays(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the arrays of an epoch, described at `EpochEnd.arrays`; needs a run.

        All panels ask for those in view, so that these are read once.
        """
        run = self.opened.run
        source = run.folder, epoch, run.arrays_stamp(epoch)
        if source != self._arrays[0]:
            self._arrays = source, run.arrays(epoch)
        return self._arrays[1]

    def change(self, **traits: Any) -> None:
        """Change traits together; observers are called once, afterwards."""
        with self.lock, self.hold_trait_notifications():
            for name, value in traits.items():
                setattr(self, name, value)

    def follow(self, watcher: Callable[[], None], traits: Sequence[str], patient: bool = False) -> None:
        """Call `watcher` after a change of these traits, once for all that change together.

        patient: whether it can wait until the slider over the epochs rests, so that urgent panels move with the slider
        """
        values = [getattr(self, name) for name in traits]

        def on_change(_: object) -> None:
            nonlocal values
            latest = [getattr(self, name) for name in traits]
            names = [name for name, a, b in zip(traits, latest, values, strict=True) if _differ(a, b)]
            values = latest
            if names == ["epoch"] and patient:
                self._call_at_rest(watcher)
            elif names:
                watcher()

        self.observe(on_change, list(traits))

    def _call_at_rest(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` when the slider rests, or at once in a thread without an event loop."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            watcher()
            return
        if watcher in self._waiting:
            self._waiting[watcher].cancel()
        self._waiting[watcher] = loop.call_later(_REST, watcher)

    def on_event(self, event: Began | Changed | StepEnd | EpochEnd) -> None:
        """Take in an event of training.

        A finished run needs `Began` alone, since its record holds every epoch.
        """
        if isinstance(event, Changed):
            self.change(status=event.state, error=event.error)
        elif isinstance(event, StepEnd):
            if event.step == event.steps or monotonic() - self._step_time > 1 / _STEPS_A_SECOND:
                self._step_time = monotonic()
                self.change(step=event)
        elif isinstance(event, EpochEnd):
            with self.lock:
                following = self.epoch == len(self.events) - 1
                event = dataclasses.replace(event, arrays={})
                if self.system is not None and not self.system.shows_prototypes:
                    event = without_prototypes(event)
                events = (*self.events[: event.epoch], event)
                self.change(events=events, epoch=event.epoch if following else self.epoch)
        else:
            self._begin(event.run, event.data)

    def _begin(self, run: Run, data: Dataset) -> None:
        """Show a run: another one from its newest epoch on, the same one where a reader left it."""
        events, newest = tuple(run.history()), len(self.events) - 1
        same = self.run is not None and self.run.folder == run.folder
        epoch = min(self.epoch, len(events) - 1) if same and self.epoch < newest else len(events) - 1
        view: dict[str, Any] = {} if same else dict(pair=(), focus=-1, selection=(), recordings=())
        self.change(run=run, data=data, events=events, epoch=epoch, step=None, **view)

    @contextmanager
    def guard(self, widget: str) -> Iterator[None]:
        """Note an error of a widget in `faults`, so that training and other widgets go on."""
        try:
            yield
        except Exception as error:
            self.change(faults={**self.faults, widget: f"{type(error).__name__}: {error}"})
        else:
            if widget in self.faults:
                self.change(faults={name: text for name, text in self.faults.items() if name != widget})


def _differ(a: object, b: object) -> bool:
    """Compare values of a trait by identity, since events are many; numbers by value."""
    return a is not b and not (isinstance(a, int) and a == b)
