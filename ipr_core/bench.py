"""How fast training is on this machine, beside the encoder's own passes on the same audio, which nothing can beat.

A step of the real loop and the bare passes that it cannot do without take turns on the same batches, so that what
else runs on the machine slows both. They do so in several rounds, after one that warms up, and of each batch the
shortest time counts. Where a step's time goes is measured on steps of their own.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch.nn.utils.rnn import pad_sequence
from tqdm import tqdm

from ipr_core.config import Config
from ipr_core.data.dataset import Dataset, load
from ipr_core.data.waves import SAMPLE_RATE, WaveStore
from ipr_core.encoders import load_encoder
from ipr_core.stopwatch import Clock, flops, forget_peak, machine, matrix_rate, peak_mb, seconds
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.loop import refine, seed_step
from ipr_core.training.minibatches import Batch
from ipr_core.training.model import in_bf16
from ipr_core.training.session import Session, device
from ipr_core.training.views import Padded

STEPS = 4
ROUNDS = 3
DATA, AUGMENTATION, ENCODER, LOSSES, OPTIMIZER, REST = PARTS = (
    "data", "augmentation", "encoder", "prototypes+losses", "optimizer", "loop+events"
)  # fmt: skip
"""Where a step's time goes. The encoder's part is its passes, forward and backward."""
_STAND_IN = "facebook/wav2vec2-base"


@dataclass(frozen=True)
class Row:
    """What was measured of one system; rates are seconds of audio, in all views of a step, per second."""

    system: str
    limit: float | None
    """Rate of the encoder's bare passes; None where a step needs none."""
    step: float
    """Rate of the real loop's steps."""
    ratio: float | None
    """Time of the steps over that of their bare passes."""
    padding: float
    """Share of the encoder's input that is padding, since batches have clips of several lengths."""
    shares: dict[str, float]
    """Of a step's time, by PARTS."""
    evaluation: float
    """Rate of the evaluation pass, over the clean views."""
    memory_mb: float
    """Peak of the process, or of the GPU's tensors."""
    mfu: float | None
    """Model FLOP utilisation: the bare passes' arithmetic over the GPU's bf16 matrix rate in a step's time."""


def bench(
    config: Config, systems: Sequence[str], steps: int = STEPS, own: bool = False, progress: bool = True
) -> Iterator[str]:
    """The lines of a report: what is measured, then a table with a row a system.

    own: on the corpus of the configuration; else on noise with the lengths of IEMOCAP's utterances
    raises ValueError where the encoder cannot be had, CorpusError for a faulty corpus
    """
    with tempfile.TemporaryDirectory() as folder:
        config, encoder = _at_hand(config, Path(folder))
        data = load(config) if own else noise(config, (steps + 2) * config.training.batch_size, Path(folder))
        bar = tqdm(systems, "Systems", unit="system", leave=False, disable=not progress)
        rows = [measure(config.replace(system=system), data, steps) for system in bar]
        yield from _said(config, encoder, data, steps)
        yield from _table(rows)


def lengths(n: int, seed: int = 0) -> np.ndarray:
    """(n,) seconds as in IEMOCAP's four classes: log-normal, median 3.6, mean 4.55, 95th percentile 11, 0.6 to 34."""
    spread = np.sqrt(2 * np.log(4.55 / 3.6))
    return np.random.default_rng(seed).lognormal(np.log(3.6), spread, n).clip(0.6, 34.0)


def noise(config: Config, size: int, folder: Path) -> Dataset:
    """`size` utterances of noise in each of D1 and D2, a sixth of that in D3, with IEMOCAP's lengths."""
    size, classes = max(size, len(config.data.classes)), config.data.classes
    parts = ["D1"] * size + ["D2"] * size + ["D3"] * -(-size // 6)
    rng, rows = np.random.default_rng(0), []
    for i, (part, long) in enumerate(zip(parts, lengths(len(parts)), strict=True)):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(round(long * SAMPLE_RATE)), SAMPLE_RATE)
        rows.append({"id": str(i), "path": str(path), "part": part, "label": classes[i % len(classes)]})
    table = pd.DataFrame(rows)
    return Dataset(table, WaveStore.build(table, folder, progress=False), classes, simulated=False)


