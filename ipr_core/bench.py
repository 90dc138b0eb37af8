"""The speed of training on this machine, against the encoder's own passes on the same audio.

A step of the real loop and the bare passes that it needs take turns on the same minibatches, so that other work on the
machine slows both. They do so in several rounds, after one that warms up, and the shortest time of each minibatch
counts. The parts of a step's time are measured on steps of their own.
"""

from __future__ import annotations

import contextlib
import platform
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
import pandas as pd
import soundfile
import torch
from torch.utils.flop_counter import FlopCounterMode

from ipr_core.config import Config
from ipr_core.data.dataset import Dataset, load
from ipr_core.data.waves import SAMPLE_RATE, WaveStore
from ipr_core.encoders import load_encoder
from ipr_core.machine import peak_memory
from ipr_core.progress import Progress
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.loop import refine, seed_step
from ipr_core.training.memory import budget_gb
from ipr_core.training.minibatches import Minibatch
from ipr_core.training.model import in_bf16
from ipr_core.training.processes import device
from ipr_core.training.session import Session
from ipr_core.training.views import Padded

STEPS = 4
ROUNDS = 3
DATA, AUGMENTATION, ENCODER, LOSSES, OPTIMIZER, REST = PARTS = (
    "data", "augmentation", "encoder", "prototypes+losses", "optimizer", "loop+events"
)  # fmt: skip
"""The parts of a step's time. The encoder's is its passes, forward and backward."""
_STAND_IN = "facebook/wav2vec2-base"


@dataclass(frozen=True)
class Row:
    """The measurements of one system; rates are seconds of audio, in all views of a step, per second."""

    system: str
    limit: float | None
    """Rate of the encoder's bare passes; None if a step needs none."""
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
    memory_choice: str
    """How the views of the longest step pass: at once, or in parts, and the memory that this was estimated to take."""
    mfu: float | None
    """Model FLOP utilisation: the bare passes' arithmetic over the GPU's bf16 matrix rate in a step's time."""


def bench(
    config: Config, systems: Sequence[str], steps: int = STEPS, own_corpus: bool = False, progress: bool = True
) -> Iterator[str]:
    """Yield the lines of a report: the circumstances, then a table with a row a system.

    own_corpus: measure on the configuration's corpus, not on noise with the lengths of IEMOCAP's utterances
    raises ValueError if the encoder cannot be loaded, CorpusError for a faulty corpus
    """
    with tempfile.TemporaryDirectory() as folder:
        config, encoder = _with_encoder(config, Path(folder))
        data = load(config) if own_corpus else noise(config, (steps + 2) * config.training.batch_size, Path(folder))
        bar = Progress(systems, "Measuring", "system", shown=progress)
        rows = [measure(config.replace(system=system), data, steps) for system in bar]
        yield from _circumstances(config, encoder, data, steps)
        yield from _table(rows)


def lengths(n: int, seed: int = 0) -> np.ndarray:
    """Draw durations like those of IEMOCAP's four classes.

    returns: (n,) seconds, log-normal: median 3.6, mean 4.55, 95th percentile 11, from 0.6 to 34
    """
    spread = np.sqrt(2 * np.log(4.55 / 3.6))
    return np.random.default_rng(seed).lognormal(np.log(3.6), spread, n).clip(0.6, 34.0)


