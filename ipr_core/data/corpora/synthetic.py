"""The embedded corpus: a small source-filter voice whose emotion is a known mixture, and annotators drawn from it.

Everything follows from (synthetic_size, data_seed, classes). An utterance that is 70 % angry and 30 % sad sounds angry
for 70 % of its time and sad for the rest, in phrases, and its annotators disagree in these shares.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
import soundfile
from numpy.random import Generator
from numpy.typing import NDArray
from pandas import DataFrame
from scipy.signal import lfilter, sosfilt
from tqdm import tqdm

from ipr_core.config import Data
from ipr_core.data.waves import SAMPLE_RATE, default_cache

Floats = NDArray[np.float64]

ANNOTATORS = 10
"""Votes on each utterance."""
SPEAKERS = 12
"""The first half with lower voices, the second half with higher ones."""
VERSION = 1
"""Counted up when the sounds change, so that older ones are not taken for them."""

PROTOTYPES = {
    "angry": (0.9, 0.3, 1.0, 0.8, 1.0, 0.9),
    "happy": (0.9, 1.0, 0.4, 0.5, 0.2, -0.5),
    "sad": (-0.9, -0.7, -1.0, -1.0, -0.9, 0.3),
    "neutral": (-0.2, -0.5, 0.0, 0.1, 0.0, -0.7),
}
"""An emotion's pitch, pitch range, level, rate, brightness and roughness, each between about -1 and 1."""

_SPEAKER_SPREAD, _PHRASE_SPREAD = 0.2, 0.2  # standard deviations around the emotion's parameters
_SHORTEST = 0.1  # share of an utterance below which an emotion gets no phrase
_CLEAR = 0.35  # share of utterances that are nearly pure
# Formants in Hz of ɑ i u ɛ, the first three as of men in Peterson and Barney (1952).
_VOWELS = np.array([[730, 1090, 2440, 3500], [270, 2290, 3010, 3700], [300, 870, 2240, 3400], [530, 1840, 2480, 3500]])
_BANDWIDTHS = (80, 100, 140, 200)  # Hz


class Speaker(NamedTuple):
    """What stays the same from one utterance of a speaker to the next."""

    f0: float  # Hz
    tract: float  # factor on the formants
    habit: Floats  # (6,) offset of the acoustic parameters


def read(data: Data, progress: bool = True) -> DataFrame:
    """The utterance table, with mixture_<class> columns; the sounds are made if the cache does not hold them yet."""
    table = describe(data)
    folder = _folder(data)
    if not folder.exists():
        _write(table, data, folder, progress)
    return table.assign(path=[str(folder / f"{name}.wav") for name in table["id"]])


def describe(data: Data) -> DataFrame:
    """The table without paths: who speaks how long, in which mixture, and how the annotators voted."""
    rng = np.random.default_rng([data.data_seed, 0])
    n, classes = data.synthetic_size, data.classes
    truth = mixtures(n, len(classes), rng)
    votes = rng.multinomial(ANNOTATORS, truth)  # (N, C)
    # Of two emotions with as many votes, the label is the one with the larger share of the truth.
    label = (votes + 0.5 * truth).argmax(axis=1)
    columns = {
        "id": [f"synthetic-{row:05d}" for row in range(1, n + 1)],
        "start": np.nan,
        "end": np.nan,
        "speaker": [f"speaker-{i + 1:02d}" for i in rng.permutation(np.arange(n) % SPEAKERS)],
        "session": "",
        "duration": np.round(1.5 * np.exp(0.4 * rng.standard_normal(n)), 2).clip(0.8, 3.0),
        "label": np.array(classes)[label],
        **{f"votes_{name}": votes[:, c].astype(float) for c, name in enumerate(classes)},
        "votes_other": 0.0,
        **{f"mixture_{name}": truth[:, c] for c, name in enumerate(classes)},
        "source": "synthetic",
        "row": np.arange(1, n + 1),
    }
    return pd.DataFrame(columns)


