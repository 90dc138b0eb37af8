"""The second view x^aug of an utterance: noise, volume, reverberation and pitch in a random mix.

Views are made for a minibatch at once, on the waves' device. Every draw of a view comes from its own key, so a view
depends on its wave, its key and the settings alone: not on its neighbours, padding or earlier draws. Draws are the
CPU's wherever the waves lie, so that every device hears the same views; only their copies go to a GPU. On a CPU a
minibatch is cut into groups that take a core each. Its operations are too small for several cores to share one: torch
would wait for the last of them, which costs more than the work.
"""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from fractions import Fraction
from functools import cache
from threading import Barrier
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor
from torchaudio.transforms import Resample

from ipr_core.config import Audio, Range
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.training.transfer import on_device

Part = TypeVar("Part")

ORDER = ("pitch", "reverberation", "noise", "volume")
"""The order in which effects are applied, as on the way to a microphone: voice, room, noise in it, distance."""

_NOISE_PERIOD = 2**15  # samples (2 s) after which noise repeats
_FRAME, _HOP = 1024, 256  # samples (64 and 16 ms) of the phase vocoder
_CHUNK = 64  # frames that it has in hand, so that they stay in a core's cache
_ROWS = 4  # utterances of a group; always alike, so that a view's bits do not depend on how many cores there are


def view_key(seed: int, stream: int, epoch: int, utterance: str) -> int:
    """Return the 63-bit seed of one view, the same on every machine."""
    name = f"{seed} {stream} {epoch} {utterance}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def second_view(waves: Tensor, lengths: Tensor, keys: Sequence[int], audio: Audio) -> Tensor:
    """Make x^aug of every utterance: each of audio.effects by chance, at least one of them.

    waves: (B, T) in [-1, 1], zero-padded   lengths: (B,) samples   keys: B numbers of `view_key`
    returns: (B, T) in [-1, 1], zero beyond each length; clipped where it would be louder
    """
    if waves.device.type != "cpu":
        return _mixed(waves, on_device(lengths, waves.device), keys, audio)
    views = torch.zeros_like(waves)

    def fill(first: int) -> None:
        rows = slice(first, first + _ROWS)
        longest = int(lengths[rows].max())
        views[rows, :longest] = _mixed(waves[rows, :longest], lengths[rows], keys[rows], audio)

    on_cores(fill, range(0, len(waves), _ROWS))
    return views


def on_cores(work: Callable[[Part], None], parts: Sequence[Part]) -> None:
    """Call `work` with every part, in as many threads as torch has here; in each of them torch has one."""
    for future in [_pool(torch.get_num_threads()).submit(work, part) for part in parts]:
        future.result()


@cache
def _pool(threads: int) -> ThreadPoolExecutor:
    ready = Barrier(threads + 1)

    def prepare() -> None:
        torch.set_flush_denormal(False)  # a thread begins with its creator's
        torch.set_num_threads(1)  # of this thread, and of threads that begin later
        torch.get_num_threads()  # a thread takes its number up when it is first used: before the others' is set back
        ready.wait()

    pool = ThreadPoolExecutor(threads, "augment")
    for _ in range(threads):
        pool.submit(prepare)
    ready.wait()
    torch.set_num_threads(threads)
    return pool


if hasattr(os, "register_at_fork"):  # Windows does not fork
    os.register_at_fork(after_in_child=_pool.cache_clear)  # a forked process has none of these threads


def _mixed(waves: Tensor, lengths: Tensor, keys: Sequence[int], audio: Audio) -> Tensor:
    """Make the second views of waves (B, T) at once: each effect in turn, on the rows that have it."""
    views, recipe = waves.clone(), _recipe(keys, audio)
    for effect in ORDER:
        rows = recipe.effects[effect].nonzero().flatten()
        if len(rows):
            index = on_device(rows, waves.device)
            views[index] = _applied(effect, views[index], lengths[index], recipe.select(rows))
    return views.clamp_(-1, 1)


class _Recipe(NamedTuple):
    """The draws for each of B views, on the CPU."""

    keys: list[int]
    effects: dict[str, Tensor]  # (B,) bool: whether it is applied
    amounts: dict[str, Tensor]  # (B,) float

    def select(self, rows: Tensor) -> _Recipe:
        effects, amounts = (
            {name: value[rows] for name, value in part.items()} for part in (self.effects, self.amounts)
        )
        return _Recipe([self.keys[i] for i in rows.tolist()], effects, amounts)


