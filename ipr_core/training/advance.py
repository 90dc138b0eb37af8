"""From a configuration to a run: make or reuse its folder, train it, keep everything on the way.

`advance` trains where it is called; `runner.Runner` in a thread of its own that can be paused and stopped.
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from time import perf_counter
from typing import Any, Literal

import torch
from tqdm import tqdm

from ipr_core.atomic import prepare_folder
from ipr_core.config import Config, Mark, marked
from ipr_core.data.dataset import Dataset, load
from ipr_core.encoders import EncoderError
from ipr_core.method.systems import SYSTEMS
from ipr_core.progress import is_watched, say
from ipr_core.runs import mending
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.names import default_runs, name
from ipr_core.runs.run import Run, RunBusyError, RunError
from ipr_core.training import checkpoint, labels
from ipr_core.training.conditions import PROCESS_THREADS, conditions
from ipr_core.training.kept_views import kept_views
from ipr_core.training.loop import Event, refine, warm_up
from ipr_core.training.memory import budget_gb
from ipr_core.training.model import build_model, encoder_digest, encoder_of
from ipr_core.training.processes import device, this_process
from ipr_core.training.session import Session
from ipr_core.training.trained import reopen_if_damaged_
from ipr_core.training.views import Views

_WAIT = 1.0  # seconds between two looks at a run that another process trains
_log = logging.getLogger(__name__)

Watcher = Callable[[Event], None]
Goal = Literal["warm_up", "end"]
"""How far to train."""


def ignore(event: Event) -> None:
    """Watch nothing."""


def joint_watcher(watchers: Sequence[Watcher]) -> Watcher:
    """Return a watcher that tells several of every event."""

    def watch(event: Event) -> None:
        for watcher in watchers:
            watcher(event)

    return watch


def encoder_faults(configs: Iterable[Config], runs: Path | str | None = None) -> list[str]:
    """Say why encoders cannot be had, before a corpus is read; a run below `runs` had its encoder once."""
    folder = Path(runs or default_runs())
    new = [config for config in configs if not Run(folder / name(config)).exists]
    faults: dict[str, None] = {}
    for config in {(config.encoder, _own_encoder(config)): config for config in new}.values():
        try:
            encoder_of(config)
        except EncoderError as error:
            faults[str(error)] = None
    return list(faults)


def check_encoder(run: Run) -> None:
    """Raise RunError if the encoder's files are not those that a run was made with.

    A run of an older version, or an encoder that is no longer there, is not compared.
    """
    config = run.config
    recorded, present = run.encoder, encoder_digest(config)
    if recorded is not None and present is not None and recorded != present:
        raise RunError(
            f"{run.folder}: the files of the encoder {config.encoder.encoder} have changed since this run was made; "
            "put them back, or rename or remove the folder"
        )


def prepare(
    config: Config,
    runs: Path | str | None = None,
    cache: Path | None = None,
    progress: bool = True,
    data: Dataset | None = None,
) -> tuple[Run, Dataset]:
    """Return the run of this configuration below `runs`, with its data: an existing one as it is, or a new one.

    data: the result of `load(config)`, if it is at hand
    raises CorpusError, RunError; WriteError, before the corpus is read, where no run can be made there
    """
    with this_process().main_first():
        run = Run(Path(runs or default_runs()) / name(config))
        if run.exists:
            run = Run.open(run.folder)
            check_encoder(run)
            run.clear_()
            return run, run.dataset(cache, progress)
        prepare_folder(run.folder.parent)
        data = data or load(config, cache, progress)
        return Run.create(config, data, runs, PROCESS_THREADS, encoder_digest(config)), data


def advance(
    run: Run,
    data: Dataset,
    goal: Goal = "end",
    watch: Watcher = ignore,
    views: Views | None = None,
    wait: Callable[[], None] | None = None,
) -> Run:
    """Train a run from where its checkpoint stands; leave it as it is if it is already there.

    watch: called with every event   views: of another session that sees the same ones
    wait: called every second while another process trains the run, whose epochs `watch` then hears; None: no waiting
    Of several processes the main one keeps everything and is watched; all return once everything is written.
    Where its files are damaged, it goes on from the newest state that they lead up to, and says so.
    raises RunBusyError if another process trains it, RunError if its encoder has changed
    """
    process = this_process()
    if process.agreed(_reached(run, goal)):
        return run
    check_encoder(run)
    if process.main:
        with _in_turn(run, watch, wait) if wait else run.locked():
            if not (wait and _reached(run, goal)):  # the other process may have trained it to its end
                _train(run, data, goal, watch, views)
    else:
        for _ in _events(_session(run, data, views), goal):
            pass
    process.agreed(True)
    return run


def _reached(run: Run, goal: Goal) -> bool:
    return run.finished or (goal == "warm_up" and run.warmed_up)


@contextlib.contextmanager
def _in_turn(run: Run, watch: Watcher, wait: Callable[[], None]) -> Iterator[None]:
    """Hold the run for training once no other process does; until then tell `watch` of the other one's epochs."""
    count = run.epochs
    with contextlib.ExitStack() as stack:
        while True:
            try:
                stack.enter_context(run.locked())
                break
            except RunBusyError:
                wait()
                time.sleep(_WAIT)
                for event in run.history()[count:]:
                    watch(event)
                    count += 1
        yield


def _train(run: Run, data: Dataset, goal: Goal, watch: Watcher, views: Views | None) -> None:
    point = mending.start(run)
    for fault in point.faults:
        _log.warning("%s; training goes on after %d epochs", fault, point.epoch)
    session = _session(run, data, views, point)
    run.cut_(session.epoch)
    run.keep(session.threads, encoder_digest(run.config), _trained_parameters(session), session.memory_gb)
    if sentence := session.passes.memory.sentence(*session.longest_step):
        say(sentence)
    for event in _events(session, goal):
        if isinstance(event, EpochEnd):
            run.record(event)
            state = session.state()
            if session.epoch == run.config.training.warm_up:  # before what a killed run goes on from
                run.save_state(state, "warm_up")
            run.save_state(checkpoint.without_evaluation(state))
        watch(event)
    if goal == "end":
        finish(run, session)


