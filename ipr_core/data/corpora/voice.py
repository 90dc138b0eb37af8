"""The voice of the synthetic corpus: glottal pulses and breath through formants.

An emotion is six acoustic parameters. An utterance of several emotions has a phrase of each.
C classes, T samples.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from pandas import DataFrame
from scipy.signal import lfilter, sosfilt

from ipr_core.atomic import WRITING, clear_unfinished, locked
from ipr_core.config import SAMPLE_RATE, Data
from ipr_core.data.cache import folder_sealed, seal_folder, writable
from ipr_core.progress import Progress

Floats = NDArray[np.float64]

PROTOTYPES = {
    "angry": (0.9, 0.3, 1.0, 0.8, 1.0, 0.9),
    "happy": (0.9, 1.0, 0.4, 0.5, 0.2, -0.5),
    "sad": (-0.9, -0.7, -1.0, -1.0, -0.9, 0.3),
    "neutral": (-0.2, -0.5, 0.0, 0.1, 0.0, -0.7),
}
"""An emotion's pitch, pitch range, level, rate, brightness and roughness, each between about -1 and 1."""

_SPEAKER_SPREAD, _PHRASE_SPREAD = 0.2, 0.2  # standard deviations around the emotion's parameters
_SHORTEST = 0.1  # share of an utterance below which an emotion gets no phrase
# Formants in Hz of ɑ i u ɛ, the first three as of men in Peterson and Barney (1952).
_VOWELS = np.array([[730, 1090, 2440, 3500], [270, 2290, 3010, 3700], [300, 870, 2240, 3400], [530, 1840, 2480, 3500]])
_BANDWIDTHS = (80, 100, 140, 200)  # Hz


class Speaker(NamedTuple):
    """The constant traits of a speaker's voice."""

    f0: float  # Hz
    tract: float  # factor on the formants
    habit: Floats  # (6,) offset of the acoustic parameters


def write_sounds(table: DataFrame, data: Data, count: int, folder: Path, progress: bool) -> None:
    """Write all sounds, unless another process has just done it, and the digest of their folder.

    table: of `synthetic.describe`   count: how many speakers there are
    raises CorpusError if the cache cannot be written
    """
    with writable(folder.parent):
        folder.mkdir(parents=True, exist_ok=True)
        with locked(folder / ".lock"):
            if not folder_sealed(folder):
                clear_unfinished(folder)
                _write_all(table, _voice(table, data, count), folder, progress)


def _write_all(table: DataFrame, voice: Callable[[int], Floats], folder: Path, progress: bool) -> None:
    """Write the sounds beside those that are there, then put them in their place: nobody reads half a file."""
    with tempfile.TemporaryDirectory(prefix=WRITING, dir=folder, ignore_cleanup_errors=True) as temporary:
        save = partial(_save, voice=voice, folder=Path(temporary), names=table["id"].tolist())
        with ThreadPoolExecutor() as pool:
            sounds = pool.map(save, range(len(table)))
            list(Progress(sounds, "Speaking", "clip", len(table), progress))
        for file in Path(temporary).iterdir():
            os.replace(file, folder / file.name)
    seal_folder(folder)


def prototypes(classes: Sequence[str], seed: int) -> Floats:
    """Return (C, 6) acoustic parameters of each emotion.

    Those of a name that is not in `PROTOTYPES` are drawn far from all others.
    """
    rng = np.random.default_rng([seed, 1])
    emotions = {name: np.array(PROTOTYPES[name]) for name in classes if name in PROTOTYPES}
    for name in classes:
        if name not in emotions:
            emotions[name] = _far_from(list(emotions.values()), rng.uniform(-1, 1, (64, 6)))
    return np.array([emotions[name] for name in classes])


def _far_from(emotions: list[Floats], candidates: Floats) -> Floats:
    if not emotions:
        return candidates[0]
    distance = np.linalg.norm(candidates[:, None] - np.array(emotions), axis=2).min(axis=1)
    return candidates[distance.argmax()]


def speakers(seed: int, count: int) -> list[Speaker]:
    """Return `count` voices.

    The first half are lower, with longer vocal tracts, the second half higher, with shorter ones.
    """
    rng = np.random.default_rng([seed, 2])
    high = np.arange(count) >= count // 2
    f0 = np.where(high, 200.0, 112.0) * 2 ** (rng.normal(0, 1.2, count) / 12)
    tract = np.where(high, 1.15, 1.0) * (1 + 0.03 * rng.standard_normal(count))
    habits = _SPEAKER_SPREAD * rng.standard_normal((count, 6))
    return [Speaker(*voice) for voice in zip(f0, tract, habits, strict=True)]


def utter(mixture: Floats, emotions: Floats, speaker: Speaker, seconds: float, rng: Generator) -> Floats:
    """Return (T,) an utterance in [-1, 1]: a phrase of each emotion.

    A phrase lasts the emotion's share of the time. Their order is random.
    mixture: (C,) shares   emotions: (C, 6) acoustic parameters
    """
    share = np.where(mixture < _SHORTEST, 0, mixture)
    durations = seconds * share / share.sum()
    phrases = []
    for c in rng.permutation(np.flatnonzero(share)):
        parameters = emotions[c] + speaker.habit + _PHRASE_SPREAD * rng.standard_normal(6)
        phrases.append(speak(parameters, speaker, durations[c], rng))
    return np.concatenate(phrases)


