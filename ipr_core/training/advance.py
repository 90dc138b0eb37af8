"""From a configuration to a run: make or reuse its folder, train as far as asked, keep everything on the way.

`advance` trains where it is called; `runner.Runner` in a thread of its own that can be paused and stopped.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal

import torch
from tqdm import tqdm

from ipr_core.config import Config
from ipr_core.data.dataset import Dataset, load
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.run import Run, default_runs, name
from ipr_core.training import labels
from ipr_core.training.loop import Event, refine, warm_up
from ipr_core.training.model import build_model, encoder_of
from ipr_core.training.processes import current
from ipr_core.training.session import Session, device
from ipr_core.training.views import Views

Watcher = Callable[[Event], None]
Until = Literal["warm_up", "end"]


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
