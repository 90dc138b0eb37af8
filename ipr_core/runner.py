"""From a configuration to a run: make or reuse its folder, train as far as asked, keep everything on the way.

`advance` trains where it is called, `Runner` in a thread of its own that can be paused and stopped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from ipr_core import labels
from ipr_core.config import Config
from ipr_core.dataset import Dataset, load
from ipr_core.events import EpochEnd, StepEnd
from ipr_core.model import build_model, encoder_of
from ipr_core.ranks import current
from ipr_core.runs import Run, default_runs, name
from ipr_core.session import Session, device
from ipr_core.systems import SYSTEMS
from ipr_core.train import Event, refine, warm_up
from ipr_core.views import Views

Watcher = Callable[[Event], None]
Until = Literal["warm_up", "end"]
State = Literal["ready", "preparing", "running", "pausing", "paused", "stopping", "stopped", "finished", "failed"]
IDLE = ("ready", "stopped", "finished", "failed")
"""The states of a runner that can be started."""


def ignore(event: Event) -> None:
    """The watcher that watches nothing."""


def encoder_faults(configs: Iterable[Config], runs: Path | str | None = None) -> list[str]:
    """Why encoders cannot be had, found before a corpus is read; that of a run below `runs` was there once."""
    place = Path(runs or default_runs())
    new = [config for config in configs if not Run(place / name(config)).exists]
    faults: dict[str, None] = {}
    for config in {(config.encoder, _own_encoder(config)): config for config in new}.values():
        try:
            encoder_of(config)
        except ValueError as error:
            faults[str(error)] = None
    return list(faults)


def prepare(
    config: Config,
    runs: Path | str | None = None,
    cache: Path | None = None,
    progress: bool = True,
    data: Dataset | None = None,
) -> tuple[Run, Dataset]:
    """The run of this configuration below `runs`, with its data: an existing one as it is, or a new one.

    data: what `load(config)` would give, where it is at hand
    raises CorpusError, RunError
    """
    with current().main_first():
        run = Run(Path(runs or default_runs()) / name(config))
        if run.exists:
            return run, run.dataset(cache, progress)
        data = data or load(config, cache, progress)
        return Run.create(config, data, runs), data


def advance(
    run: Run,
    data: Dataset,
    until: Until = "end",
    watch: Watcher = ignore,
    views: Views | None = None,
) -> Run:
    """Train a run from where its checkpoint stands; nothing where it is already there.

    watch: called with every event   views: of another session that sees the same ones
    Of several ranks the main one keeps everything and is watched; all return once everything is written.
    raises RunError where another process trains it
    """
    ranks = current()
    if ranks.agreed(run.finished or (until == "warm_up" and run.warmed_up)):
        return run
    if ranks.main:
        with run.locked():
            _train(run, data, until, watch, views)
    else:
        for _ in _events(_begun(run, data, views), until):
            pass
    ranks.agreed(True)
    return run


def _train(run: Run, data: Dataset, until: Until, watch: Watcher, views: Views | None) -> None:
    session = _begun(run, data, views)
    for event in _events(session, until):
        if isinstance(event, EpochEnd):
            run.record(event)
            if session.epoch == run.config.training.warm_up:  # before what a killed run goes on from
                run.save_state(session.state(), "warm_up")
            run.save_state(session.state())
        watch(event)
    if until == "end":
        finish(run, session)


def _begun(run: Run, data: Dataset, views: Views | None) -> Session:
    """A session that stands where the run's checkpoint does."""
    return Session(run.config, data, views, run.load_state())


def _events(session: Session, until: Until) -> Iterator[Event]:
    return (warm_up if until == "warm_up" else refine)(session)


def train_all(
    configs: Iterable[Config], runs: Path | str | None = None, cache: Path | None = None, progress: bool = True
) -> list[Run]:
    """Train one configuration after another; what is finished already is left as it is.

    Neighbours that see the same second views (systems of one seed, say) share them: they pass through the
    encoder's frozen part once. Results are the same to the bit as without sharing.
    """
    done, datasets = [], {}
    views: dict[str, Views] = {}  # of neighbours with the same second views, by the encoder that they pass through
    seen = None
    for config in configs:
        corpus = config.data, config.partition
        run, datasets[corpus] = prepare(config, runs, cache, progress, datasets.get(corpus))
        if not run.finished:
            if seen != _what_views_depend_on(config):
                views, seen = {}, _what_views_depend_on(config)
            encoder = _own_encoder(config)
            if encoder not in views:
                views[encoder] = shared_views(config, datasets[corpus])
            advance(run, datasets[corpus], watch=ProgressBar(config) if progress else ignore, views=views[encoder])
        done.append(run)
    return done


def shared_views(config: Config, data: Dataset) -> Views:
    """Views for several sessions that differ in method, system and length of training alone."""
    training = config.training
    torch.manual_seed(training.seed)  # as a session does: a frozen part may have new weights
    model, where = build_model(config), device(training.device)
    stream = (training.seed, training.stream)
    return Views(model.to(where).stem, data, config.audio, stream, where, share=True)


def _what_views_depend_on(config: Config) -> tuple[Any, ...]:
    training = config.training
    same = training.seed, training.stream, training.device, training.precision
    return config.data, config.partition, config.audio, config.encoder, *same


def _own_encoder(config: Config) -> str:
    """The system, where it has its own encoder or pooling; nothing for the configured ones."""
    network = SYSTEMS[config.training.system].network
    return config.training.system if network.encoder or network.pool else ""


def finish(run: Run, session: Session) -> None:
    """Write what a trained session leaves: the model with its prototypes, and every utterance's labels."""
    model = session.model
    model.prototypes.copy_(session.prototypes.vectors)
    model.method, model.by_prototypes = session.config.method, session.system.moves_prototypes
    model.save(run.folder / "model")
    run.save_labels(labels.of_session(session))


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


class ProgressBar:
    """A watcher: epochs and steps with time left, and the accuracy on D3."""

    def __init__(self, config: Config, until: Until = "end"):
        training = config.training
        self._bar = tqdm(
            total=training.warm_up if until == "warm_up" else training.epochs, unit="epoch", delay=2, leave=False
        )

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepEnd):
            self._bar.n = round(event.epoch + event.step / event.steps, 2)
            self._bar.refresh()
        else:
            self._bar.set_description(f"{event.phase.replace('_', '-')}, accuracy on D3 {event.accuracy:.3f}")
