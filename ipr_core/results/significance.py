"""Is a difference more than chance? Paired tests over seeds and over utterances, corrected for several comparisons.

**Over seeds** a pair is one seed of both systems: the test is about another training on the same data. **Over
utterances** a pair is one utterance of D3, right or wrong by both systems: the test is about other utterances of the
same kind, given these trainings. Neither replaces the other, and five seeds cannot show much: see `sign_flip`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray
from pandas import DataFrame
from scipy.stats import binomtest
from scipy.stats import t as student

from ipr_core import metrics
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import summary
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

RESAMPLES = 10_000
"""Of a bootstrap, and of sign flips where there are too many to try them all."""
AGAINST = ("baseline", "baseline_plus")
"""The systems that the others are tested against."""

_EXACT = 14  # so many pairs have at most 16,384 ways to flip their signs: all are tried
_SAME = 1e-9  # means that differ by less are the same but for rounding
TWO_SEEDS = (
    "A test over seeds needs two seeds that both systems were trained with: "
    "`ipr train --systems all --seeds 0 1 2 3 4`, or `ipr batch table3`."
)


# The tests: of differences d, (N,), one a pair.


def t_interval(d: ArrayLike, level: float = 0.95) -> tuple[float, float]:
    """The interval of Student's t for the mean of d; nan where there are fewer than two pairs."""
    d = np.asarray(d, np.float64)
    if d.size < 2:
        return float("nan"), float("nan")
    half = student.ppf((1 + level) / 2, d.size - 1) * d.std(ddof=1) / np.sqrt(d.size)
    return float(d.mean() - half), float(d.mean() + half)


