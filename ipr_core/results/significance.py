"""Tests of differences and their intervals: is it more than chance?

A difference between two systems varies with the **training** (its seed), with the **partition** of the corpus, and with
the **speakers** of D3. `crossed_bootstrap` covers all three at once. `within_partitions` and `sign_flip` are about
other trainings on the same data, `bootstrap` and `mcnemar` about other speakers or utterances, given these trainings.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from ipr_core.results.hits import clusters_in_words, hits, sums_by_cluster
from ipr_core.runs.run import Run

RESAMPLES = 10_000
"""Draws of a bootstrap, and of sign flips if there are too many to try them all."""

_EXACT = 14  # so many pairs have at most 16,384 ways to flip their signs: all are tried
_AT_ONCE = 1_000_000  # numbers that are drawn at once, so that memory stays small


@dataclass(frozen=True)
class Estimate:
    """A mean, and how sure it is."""

    mean: float
    error: float
    """Standard error of the mean; nan if there is nothing to estimate it from."""
    freedom: float
    """Degrees of freedom of the standard error."""

    def interval(self, level: float = 0.95) -> tuple[float, float]:
        """Return the interval of Student's t; nan without a standard error."""
        half = float(stats.t.ppf((1 + level) / 2, self.freedom)) * self.error if self.error else self.error
        return self.mean - half, self.mean + half

    @property
    def p(self) -> float:
        """The two-sided p that the mean is 0: the interval of level 1 − p ends at 0."""
        if self.error == 0:
            return float(self.mean == 0)
        return float(2 * stats.t.sf(abs(self.mean) / self.error, self.freedom))


def within_partitions(d: ArrayLike, partitions: ArrayLike | None = None) -> Estimate:
    """Estimate a mean over other trainings on the same partitions: the paired t-test, stratified by partition.

    d: (N,) differences, one a seed and partition   partitions: (N,) their names; None: a single one
    Every partition counts alike, and the variance is that over its own seeds. If a partition has one seed alone, there
    is none; then all differences are one sample.
    """
    values = np.asarray(d, np.float64)
    names = np.zeros(values.size) if partitions is None else np.asarray(partitions)
    strata = [values[names == name] for name in np.unique(names)]
    if any(stratum.size < 2 for stratum in strata):
        strata = [values]
    mean = float(np.mean([stratum.mean() for stratum in strata])) if values.size else float("nan")
    if values.size < 2:
        return Estimate(mean, float("nan"), float("nan"))
    variance = sum(stratum.var(ddof=1) / stratum.size for stratum in strata) / len(strata) ** 2
    return Estimate(mean, float(np.sqrt(variance)), values.size - len(strata))


def crossed_bootstrap(sums: ArrayLike, sizes: ArrayLike, partitions: ArrayLike, seed: int = 0) -> Estimate:
    """Estimate a mean over other trainings, partitions and speakers jointly, drawing both sides with replacement.

    U units of repetition, each a seed in a partition; K clusters of utterances, such as speakers.
    sums, sizes: (U, K) sum of the values of a unit's utterances in a cluster, and their number (0 if it has none)
    partitions: (U,) the unit's partition. A single partition's seeds are drawn; several are drawn whole, as seeds of
    one partition are no independent repetitions.   returns: the mean over partitions of the mean over units

    Every one of `RESAMPLES` draws takes units and, independently of them, clusters, and recomputes the mean (the
    pigeonhole bootstrap: Owen 2007, Annals of Applied Statistics 1, 386-411). Its percentiles cover too little for a
    handful of seeds, and its variance counts the interaction of units and clusters three times. So the draws are split
    into both main effects and the interaction, each is made unbiased by n/(n − 1), and the variance is unit + cluster −
    interaction, never below either (random effects, crossed: Clark 1973, J. Verbal Learning 12, 335-359); degrees of
    freedom are Satterthwaite's (1946, Biometrics Bulletin 2, 110-114). Few partitions can be alike by chance: their
    variance is never below that of the seeds within them.
    """
    totals, counts = np.asarray(sums, np.float64), np.asarray(sizes, np.float64)  # (U, K)
    names, index = np.unique(np.asarray(partitions), return_inverse=True)
    n_units, n_clusters = counts.shape
    rows = index if len(names) > 1 else np.arange(n_units)  # (U,) which of those that are drawn a unit is of
    average = (rows[None] == np.unique(rows)[:, None]).astype(float)  # (P or U, U)
    average /= average.sum(axis=1, keepdims=True)
    means = totals.sum(axis=1) / counts.sum(axis=1)  # (U,)
    mean, n = float((average @ means).mean()), len(average)
    if n < 2 or n_clusters < 2:
        return Estimate(mean, float("nan"), float("nan"))
    draws = _draws(totals, counts, means, average, np.random.default_rng(seed))
    unit, cluster, crossed = (np.concatenate(part) for part in zip(*draws, strict=True))
    seeds = within_partitions(means, index)
    return _of_components(
        mean,
        max((unit.var() * n / (n - 1), n - 1), (seeds.error**2, seeds.freedom)),
        (cluster.var() * n_clusters / (n_clusters - 1), n_clusters - 1),
        ((crossed - unit - cluster).var() * n * n_clusters / ((n - 1) * (n_clusters - 1)), (n - 1) * (n_clusters - 1)),
    )


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
        (values,), np.mean, permutation_type="samples", n_resamples=ways, batch=_rows_at_once(values.size),
        vectorized=True, rng=np.random.default_rng(seed),
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
        (np.arange(sums.size),), mean, n_resamples=RESAMPLES, batch=_rows_at_once(sums.size), vectorized=True,
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