def mixtures(n: int, classes: int, rng: Generator) -> Floats:
    """(n, classes) shares, rows sum to 1: nearly pure ones, many of mostly two emotions, the first emotion balanced."""
    first = rng.permutation(np.arange(n) % classes)
    clear = rng.random(n) < _CLEAR
    share = np.where(clear, rng.uniform(0.97, 1.0, n), rng.uniform(0.55, 0.95, n))
    rest = rng.dirichlet([0.3] * (classes - 1), n) * (1 - share)[:, None]  # mostly one other emotion
    others = (first[:, None] + np.arange(1, classes)) % classes
    truth = np.zeros((n, classes))
    np.put_along_axis(truth, first[:, None], share[:, None], axis=1)
    np.put_along_axis(truth, others, rest, axis=1)
    return truth / truth.sum(axis=1, keepdims=True)


def prototypes(classes: Sequence[str], seed: int) -> Floats:
    """(C, 6) acoustic parameters of each emotion; those of a name not in `PROTOTYPES` are drawn far from all others."""
    rng = np.random.default_rng([seed, 1])
    known = [np.array(PROTOTYPES[name]) for name in classes if name in PROTOTYPES]
    found = []
    for name in classes:
        if name in PROTOTYPES:
            found.append(np.array(PROTOTYPES[name]))
        else:
            found.append(_far_from(known, rng.uniform(-1, 1, (64, 6))))
            known.append(found[-1])
    return np.array(found)


def _far_from(known: list[Floats], candidates: Floats) -> Floats:
    if not known:
        return candidates[0]
    distance = np.linalg.norm(candidates[:, None] - np.array(known), axis=2).min(axis=1)
    return candidates[distance.argmax()]


def speakers(seed: int) -> list[Speaker]:
    """`SPEAKERS` voices: the first half lower with longer vocal tracts, the second half higher with shorter ones."""
    rng = np.random.default_rng([seed, 2])
    high = np.arange(SPEAKERS) >= SPEAKERS // 2
    f0 = np.where(high, 200.0, 112.0) * 2 ** (rng.normal(0, 1.2, SPEAKERS) / 12)
    tract = np.where(high, 1.15, 1.0) * (1 + 0.03 * rng.standard_normal(SPEAKERS))
    habits = _SPEAKER_SPREAD * rng.standard_normal((SPEAKERS, 6))
    return [Speaker(*voice) for voice in zip(f0, tract, habits, strict=True)]


def utter(mixture: Floats, emotions: Floats, speaker: Speaker, seconds: float, rng: Generator) -> Floats:
    """(T,) an utterance in [-1, 1]: a phrase of each emotion, as long as its share asks, in any order.

    mixture: (C,) shares   emotions: (C, 6) acoustic parameters
    """
    share = np.where(mixture < _SHORTEST, 0, mixture)
    lasting = seconds * share / share.sum()
    phrases = []
    for c in rng.permutation(np.flatnonzero(share)):
        parameters = emotions[c] + speaker.habit + _PHRASE_SPREAD * rng.standard_normal(6)
        phrases.append(speak(parameters, speaker, lasting[c], rng))
    return np.concatenate(phrases)


def speak(parameters: Floats, speaker: Speaker, seconds: float, rng: Generator) -> Floats:
    """(T,) a phrase in [-1, 1] at 16 kHz: glottal pulses and breath through formants, in syllables.

    parameters: (6,) pitch, range, level, rate, brightness, roughness; 0 is the middle, 1 high
    """
    pitch, spread, level, rate, bright, rough = np.clip(parameters, -2.5, 2.5)
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    place = _syllables(t, 4.2 * 1.45**rate, rng)  # (T,) 2.5: in the middle of the third syllable
    count = int(place[-1]) + 1
    tune = np.interp(place, np.arange(count) + 0.5, rng.standard_normal(count)) * 1.6 * 1.8**spread
    f0 = speaker.f0 * 2 ** ((4.5 * pitch + tune - 1.5 * t / seconds) / 12)
    source = _pulses(f0, jitter=0.008 * 2.2**rough, shimmer=0.06 * 1.8**rough, rng=rng)
    source += 0.01 * rng.standard_normal(len(t))  # breath
    voice = _formants(_low_pass(source, 320 * 2.6**bright), place, speaker.tract, rng)
    voice *= np.sin(np.pi * (place % 1)) ** 0.7 * (1 + 0.2 * rng.standard_normal(count))[place.astype(int)]
    voice *= 10 ** ((-26 + 5 * level) / 20) / np.sqrt(np.mean(voice**2))
    return np.clip(voice + 0.0003 * rng.standard_normal(len(t)), -1, 1)


