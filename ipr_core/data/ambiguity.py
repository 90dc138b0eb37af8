"""How far the annotators agree: votes to shares, entropy and D1, D2, D3; simulated annotators where nobody voted.

N utterances, C classes, K features, A annotators.
"""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series
from torchaudio.functional import melscale_fbanks
from tqdm import tqdm

from ipr_core.atomic import write
from ipr_core.config import Config, Data, Partition
from ipr_core.data.corpora.table import CorpusError, Fault, vote_columns
from ipr_core.data.waves import SAMPLE_RATE, WaveStore

if TYPE_CHECKING:
    from sklearn.base import ClassifierMixin

Floats = NDArray[np.float64]
TOLERANCE = 1e-9  # 2 of 3 votes are two thirds, whatever the floats say


# Votes


def vote_totals(table: DataFrame, count_other: bool) -> Floats:
    """How many votes each utterance has, (N,): for every emotion, known or not, and for "other" if that counts."""
    names = [name for name in vote_columns(table) if count_other or name != "votes_other"]
    return table[names].to_numpy(float).sum(axis=1)


def vote_shares(table: DataFrame, classes: Sequence[str], count_other: bool) -> Floats:
    """The share of each class among all votes, also those for emotions that are not among the classes.

    returns: (N, C), rows sum to at most 1; NaN rows where there is no vote. Votes known only to be for another
    emotion than the label (`votes_unknown`, EmoDB) count in the total, `votes_other` only if count_other.
    """
    return _divided(_class_votes(table, classes), vote_totals(table, count_other))


def soft_votes(table: DataFrame, classes: Sequence[str]) -> Floats:
    """The annotators' distribution over the classes alone: their soft label.

    returns: (N, C), rows sum to 1; NaN rows where nobody voted for a class, and where some votes are
    `votes_unknown`: they may be for any class, so the distribution is not known
    """
    votes = _class_votes(table, classes)
    total = votes.sum(axis=1)
    if "votes_unknown" in table:
        total = np.where(table["votes_unknown"] > 0, 0.0, total)
    return _divided(votes, total)


def vote_entropy(table: DataFrame, classes: Sequence[str]) -> Floats:
    """Entropy of the annotators' distribution over the classes, (N,) nats: 0 agreed, log C undecided, NaN unknown."""
    soft = soft_votes(table, classes)
    return -(soft * np.log(np.where(soft > 0, soft, 1.0))).sum(axis=1) + 0.0  # + 0: no negative zero


def _class_votes(table: DataFrame, classes: Sequence[str]) -> Floats:
    nobody = Series(0.0, index=table.index)
    return np.stack([table.get(f"votes_{name}", nobody).to_numpy(float) for name in classes], axis=1)


def _divided(votes: Floats, total: Floats) -> Floats:
    return votes / np.where(total > 0, total, np.nan)[:, None]


# Partition


def partition(table: DataFrame, config: Config) -> DataFrame:
    """Which utterances are precise (D1), ambiguous (D2) and for testing (D3), by the label's share of the votes.

    D1: share ≥ precise_share. D2: ambiguous_share ≤ share < precise_share. D3: below. With test_size, D3 is that many
    of the least agreed utterances outside D1 and D2 the others; equal shares are ordered by a hash of the id, never
    by the table's order. With speaker_disjoint, D3 is taken from test speakers, D1 and D2 from the others.

    returns: the utterances labelled with a class and with enough votes, plus share and part ("" unused), 0..N-1
    raises CorpusError, with every reason at once, if D1 lacks a class or D2 or D3 is empty
    """
    kept = _with_share(table, config)
    may_test, may_train = _by_speaker(kept, config)
    rules = config.partition
    precise = (kept["share"] >= rules.precise_share - TOLERANCE).to_numpy()
    agreed = (kept["share"] >= rules.ambiguous_share - TOLERANCE).to_numpy()
    if rules.test_size is None:
        test = may_test & ~agreed
    else:
        test = _least_agreed(kept, may_test & ~precise, rules, config.data.data_seed)
        agreed = ~test
    part = np.select([may_train & precise, may_train & agreed, test], ["D1", "D2", "D3"], "")
    kept = kept.assign(part=part)
    _refuse_if_useless(kept, config)
    return kept


def summary(table: DataFrame, by: Literal["label", "speaker"] = "label") -> DataFrame:
    """How many utterances of each class, or speaker, each part has: columns part, `by`, count; zeros included."""
    counts = table.groupby(["part", by]).size().unstack(fill_value=0).stack()
    return counts.rename("count").reset_index()