def measure(config: Config, data: Dataset, steps: int) -> Row:
    """One system's row. Training begins with the refinement, as if the warm-up were over."""
    session = Session(config.replace(warm_up=0), data)
    place, needed = session.device, _needs_passes(session)
    forget_peak(place)
    plan = session.plan(0)[:steps]
    heard, padded = np.sum([_audio_seconds(session, batch) for batch in plan], axis=0)
    passes = [bare_passes(session, batch) for batch in plan]
    rounds = np.array([list(_paired(session, passes)) for _ in range(1 + ROUNDS)])  # (rounds, steps, 2)
    limit, took = rounds[1:].min(axis=0).sum(axis=0)
    memory = peak_mb(place)
    evaluated = session.views.lengths.sum() / SAMPLE_RATE
    return Row(
        system=config.training.system,
        limit=heard / limit if needed else None,
        step=heard / took,
        ratio=took / limit if needed else None,
        padding=1 - heard / padded,
        shares=shares(session, plan),
        evaluation=evaluated / seconds(session.evaluate_, place),
        memory_mb=memory,
        mfu=sum(map(flops, passes)) / took / matrix_rate(place) if place.type == "cuda" else None,
    )


def _paired(session: Session, passes: Sequence[Callable[[], None]]) -> Iterator[tuple[float, float]]:
    """Seconds of the bare passes and of the real step on each of an epoch's first batches."""
    session.epoch = 0
    loop, place = refine(session), session.device
    for i, call in enumerate(passes):
        bare = partial(_drawing_as_step, session, i, call)
        if i % 2:  # neither is always the first to find the batch in the cache
            limit, step = seconds(bare, place), seconds(lambda: next(loop), place)
        else:
            step, limit = seconds(lambda: next(loop), place), seconds(bare, place)
        yield limit, step
    loop.close()


def _drawing_as_step(session: Session, number: int, passes: Callable[[], None]) -> None:
    """Passes with the random numbers of the first epoch's step: layer drop then spares both the same layers."""
    seed_step(session, 0, number)
    passes()


def bare_passes(session: Session, batch: Batch) -> Callable[[], None]:
    """A call of the encoder's forward and backward passes that a step on this batch cannot do without.

    What is kept (clean views through what is never trained) and the second views' waves are at hand before.
    """
    system, views, model = session.system, session.views, session.model
    clean = [views.clean(batch.precise)] + [views.clean(batch.ambiguous)] * (system.ambiguous_views > 0)
    heard = [batch.precise] * (system.precise_views > 1) + [batch.ambiguous] * (system.ambiguous_views > 1)
    augmented = [_augmented(session, rows) for rows in heard]

    def passes() -> None:
        inputs = clean + [model.stem(*waves) for waves in augmented]
        if model.encoder.trained:
            rows = [row for x, _ in inputs for row in x]
            with model.precision():
                frames, _ = model.encoder.trunk(pad_sequence(rows, batch_first=True), torch.cat([n for _, n in inputs]))
            frames.float().mean().backward()

    return passes


def _augmented(session: Session, rows: np.ndarray) -> Padded:
    """Waves of the second views, on the device, and their lengths."""
    audio = session.config.audio
    waves, samples = session.data.waves.batch(rows, audio.max_seconds)
    keys = [view_key(0, 0, 0, str(row)) for row in rows]
    return second_view(waves.to(session.device), samples, keys, audio), samples


def _needs_passes(session: Session) -> bool:
    return session.model.encoder.trained or session.system.precise_views > 1 or session.system.ambiguous_views > 1


def _audio_seconds(session: Session, batch: Batch) -> tuple[float, float]:
    """Of all views that the system asks for: what is heard, and that with its padding, as all are passed at once."""
    asked = (batch.precise, session.system.precise_views), (batch.ambiguous, session.system.ambiguous_views)
    samples = np.concatenate([np.tile(session.views.lengths[rows], views) for rows, views in asked])
    return samples.sum() / SAMPLE_RATE, samples.max() * len(samples) / SAMPLE_RATE


