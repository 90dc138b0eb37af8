"""What the live widgets show. Training tells it what happened, a reader chooses what to look at; panels follow."""

from __future__ import annotations

import asyncio
import dataclasses
import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from time import monotonic
from typing import Any

import numpy as np
import traitlets as t
from numpy.typing import NDArray

from ipr_core.data.dataset import Dataset
from ipr_core.method.systems import System
from ipr_core.runs.events import EpochEnd, StepEnd, without_prototypes
from ipr_core.runs.run import Run
from ipr_core.training.runner import Began, Changed
from ipr_core.training.session import map_sample

_STEPS_A_SECOND = 4  # that a progress display shows; more would be work for nothing
_REST = 0.15  # seconds without a move of the slider, then it rests


class RunState(t.HasTraits):
    """One run as the widgets see it.

    `on_event` is the way in for training (a watcher of `runner.Runner`), `change` that of a reader's clicks. Both
    may come from any thread, and observers never see half a change. Events are kept without their arrays, which are
    read from the run folder when they are asked for: memory hardly grows with the epochs.
    """

    run = t.Instance(Run, allow_none=True)
    data = t.Instance(Dataset, allow_none=True)
    status = t.Unicode("ready", help="state of the runner, see `runner.State`")
    error = t.Instance(BaseException, allow_none=True, help="why training failed")
    events = t.Tuple(help="EpochEnd without arrays, one an epoch")
    step = t.Instance(StepEnd, allow_none=True, help="the newest one, at most four a second")
    epoch = t.Int(-1, help="the epoch that is looked at, -1 before there is one; it follows the newest")
    pair = t.Tuple(help="two classes whose prototypes are compared, or none: () or (i, j) with i < j")
    focus = t.Int(-1, help="the utterance that is looked at, a row of the utterance table, or -1")
    selection = t.Tuple(help="the utterances that are selected, rows of the utterance table")
    corrected = t.Int(0, help="grows with every correction that is written")
    faults = t.Dict(help="widget → what it failed with last")

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.RLock()
        self._shown = 0.0
        self._waiting: dict[Callable[[], None], asyncio.TimerHandle] = {}

    @property
    def classes(self) -> tuple[str, ...]:
        return self.data.classes if self.data is not None else ()

    @property
    def system(self) -> System | None:
        """What the run trains on what; None before there is a run."""
        return None if self.run is None else _system(self.run)

    @property
    def seen(self) -> tuple[EpochEnd, ...]:
        """The events up to the epoch that is looked at."""
        return self.events[: self.epoch + 1]

    @property
    def sample(self) -> NDArray[np.int64]:
        """(M,) the rows whose embeddings the arrays hold as `map`."""
        return map_sample(self.data, self.run.config.training.map_size)

    def arrays(self, epoch: int) -> dict[str, np.ndarray]:
        """The arrays of an epoch; `EpochEnd.arrays` says which. The latest few stay in memory."""
        return _arrays(self.run, epoch)

    def change(self, **traits: Any) -> None:
        """Change traits together; observers hear of it once, afterwards."""
        with self.lock, self.hold_trait_notifications():
            for name, value in traits.items():
                setattr(self, name, value)

    def follow(self, hear: Callable[[], None], on: Sequence[str], patient: bool = False) -> None:
        """Call `hear` after a change of these traits: once, however many of them changed together.

        patient: whether it can wait until the slider over the epochs rests, for the sake of what must move with it
        """
        heard = [getattr(self, name) for name in on]

        def changed(_: object) -> None:
            nonlocal heard
            now = [getattr(self, name) for name in on]
            # By identity: the events of a long run are many to compare.
            other = [a is not b and not (isinstance(a, int) and a == b) for a, b in zip(now, heard, strict=True)]
            names, heard = [name for name, differs in zip(on, other, strict=True) if differs], now
            if names == ["epoch"] and patient:
                self._at_rest(hear)
            elif names:
                hear()

        self.observe(changed, list(on))

    def _at_rest(self, hear: Callable[[], None]) -> None:
        """Call it when the slider rests; at once where no loop runs that could wait, as in a training thread."""
        try:
            loop = asyncio.get_running_loop()
        except RuntimeError:
            hear()
            return
        if hear in self._waiting:
            self._waiting[hear].cancel()
        self._waiting[hear] = loop.call_later(_REST, hear)

    def on_event(self, event: Began | Changed | StepEnd | EpochEnd) -> None:
        """Take in what training tells; a finished run is `Began` alone, since its record holds every epoch."""
        if isinstance(event, Changed):
            self.change(status=event.state, error=event.error)
        elif isinstance(event, StepEnd):
            if event.step == event.steps or monotonic() - self._shown > 1 / _STEPS_A_SECOND:
                self._shown = monotonic()
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
            events = tuple(event.run.history())
            self.change(
                run=event.run, data=event.data, events=events, epoch=len(events) - 1, step=None, pair=(), focus=-1,
                selection=(),
            )  # fmt: skip

    @contextmanager
    def guard(self, widget: str) -> Iterator[None]:
        """What a widget does: should it fail, this says so in `faults`, and neither training nor other widgets stop."""
        try:
            yield
        except Exception as error:
            self.change(faults={**self.faults, widget: f"{type(error).__name__}: {error}"})
        else:
            if widget in self.faults:
                self.change(faults={name: text for name, text in self.faults.items() if name != widget})


@functools.lru_cache(maxsize=8)
def _system(run: Run) -> System:
    return run.system


@functools.lru_cache(maxsize=4)
def _arrays(run: Run, epoch: int) -> dict[str, np.ndarray]:
    return run.arrays(epoch)