def _with_share(table: DataFrame, config: Config) -> DataFrame:
    data = config.data
    number = table["label"].map({name: i for i, name in enumerate(data.classes)})
    enough = vote_totals(table, data.count_other) >= max(config.partition.min_votes, TOLERANCE)
    kept = (number.notna() & enough).to_numpy()
    if not kept.any():
        raise _nothing_to_part(table, config)
    shares = vote_shares(table[kept], data.classes, data.count_other)
    share = shares[np.arange(kept.sum()), number[kept].astype(int)]
    return table[kept].assign(share=share).reset_index(drop=True)


def _nothing_to_part(table: DataFrame, config: Config) -> CorpusError:
    labels = sorted(set(table["label"]) - {""})
    what = f"no utterance is labelled {', '.join(config.data.classes)} and has {config.partition.min_votes:g} votes"
    cure = f"the labels are {', '.join(labels) or 'all empty'}; where nobody voted, set annotators to 'simulated'"
    return _refusal(table, what, cure)


def _least_agreed(table: DataFrame, candidates: NDArray[np.bool_], rules: Partition, seed: int) -> NDArray[np.bool_]:
    """(N,) whether an utterance is one of the test_size least agreed candidates, of each class in turn if balanced."""
    found = table.loc[candidates, ["id", "label"]]
    if len(found) < rules.test_size:
        what = f"test_size is {rules.test_size}, and {len(found)} utterances may be in D3"
        raise _refusal(table, what, "lower test_size; D1 and the training speakers stay out of D3")
    found = found.assign(share=table["share"].round(9))
    found = found[found["share"] <= found.groupby("label")["share"].transform(_nth_least, rules.test_size)]
    found = found.assign(tie=[_hash(seed, name) for name in found["id"].tolist()])
    found = found.sort_values(["share", "tie"])
    if rules.test_balanced:
        found = found.assign(turn=found.groupby("label").cumcount()).sort_values(["turn", "share", "tie"])
    return table.index.isin(found.index[: rules.test_size])


def _nth_least(shares: Series, n: int) -> float:
    """The largest share among a class's n least agreed: whoever is above it is not in D3."""
    last = min(n, len(shares)) - 1
    return np.partition(shares.to_numpy(), last)[last]


