"""Training in a thread of its own, which can be paused, resumed and stopped."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ipr_core.data.dataset import Dataset
from ipr_core.runs.run import Run
from ipr_core.training.advance import Until, advance
from ipr_core.training.loop import Event

State = Literal["ready", "preparing", "running", "pausing", "paused", "stopping", "stopped", "finished", "failed"]
IDLE = ("ready", "stopped", "finished", "failed")
"""The states of a runner that can be started."""


@dataclass(frozen=True)
class Began:
    """A runner has its run, recorded epochs included, and the data; every epoch trained from now on follows."""

    run: Run
    data: Dataset


@dataclass(frozen=True)
class Changed:
    """A runner's state is another one."""

    state: State
    error: BaseException | None = None
    """Why it failed."""


class Runner:
    """Trains a run in a thread of its own, which can be paused, resumed and stopped, and waited for.

    What is drawn from torch's global generator elsewhere while it trains disturbs dropout: the run is as good, but
    not the same to the bit.
    """

    state: State
    error: BaseException | None
    """Why training failed; `wait` raises it."""
    fault: Exception | None
    """The latest failure of a watcher, which never stops training."""
    run: Run | None
    until: Until
    """How far it trains."""

    def __init__(self, until: Until = "end"):
        self.state, self.error, self.fault, self.run = "ready", None, None, None
        self.until, self._watchers = until, []
        self._thread: threading.Thread | None = None
        self._lock, self._go, self._stopping = threading.Lock(), threading.Event(), False

    def watch(self, watcher: Callable[[Began | Changed | Event], None]) -> None:
        """Call this with everything that happens, mostly in the training thread."""
        self._watchers.append(watcher)

    @property
    def active(self) -> bool:
        """Whether a run is being trained, or waits in its pause."""
        return self.state not in IDLE

    def start(self, found: Callable[[], tuple[Run, Dataset]]) -> None:
        """Train from where the run's checkpoint stands. `found` is called in the thread, `prepare` for example.

        raises RuntimeError while another one is trained
        """
        if self.active:
            raise RuntimeError("a run is being trained; stop it and wait for it first")
        self.error, self._stopping = None, False
        self._go.set()
        self._set("preparing")
        self._thread = threading.Thread(target=self._work, args=(found,), name="training", daemon=True)
        self._thread.start()

    def pause(self) -> None:
        """Wait after the step that is being made, or before the first one."""
        if self._set("pausing", given=("preparing", "running")):
            self._go.clear()

    def resume(self) -> None:
        """Go on after a pause."""
        self._set("running", given=("pausing", "paused"))
        self._go.set()

    def stop(self) -> None:
        """End after the step that is being made; `start` goes on from the last finished epoch, as after a kill."""
        if self._set("stopping", given=("preparing", "running", "pausing", "paused")):
            self._stopping = True
            self._go.set()

    def wait(self, seconds: float | None = None) -> Run | None:
        """The run, once it is finished or stopped, or this much time has passed; raises what training failed with."""
        if self._thread is not None:
            self._thread.join(seconds)
        if self.error is not None:
            raise self.error
        return self.run

    def _work(self, found: Callable[[], tuple[Run, Dataset]]) -> None:
        try:
            self.run, data = found()
            self._tell(Began(self.run, data))
            self._set("running", given="preparing")
            self._between(None)
            advance(self.run, data, self.until, self._between)
            self._set("finished")
        except _Stopped:
            self._set("stopped")
        except BaseException as error:  # whatever it is, `wait` raises it where someone sees it
            self.error = error
            self._set("failed")

    def _between(self, event: Event | None) -> None:
        if event is not None:
            self._tell(event)
        if not self._go.is_set() and self._set("paused", given="pausing"):
            self._go.wait()
        if self._stopping:
            raise _Stopped

    def _set(self, state: State, given: State | tuple[State, ...] | None = None) -> bool:
        """Go to another state, from one of the given ones only; whether it did."""
        with self._lock:
            if given is not None and self.state not in ((given,) if isinstance(given, str) else given):
                return False
            self.state = state
        told = None
        while told != self.state:  # another thread may be quicker: what watchers hear last is what holds
            told = self.state
            self._tell(Changed(told, self.error))
        return True

    def _tell(self, event: Began | Changed | Event) -> None:
        for watcher in self._watchers:
            try:
                watcher(event)
            except Exception as fault:
                self.fault = fault


class _Stopped(Exception):
    """Ends the loop from within a watcher."""
