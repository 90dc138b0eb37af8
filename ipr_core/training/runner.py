"""Training in a thread of its own, which can be paused, resumed and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import StepEnd
from ipr_core.runs.run import Run
from ipr_core.training.advance import Goal, advance
from ipr_core.training.loop import Event

State = Literal[
    "ready", "preparing", "running", "following", "pausing", "paused", "stopping", "stopped", "finished", "failed"
]
IDLE = ("ready", "stopped", "finished", "failed")
"""The states in which a runner can be started."""
Prepare = Callable[[], tuple[Run, Dataset]]


@dataclass(frozen=True)
class Began:
    """The runner has its run, with the recorded epochs, and the data; every further epoch follows."""

    run: Run
    data: Dataset


@dataclass(frozen=True)
class Changed:
    """The runner's state has changed."""

    state: State
    error: BaseException | None = None
    """The failure, if the state is "failed"."""


class Runner:
    """Training in a thread of its own, which can be paused, resumed, stopped and waited for.

    If another thread draws from torch's global generator meanwhile, dropout is another one: the run is as good, but
    not the same to the bit.
    """

    state: State
    error: BaseException | None
    """The failure of training; `wait` raises it."""
    fault: Exception | None
    """The latest failure of a watcher, which never stops training."""
    run: Run | None
    goal: Goal
    """How far it trains."""

    def __init__(self, goal: Goal = "end"):
        self.state, self.error, self.fault, self.run = "ready", None, None, None
        self.goal = goal
        self._watchers: list[Callable[[Began | Changed | Event], None]] = []
        self._thread: threading.Thread | None = None
        self._lock, self._go, self._stopping = threading.Lock(), threading.Event(), False

    def watch(self, watcher: Callable[[Began | Changed | Event], None]) -> None:
        """Call `watcher` with everything that happens, mostly in the training thread."""
        self._watchers.append(watcher)

    @property
    def active(self) -> bool:
        """Whether a run is being trained or is paused."""
        return self.state not in IDLE

    def start(self, make: Prepare) -> None:
        """Train a run from where its checkpoint stands.

        make: called in the thread for the run and its data, `advance.prepare` for example
        raises RuntimeError while another run is trained
        """
        if self.active:
            raise RuntimeError("a run is being trained; stop it and wait for it first")
        self.error, self._stopping = None, False
        self._go.set()
        self._set("preparing")
        self._thread = threading.Thread(target=self._work, args=(make,), name="training", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Pause after the present step, or before the first one."""
        if self._set("pausing", allowed=("preparing", "running")):
            self._go.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._set("running", allowed=("pausing", "paused"))
        self._go.set()

    def stop(self) -> None:
        """End after the present step; `start` goes on from the last finished epoch, as after a kill."""
        if self._set("stopping", allowed=("preparing", "running", "following", "pausing", "paused")):
            self._stopping = True
            self._go.set()

    def wait(self, seconds: float | None = None) -> Run | None:
        """Return the run when training has ended, or after so many seconds. raises the failure of training"""
        if self._thread is not None:
            self._thread.join(seconds)
        if self.error is not None:
            raise self.error
        return self.run

    def _work(self, make: Prepare) -> None:
        try:
            self.run, data = make()
            self._tell(Began(self.run, data))
            self._set("running", allowed="preparing")
            self._watch(None)
            advance(self.run, data, self.goal, self._watch, wait=self._wait)
            self._set("finished")
        except _Stopped:
            self._set("stopped")
        except BaseException as error:  # whatever it is, `wait` raises it where someone sees it
            self.error = error
            self._set("failed")

    def _wait(self) -> None:
        """Say that another process trains the run, whose epochs follow. raises _Stopped if this one is stopped"""
        self._set("following", allowed=("running", "pausing"))
        self._watch(None)

    def _watch(self, event: Event | None) -> None:
        """Tell an event, then wait if training is paused. raises _Stopped if it is stopped"""
        if event is not None:
            if isinstance(event, StepEnd):  # only this runner's own training has steps
                self._set("running", allowed="following")
            self._tell(event)
        if not self._go.is_set() and self._set("paused", allowed="pausing"):
            self._go.wait()
        if self._stopping:
            raise _Stopped

    def _set(self, state: State, allowed: State | tuple[State, ...] | None = None) -> bool:
        """Go to another state, from one of the allowed ones only; tell whether it did."""
        with self._lock:
            if allowed is not None and self.state not in ((allowed,) if isinstance(allowed, str) else allowed):
                return False
            self.state = state
        latest = None
        while latest != self.state:  # another thread may be quicker: watchers hear the valid state last
            latest = self.state
            self._tell(Changed(latest, self.error))
        return True

    def _tell(self, event: Began | Changed | Event) -> None:
        for watcher in self._watchers:
            try:
                watcher(event)
            except Exception as fault:
                self.fault = fault


class _Stopped(Exception):
    """The end of the loop, raised by a watcher."""
