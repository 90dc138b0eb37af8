"""Tests of differences between systems, and intervals of scores: is it more than chance?

**Over seeds** a pair is one seed of both systems: the test is about another training on the same data. **Over
utterances** a pair is one utterance of D3, right or wrong by both systems: the test is about other utterances of the
same kind, given these trainings. Neither replaces the other, and five seeds cannot show much: see `sign_flip`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy import stats

from ipr_core import metrics
from ipr_core.method.systems import SYSTEMS
from ipr_core.results.scores import SCORES, correct, noise, score_table, speakers
from ipr_core.results.selection import usual_stream
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

RESAMPLES = 10_000
"""Draws of a bootstrap, and of sign flips if there are too many to try them all."""
REFERENCE = "ipr"
"""The system that the others are compared with unless another one is named."""
FEWEST_SPEAKERS = 5
"""An interval resamples speakers if D3 has at least this many: fewer say nothing about how speakers differ."""

_EXACT = 14  # so many pairs have at most 16,384 ways to flip their signs: all are tried
_AT_ONCE = 1_000_000  # numbers that are drawn at once, so that memory stays small
TWO_SEEDS = (
    "A test over seeds needs two seeds that both systems were trained with: "
    "`ipr train --systems all --seeds 0 1 2 3 4`, or `ipr batch table3`."
)
TWO_SYSTEMS = "A comparison over utterances needs two systems that were trained with the same seed: `ipr batch table3`."

Pairs = Literal["seeds", "utterances"]


# The tests: of differences d, (N,), one a pair.


def t_interval(d: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """Return the interval of Student's t for the mean of d; nan for fewer than two pairs."""
    values = np.asarray(d, np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    half = stats.t.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / np.sqrt(values.size)
    return float(values.mean() - half), float(values.mean() + half)


def sign_flip(d: ArrayLike, seed: int = 0) -> float:
    """Return the two-sided p of the sign-flip permutation test of the mean of d.

    All 2^N ways to flip signs are tried for up to 14 pairs, `RESAMPLES` drawn ones else. N seeds give at least 2 / 2^N:
    five seeds 1/16, so that no difference over five seeds is "significant at 0.05" by this test, however large.
    """
    values = np.asarray(d, np.float64)
    if values.size == 0:
        return float("nan")
    values = values[values != 0]  # flipping the sign of 0 changes nothing
    if values.size < 2:
        return 1.0  # no difference, or one whose two signs are equally far from 0
    ways = np.inf if values.size <= _EXACT else RESAMPLES
    test = stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=ways, batch=_rows_at_once(values), vectorized=True,
        rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(test.pvalue)


def mcnemar(first: int, second: int) -> float:
    """Return the two-sided exact p for `first` and `second` discordant pairs; 1 if there is none."""
    return float(stats.binomtest(first, first + second).pvalue) if first + second else 1.0


def bootstrap(
    values: ArrayLike, clusters: ArrayLike | None = None, level: float = 0.95, seed: int = 0
) -> tuple[float, float]:
    """Return the bootstrap's percentile interval of the mean of values.

    `RESAMPLES` seeded draws with replacement.
    values: (N,)   clusters: (N,) the name of each value's cluster, such as its speaker. Clusters are then drawn whole,
    and the mean is over the values of those drawn. None: the values themselves are drawn.
    returns: both ends; nan for fewer than two values or clusters
    """
    numbers = np.asarray(values, np.float64)
    names = np.arange(numbers.size) if clusters is None else np.unique(clusters, return_inverse=True)[1]
    sums, sizes = np.bincount(names, numbers), np.bincount(names)
    if sums.size < 2:
        return float("nan"), float("nan")

    def mean(rows: NDArray[np.int64], axis: int = -1) -> NDArray[np.float64]:
        return sums[rows].sum(axis=axis) / sizes[rows].sum(axis=axis)

    # Percentile, not BCa: it never leaves the range of a share, and it has an answer where all values are alike. BCa's
    # acceleration would be estimated from a handful of speakers.
    result = stats.bootstrap(
        (np.arange(sums.size),), mean, n_resamples=RESAMPLES, batch=_rows_at_once(sums), vectorized=True,
        confidence_level=level, method="percentile", rng=np.random.default_rng(seed),
    )  # fmt: skip
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """Correct p for as many comparisons as there are: (N,) → (N,); nan is no comparison.

    Holm 1979, step down: the smallest p is multiplied by N, the next by N − 1, …; none is smaller than the one before
    it, or above 1.
    """
    values = np.asarray(p, np.float64)
    corrected, rows = np.full(values.shape, np.nan), np.flatnonzero(np.isfinite(values))
    order = rows[np.argsort(values[rows], kind="stable")]
    corrected[order] = np.minimum(1, np.maximum.accumulate(values[order] * np.arange(len(order), 0, -1)))
    return corrected


def _rows_at_once(values: NDArray) -> int:
    return max(1, _AT_ONCE // max(1, values.size))


# The interval of a single run


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of a run's accuracy on D3, in per cent."""

    low: float
    """nan if there is no interval."""
    high: float
    units: str
    """The units that were resampled, such as "12 speakers"; if there is no interval, the reason."""

    def __str__(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f} ({self.units})" if np.isfinite(self.low) else f"none: {self.units}"


def accuracy_interval(run: Run) -> Interval:
    """Return the interval of a single run's accuracy over other utterances like those of D3.

    Whole speakers are resampled if D3 has `FEWEST_SPEAKERS` and all are known: utterances of one speaker are alike, so
    they say less than as many of different ones. Single utterances are resampled otherwise.
    It knows nothing of other seeds: another training may differ by more.
    """
    hits = correct(run)
    if len(hits) < 2 or hits.nunique() < 2:
        alike = "too few utterances" if len(hits) < 2 else "all utterances right" if hits.all() else "none right"
        return Interval(np.nan, np.nan, alike)
    names = speakers(run).reindex(hits.index).fillna("")
    clustered = bool((names != "").all()) and names.nunique() >= FEWEST_SPEAKERS
    low, high = bootstrap(hits, names if clustered else None)
    return Interval(100 * low, 100 * high, f"{names.nunique()} speakers" if clustered else f"{len(hits)} utterances")


# The table of differences


def differences(
    runs: Sequence[Run], reference: str | None = None, score: str = "accuracy", pairs: Pairs | None = None
) -> Table:
    """Tabulate the differences of every system from a reference, with 95 % intervals and p after Holm.

    runs: `selection.comparable` ones; those of another random stream only measure the noise
    reference: a system; None: `REFERENCE` if it was trained, else the first one
    score: one of `scores.SCORES`; over utterances it is the accuracy
    pairs: of seeds or of utterances of D3; None: of seeds if two are shared by any two systems, else of utterances
    """
    systems = {run.config.training.system for run in usual_stream(runs)}
    reference = reference or (REFERENCE if REFERENCE in systems else next((s for s in SYSTEMS if s in systems), ""))
    if pairs == "utterances":
        return _over_utterances(runs, reference)
    table = _over_seeds(runs, reference, score)
    return _over_utterances(runs, reference) if pairs is None and table.values.empty else table


def paired_by_seed(d: pd.Series, noise: float) -> dict[str, Any]:
    """Test one comparison over seeds: difference, interval, p and noise, in the unit of d.

    d: differences by seed, nan if one of both has no such run   noise: of a single seed, `scores.noise`
    """
    d = d.dropna()
    low, high = t_interval(d)
    testable = len(d) > 1
    band = 2 * noise / np.sqrt(len(d)) if len(d) else np.nan
    return {
        "seeds": len(d),
        "difference": d.mean(),
        "difference ±": d.std(ddof=1) if testable else np.nan,
        "95 % from": low,
        "to": high,
        "p, t-test": metrics.paired_difference(d, np.zeros(len(d)))["p"] if testable else np.nan,
        "p, signs": sign_flip(d) if testable else np.nan,
        "noise": band,
        "within noise": "not measured" if np.isnan(band) else ("yes" if abs(d.mean()) <= band else "no"),
    }


def corrected(rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Return comparisons as a table, with Holm's correction beside each p."""
    frame = DataFrame(rows)
    for name in ("p, t-test", "p, signs", "p"):
        if name in frame:
            frame.insert(frame.columns.get_loc(name) + 1, f"{name}, Holm", holm(frame[name]))
    return frame


def _over_seeds(runs: Sequence[Run], reference: str, score: str) -> Table:
    scores = score_table(runs)
    by_seed = (
        scores[scores["stream"] == 0].pivot(index="seed", columns="system", values=score) if len(scores) else scores
    )
    noise_of_a_seed = noise(scores, score)
    rows = [
        {"comparison": _minus(system, reference), "pairs": "seeds"} | paired_by_seed(d, noise_of_a_seed)
        for system in _compared(by_seed, reference)
        if (d := by_seed[system] - by_seed[reference]).notna().sum() > 1
    ]
    caption = (
        f"Over seeds: differences of {SCORES[score]}, in points, paired by seed; 95 % interval and p of the "
        "paired t-test, p of the sign-flip test, each corrected by Holm for the rows of this table. Noise: where the "
        "mean difference of as many seeds would lie in 95 of 100 cases if only the random stream differed."
    )
    return Table("over_seeds", caption, corrected(rows), digits=2, lacking=TWO_SEEDS)


def _over_utterances(runs: Sequence[Run], reference: str) -> Table:
    """Pair by utterance the share of the shared seeds whose classifier gets it right.

    p: McNemar's exact test for one shared seed; for several the sign-flip test over utterances, its generalisation.
    """
    hits: dict[str, dict[int, pd.Series]] = {}
    for run in usual_stream(runs):
        hits.setdefault(run.config.training.system, {})[run.config.training.seed] = correct(run)
    rows = [
        {"comparison": _minus(system, reference), "pairs": "utterances"} | row
        for system in _compared(hits, reference)
        if (row := _paired_by_utterance(hits[system], hits[reference]))
    ]
    caption = (
        "Over utterances: differences of accuracy on D3, in points, paired by utterance, each utterance's correctness "
        f"averaged over the seeds that both systems have; 95 % interval by a bootstrap of utterances ({RESAMPLES:,} "
        "resamples); p of McNemar's exact test for one seed, of sign flips over utterances for several, corrected by "
        "Holm for the rows of this table."
    )
    return Table("over_utterances", caption, corrected(rows), digits=2, lacking=TWO_SYSTEMS)


def _paired_by_utterance(hits: dict[int, pd.Series], reference: dict[int, pd.Series]) -> dict[str, Any]:
    """Test one comparison over utterances; empty if no seed is shared."""
    seeds = sorted(hits.keys() & reference.keys())
    if not seeds:
        return {}
    shares = [pd.concat([series[seed] for seed in seeds], axis=1).mean(axis=1) for series in (hits, reference)]
    d = (shares[0] - shares[1]).to_numpy()
    low, high = bootstrap(d)
    p = mcnemar(int((d > 0).sum()), int((d < 0).sum())) if len(seeds) == 1 else sign_flip(d)
    return {
        "seeds": len(seeds),
        "utterances": len(d),
        "better on": int((d > 0).sum()),
        "worse on": int((d < 0).sum()),
        "difference": 100 * d.mean(),
        "95 % from": 100 * low,
        "to": 100 * high,
        "p": p,
    }


def _compared(systems: Iterable[str], reference: str) -> list[str]:
    """Return the systems that are compared with the reference, in their usual order."""
    names = set(systems)
    return [name for name in SYSTEMS if name in names and name != reference] if reference in names else []


def _minus(system: str, reference: str) -> str:
    return f"{SYSTEMS[system].title} − {SYSTEMS[reference].title}"
