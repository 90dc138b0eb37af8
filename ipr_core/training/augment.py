"""The second view x^aug of an utterance: noise, volume, reverberation and pitch in a random mix.

Batched, on the waves' device. Every draw of a view comes from its own key, so a view depends on its wave, its key
and the settings alone: not on its neighbours in the batch, nor on padding, nor on what was drawn before. On a CPU a
batch is cut into groups that take a core each: its steps are too small for several cores to share one.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from fractions import Fraction
from functools import cache
from typing import NamedTuple

import torch
import torch.nn.functional as F
from scipy.fft import next_fast_len
from torch import Tensor
from torchaudio.transforms import Resample

from ipr_core.config import Audio, Range
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.training.cores import on_cores

ORDER = ("pitch", "reverberation", "noise", "volume")
"""As on the way to a microphone: the voice, the room, the noise in it, the distance."""

_NOISE_PERIOD = 2**15  # samples (2 s) after which noise repeats
_FRAME, _HOP = 1024, 256  # samples (64 and 16 ms) of the phase vocoder
_CHUNK = 64  # frames that it has in hand, so that they stay in a core's cache
_ROWS = 4  # utterances of a group; always alike, so that a view's bits do not depend on how many cores there are


def view_key(seed: int, stream: int, epoch: int, utterance: str) -> int:
    """The 63-bit number that all randomness of one view is drawn from, the same on every machine."""
    name = f"{seed} {stream} {epoch} {utterance}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def second_view(waves: Tensor, lengths: Tensor, keys: Sequence[int], audio: Audio) -> Tensor:
    """x^aug of every utterance: each of audio.effects with chance audio.effect_chance, at least one of them.

    waves: (B, T) in [-1, 1], zero-padded   lengths: (B,) samples   keys: B numbers of `view_key`
    returns: (B, T) in [-1, 1], zero beyond each length; clipped where it would be louder
    """
    if waves.device.type != "cpu":
        return _mixed(waves, lengths.to(waves.device), keys, audio)
    views = torch.zeros_like(waves)

    def fill(first: int) -> None:
        rows = slice(first, first + _ROWS)
        longest = int(lengths[rows].max())
        views[rows, :longest] = _mixed(waves[rows, :longest], lengths[rows], keys[rows], audio)

    on_cores(fill, range(0, len(waves), _ROWS))
    return views


def _mixed(waves: Tensor, lengths: Tensor, keys: Sequence[int], audio: Audio) -> Tensor:
    """The second views of waves (B, T), all at once: the effects in their order, each on the rows that have it."""
    views, recipe = waves.clone(), _recipe(keys, audio)
    for effect in ORDER:
        rows = recipe.effects[effect].nonzero().flatten()
        if len(rows):
            at = rows.to(waves.device)
            views[at] = _applied(effect, views[at], lengths[at], recipe.of(rows))
    return views.clamp_(-1, 1)


class _Recipe(NamedTuple):
    """What is drawn for each of B views, on the CPU."""

    keys: list[int]
    effects: dict[str, Tensor]  # (B,) bool: whether it is applied
    amounts: dict[str, Tensor]  # (B,) float

    def of(self, rows: Tensor) -> _Recipe:
        part = [{name: value[rows] for name, value in column.items()} for column in self[1:]]
        return _Recipe([self.keys[i] for i in rows.tolist()], *part)


def _recipe(keys: Sequence[int], audio: Audio) -> _Recipe:
    generator = torch.Generator()
    draws = [torch.rand(11, generator=generator.manual_seed(key), dtype=torch.float64) for key in keys]
    u = torch.stack(draws) if draws else torch.empty(0, 11, dtype=torch.float64)
    chosen = u[:, :4] < audio.effect_chance
    allowed = torch.tensor([effect in audio.effects for effect in ORDER])
    forced = allowed.nonzero().flatten()[(u[:, 4] * allowed.sum()).long()]  # (B,) the one that is always there
    none = ~(chosen & allowed).any(dim=1)
    chosen = (chosen & allowed) | (none[:, None] & F.one_hot(forced, 4).bool())
    steps = _semitones(audio.pitch_semitones)
    amounts = {
        "snr_db": _between(u[:, 5], audio.noise_snr_db),
        "colour": u[:, 6],
        "gain_db": _between(u[:, 7], audio.volume_db),
        "seconds": _between(u[:, 8], audio.reverberation_seconds),
        "direct_db": _between(u[:, 9], (0.0, 10.0)),
        "semitones": steps[(u[:, 10] * len(steps)).long()],
    }
    return _Recipe(list(keys), dict(zip(ORDER, chosen.T, strict=True)), amounts)


def _between(u: Tensor, range: Range) -> Tensor:
    return range[0] + u * (range[1] - range[0])


def _semitones(range: Range) -> Tensor:
    """Half semitones in the range; without 0, which would change nothing, unless there is no other."""
    steps = torch.arange(round(2 * range[0]), round(2 * range[1]) + 1) / 2
    return steps[steps != 0] if (steps != 0).any() else steps


def _applied(effect: str, waves: Tensor, lengths: Tensor, recipe: _Recipe) -> Tensor:
    """(B, T) the waves with one effect, its amounts drawn; zero beyond each length. Its noise has a key of its own."""
    keys, amounts = recipe.keys, recipe.amounts
    if effect == "pitch":
        return change_pitch(waves, lengths, amounts["semitones"].tolist())
    if effect == "reverberation":
        rooms = impulse_responses([key ^ 1 for key in keys], amounts["seconds"], amounts["direct_db"], waves.device)
        return _valid(reverberate(waves, rooms), lengths)
    if effect == "noise":
        noise = coloured_noise([key ^ 2 for key in keys], waves.shape[1], amounts["colour"].to(waves))
        return add_noise(waves, lengths, noise, amounts["snr_db"].to(waves))
    return change_volume(waves, amounts["gain_db"].to(waves))


def _valid(waves: Tensor, lengths: Tensor) -> Tensor:
    """Zero beyond each length."""
    return torch.where(torch.arange(waves.shape[1], device=waves.device) < lengths[:, None], waves, 0)


def _normal(keys: Sequence[int], n: int, device: torch.device | str) -> Tensor:
    """(B, n) standard normal, a row a function of its key."""
    generator = torch.Generator(device)
    return torch.stack([torch.randn(n, generator=generator.manual_seed(key), device=device) for key in keys])


# ---- noise ----


def coloured_noise(keys: Sequence[int], n: int, colour: Tensor) -> Tensor:
    """(B, n) noise whose power falls as 1/f^colour: 0 is white, 1 pink. It repeats after two seconds.

    colour: (B,), on the device where the noise is wanted
    """
    bins = _NOISE_PERIOD // 2
    f = torch.arange(1, bins + 1, device=colour.device)
    spectrum = torch.view_as_complex(_normal(keys, 2 * bins, colour.device).view(-1, bins, 2))
    spectrum = spectrum * (f.log() * (-colour[:, None] / 2)).exp()
    period = torch.fft.irfft(F.pad(spectrum, (1, 0)), n=_NOISE_PERIOD)  # no constant part
    return period.repeat(1, -(-n // _NOISE_PERIOD))[:, :n]


def add_noise(waves: Tensor, lengths: Tensor, noise: Tensor, snr_db: Tensor) -> Tensor:
    """The waves plus noise, its power snr_db (B,) below each utterance's own. A silent clip stays silent.

    waves, noise: (B, T)   lengths: (B,)   returns: (B, T), zero beyond each length
    """
    noise = _valid(noise, lengths)
    ratio = waves.square().sum(dim=1) / noise.square().sum(dim=1).clamp_min(torch.finfo(waves.dtype).tiny)
    return waves + noise * (ratio * 10 ** (-snr_db / 10)).sqrt()[:, None]


# ---- volume ----


def change_volume(waves: Tensor, gain_db: Tensor) -> Tensor:
    """The waves (B, T) louder by gain_db (B,), clipped to [-1, 1]."""
    return (waves * 10 ** (gain_db / 20)[:, None]).clamp(-1, 1)


# ---- reverberation ----


def impulse_responses(
    keys: Sequence[int], seconds: Tensor, direct_db: Tensor, device: torch.device | str = "cpu"
) -> Tensor:
    """(B, L) rooms: the direct sound at sample 0, then noise that decays by 60 dB in `seconds` (B,), where it ends.

    direct_db: (B,) energy of the direct sound over that of the rest. The whole has energy 1, so that speech keeps
    about its loudness. Polack's model of late reverberation: Gaussian noise under an exponential.
    """
    last = (seconds * SAMPLE_RATE).round()
    ends = last.int().tolist()
    n = max(ends) + 1
    # A row's noise must not depend on the longest room of the batch: drawn as long as its own, then padded.
    noise = [F.pad(_normal([key], m, device)[0], (1, n - m - 1)) for key, m in zip(keys, ends, strict=True)]
    slope = (math.log(1e-3) / last.clamp_min(1)).to(device, torch.float32)
    tail = torch.stack(noise) * (slope[:, None] * torch.arange(n, device=device)).exp()
    energy = tail.square().sum(dim=1).clamp_min(torch.finfo(tail.dtype).tiny)
    tail = tail * ((10 ** (-direct_db / 10)).to(tail) / energy).sqrt()[:, None]
    room = torch.cat([torch.ones_like(tail[:, :1]), tail[:, 1:]], dim=1)
    return room / room.norm(dim=1, keepdim=True)


def reverberate(waves: Tensor, rooms: Tensor) -> Tensor:
    """The waves (B, T) convolved with an impulse response each (B, L), as long as before: the last echoes are cut.

    Block by block (overlap-save): shorter transforms take less time, and are of the same size for clips of any length.
    """
    samples, before = waves.shape[1], rooms.shape[1] - 1  # what a block needs of the one before
    n = min(1 << max(15, (4 * before).bit_length()), next_fast_len(samples + before, real=True))
    step = n - before
    padded = F.pad(waves, (before, -samples % step))
    blocks = torch.fft.rfft(padded.unfold(1, n, step)) * torch.fft.rfft(rooms, n)[:, None]  # (B, blocks, bins)
    return torch.fft.irfft(blocks, n)[..., before:].flatten(1)[:, :samples]


# ---- pitch ----


def change_pitch(waves: Tensor, lengths: Tensor, semitones: Sequence[float]) -> Tensor:
    """The waves higher by `semitones` (one a row; negative: lower), formants too, at constant length.

    Resampled by the nearest ratio of small integers (18/17 for a semitone; within 0.25 % up to an octave), which
    makes them higher and shorter, then stretched to their length again.

    waves: (B, T)   lengths: (B,)   returns: (B, T), zero beyond each length
    """
    ratios = [Fraction(2 ** (step / 12)).limit_denominator(40) for step in semitones]
    up, down = torch.tensor([(ratio.numerator, ratio.denominator) for ratio in ratios], device=waves.device).T
    fast = waves.new_zeros(len(waves), max(_shorter(waves.shape[1], ratio) for ratio in ratios))
    for ratio in dict.fromkeys(ratios):
        rows = torch.tensor([i for i, other in enumerate(ratios) if other == ratio], device=waves.device)
        fast[rows, : _shorter(waves.shape[1], ratio)] = _resampled(waves[rows], ratio)
    fast = _valid(fast, (lengths * down + up - 1) // up)
    slow = stretch(fast, up / down, waves.shape[1])
    return _valid(torch.where((up == down)[:, None], waves, slow), lengths)


def _shorter(samples: int, ratio: Fraction) -> int:
    return -(-samples * ratio.denominator // ratio.numerator)


def _resampled(waves: Tensor, ratio: Fraction) -> Tensor:
    """(B, T) to (B, T / ratio), rounded up: what torchaudio's Resample does, without its convolution.

    That one is set up anew for every length it meets, which takes longer than a matrix product with its filters.
    """
    filters = _filters(ratio, waves.device)  # (taps, denominator)
    taps, step = len(filters), ratio.numerator
    before = (taps - step) // 2
    windows = F.pad(waves, (before, before + step)).unfold(1, taps, step)  # (B, steps, taps)
    return (windows @ filters).flatten(1)[:, : _shorter(waves.shape[1], ratio)]


@cache
def _filters(ratio: Fraction, device: torch.device) -> Tensor:
    """torchaudio's windowed sincs: (taps, denominator), one for each sample that a step makes."""
    if ratio == 1:  # of which torchaudio makes none
        return torch.ones(1, 1, device=device)
    return Resample(ratio.numerator, ratio.denominator).kernel[:, 0].T.to(device)