def _recipe(keys: Sequence[int], audio: Audio) -> _Recipe:
    generator = torch.Generator()
    draws = [torch.rand(11, generator=generator.manual_seed(key), dtype=torch.float64) for key in keys]
    u = torch.stack(draws) if draws else torch.empty(0, 11, dtype=torch.float64)
    allowed = torch.tensor([effect in audio.effects for effect in ORDER])
    effects = (u[:, :4] < audio.effect_chance) & allowed  # (B, 4)
    fallback = allowed.nonzero().flatten()[(u[:, 4] * allowed.sum()).long()]  # (B,) the effect of a view without any
    effects |= ~effects.any(dim=1, keepdim=True) & F.one_hot(fallback, 4).bool()
    steps = _semitones(audio.pitch_semitones)
    amounts = {
        "snr_db": _uniform(u[:, 5], audio.noise_snr_db),
        "colour": u[:, 6],
        "gain_db": _uniform(u[:, 7], audio.volume_db),
        "seconds": _uniform(u[:, 8], audio.reverberation_seconds),
        "direct_db": _uniform(u[:, 9], (0.0, 10.0)),
        "semitones": steps[(u[:, 10] * len(steps)).long()],
    }
    return _Recipe(list(keys), dict(zip(ORDER, effects.T, strict=True)), amounts)


def _uniform(u: Tensor, range: Range) -> Tensor:
    return range[0] + u * (range[1] - range[0])


def _semitones(range: Range) -> Tensor:
    """Return the half semitones in the range, without 0, which changes nothing, unless it is the only one."""
    steps = torch.arange(round(2 * range[0]), round(2 * range[1]) + 1) / 2
    return steps[steps != 0] if (steps != 0).any() else steps


def _applied(effect: str, waves: Tensor, lengths: Tensor, recipe: _Recipe) -> Tensor:
    """Apply one effect to waves (B, T): zero beyond each length. Noise and rooms have keys of their own."""
    keys, amounts, device = recipe.keys, recipe.amounts, waves.device
    if effect == "pitch":
        return change_pitch(waves, lengths, amounts["semitones"].tolist())
    if effect == "reverberation":
        rooms = impulse_responses([key ^ 1 for key in keys], amounts["seconds"], amounts["direct_db"], device)
        return _valid(reverberate(waves, rooms), lengths)
    if effect == "noise":
        noise = coloured_noise([key ^ 2 for key in keys], waves.shape[1], on_device(amounts["colour"].float(), device))
        return add_noise(waves, lengths, noise, on_device(amounts["snr_db"].float(), device))
    return change_volume(waves, on_device(amounts["gain_db"].float(), device))


def _valid(waves: Tensor, lengths: Tensor) -> Tensor:
    """Set waves (B, T) to zero beyond each length."""
    return torch.where(torch.arange(waves.shape[1], device=waves.device) < lengths[:, None], waves, 0)


def _normal(keys: Sequence[int], n: int) -> Tensor:
    """Draw (B, n) standard normal numbers on the CPU, each row from its key."""
    generator = torch.Generator()
    return torch.stack([torch.randn(n, generator=generator.manual_seed(key)) for key in keys])


# ---- noise ----


