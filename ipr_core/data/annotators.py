"""Simulated annotators: classifiers that vote where nobody did, and the features they hear.

N utterances, K features, A annotators, F frames, T samples.
"""

from __future__ import annotations

import hashlib
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame
from sklearn.base import ClassifierMixin
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GroupKFold, StratifiedKFold
from sklearn.naive_bayes import GaussianNB
from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
from sklearn.pipeline import make_pipeline
from sklearn.svm import SVC
from torchaudio.functional import melscale_fbanks

from ipr_core.atomic import write
from ipr_core.config import Data
from ipr_core.data.cache import clear_once, seal, sealed, writable
from ipr_core.data.corpora.table import vote_columns
from ipr_core.data.partition_faults import refuse_rare_classes
from ipr_core.data.source import DECODER
from ipr_core.data.waves import SAMPLE_RATE, WaveStore
from ipr_core.progress import Progress

Floats = NDArray[np.float64]


def simulate_annotators(
    table: DataFrame, features: NDArray[np.floating], data: Data, progress: bool = True
) -> DataFrame:
    """Return the table with votes of simulated annotators in place of the corpus's own.

    Every page that rests on these votes says so.
    features: (N, K), such as `wave_features`
    returns: the table with `annotator_count` votes for the classes on each utterance labelled with one, none on others
    raises CorpusError if a class has fewer than `partition_faults.FEWEST` utterances
    """
    guesses = annotator_guesses(table, features, data, progress).to_numpy()
    votes = {f"votes_{name}": (guesses == name).sum(axis=1).astype(float) for name in data.classes}
    return table.drop(columns=vote_columns(table)).assign(**votes, votes_other=0.0)


