"""The second view x^aug of an utterance: noise, volume, reverberation and pitch in a random mix.

Batched, on the waves' device. Every draw of a view comes from its own key, so a view depends on its wave, its key
and the settings alone: not on its neighbours in the batch, nor on padding, nor on what was drawn before.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from fractions import Fraction
from typing import NamedTuple

import torch
import torch.nn.functional as F
import torchaudio.functional as AF
from scipy.fft import next_fast_len
from torch import Tensor

from ipr_core.config import Audio, Range
from ipr_core.waves import SAMPLE_RATE

ORDER = ("pitch", "reverberation", "noise", "volume")
"""As on the way to a microphone: the voice, the room, the noise in it, the distance."""

_NOISE_PERIOD = 2**15  # samples (2 s) after which noise repeats
_FRAME, _HOP = 1024, 256  # samples (64 and 16 ms) of the phase vocoder


def view_key(seed: int, stream: int, epoch: int, utterance: str) -> int:
    """The 63-bit number that all randomness of one view is drawn from, the same on every machine."""
    name = f"{seed} {stream} {epoch} {utterance}".encode()
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big") >> 1


def second_view(waves: Tensor, lengths: Tensor, keys: Sequence[int], audio: Audio) -> Tensor:
    """x^aug of every utterance: each of audio.effects with chance audio.effect_chance, at least one of them.

    waves: (B, T) in [-1, 1], zero-padded   lengths: (B,) samples   keys: B numbers of `view_key`
    returns: (B, T) in [-1, 1], zero beyond each length; clipped where it would be louder
    """
    views, lengths = waves.clone(), lengths.to(waves.device)
    recipe = _recipe(keys, audio)
    for effect in ORDER:
        rows = recipe.effects[effect].nonzero().flatten()
        if len(rows):
            at = rows.to(waves.device)
            views[at] = _valid(_applied(effect, views[at], lengths[at], recipe.of(rows)), lengths[at])
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
    """(B, T) the waves with one effect, its amounts drawn; the noise in it has a key of its own."""
    amount = {name: value.to(waves) for name, value in recipe.amounts.items()}
    if effect == "pitch":
        return change_pitch(waves, lengths, recipe.amounts["semitones"].tolist())
    if effect == "reverberation":
        keys = [key ^ 1 for key in recipe.keys]
        return reverberate(waves, impulse_responses(keys, amount["seconds"], amount["direct_db"]))
    if effect == "noise":
        keys = [key ^ 2 for key in recipe.keys]
        return add_noise(waves, lengths, coloured_noise(keys, waves.shape[1], amount["colour"]), amount["snr_db"])
    return change_volume(waves, amount["gain_db"])


def _valid(waves: Tensor, lengths: Tensor) -> Tensor:
    """Zero beyond each length."""
    return waves * (torch.arange(waves.shape[1], device=waves.device) < lengths[:, None])


def _normal(keys: Sequence[int], n: int, device: torch.device) -> Tensor:
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
    spectrum = spectrum * f ** (-colour[:, None] / 2)
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


def impulse_responses(keys: Sequence[int], seconds: Tensor, direct_db: Tensor) -> Tensor:
    """(B, L) rooms: the direct sound at sample 0, then noise that decays by 60 dB in `seconds` (B,), where it ends.

    direct_db: (B,) energy of the direct sound over that of the rest. The whole has energy 1, so that speech keeps
    about its loudness. Polack's model of late reverberation: Gaussian noise under an exponential.
    """
    last = (seconds * SAMPLE_RATE).round()
    n = int(last.max()) + 1
    t = torch.arange(n, device=seconds.device)
    # A row's noise must not depend on the longest room of the batch: drawn as long as its own, then padded.
    ends = last.int().tolist()
    noise = [F.pad(_normal([key], m, seconds.device)[0], (1, n - m - 1)) for key, m in zip(keys, ends, strict=True)]
    tail = torch.stack(noise) * 10 ** (-3 * t / last.clamp_min(1)[:, None])
    energy = tail.square().sum(dim=1).clamp_min(torch.finfo(tail.dtype).tiny)
    tail = tail * (10 ** (-direct_db / 10) / energy).sqrt()[:, None]
    room = tail + F.one_hot(torch.zeros_like(last, dtype=torch.long), n)
    return room / room.norm(dim=1, keepdim=True)


def reverberate(waves: Tensor, rooms: Tensor) -> Tensor:
    """The waves (B, T) convolved with an impulse response each (B, L), as long as before: the last echoes are cut."""
    n = next_fast_len(waves.shape[1] + rooms.shape[1] - 1, real=True)
    return torch.fft.irfft(torch.fft.rfft(waves, n) * torch.fft.rfft(rooms, n), n)[:, : waves.shape[1]]


# ---- pitch ----


def change_pitch(waves: Tensor, lengths: Tensor, semitones: Sequence[float]) -> Tensor:
    """The waves higher by `semitones` (one a row; negative: lower), formants too, at constant length.

    Resampled by the nearest ratio of small integers (18/17 for a semitone; within 0.25 % up to an octave), which
    makes them higher and shorter, then stretched to their length again.

    waves: (B, T)   lengths: (B,)   returns: (B, T), zero beyond each length
    """
    ratios = [Fraction(2 ** (step / 12)).limit_denominator(40) for step in semitones]
    longest = max(-(-waves.shape[1] * ratio.denominator // ratio.numerator) for ratio in ratios)
    fast = waves.new_zeros(len(waves), longest)
    for ratio in dict.fromkeys(ratios):
        rows = torch.tensor([i for i, other in enumerate(ratios) if other == ratio], device=waves.device)
        part = AF.resample(waves[rows], ratio.numerator, ratio.denominator)
        ends = (lengths[rows] * ratio.denominator + ratio.numerator - 1) // ratio.numerator
        fast[rows, : part.shape[1]] = _valid(part, ends)
    factors = torch.tensor([float(ratio) for ratio in ratios], device=waves.device)
    slow = stretch(fast, factors, waves.shape[1])
    return _valid(torch.where(factors[:, None] == 1, waves, slow), lengths)


def stretch(waves: Tensor, factors: Tensor, n: int) -> Tensor:
    """The waves (B, S) slower by `factors` (B,) at the same pitch: (B, n), by a phase vocoder.

    The phase-locked vocoder of Puckette (1995). Frames are read every _HOP / factor samples and laid down every _HOP.
    From one to the next a bin's phase turns as it does in the input over _HOP samples, which a frame _HOP samples
    earlier tells without unwrapping; and a bin takes its phase together with its two neighbours, without which a voice
    loses 3 dB and sounds as in a hall.
    """
    window = torch.hann_window(_FRAME, device=waves.device, dtype=waves.dtype)
    steps = torch.arange(-1, -(-n // _HOP) + 2, device=waves.device)  # every frame that reaches into 0..n
    centres = (steps[:, None] * _HOP / factors).round().long()  # (K, B)
    now, before = _spectra(waves, centres, window), _spectra(waves, centres - _HOP, window)
    turns = before.sgn_().conj_physical_().mul_(now)
    phases = _locked_phases(now, turns)
    magnitudes = (now.real.square() + now.imag.square()).sqrt()  # half the time of abs()
    return _overlap_add(phases.mul_(magnitudes), window)[:, :n]


def _spectra(waves: Tensor, centres: Tensor, window: Tensor) -> Tensor:
    """(K, B, bins) of the frames around `centres` (K, B); the waves are silent before and after."""
    frames = F.pad(waves, (_FRAME, _FRAME)).unfold(1, _FRAME, 1)  # (B, positions, _FRAME), a view
    starts = (centres + _FRAME // 2).clamp(0, frames.shape[1] - 1)
    return torch.fft.rfft(frames[torch.arange(len(waves), device=waves.device), starts].mul_(window))


def _locked_phases(now: Tensor, turns: Tensor) -> Tensor:
    """(K, B, bins) of modulus 1: each frame's phases from those of the frame before and its turns.

    Neighbouring bins of one partial have opposite signs, since a frame's phases count from its start. Where there was
    silence before, phases start as they are in the input; the small constant keeps them defined in silence.
    """
    phases = torch.empty_like(now)
    torch.sgn(now[0], out=phases[0])
    z = F.pad(torch.zeros_like(now[0]), (1, 1))
    for k in range(1, len(now)):  # frames, all rows at once
        torch.mul(phases[k - 1], turns[k], out=z[:, 1:-1])
        locked = (z[:, 1:-1] - z[:, :-2]).sub_(z[:, 2:])
        torch.sgn(locked.add_(now[k], alpha=1e-6).add_(1e-12), out=phases[k])
    return phases


def _overlap_add(spectra: Tensor, window: Tensor) -> Tensor:
    """(K, B, bins), frames _HOP apart, the first centred one hop before the start → (B, samples)."""
    k, b, _ = spectra.shape
    parts = _FRAME // _HOP
    frames = torch.fft.irfft(spectra, _FRAME).mul_(window / window.square().sum() * _HOP)
    frames = frames.view(k, b, parts, _HOP)
    waves = frames.new_zeros(k + parts - 1, b, _HOP)
    for i in range(parts):
        waves[i : i + k] += frames[:, :, i]
    return waves.transpose(0, 1).flatten(1)[:, _FRAME // 2 + _HOP :]