def coloured_noise(keys: Sequence[int], n: int, colour: Tensor) -> Tensor:
    """Make noise (B, n) whose power falls as 1/f^colour: 0 is white, 1 pink.

    It repeats after two seconds.

    colour: (B,), on the noise's device
    """
    bins = _NOISE_PERIOD // 2
    f = torch.arange(1, bins + 1, device=colour.device)
    spectrum = torch.view_as_complex(on_device(_normal(keys, 2 * bins), colour.device).view(-1, bins, 2))
    spectrum = spectrum * (f.log() * (-colour[:, None] / 2)).exp()
    period = torch.fft.irfft(F.pad(spectrum, (1, 0)), n=_NOISE_PERIOD)  # no constant part
    return period.repeat(1, -(-n // _NOISE_PERIOD))[:, :n]


def add_noise(waves: Tensor, lengths: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """Add noise, its power snr_db (B,) below each utterance's own. A silent clip stays silent.

    waves, noise: (B, T)   lengths: (B,)   returns: (B, T), zero beyond each length
    """
    noise = _valid(noise, lengths)
    ratio = waves.square().sum(dim=1) / noise.square().sum(dim=1).clamp_min(torch.finfo(waves.dtype).tiny)
    return waves + noise * (ratio * 10 ** (-snr_db / 10)).sqrt()[:, None]


# ---- volume ----


def change_volume(waves: Tensor, gain_db: Tensor) -> Tensor:
    """Make the waves (B, T) louder by gain_db (B,), clipped to [-1, 1]."""
    return (waves * 10 ** (gain_db / 20)[:, None]).clamp(-1, 1)


# ---- reverberation ----


def impulse_responses(
    keys: Sequence[int], seconds: Tensor, direct_db: Tensor, device: torch.device | str = "cpu"
) -> Tensor:
    """Make rooms (B, L): the direct sound at sample 0, then noise that decays by 60 dB in `seconds` (B,).

    direct_db: (B,) energy of the direct sound over that of the rest. The whole has energy 1, so that speech keeps
    about its loudness. Polack's model of late reverberation: Gaussian noise under an exponential.
    """
    last = (seconds * SAMPLE_RATE).round()
    ends = last.int().tolist()
    n = max(ends) + 1
    # A row's noise must not depend on the longest room of the batch: drawn as long as its own, then padded.
    noise = [F.pad(_normal([key], m)[0], (1, n - m - 1)) for key, m in zip(keys, ends, strict=True)]
    slope = on_device((math.log(1e-3) / last.clamp_min(1)).float(), device)
    tail = on_device(torch.stack(noise), device) * (slope[:, None] * torch.arange(n, device=device)).exp()
    energy = tail.square().sum(dim=1).clamp_min(torch.finfo(tail.dtype).tiny)
    tail = tail * (on_device((10 ** (-direct_db / 10)).float(), device) / energy).sqrt()[:, None]
    room = torch.cat([torch.ones_like(tail[:, :1]), tail[:, 1:]], dim=1)
    return room / room.norm(dim=1, keepdim=True)


def reverberate(waves: Tensor, rooms: Tensor) -> Tensor:
    """Convolve the waves (B, T) with an impulse response each (B, L), and cut the last echoes.

    Block by block (overlap-save): shorter transforms take less time, and are of the same size for clips of any length.
    """
    samples, overlap = waves.shape[1], rooms.shape[1] - 1  # a block needs so much of the previous one
    n = min(1 << max(15, (4 * overlap).bit_length()), next_fast_len(samples + overlap, real=True))
    step = n - overlap
    padded = F.pad(waves, (overlap, -samples % step))
    blocks = torch.fft.rfft(padded.unfold(1, n, step)) * torch.fft.rfft(rooms, n)[:, None]  # (B, blocks, bins)
    return torch.fft.irfft(blocks, n)[..., overlap:].flatten(1)[:, :samples]


# ---- pitch ----


def change_pitch(waves: Tensor, lengths: Tensor, semitones: Sequence[float]) -> Tensor:
    """Make the waves higher by `semitones`, one a row, at constant length; negative: lower.

    Formants move too. Waves are resampled by the nearest ratio of small integers (18/17 for a semitone; within 0.25 %
    up to an octave), which makes them higher and shorter, then stretched to their length again.

    waves: (B, T)   lengths: (B,)   returns: (B, T), zero beyond each length
    """
    ratios = [Fraction(2 ** (step / 12)).limit_denominator(40) for step in semitones]
    numerator, denominator = on_device([(r.numerator, r.denominator) for r in ratios], waves.device).T
    fast = waves.new_zeros(len(waves), max(_shorter(waves.shape[1], ratio) for ratio in ratios))
    for ratio in dict.fromkeys(ratios):
        rows = on_device([i for i in range(len(ratios)) if ratios[i] == ratio], waves.device)
        fast[rows, : _shorter(waves.shape[1], ratio)] = _resampled(waves[rows], ratio)
    fast = _valid(fast, (lengths * denominator + numerator - 1) // numerator)
    slow = stretch(fast, numerator / denominator, waves.shape[1])
    return _valid(torch.where((numerator == denominator)[:, None], waves, slow), lengths)


def _shorter(samples: int, ratio: Fraction) -> int:
    return -(-samples * ratio.denominator // ratio.numerator)


def _resampled(waves: Tensor, ratio: Fraction) -> Tensor:
    """Resample (B, T) to (B, T / ratio), rounded up, as torchaudio's Resample does without its convolution.

    That one is set up anew for every length it meets, which takes longer than a matrix product with its filters.
    """
    filters = _filters(ratio, waves.device)  # (taps, denominator)
    taps, step = len(filters), ratio.numerator
    margin = (taps - step) // 2
    windows = F.pad(waves, (margin, margin + step)).unfold(1, taps, step)  # (B, steps, taps)
    return (windows @ filters).flatten(1)[:, : _shorter(waves.shape[1], ratio)]


@cache
def _filters(ratio: Fraction, device: torch.device) -> Tensor:
    """Return torchaudio's windowed sincs (taps, denominator), one for each sample that a step makes."""
    if ratio == 1:  # of which torchaudio makes none
        return torch.ones(1, 1, device=device)
    return on_device(Resample(ratio.numerator, ratio.denominator).kernel[:, 0].T, device)


def stretch(waves: Tensor, factors: Tensor, n: int) -> Tensor:
    """Slow the waves (B, S) down by `factors` (B,) to (B, n) at the same pitch, by a phase vocoder.

    The phase-locked vocoder of Puckette (1995). Frames are read every _HOP / factor samples and laid down every _HOP.
    From one to the next a bin's phase turns as it does in the input over _HOP samples, which a frame _HOP samples
    earlier tells without unwrapping; and a bin takes its phase together with its two neighbours, without which a voice
    loses 3 dB and sounds as in a hall.
    """
    window = torch.hann_window(_FRAME, device=waves.device, dtype=waves.dtype)
    frames = F.pad(waves, (_FRAME, _FRAME)).unfold(1, _FRAME, 1)  # (B, positions, _FRAME), a view
    steps = torch.arange(-1, -(-n // _HOP) + 2, device=waves.device)  # every frame that reaches into 0..n
    centres = (steps[:, None] * _HOP / factors).round().long()  # (K, B)
    output = waves.new_zeros(len(steps) + _FRAME // _HOP - 1, len(waves), _HOP)
    phases = torch.zeros((), device=waves.device)
    for first in range(0, len(steps), _CHUNK):
        part = centres[first : first + _CHUNK]
        spectra, earlier = _spectra(frames, torch.stack([part, part - _HOP]), window)
        locked = _locked_phases(phases, spectra, earlier.sgn_().conj_physical_().mul_(spectra))
        phases = locked[-1].clone()
        magnitudes = (spectra.real.square() + spectra.imag.square()).sqrt()  # half the time of abs()
        _overlap_add_(output[first:], locked.mul_(magnitudes), window)
    return output.transpose(0, 1).flatten(1)[:, _FRAME // 2 + _HOP :][:, :n]


def _spectra(frames: Tensor, centres: Tensor, window: Tensor) -> Tensor:
    """Return the spectra (2, K, B, bins) of the frames around `centres` (2, K, B).

    frames: (B, positions, _FRAME), position p of which is centred on sample p - _FRAME / 2; silent before and after
    """
    positions = (centres + _FRAME // 2).clamp(0, frames.shape[1] - 1)
    return torch.fft.rfft(frames[torch.arange(len(frames), device=frames.device), positions].mul_(window))


def _locked_phases(previous: Tensor, spectra: Tensor, turns: Tensor) -> Tensor:
    """Return each frame's phases (K, B, bins), of modulus 1, from its turns and the previous frame's phases.

    previous: (B, bins) phases that precede the first frame's, or 0   spectra, turns: (K, B, bins)

    Neighbouring bins of one partial have opposite signs, since a frame's phases count from its start. Where there was
    silence before, phases start as they are in the input; the small constant keeps them defined in silence.
    """
    phases, sums = torch.empty_like(spectra), spectra * 1e-6 + 1e-12
    padded = F.pad(torch.zeros_like(spectra[0]), (1, 1))
    lower, middle, upper = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    for turn, sum_, phase in zip(turns, sums, phases, strict=True):  # frames, all rows at once
        torch.mul(previous, turn, out=middle)
        torch.sgn(sum_.add_(middle).sub_(lower).sub_(upper), out=phase)
        previous = phase
    return phases


def _overlap_add_(output: Tensor, spectra: Tensor, window: Tensor) -> None:
    """Add frames _HOP samples apart: spectra (K, B, bins) into output (at least K + 3, B, _HOP)."""
    frames = torch.fft.irfft(spectra, _FRAME).mul_(window / window.square().sum() * _HOP)
    for i, part in enumerate(frames.split(_HOP, dim=2)):
        output[i : i + len(frames)] += part