def annotator_guesses(table: DataFrame, features: NDArray[np.floating], data: Data, progress: bool = True) -> DataFrame:
    """Return the class that each simulated annotator hears in each utterance, out of fold.

    No annotator judges an utterance, or a speaker, that it learnt from. An annotator is a classifier of one of ten
    kinds that sees half of the features, drawn by data_seed. Features are centred per speaker, as listeners get used
    to a voice. Folds mix speakers only where a class could not be learnt otherwise: with fewer than three speakers,
    or with a class that hardly anyone speaks.
    returns: (N, A) class names, "" where the label is none of the classes; a column per annotator
    """
    rows = np.flatnonzero(table["label"].isin(data.classes))
    labels, speakers = table["label"].to_numpy(str)[rows], table["speaker"].to_numpy(str)[rows]
    folds = _folds(labels, speakers, data)
    x = _per_speaker(np.asarray(features, float)[rows], speakers)
    rng = np.random.default_rng(data.data_seed)
    guesses = np.full((len(table), data.annotator_count), "", dtype=object)
    bar = Progress(range(data.annotator_count), "Simulating annotators", "annotator", shown=progress)
    for i in bar:
        columns = rng.choice(x.shape[1], max(1, x.shape[1] // 2), replace=False)
        seed = int(rng.integers(2**31))
        for train, test in folds:
            classifier = _annotator(i, labels[train], seed).fit(x[train][:, columns], labels[train])
            guesses[rows[test], i] = classifier.predict(x[test][:, columns])
    return DataFrame(guesses, index=table.index)


def _per_speaker(x: Floats, speakers: NDArray[np.str_]) -> Floats:
    """Return (n, K) features less their speaker's mean, over the remaining deviation.

    The mean of few utterances is drawn towards that of all, so that the features of a speaker with one utterance do
    not vanish.
    """
    x = x - x.mean(axis=0)
    voice = DataFrame(x).groupby(speakers)
    x = x - voice.transform("sum").to_numpy() / (voice.transform("size").to_numpy()[:, None] + 5)
    return x / np.maximum(x.std(axis=0), 1e-6)


def _folds(labels: NDArray[np.str_], speakers: NDArray[np.str_], data: Data) -> list[tuple[NDArray, NDArray]]:
    """Return rows to learn from and rows to judge, a pair per fold.

    Speakers are disjoint if every class can then be learnt in every fold.
    """
    refuse_rare_classes(labels, data)
    people = len(np.unique(speakers))
    if people >= 3:
        by_speaker = GroupKFold(min(5, people), shuffle=True, random_state=data.data_seed)
        folds = list(by_speaker.split(labels, groups=speakers))
        if all(set(labels[train]) == set(data.classes) for train, _ in folds):
            return folds
    return list(StratifiedKFold(5, shuffle=True, random_state=data.data_seed).split(labels, labels))


def _annotator(kind: int, labels: NDArray[np.str_], seed: int) -> ClassifierMixin:
    """Return a classifier of one of ten kinds, to be fitted to these labels."""
    classes = len(np.unique(labels))
    even = np.full(classes, 1 / classes)  # a rare emotion is as likely as any other to an annotator
    kinds = (
        LogisticRegression(C=0.1, max_iter=2000, class_weight="balanced"),
        LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto", priors=even),
        KNeighborsClassifier(min(9, len(labels)), weights="distance"),
        SVC(C=2.0, class_weight="balanced"),
        RandomForestClassifier(40, min_samples_leaf=4, class_weight="balanced", random_state=seed),
        make_pipeline(PCA(0.9, whiten=True), GaussianNB(priors=even)),
        RidgeClassifier(30.0, class_weight="balanced"),
        ExtraTreesClassifier(40, min_samples_leaf=4, class_weight="balanced", random_state=seed),
        SVC(kernel="poly", degree=2, coef0=1.0, class_weight="balanced"),
        make_pipeline(PCA(0.9, whiten=True), NearestCentroid()),
    )
    return kinds[kind % len(kinds)]


# The features that simulated annotators hear

_FRAME, _HOP, _FFT = 640, 160, 1024  # samples at 16 kHz: 40 ms every 10 ms
_BANDS = 40
_LONGEST = 30 * SAMPLE_RATE  # of a longer clip, its middle
_LAGS = slice(40, 267)  # samples a period: 400 Hz down to 60 Hz
_OCTAVE_COST = 0.05  # a voice is periodic in two of its periods too: the shorter lag wins
_VERSION = "1"  # part of the cached file's name: another one makes the features again


def wave_features(waves: WaveStore, cache: Path, progress: bool = True) -> NDArray[np.float32]:
    """Return statistics over time of each utterance's log-mel bands, energy and F0.

    returns: (N, 129) float32, stored in the cache under the digest of the waves' keys; see `_statistics`
    """
    digest = hashlib.blake2b(" ".join([_VERSION, DECODER, *waves.keys]).encode(), digest_size=16).hexdigest()
    file = Path(cache) / "features" / f"{digest}.npy"
    clear_once(file.parent)
    stored = sealed(file, np.float32, 2)
    if stored is None or len(stored[0]) != len(waves):
        bar = Progress(range(len(waves)), "Features for annotators", "clip", shown=progress)
        features = np.stack([_statistics(waves[i]) for i in bar])
        with writable(Path(cache)):
            write(file, partial(_save, features))
        return features
    return np.array(stored[0])


def _save(features: NDArray[np.float32], path: str) -> None:
    np.save(path, features)
    seal(path)


def _statistics(wave: NDArray[np.int16]) -> NDArray[np.float32]:
    """Return (129,) statistics of (T,) samples.

    Mean, deviation and deviation of differences of each of 40 log-mel bands, then nine of energy and F0.
    """
    power, energy, periodicity, f0 = _frames(wave)
    mel = np.log(power @ _mel_bands() + 1e-8)  # (F, 40)
    voiced = periodicity > 0.5
    pitch = np.log2(f0[voiced]) if voiced.any() else np.zeros(1)
    loudness = np.log(energy + 1e-8)
    voice = [
        loudness.mean(), loudness.std(), np.ptp(loudness), pitch.mean(), pitch.std(), np.ptp(pitch), voiced.mean(),
        periodicity.mean(), np.log(len(wave) + 1),
    ]  # fmt: skip
    return np.concatenate([mel.mean(0), mel.std(0), np.diff(mel, axis=0).std(0), voice]).astype(np.float32)


def _frames(wave: NDArray[np.int16]) -> tuple[Floats, Floats, Floats, Floats]:
    """Return power spectrum, energy, periodicity and F0 of each frame.

    F0 is the lag at which the frame is most like itself: its autocorrelation over the window's own (Boersma 1993).
    returns: (F, 513) power, (F,) energy, (F,) periodicity from 0 (noise) to 1 (periodic), (F,) F0 in Hz
    """
    skip = max(0, len(wave) - _LONGEST) // 2
    samples = wave[skip : skip + _LONGEST].astype(np.float64) / 32768
    samples = np.pad(samples, (0, max(0, _FRAME + _HOP - len(samples))))  # two frames, so that there is a difference
    window = np.hanning(_FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP] * window
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2
    alike = np.fft.irfft(power)[:, : _LAGS.stop]  # autocorrelation: _FFT ≥ _FRAME + longest lag
    alike_window = np.fft.irfft(np.abs(np.fft.rfft(window, _FFT)) ** 2)[: _LAGS.stop]
    energy = alike[:, 0] / alike_window[0]
    ratio = alike / alike_window / np.maximum(energy, 1e-8)[:, None]
    lags = np.arange(_LAGS.start, _LAGS.stop)
    best = lags[(ratio[:, lags] - _OCTAVE_COST * np.log2(lags)).argmax(axis=1)]
    return power, energy, ratio[np.arange(len(best)), best], SAMPLE_RATE / best


def _mel_bands() -> Floats:
    """Return (513, 40) triangular bands."""
    bands = melscale_fbanks(_FFT // 2 + 1, 60.0, SAMPLE_RATE / 2, _BANDS, SAMPLE_RATE)
    return bands.numpy().astype(np.float64)