def _session(run: Run, data: Dataset, views: Views | None, point: mending.Start | None = None) -> Session:
    """Return a session that stands where the run does."""
    point = point or mending.start(run)
    try:
        return Session(run.config, data, views, point.state, _threads(run), kept_budget(run))
    except checkpoint.StateError as error:
        raise RunError(
            f"{run.folder}: its state of epoch {point.epoch} does not fit: {error}; remove checkpoint.safetensors and "
            "warm_up.safetensors there, and `ipr resume` trains from the start"
        ) from error


def _trained_parameters(session: Session) -> int:
    """Return how many parameters the optimizer changes."""
    return sum(parameter.numel() for group in session.optimizer.param_groups for parameter in group["params"])


def _threads(run: Run) -> int:
    """Return torch's number of threads for the run: its own, or this process's if it has none yet."""
    return run.threads or PROCESS_THREADS


def kept_budget(run: Run) -> float | None:
    """Return the GiB that a run's training may take, on which its last bits depend; None if none is kept yet."""
    return run.meta.get("memory_gb")


def _events(session: Session, goal: Goal) -> Iterator[Event]:
    return (warm_up if goal == "warm_up" else refine)(session)


def train_all(
    configs: Iterable[Config],
    runs: Path | str | None = None,
    cache: Path | None = None,
    progress: bool = True,
    watcher: Callable[[Run], Watcher] | None = None,
) -> list[Run]:
    """Train one configuration after another; finished runs are left as they are.

    Neighbours that see the same second views (systems of one seed, say) share them: they pass through the
    encoder's frozen part once. Results are the same to the bit as without sharing.
    watcher: makes one more watcher of each run, of a finished one too
    """
    finished: list[Run] = []
    datasets: dict[Any, Dataset] = {}
    views: dict[str, Views] = {}  # of neighbours with the same second views, by the encoder that they pass through
    origin: dict[str, Any] = {}  # of these views
    for config in configs:
        corpus = config.data, config.partition
        run, datasets[corpus] = prepare(config, runs, cache, progress, datasets.get(corpus))
        reopen_if_damaged_(run)
        watchers = [watcher(run)] if watcher and this_process().main else []
        if not run.finished:
            if origin != _origin_of_views(run):
                views, origin = {}, _origin_of_views(run)
            encoder = _own_encoder(config)
            if encoder not in views:
                views[encoder] = shared_views(config, datasets[corpus], _threads(run), kept_budget(run))
            watchers += [ProgressBar(config)] if progress else []
            advance(run, datasets[corpus], watch=joint_watcher(watchers), views=views[encoder])
        finished.append(run)
    return finished


def shared_views(
    config: Config, data: Dataset, threads: int = PROCESS_THREADS, memory_gb: float | None = None
) -> Views:
    """Make views for several sessions that differ in method, system and length of training alone."""
    training = config.training
    with conditions(threads):
        torch.manual_seed(training.seed)  # as a session does: a frozen part may have new weights
        model, target = build_model(config), device(training.device)
        stream = (training.seed, training.stream)
        model.to(target)
        return Views(
            model.stem, data, config.audio, stream, target, share=True,
            kept=kept_views(config, model, data), centring=model.centred,
            memory_gb=memory_gb or budget_gb(training, target),
        )  # fmt: skip


def _origin_of_views(run: Run) -> dict[str, Any]:
    """Return everything that a run's views depend on, apart from a system's own encoder."""
    settings = {name: value for name, value in run.config.settings().items() if name in marked(Mark.SECOND_VIEWS)}
    return settings | {"threads": _threads(run), "memory_gb": kept_budget(run)}


def _own_encoder(config: Config) -> str:
    """Return the system's name if it has its own encoder or pooling, "" for the configured ones."""
    network = SYSTEMS[config.training.system].network
    return config.training.system if network.encoder or network.pool else ""


def finish(run: Run, session: Session) -> None:
    """Write the result of training: the model with its prototypes and its calibration, and every utterance's labels."""
    model = session.model
    model.prototypes.copy_(session.prototypes.vectors)
    model.method, model.by_prototypes = session.config.method, session.system.moves_prototypes
    model.calibration = labels.calibration(session)
    model.save(run.folder / "model")
    run.save_labels(labels.of_session(session))


class ProgressBar:
    """A watcher that shows epochs and steps with the time left, and the accuracy on D3; a pipe gets its last line."""

    def __init__(self, config: Config, goal: Goal = "end"):
        training = config.training
        self._epochs = training.warm_up if goal == "warm_up" else training.epochs
        self._name, self._start = f"{SYSTEMS[training.system].title}, seed {training.seed}", perf_counter()
        self._bar = tqdm(total=self._epochs, unit="epoch", delay=2, leave=False, disable=not is_watched())

    def __call__(self, event: Event) -> None:
        if self._bar.disable:
            if not isinstance(event, StepEnd) and event.epoch + 1 == self._epochs:
                seconds = perf_counter() - self._start
                say(
                    f"Training {self._name}: epoch {self._epochs}, {seconds:.0f} s, accuracy on D3 {event.accuracy:.3f}"
                )
            return
        if isinstance(event, StepEnd):
            self._bar.n = round(event.epoch + event.step / event.steps, 2)
            self._bar.refresh()
        else:
            self._bar.set_description(f"{event.phase.replace('_', '-')}, accuracy on D3 {event.accuracy:.3f}")