def speak(parameters: Floats, speaker: Speaker, seconds: float, rng: Generator) -> Floats:
    """Return (T,) a phrase in [-1, 1]: glottal pulses and breath through formants, in syllables.

    parameters: (6,) pitch, range, level, rate, brightness, roughness; 0 is the middle, 1 high
    """
    pitch, spread, level, rate, bright, rough = np.clip(parameters, -2.5, 2.5)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    position = _syllables(t, 4.2 * 1.45**rate, rng)  # (T,) 2.5: in the middle of the third syllable
    count = int(position[-1]) + 1
    tune = np.interp(position, np.arange(count) + 0.5, rng.standard_normal(count)) * 1.6 * 1.8**spread
    f0 = speaker.f0 * 2 ** ((4.5 * pitch + tune - 1.5 * t / seconds) / 12)
    source = _pulses(f0, jitter=0.008 * 2.2**rough, shimmer=0.06 * 1.8**rough, rng=rng)
    source += 0.01 * rng.standard_normal(len(t))  # breath
    voice = _formants(_low_pass(source, 320 * 2.6**bright), position, speaker.tract, rng)
    voice *= np.sin(np.pi * (position % 1)) ** 0.7 * (1 + 0.2 * rng.standard_normal(count))[position.astype(int)]
    voice *= 10 ** ((-26 + 5 * level) / 20) / np.sqrt(np.mean(voice**2))
    return np.clip(voice + 0.0003 * rng.standard_normal(len(t)), -1, 1)


def _syllables(t: Floats, rate: float, rng: Generator) -> Floats:
    """Return (T,) how many syllables are over at each moment.

    Syllables last 1 / rate seconds, give or take a quarter.
    """
    count = int(2 * t[-1] * rate) + 3
    durations = (1 + 0.25 * rng.standard_normal(count)).clip(0.4, 2) / rate
    return np.interp(t, np.concatenate([[0], durations.cumsum()]), np.arange(count + 1))


def _pulses(f0: Floats, jitter: float, shimmer: float, rng: Generator) -> Floats:
    """Return (T,) one impulse per period.

    Periods vary by `jitter`, heights by `shimmer` (relative standard deviations).
    """
    period = (f0.cumsum() / SAMPLE_RATE).astype(int)
    uneven = f0 * (1 + jitter * rng.standard_normal(period[-1] + 1))[period]
    turns = uneven.cumsum() / SAMPLE_RATE
    index = np.flatnonzero(np.diff(np.floor(turns))) + 1
    advance = (turns[index] % 1) * SAMPLE_RATE / uneven[index]  # samples that the impulse lies before `index`, 0 to 1
    height = 1 + shimmer * rng.standard_normal(len(index))
    pulses = np.zeros(len(f0))
    pulses[index] = height * (1 - advance)
    pulses[index - 1] += height * advance
    return pulses


def _low_pass(wave: Floats, hz: float) -> Floats:
    """Filter by 6 dB an octave above hz, which is the voice's spectral tilt."""
    pole = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return lfilter([1 - pole], [1, -pole], wave)


def _formants(source: Floats, position: Floats, tract: float, rng: Generator) -> Floats:
    """Filter the source by a vowel's resonances, another vowel each syllable."""
    vowel = rng.integers(len(_VOWELS), size=int(position[-1]) + 1)[position.astype(int)]  # (T,)
    waves = [sosfilt(_resonances(formants * tract), source) for formants in _VOWELS]
    return np.choose(vowel, waves)


def _resonances(formants: Floats) -> Floats:
    """Return (4, 6) second-order sections, each with gain 1 at 0 Hz (Klatt 1980)."""
    radius = np.exp(-np.pi * np.array(_BANDWIDTHS) / SAMPLE_RATE)
    b, c = 2 * radius * np.cos(2 * np.pi * formants / SAMPLE_RATE), -(radius**2)
    zero, unit = np.zeros(4), np.ones(4)
    return np.stack([1 - b - c, zero, zero, unit, -b, -c], axis=1)


def _voice(table: DataFrame, data: Data, count: int) -> Callable[[int], Floats]:
    """Return the function from a row of the table to its sound.

    The sound depends on (data_seed, row) and the classes alone.
    """
    truth = table[[f"mixture_{name}" for name in data.classes]].to_numpy()
    emotions = prototypes(data.classes, data.data_seed)  # (C, 6)
    people = speakers(data.data_seed, count)
    person = table["speaker"].str[-2:].astype(int) - 1
    seconds = table["duration"]

    def voice(row: int) -> Floats:
        return utter(
            truth[row], emotions, people[person[row]], seconds[row], np.random.default_rng([data.data_seed, 3, row])
        )

    return voice


def _save(row: int, voice: Callable[[int], Floats], folder: Path, names: list[str]) -> None:
    soundfile.write(folder / f"{names[row]}.wav", voice(row), SAMPLE_RATE, subtype="PCM_16")