def _by_speaker(table: DataFrame, config: Config) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether an utterance may be in D3, and (N,) whether it may be in D1 and D2."""
    if not config.partition.speaker_disjoint:
        everyone = np.ones(len(table), dtype=bool)
        return everyone, everyone
    test = table["speaker"].isin(_test_speakers(table, config)).to_numpy()
    return test, ~test


def _test_speakers(table: DataFrame, config: Config) -> list[str]:
    speakers, named = sorted(set(table["speaker"])), list(config.partition.test_speakers)
    for name in named:
        if name not in speakers:
            near = difflib.get_close_matches(name, speakers, n=1) or speakers[:1]
            raise _refusal(table, f"test speaker {name!r} has no utterance", f"name others, such as {', '.join(near)}")
    chosen = named or sorted(speakers, key=lambda name: _hash(config.data.data_seed, name))[: len(speakers) // 4 or 1]
    if len(set(chosen)) >= len(speakers):
        what = f"speaker_disjoint leaves none of the {len(speakers)} speakers for training"
        raise _refusal(table, what, "name fewer test_speakers, or set speaker_disjoint to false")
    return chosen


def _refuse_if_useless(table: DataFrame, config: Config) -> None:
    rules, lowest = config.partition, table["share"].min()
    part = table["part"]
    lacking = sorted(set(config.data.classes) - set(table.loc[part == "D1", "label"]))
    faults = []
    if lacking:
        what = f"D1 has no utterance of {', '.join(lacking)}: none has a share of votes of {rules.precise_share:.3g}"
        faults += _refusal(table, what, "lower precise_share, or leave those classes out").faults
    if not (part == "D2").any():
        faults += _refusal(table, "D2 is empty", "lower test_size or ambiguous_share, or raise precise_share").faults
    if not (part == "D3").any():
        what = f"D3 is empty: no share of votes is below {rules.ambiguous_share:.3g}, the lowest is {lowest:.3g}"
        faults += _refusal(table, what, "give test_size, or raise ambiguous_share").faults
    if faults:
        raise CorpusError(faults)


def _refusal(table: DataFrame, what: str, cure: str) -> CorpusError:
    return CorpusError([Fault(f"partition of {len(table):,} utterances", None, what, cure)])


def _hash(seed: int, name: str) -> int:
    return int.from_bytes(hashlib.blake2b(f"{seed}:{name}".encode(), digest_size=8).digest())


# Simulated annotators

FEWEST = 5
"""Utterances of each class that simulated annotators need to learn from."""


def simulate_annotators(
    table: DataFrame, features: NDArray[np.floating], data: Data, progress: bool = True
) -> DataFrame:
    """Votes of simulated annotators in place of the corpus's own; said wherever a result rests on them.

    features: (N, K), such as `wave_features`
    returns: the table with `annotator_count` votes for the classes on each utterance labelled with one, none on others
    raises CorpusError if a class has fewer than FEWEST utterances
    """
    guesses = annotator_guesses(table, features, data, progress).to_numpy()
    votes = {f"votes_{name}": (guesses == name).sum(axis=1).astype(float) for name in data.classes}
    return table.drop(columns=vote_columns(table)).assign(**votes, votes_other=0.0)


def annotator_guesses(table: DataFrame, features: NDArray[np.floating], data: Data, progress: bool = True) -> DataFrame:
    """What each simulated annotator hears, out of fold: nobody judges an utterance, or a speaker, learnt from.

    An annotator is a classifier of one of ten kinds that sees half of the features, drawn by data_seed; features
    are centred per speaker, as listeners get used to a voice. Folds mix speakers only where a class could not be
    learnt otherwise: with fewer than three speakers, or with a class that hardly anyone speaks.
    returns: (N, A) class names, "" where the label is none of the classes; a column an annotator
    """
    rows = np.flatnonzero(table["label"].isin(data.classes))
    labels, speakers = table["label"].to_numpy(str)[rows], table["speaker"].to_numpy(str)[rows]
    x = _per_speaker(np.asarray(features, float)[rows], speakers)
    folds = _folds(labels, speakers, data)
    rng = np.random.default_rng(data.data_seed)
    guesses = np.full((len(table), data.annotator_count), "", dtype=object)
    bar = tqdm(range(data.annotator_count), "Annotators", delay=2, leave=False, disable=not progress)
    for i in bar:
        seen = rng.choice(x.shape[1], max(1, x.shape[1] // 2), replace=False)
        seed = int(rng.integers(2**31))
        for train, test in folds:
            classifier = _annotator(i, labels[train], seed).fit(x[train][:, seen], labels[train])
            guesses[rows[test], i] = classifier.predict(x[test][:, seen])
    return DataFrame(guesses, index=table.index)


def _per_speaker(x: Floats, speakers: NDArray[np.str_]) -> Floats:
    """(n, K) features less their speaker's mean, over the deviation that is left.

    The mean of few utterances is drawn towards that of all, so that a speaker heard once keeps most of what was heard.
    """
    x = x - x.mean(axis=0)
    voice = DataFrame(x).groupby(speakers)
    x = x - voice.transform("sum").to_numpy() / (voice.transform("size").to_numpy()[:, None] + 5)
    return x / np.maximum(x.std(axis=0), 1e-6)


def _folds(labels: NDArray[np.str_], speakers: NDArray[np.str_], data: Data) -> list[tuple[NDArray, NDArray]]:
    """Rows to learn from and rows to judge, speaker-disjoint as far as every class can be learnt in every fold."""
    from sklearn.model_selection import GroupKFold, StratifiedKFold

    rare = [name for name in data.classes if (labels == name).sum() < FEWEST]
    if rare:
        what = f"simulated annotators need {FEWEST} utterances of a class; there are fewer of {', '.join(rare)}"
        raise CorpusError([Fault(data.corpus, None, what, "add some, or leave the class out")])
    people = len(np.unique(speakers))
    if people >= 3:
        by_speaker = GroupKFold(min(5, people), shuffle=True, random_state=data.data_seed)
        folds = list(by_speaker.split(labels, groups=speakers))
        if all(set(labels[train]) == set(data.classes) for train, _ in folds):
            return folds
    return list(StratifiedKFold(5, shuffle=True, random_state=data.data_seed).split(labels, labels))


def _annotator(kind: int, labels: NDArray[np.str_], seed: int) -> ClassifierMixin:
    """One of ten kinds of classifier, for these labels to learn from."""
    from sklearn.decomposition import PCA
    from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
    from sklearn.ensemble import ExtraTreesClassifier, RandomForestClassifier
    from sklearn.linear_model import LogisticRegression, RidgeClassifier
    from sklearn.naive_bayes import GaussianNB
    from sklearn.neighbors import KNeighborsClassifier, NearestCentroid
    from sklearn.pipeline import make_pipeline
    from sklearn.svm import SVC

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


# What the simulated annotators hear

_FRAME, _HOP, _FFT = 640, 160, 1024  # samples at 16 kHz: 40 ms every 10 ms
_BANDS = 40
_LONGEST = 30 * SAMPLE_RATE  # of a longer clip, its middle
_LAGS = slice(40, 267)  # samples a period: 400 Hz down to 60 Hz
_OCTAVE_COST = 0.05  # a voice is periodic in two of its periods too: the shorter lag wins
_VERSION = "1"  # part of the cached file's name: another one makes the features again


def wave_features(waves: WaveStore, cache: Path, progress: bool = True) -> NDArray[np.float32]:
    """Statistics over time of each utterance: 40 log-mel bands and their differences, energy, and F0.

    returns: (N, 129) float32, kept in the cache under the digest of the waves' keys
    """
    digest = hashlib.blake2b(" ".join([_VERSION, *waves.keys]).encode(), digest_size=16).hexdigest()
    place = Path(cache) / "features" / f"{digest}.npy"
    if not place.exists():
        bar = tqdm(range(len(waves)), "Features", unit="clip", delay=2, leave=False, disable=not progress)
        features = np.stack([_statistics(waves[i]) for i in bar])
        write(place, lambda path: np.save(path, features))
    return np.load(place, allow_pickle=False)


def _statistics(wave: NDArray[np.int16]) -> NDArray[np.float32]:
    """(T,) samples → (129,): the bands' mean, deviation and deviation of differences; nine more of energy and F0."""
    power, energy, periodicity, f0 = _frames(wave)
    mel = np.log(power @ _mel_bands() + 1e-8)  # (F, 40)
    voiced = periodicity > 0.5
    pitch = np.log2(f0[voiced]) if voiced.any() else np.zeros(1)
    loudness = np.log(energy + 1e-8)
    more = [
        loudness.mean(), loudness.std(), np.ptp(loudness), pitch.mean(), pitch.std(), np.ptp(pitch), voiced.mean(),
        periodicity.mean(), np.log(len(wave) + 1),
    ]  # fmt: skip
    return np.concatenate([mel.mean(0), mel.std(0), np.diff(mel, axis=0).std(0), more]).astype(np.float32)