def stretch(waves: Tensor, factors: Tensor, n: int) -> Tensor:
    """The waves (B, S) slower by `factors` (B,) at the same pitch: (B, n), by a phase vocoder.

    The phase-locked vocoder of Puckette (1995). Frames are read every _HOP / factor samples and laid down every _HOP.
    From one to the next a bin's phase turns as it does in the input over _HOP samples, which a frame _HOP samples
    earlier tells without unwrapping; and a bin takes its phase together with its two neighbours, without which a voice
    loses 3 dB and sounds as in a hall.
    """
    window = torch.hann_window(_FRAME, device=waves.device, dtype=waves.dtype)
    frames = F.pad(waves, (_FRAME, _FRAME)).unfold(1, _FRAME, 1)  # (B, positions, _FRAME), a view
    steps = torch.arange(-1, -(-n // _HOP) + 2, device=waves.device)  # every frame that reaches into 0..n
    centres = (steps[:, None] * _HOP / factors).round().long()  # (K, B)
    laid = waves.new_zeros(len(steps) + _FRAME // _HOP - 1, len(waves), _HOP)
    phases = torch.zeros((), device=waves.device)
    for first in range(0, len(steps), _CHUNK):
        part = centres[first : first + _CHUNK]
        now, before = _spectra(frames, torch.stack([part, part - _HOP]), window)
        turned = _locked_phases(phases, now, before.sgn_().conj_physical_().mul_(now))
        phases = turned[-1].clone()
        magnitudes = (now.real.square() + now.imag.square()).sqrt()  # half the time of abs()
        _overlap_add_(laid[first:], turned.mul_(magnitudes), window)
    return laid.transpose(0, 1).flatten(1)[:, _FRAME // 2 + _HOP :][:, :n]


def _spectra(frames: Tensor, centres: Tensor, window: Tensor) -> Tensor:
    """(2, K, B, bins) of the frames around `centres` (2, K, B).

    frames: (B, positions, _FRAME), position p of which is centred on sample p - _FRAME / 2; silent before and after
    """
    at = (centres + _FRAME // 2).clamp(0, frames.shape[1] - 1)
    return torch.fft.rfft(frames[torch.arange(len(frames), device=frames.device), at].mul_(window))


def _locked_phases(before: Tensor, now: Tensor, turns: Tensor) -> Tensor:
    """(K, B, bins) of modulus 1: each frame's phases from those of the frame before and its turns.

    before: (B, bins) phases that precede the first frame's, or 0   now, turns: (K, B, bins)

    Neighbouring bins of one partial have opposite signs, since a frame's phases count from its start. Where there was
    silence before, phases start as they are in the input; the small constant keeps them defined in silence.
    """
    phases, sums = torch.empty_like(now), now * 1e-6 + 1e-12
    padded = F.pad(torch.zeros_like(now[0]), (1, 1))
    lower, middle, upper = padded[:, :-2], padded[:, 1:-1], padded[:, 2:]
    for turn, sum_, phase in zip(turns, sums, phases, strict=True):  # frames, all rows at once
        torch.mul(before, turn, out=middle)
        torch.sgn(sum_.add_(middle).sub_(lower).sub_(upper), out=phase)
        before = phase
    return phases


def _overlap_add_(laid: Tensor, spectra: Tensor, window: Tensor) -> None:
    """Lays frames down _HOP samples apart: spectra (K, B, bins) into laid (at least K + 3, B, _HOP)."""
    frames = torch.fft.irfft(spectra, _FRAME).mul_(window / window.square().sum() * _HOP)
    for i, part in enumerate(frames.split(_HOP, dim=2)):
        laid[i : i + len(frames)] += part