def noise(config: Config, size: int, folder: Path, durations: Callable[[int], np.ndarray] = lengths) -> Dataset:
    """Make a corpus of noise: `size` utterances in each of D1 and D2, a sixth of that in D3, as long as IEMOCAP's.

    durations: n → (n,) seconds, if others are wanted
    """
    size, classes = max(size, len(config.data.classes)), config.data.classes
    parts = ["D1"] * size + ["D2"] * size + ["D3"] * -(-size // 6)
    rng, rows = np.random.default_rng(0), []
    for i, (part, long) in enumerate(zip(parts, durations(len(parts)), strict=True)):
        path = folder / f"{i}.wav"
        soundfile.write(path, 0.1 * rng.standard_normal(round(long * SAMPLE_RATE)), SAMPLE_RATE)
        rows.append({"id": str(i), "path": str(path), "part": part, "label": classes[i % len(classes)]})
    table = pd.DataFrame(rows)
    return Dataset(table, WaveStore.build(table, folder, progress=False), classes, simulated=False)


def measure(config: Config, data: Dataset, steps: int) -> Row:
    """Measure one system. Training begins with the refinement, as if the warm-up were over."""
    session = Session(config.replace(warm_up=0), data)
    has_limit = _needs_passes(session)
    forget_peak(session.device)
    plan = session.plan(0)[:steps]
    audio, padded_audio = np.sum([_audio_seconds(session, minibatch) for minibatch in plan], axis=0)
    passes = [bare_passes(session, minibatch) for minibatch in plan]
    rounds = np.array([list(_paired(session, passes)) for _ in range(1 + ROUNDS)])  # (rounds, steps, 2)
    limit, duration = rounds[1:].min(axis=0).sum(axis=0)
    memory = peak_mb(session.device)
    gpu = session.device.type == "cuda"
    return Row(
        system=config.training.system,
        limit=audio / limit if has_limit else None,
        step=audio / duration,
        ratio=duration / limit if has_limit else None,
        padding=1 - audio / padded_audio,
        shares=shares(session, plan),
        evaluation=session.views.lengths.sum() / SAMPLE_RATE / seconds(session.evaluate_, session.device),
        memory_mb=memory,
        memory_choice=session.passes.memory.choice(*session.longest_step),
        mfu=sum(map(flops, passes)) / duration / matrix_rate(session.device) if gpu else None,
    )


def _paired(session: Session, passes: Sequence[Callable[[], None]]) -> Iterator[tuple[float, float]]:
    """Yield the seconds of the bare passes and of the real step on each of an epoch's first minibatches."""
    session.epoch = 0
    loop = refine(session)
    for i, call in enumerate(passes):
        bare = partial(_seeded_passes, session, i, call)
        if i % 2:  # each is the first to read a minibatch as often as the other
            limit, step = seconds(bare, session.device), seconds(lambda: next(loop), session.device)
        else:
            step, limit = seconds(lambda: next(loop), session.device), seconds(bare, session.device)
        yield limit, step


def _seeded_passes(session: Session, number: int, passes: Callable[[], None]) -> None:
    """Run passes with the random numbers of the first epoch's step, so that layer drop skips the same layers."""
    seed_step(session, 0, number)
    passes()


def bare_passes(session: Session, minibatch: Minibatch) -> Callable[[], None]:
    """Return a call of the encoder's forward and backward passes that a step on this minibatch needs.

    Its inputs are made before: clean views through the frozen part of the encoder, and the second views' waves.
    """
    system, views, model = session.system, session.views, session.model
    clean = [views.clean(minibatch.precise)] + [views.clean(minibatch.ambiguous)] * (system.ambiguous_views > 0)
    rows_twice = [minibatch.precise] * (system.precise_views > 1) + [minibatch.ambiguous] * (system.ambiguous_views > 1)
    augmented = [_augmented(session, rows) for rows in rows_twice]

    def passes() -> None:
        inputs = clean + [model.stem(*waves) for waves in augmented]
        if model.encoder.trained:
            x, n = session.passes.padded(inputs)  # in the same parts as the step
            with model.autocast():
                frames, _ = model.encoder.trunk(x, n)
            frames.float().mean().backward()

    return passes


def _augmented(session: Session, rows: np.ndarray) -> Padded:
    """Return the waves of second views, on the device, and their lengths."""
    audio = session.config.audio
    waves, samples = session.data.waves.padded(rows.tolist(), audio.max_seconds)
    keys = [view_key(0, 0, 0, str(row)) for row in rows]
    return second_view(waves.to(session.device), samples, keys, audio), samples


def _needs_passes(session: Session) -> bool:
    return session.model.encoder.trained or session.system.precise_views > 1 or session.system.ambiguous_views > 1


def _audio_seconds(session: Session, minibatch: Minibatch) -> tuple[float, float]:
    """Return the seconds of all the system's views, without and with the padding of one pass for all."""
    system = session.system
    rows = np.concatenate(
        [np.tile(minibatch.precise, system.precise_views), np.tile(minibatch.ambiguous, system.ambiguous_views)]
    )
    samples = session.views.lengths[rows]
    return samples.sum() / SAMPLE_RATE, samples.max() * len(samples) / SAMPLE_RATE


# The parts of a step's time.


def shares(session: Session, plan: list[Minibatch]) -> dict[str, float]:
    """Return each part's share of the time of an epoch's first steps."""
    session.epoch = 0
    clock, loop = Clock(session.device), refine(session)
    with _watched(session, clock):
        for _ in plan:
            clock.timed(REST, lambda: next(loop))()
    return {part: clock.seconds[part] / sum(clock.seconds.values()) for part in PARTS}


@contextlib.contextmanager
def _watched(session: Session, clock: Clock) -> Iterator[None]:
    """Measure the session's calls and torch's backward pass by a clock, which is removed afterwards."""
    encoder = session.model.encoder
    owners = [
        (session.views._waves, "get", DATA), (session.views._block_waves, "get", DATA), (session.views, "clean", DATA),
        (session.views, "augmented", AUGMENTATION), (session.views, "_stem", ENCODER), (encoder, "trunk", ENCODER),
        (session, "forward", LOSSES),
        (session.schedule, "after_step_", LOSSES), (session.optimizer, "step", OPTIMIZER),
        (torch.autograd, "backward", ENCODER if encoder.trained else LOSSES),
    ]  # fmt: skip
    calls = [getattr(owner, name) for owner, name, _ in owners]
    for (owner, name, part), call in zip(owners, calls, strict=True):
        setattr(owner, name, clock.timed(part, call))
    try:
        yield
    finally:
        for (owner, name, _), call in zip(owners, calls, strict=True):
            setattr(owner, name, call)


# The report.


def _with_encoder(config: Config, folder: Path) -> tuple[Config, str]:
    """Return the configuration with an encoder that can be loaded, and its name.

    If wav2vec2-base has no checkpoint here, its architecture with random weights takes the same time.
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
    """Write a wav2vec 2.0 checkpoint with random weights, by default of the base size. returns: its folder"""
    import transformers  # takes seconds

    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**architecture)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True).save_pretrained(folder)
    return str(folder)


def _circumstances(config: Config, encoder: str, data: Dataset, steps: int) -> Iterator[str]:
    training, durations = config.training, data.waves.seconds.clip(max=config.audio.max_seconds)
    precision = "bf16" if in_bf16(training.precision, device(training.device)) else "fp32"
    clips = f"{len(durations)} clips of {durations.mean():.2f} s on average, at most {durations.max():.1f} s"
    yield f"encoder   {encoder}, {precision}, batch size {training.batch_size}"
    yield f"machine   {machine(device(training.device))}"
    yield f"audio     {clips}; {steps} steps"
    yield f"memory    {budget_gb(training, device(training.device)):g} GiB may be taken\n"


def _table(rows: Sequence[Row]) -> Iterator[str]:
    """Yield a line a system: seconds of audio per second, the ratio, shares of a step's time, memory."""
    heads = ("limit", "step", "ratio", "padding", *PARTS, "evaluation", "peak MB", "MFU")
    names = max(len(row.system) for row in rows)
    yield _line("system", heads, names)
    for row in rows:
        cells = [_figure(row.limit, ".1f"), _figure(row.step, ".1f"), _figure(row.ratio, ".2f")]
        cells += [_figure(row.padding, ".1%")]
        cells += [_figure(row.shares[part], ".1%") for part in PARTS]
        cells += [_figure(row.evaluation, ".1f"), _figure(row.memory_mb, ".0f"), _figure(row.mfu, ".1%")]
        yield _line(row.system, cells, names)
    yield "\nmemory, of the longest step (estimated; the peak is measured)"
    yield from (f"  {row.system:{names}}  {row.memory_choice}" for row in rows)
    yield "\nlimit, step, evaluation: seconds of audio per second; limit is of the encoder's bare forward and backward"
    yield "passes that a step needs. ratio: a step's time over theirs, on the same batches in turn. padding: of what is"
    yield "passed through the encoder. The other shares are of a step's time."


def _line(name: str, cells: Sequence[str], names: int) -> str:
    widths = [7, 7, 6, 8, *(len(part) + 1 for part in PARTS), 11, 8, 6]
    return f"{name:{names}}" + "".join(f"{cell:>{width + 1}}" for cell, width in zip(cells, widths, strict=True))


def _figure(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


# Clocks, memory and arithmetic.


class Clock:
    """Seconds by part; the time of a part inside another one is taken from that one."""

    def __init__(self, device: torch.device):
        self.seconds: dict[str, float] = defaultdict(float)
        self._device = device
        self._inner = [0.0]  # seconds of the calls inside each running call

    def timed(self, part: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """Return the same call, whose time is added to a part."""

        def clocked(*args: Any, **kwargs: Any) -> Any:
            self._inner.append(0.0)
            duration, result = _clocked(lambda: call(*args, **kwargs), self._device)
            self.seconds[part] += duration - self._inner.pop()
            self._inner[-1] += duration
            return result

        return clocked


def seconds(call: Callable[[], Any], device: torch.device) -> float:
    """Return the seconds of a call; on a GPU until its work is done."""
    return _clocked(call, device)[0]


def flops(call: Callable[[], Any]) -> int:
    """Count the floating-point operations of a call's matrix products, convolutions and attention.

    Backward passes count too.
    """
    with FlopCounterMode(display=False) as counter:
        call()
    return counter.get_total_flops()


def matrix_rate(device: torch.device, dtype: torch.dtype = torch.bfloat16, size: int = 8192) -> float:
    """Return the FLOPs a second of a large matrix product, the best of ten."""
    a = torch.randn(size, size, device=device, dtype=dtype)
    a @ a
    return 2 * size**3 / min(seconds(lambda: a @ a, device) for _ in range(10))


def forget_peak(device: torch.device) -> None:
    """Start a new measurement of the peak memory, if the system can."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak_mb(device: torch.device) -> float:
    """Return the peak memory in MiB, of the GPU's tensors or of the process."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    if sys.platform == "linux":
        status = Path("/proc/self/status").read_text().splitlines()
        return int(next(line for line in status if line.startswith("VmHWM")).split()[1]) / 2**10
    return peak_memory() / 2**20


def machine(device: torch.device) -> str:
    """Describe the device in words."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    if device.type == "mps":
        return f"Apple's GPU ({platform.machine()})"
    return f"CPU ({platform.machine()}), {torch.get_num_threads()} threads"


def _clocked(call: Callable[[], Any], device: torch.device) -> tuple[float, Any]:
    _wait(device)
    started = perf_counter()
    result = call()
    _wait(device)
    return perf_counter() - started, result


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()