def _frames(wave: NDArray[np.int16]) -> tuple[Floats, Floats, Floats, Floats]:
    """Power spectrum (F, 513), energy, periodicity (0 noise, 1 periodic) and F0 in Hz (F,) of each frame.

    F0 is the lag at which the frame is most like itself, its autocorrelation over the window's own (Boersma 1993).
    """
    skip = max(0, len(wave) - _LONGEST) // 2
    samples = wave[skip : skip + _LONGEST].astype(np.float64) / 32768
    samples = np.pad(samples, (0, max(0, _FRAME + _HOP - len(samples))))  # two frames, so that there is a difference
    window = np.hanning(_FRAME)
    frames = np.lib.stride_tricks.sliding_window_view(samples, _FRAME)[::_HOP] * window
    power = np.abs(np.fft.rfft(frames, _FFT)) ** 2
    alike = np.fft.irfft(power)[:, : _LAGS.stop]  # autocorrelation: _FFT ≥ _FRAME + longest lag
    own = np.fft.irfft(np.abs(np.fft.rfft(window, _FFT)) ** 2)[: _LAGS.stop]
    energy = alike[:, 0] / own[0]
    ratio = alike / own / np.maximum(energy, 1e-8)[:, None]
    lags = np.arange(_LAGS.start, _LAGS.stop)
    best = lags[(ratio[:, lags] - _OCTAVE_COST * np.log2(lags)).argmax(axis=1)]
    return power, energy, ratio[np.arange(len(best)), best], SAMPLE_RATE / best


def _mel_bands() -> Floats:
    """(513, 40) triangular bands."""
    return melscale_fbanks(_FFT // 2 + 1, 60.0, 8000.0, _BANDS, SAMPLE_RATE).numpy().astype(np.float64)