def sign_flip(d: ArrayLike, seed: int = 0) -> float:
    """Two-sided p of the sign-flip permutation test: how often the mean is as far from 0 with signs drawn by coin.

    All 2^N ways are tried for up to 14 pairs, `RESAMPLES` drawn ones else. N seeds give at least 2 / 2^N: five seeds
    1/16, so that no difference over five seeds is "significant at 0.05" by this test, however large.
    """
    d = np.asarray(d, np.float64)
    if d.size == 0:
        return float("nan")
    if d.size <= _EXACT:
        signs = 1 - 2 * (np.arange(2**d.size)[:, None] >> np.arange(d.size) & 1)
        return float((np.abs(signs @ d) >= abs(d.sum()) - _SAME * d.size).mean())
    random, d = np.random.default_rng(seed), d[d != 0]  # a sign of 0 changes nothing
    sums = np.concatenate([random.choice((-1.0, 1.0), (100, d.size)) @ d for _ in range(RESAMPLES // 100)])
    return float((1 + (np.abs(sums) >= abs(d.sum()) - _SAME).sum()) / (1 + RESAMPLES))


def mcnemar(first: int, second: int) -> float:
    """Two-sided exact p for `first` and `second` discordant pairs; 1 where there is none."""
    return float(binomtest(first, first + second).pvalue) if first + second else 1.0


def bootstrap(d: ArrayLike, level: float = 0.95, seed: int = 0) -> tuple[float, float]:
    """The percentile interval of the mean of d over `RESAMPLES` draws of N pairs with replacement; seeded."""
    d, random = np.asarray(d, np.float64), np.random.default_rng(seed)
    if d.size == 0:
        return float("nan"), float("nan")
    means = np.concatenate([d[random.integers(0, d.size, (100, d.size))].mean(axis=1) for _ in range(RESAMPLES // 100)])
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return float(low), float(high)


def holm(p: ArrayLike) -> NDArray[np.float64]:
    """p corrected for as many comparisons as there are (Holm 1979, step down): (N,) → (N,); nan is no comparison.

    The smallest p is multiplied by N, the next by N − 1, …; none is smaller than the one before it, or above 1.
    """
    p = np.asarray(p, np.float64)
    corrected, known = np.full(p.shape, np.nan), np.flatnonzero(np.isfinite(p))
    order = known[np.argsort(p[known], kind="stable")]
    corrected[order] = np.minimum(1, np.maximum.accumulate(p[order] * np.arange(len(order), 0, -1)))
    return corrected


# The tables


def over_seeds(runs: Sequence[Run], score: str = "accuracy", against: Sequence[str] = AGAINST) -> Table:
    """Every system against `against`, paired by seed: a row a comparison; Holm over all rows.

    runs: `results.comparable` ones   score: one of `results.SCORES`
    """
    each = summary.each(runs)
    usual = each[each["stream"] == 0].pivot(index="seed", columns="system", values=score) if len(each) else each
    noise = summary.noise(each, score)
    rows = [
        {"comparison": _minus(a, b)} | paired_by_seed(usual[a] - usual[b], noise)
        for a, b in _pairs(usual, against)
        if (usual[a] - usual[b]).notna().sum() > 1
    ]
    caption = (
        f"Over seeds: differences of {summary.SCORES[score]}, in points, paired by seed; 95 % interval and p of the "
        "paired t-test, p of the sign-flip test, each corrected by Holm for the rows of this table. Noise: where the "
        "mean difference of as many seeds would lie in 95 of 100 cases if only the random stream differed."
    )
    return Table("over_seeds", caption, corrected(rows), digits=2, lacking=TWO_SEEDS)


def over_utterances(runs: Sequence[Run], against: Sequence[str] = AGAINST) -> Table:
    """Every system against `against`, paired by utterance of D3: a row a comparison; Holm over all rows.

    What is compared is the share of the shared seeds whose classifier gets an utterance right. p: McNemar's exact test
    where one seed is shared, the sign-flip test over utterances, which then is the same, where several are.
    """
    right = {name: _by_seed(runs, name) for name in SYSTEMS}
    right = {name: of for name, of in right.items() if of}
    rows = [
        {"comparison": _minus(a, b)} | found
        for a, b in _pairs(right, against)
        if (found := _paired_by_utterance(right[a], right[b]))
    ]
    frame = DataFrame(rows)
    if rows:
        frame = frame.assign(**{"p, Holm": holm(frame["p"])})
    caption = (
        "Over utterances: differences of accuracy on D3, in points, paired by utterance, each utterance's correctness "
        f"averaged over the seeds that both systems have; 95 % interval by a bootstrap of utterances "
        f"({RESAMPLES:,} resamples); p of McNemar's exact test for one seed, of sign flips over utterances for several."
    )
    return Table("over_utterances", caption, frame, digits=2, lacking="Two systems trained with the same seed needed.")


def paired_by_seed(d: pd.Series, noise: float) -> dict[str, Any]:
    """One comparison over the seeds that both have: difference, interval, tests and noise, in the unit of d.

    d: differences by seed, nan where one has no such run   noise: of a single seed, `results.noise`
    """
    d = d.dropna()
    low, high = t_interval(d)
    several = len(d) > 1
    band = 2 * noise / np.sqrt(len(d)) if len(d) else np.nan
    return {
        "seeds": len(d),
        "difference": d.mean(),
        "difference ±": d.std(ddof=1) if several else np.nan,
        "95 % from": low,
        "to": high,
        "p, t-test": metrics.paired_difference(d, np.zeros(len(d)))["p"] if several else np.nan,
        "p, signs": sign_flip(d) if several else np.nan,
        "noise": band,
        "within noise": "not measured" if np.isnan(band) else ("yes" if abs(d.mean()) <= band else "no"),
    }


def corrected(rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Comparisons over seeds as a table, Holm's correction beside each p."""
    frame = DataFrame(rows)
    for name in ("p, t-test", "p, signs"):
        if name in frame:
            frame.insert(frame.columns.get_loc(name) + 1, f"{name}, Holm", holm(frame[name]))
    return frame


def _pairs(there: Any, against: Sequence[str]) -> list[tuple[str, str]]:
    """(system, reference), the references in their own order first; no two systems twice."""
    pairs: list[tuple[str, str]] = []
    for reference in against:
        others = (name for name in SYSTEMS if name in there and name != reference and reference in there)
        pairs += [(name, reference) for name in others if (reference, name) not in pairs]
    return pairs


def _minus(a: str, b: str) -> str:
    return f"{SYSTEMS[a].title} − {SYSTEMS[b].title}"


def _by_seed(runs: Sequence[Run], system: str) -> dict[int, pd.Series]:
    """Seed → whether the classifier is right, by the id of every utterance of D3; the usual random stream alone."""
    of = [(run.config.training, run) for run in runs if run.finished]
    return {asked.seed: right(run) for asked, run in of if asked.system == system and asked.stream == 0}


def right(run: Run) -> pd.Series:
    """Whether the classifier's label is the true one, by the id of every utterance of D3."""
    labels, classes = run.labels, run.meta["classes"]
    labels = labels[labels["part"] == "D3"].set_index("id")
    return labels[[f"model_{name}" for name in classes]].set_axis(classes, axis=1).idxmax(axis=1) == labels["label"]


def _paired_by_utterance(a: dict[int, pd.Series], b: dict[int, pd.Series]) -> dict[str, Any]:
    """One comparison; nothing where no seed is shared."""
    seeds = sorted(a.keys() & b.keys())
    if not seeds:
        return {}
    ours, theirs = (pd.concat([of[seed] for seed in seeds], axis=1).mean(axis=1) for of in (a, b))
    d = (ours - theirs).to_numpy()
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