def _syllables(t: Floats, rate: float, rng: Generator) -> Floats:
    """(T,) how many syllables are over at each moment; they last 1 / rate seconds, give or take a quarter."""
    many = int(2 * t[-1] * rate) + 3
    lasting = (1 + 0.25 * rng.standard_normal(many)).clip(0.4, 2) / rate
    return np.interp(t, np.concatenate([[0], lasting.cumsum()]), np.arange(many + 1))


def _pulses(f0: Floats, jitter: float, shimmer: float, rng: Generator) -> Floats:
    """(T,) one impulse a period; periods vary by `jitter`, heights by `shimmer` (relative standard deviations)."""
    period = (f0.cumsum() / SAMPLE_RATE).astype(int)
    uneven = f0 * (1 + jitter * rng.standard_normal(period[-1] + 1))[period]
    turns = uneven.cumsum() / SAMPLE_RATE
    at = np.flatnonzero(np.diff(np.floor(turns))) + 1
    early = (turns[at] % 1) * SAMPLE_RATE / uneven[at]  # how much before sample `at` the impulse lies, 0 to 1 samples
    height = 1 + shimmer * rng.standard_normal(len(at))
    pulses = np.zeros(len(f0))
    pulses[at] = height * (1 - early)
    pulses[at - 1] += height * early
    return pulses


def _low_pass(wave: Floats, hz: float) -> Floats:
    """6 dB an octave above hz: the voice's spectral tilt."""
    pole = np.exp(-2 * np.pi * hz / SAMPLE_RATE)
    return lfilter([1 - pole], [1, -pole], wave)


def _formants(source: Floats, place: Floats, tract: float, rng: Generator) -> Floats:
    """The source through a vowel's resonances, another vowel each syllable."""
    vowel = rng.integers(len(_VOWELS), size=int(place[-1]) + 1)[place.astype(int)]  # (T,)
    spoken = [sosfilt(_resonances(formants * tract), source) for formants in _VOWELS]
    return np.choose(vowel, spoken)


def _resonances(formants: Floats) -> Floats:
    """(4, 6) second-order sections, each with gain 1 at 0 Hz (Klatt 1980)."""
    radius = np.exp(-np.pi * np.array(_BANDWIDTHS) / SAMPLE_RATE)
    b, c = 2 * radius * np.cos(2 * np.pi * formants / SAMPLE_RATE), -(radius**2)
    zero, one = np.zeros(4), np.ones(4)
    return np.stack([1 - b - c, zero, zero, one, -b, -c], axis=1)


def _folder(data: Data) -> Path:
    names = hashlib.blake2b("\n".join(data.classes).encode(), digest_size=4).hexdigest()
    return default_cache() / f"synthetic-{data.synthetic_size}-{data.data_seed}-{names}-v{VERSION}"


def _write(table: DataFrame, data: Data, folder: Path, progress: bool) -> None:
    """All sounds into a folder beside, which is moved into place whole; another process may be first."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    aside = Path(tempfile.mkdtemp(prefix=".synthetic-", dir=folder.parent))
    try:
        save = partial(_save, voice=_voice(table, data), folder=aside, names=table["id"].tolist())
        with ThreadPoolExecutor() as pool:
            saved = pool.map(save, range(len(table)))
            list(tqdm(saved, "Speaking", len(table), unit="clip", delay=2, leave=False, disable=not progress))
        if not folder.exists():
            os.replace(aside, folder)
    except OSError:
        if not folder.exists():
            raise
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def _voice(table: DataFrame, data: Data) -> Callable[[int], Floats]:
    """Row of the table → its sound, a function of (data_seed, row) and the classes alone."""
    truth = table[[f"mixture_{name}" for name in data.classes]].to_numpy()
    emotions = prototypes(data.classes, data.data_seed)  # (C, 6)
    people = speakers(data.data_seed)
    who = table["speaker"].str[-2:].astype(int) - 1
    seconds = table["duration"]

    def voice(row: int) -> Floats:
        return utter(
            truth[row], emotions, people[who[row]], seconds[row], np.random.default_rng([data.data_seed, 3, row])
        )

    return voice


def _save(row: int, voice: Callable[[int], Floats], folder: Path, names: list[str]) -> None:
    soundfile.write(folder / f"{names[row]}.wav", voice(row), SAMPLE_RATE, subtype="PCM_16")