def _draws(
    sums: NDArray, sizes: NDArray, means: NDArray, average: NDArray, rng: np.random.Generator
) -> Iterator[tuple[NDArray, NDArray, NDArray]]:
    """Yield drawn means, some at once: of drawn units, of drawn clusters, and of both.

    sums, sizes: (U, K)   means: (U,)   average: (n, U) weights of the units in each of n that are drawn
    """
    n, n_clusters = len(average), sizes.shape[1]
    step = _rows_at_once(max(sizes.shape))
    for start in range(0, RESAMPLES, step):
        b = min(step, RESAMPLES - start)
        units = rng.multinomial(n, np.full(n, 1 / n), size=b) / n  # (b, n) how often each is drawn
        clusters = rng.multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=b)  # (b, K)
        drawn_sizes = clusters @ sizes.T  # (b, U)
        untouched = np.broadcast_to(means, drawn_sizes.shape).copy()  # a unit of which no cluster is drawn
        unit_means = np.divide(clusters @ sums.T, drawn_sizes, out=untouched, where=drawn_sizes > 0)  # (b, U)
        averages = unit_means @ average.T  # (b, n)
        yield units @ (average @ means), averages.mean(axis=1), (units * averages).sum(axis=1)


def _of_components(
    mean: float, unit: tuple[float, float], cluster: tuple[float, float], interaction: tuple[float, float]
) -> Estimate:
    """Return the estimate whose variance is unit + cluster − interaction, or the larger of both where that is more.

    unit, cluster, interaction: variance and degrees of freedom
    """
    variance, freedom = max(unit, cluster)
    if (combined := unit[0] + cluster[0] - interaction[0]) > variance:
        uncertainty = sum(part**2 / degrees for part, degrees in (unit, cluster, interaction))
        variance, freedom = combined, combined**2 / uncertainty
    return Estimate(mean, float(np.sqrt(variance)), freedom)


def _rows_at_once(size: int) -> int:
    return max(1, _AT_ONCE // max(1, size))


# The interval of accuracy


@dataclass(frozen=True)
class Interval:
    """The 95 % interval of an accuracy on D3, in per cent."""

    low: float
    """nan if there is no interval."""
    high: float
    units: str
    """The units that were resampled, such as "12 speakers"; if there is no interval, the reason."""

    def __str__(self) -> str:
        return f"{self.low:.1f} to {self.high:.1f} ({self.units})" if np.isfinite(self.low) else f"none: {self.units}"


def accuracy_interval(*runs: Run) -> Interval:
    """Return the interval of the accuracy of one system's runs.

    Of a single run: over other utterances like those of D3. It knows nothing of other seeds: another training may
    differ by more. Of several: over speakers, seeds and partitions jointly; see `crossed_bootstrap`.
    Speakers are drawn whole where `hits` knows enough of them, since utterances of one speaker are alike; single
    utterances otherwise.
    """
    table = hits(runs)
    right, clusters = table["right"], clusters_in_words(table)
    if len(table) < 2 or right.nunique() < 2:
        alike = "too few utterances" if len(table) < 2 else "all utterances right" if right.all() else "none right"
        return Interval(np.nan, np.nan, alike)
    if len(runs) == 1:
        low, high = bootstrap(right, table["cluster"])
        return Interval(100 * low, 100 * high, clusters)
    ends = crossed_bootstrap(*sums_by_cluster(table, right)).interval()
    low, high = (min(max(100 * end, 0.0), 100.0) for end in ends)
    return Interval(low, high, clusters)