# ---- where a step's time goes ----


def shares(session: Session, plan: list[Batch]) -> dict[str, float]:
    """Each part's share of an epoch's first steps."""
    session.epoch = 0
    clock, loop = Clock(session.device), refine(session)
    with _watched(session, clock):
        for _ in plan:
            clock.timed(REST, lambda: next(loop))()
    loop.close()
    return {part: clock.seconds[part] / clock.seconds.total() for part in PARTS}


@contextmanager
def _watched(session: Session, clock: Clock) -> Iterator[None]:
    """The session's calls and torch's backward pass with a clock beside them; afterwards without it again."""
    encoder = session.model.encoder
    places = [
        (session.views._waves, "get", DATA), (session.views._blocks, "get", DATA), (session.views, "clean", DATA),
        (session.views, "augmented", AUGMENTATION), (session.views, "_stem", ENCODER), (encoder, "trunk", ENCODER),
        (session, "forward", LOSSES),
        (session, "note_", LOSSES), (session.optimizer, "step", OPTIMIZER),
        (torch.autograd, "backward", ENCODER if encoder.trained else LOSSES),
    ]  # fmt: skip
    before = [getattr(place, name) for place, name, _ in places]
    for (place, name, part), call in zip(places, before, strict=True):
        setattr(place, name, clock.timed(part, call))
    try:
        yield
    finally:
        for (place, name, _), call in zip(places, before, strict=True):
            setattr(place, name, call)


# ---- what is said ----


def _at_hand(config: Config, folder: Path) -> tuple[Config, str]:
    """The configuration with an encoder that can be loaded, and its name.

    The time of wav2vec2-base is that of its architecture: without its checkpoint, random weights stand in for it.
    """
    name = config.encoder.encoder
    try:
        load_encoder(config.encoder)
        return config, name
    except ValueError:
        if name != _STAND_IN:
            raise
    return config.replace(encoder=random_weights(folder / "encoder")), f"the architecture of {name}, random weights"


def random_weights(folder: Path, **architecture: Any) -> str:
    """Writes a wav2vec 2.0 checkpoint with random weights, base unless said otherwise. returns: its folder"""
    import transformers  # takes seconds

    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**architecture)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return str(folder)


def _said(config: Config, encoder: str, data: Dataset, steps: int) -> Iterator[str]:
    """What is measured on what."""
    training, heard = config.training, data.waves.seconds.clip(max=config.audio.max_seconds)
    place = device(training.device)
    precision = "bf16" if in_bf16(training) else "fp32"
    long = f"{len(heard)} clips of {heard.mean():.2f} s on average, at most {heard.max():.1f} s"
    yield f"encoder   {encoder}, {precision}, batch size {training.batch_size}"
    yield f"machine   {machine(place)}"
    yield f"audio     {long}; {steps} steps\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """A line a system: seconds of audio per second, the ratio, shares of a step's time, memory."""
    heads = ("limit", "step", "ratio", "padding", *PARTS, "evaluation", "peak MB", "MFU")
    names = max(len(row.system) for row in rows)
    yield _line("system", heads, names)
    for row in rows:
        cells = [_figure(row.limit, ".1f"), _figure(row.step, ".1f"), _figure(row.ratio, ".2f")]
        cells += [_figure(row.padding, ".1%")]
        cells += [_figure(row.shares[part], ".1%") for part in PARTS]
        cells += [_figure(row.evaluation, ".1f"), _figure(row.memory_mb, ".0f"), _figure(row.mfu, ".1%")]
        yield _line(row.system, cells, names)
    yield "\nlimit, step, evaluation: seconds of audio per second; limit is of the encoder's bare forward and backward"
    yield "passes that a step needs. ratio: a step's time over theirs, on the same batches in turn. padding: of what is"
    yield "passed through the encoder. The other shares are of a step's time."


def _line(name: str, cells: Sequence[str], names: int) -> str:
    widths = [7, 7, 6, 8, *(len(part) + 1 for part in PARTS), 11, 8, 6]
    return f"{name:{names}}" + "".join(f"{cell:>{width + 1}}" for cell, width in zip(cells, widths, strict=True))


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)
