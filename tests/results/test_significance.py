"""Tests of differences, by hand and against slow second versions; their tables, and the interval of a run."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from helpers.fake_runs import fake_run
from helpers.whole_runs import unvouched
from ipr_core.results import significance
from ipr_core.results.scores import correct


def d(n: int, seed: int = 0, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


# Intervals and tests


def test_the_t_test_is_scipys_and_its_interval_known_for_two_pairs():
    values = d(7)
    estimate = significance.within_partitions(values)
    assert estimate.interval() == pytest.approx(stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values)))
    assert estimate.p == pytest.approx(stats.ttest_1samp(values, 0).pvalue)
    # differences 1 and 3: mean 2, standard error 1, and t(0.975) of one degree of freedom is tan(0.475 π)
    low, high = significance.within_partitions([1, 3]).interval()
    assert (low, high) == pytest.approx((2 - math.tan(0.475 * math.pi), 2 + math.tan(0.475 * math.pi)))


def test_differences_between_partitions_do_not_widen_the_t_interval():
    # partitions of 1, 3 and of 11, 13, 15: means 2 and 13, variances of the means 2/2 and 4/3
    estimate = significance.within_partitions([1, 11, 3, 13, 15], ["a", "b", "a", "b", "b"])
    assert estimate.mean == pytest.approx((2 + 13) / 2)
    assert estimate.error == pytest.approx(math.sqrt((1 + 4 / 3) / 4))
    assert estimate.freedom == 3
    # one seed in each partition: the partitions are the sample
    single = significance.within_partitions([1, 3, 11], ["a", "b", "c"])
    assert single == significance.within_partitions([1, 3, 11])


def test_an_interval_ends_at_0_where_its_level_is_1_minus_p():
    estimate = significance.Estimate(1.5, 0.5, 4.3)
    low, high = estimate.interval(1 - estimate.p)
    assert (low, high) == pytest.approx((0, 3))


def test_a_mean_without_any_spread_is_sure():
    estimate = significance.within_partitions([2.0, 2.0, 2.0])
    assert (estimate.interval(), estimate.p) == ((2, 2), 0)
    assert significance.within_partitions(np.zeros(3)).p == 1


def test_one_pair_has_no_interval():
    assert all(math.isnan(end) for end in significance.within_partitions([1.0]).interval())
    assert math.isnan(significance.within_partitions([1.0]).p)
    assert all(math.isnan(end) for end in significance.bootstrap([]))
    assert all(math.isnan(end) for end in significance.bootstrap([1.0]))
    assert all(math.isnan(end) for end in significance.bootstrap([1.0, 0.0], clusters=["one", "one"]))
    assert significance.sign_flip([1.0]) == 1


def test_sign_flips_by_hand():
    # of the eight sums ±1 ±2 ±3 those as far from 0 as 6 are 6 and −6
    assert significance.sign_flip([1, 2, 3]) == 2 / 8
    # 1 + 2 − 3 = 0: every sum is as far from 0
    assert significance.sign_flip([1, 2, -3]) == 1
    # as far as 4 = −1 + 2 + 3 are ±4 and ±6
    assert significance.sign_flip([-1, 2, 3]) == 4 / 8


@pytest.mark.parametrize("n", [2, 5, 8, 14])
def test_up_to_fourteen_pairs_all_ways_are_tried(n):
    values = d(n, seed=n)
    ways = np.array(list(itertools.product((-1, 1), repeat=n)))
    exact = (np.abs(ways @ values) >= abs(values.sum()) - 1e-12).mean()
    assert significance.sign_flip(values) == pytest.approx(exact)


def test_ties_that_differ_by_rounding_count_as_ties():
    # of the eight sums ±0.1 ±0.2 ±0.3 those as far from 0 as −0.1 + 0.2 + 0.3 are ±0.4 and ±0.6
    assert significance.sign_flip([-0.1, 0.2, 0.3]) == 4 / 8
    assert significance.sign_flip([0.1, 0.2, -0.3]) == 1


def test_five_seeds_cannot_give_less_than_a_sixteenth():
    assert significance.sign_flip([10.0, 11.0, 12.0, 13.0, 14.0]) == 1 / 16


def test_many_pairs_are_drawn_and_agree_with_all_ways():
    values = d(16, mean=0.6)
    ways = np.array(list(itertools.product((-1, 1), repeat=16)))
    exact = (np.abs(ways @ values) >= abs(values.sum()) - 1e-12).mean()
    p = significance.sign_flip(values)
    # p is twice the share of one tail: four standard errors of 10,000 draws
    assert p == pytest.approx(exact, abs=2 * 4 * math.sqrt(exact / 2 * (1 - exact / 2) / 10_000) + 2e-4)
    assert p == significance.sign_flip(values)


def test_differences_of_nothing_say_nothing():
    assert significance.sign_flip(np.zeros(5)) == 1
    assert significance.sign_flip(np.zeros(500)) == 1
    assert math.isnan(significance.sign_flip([]))


def test_mcnemar_by_hand():
    # 8 discordant pairs, 1 against 7: 2 (1 + 8) / 2^8
    assert significance.mcnemar(1, 7) == significance.mcnemar(7, 1) == pytest.approx(18 / 256)
    assert significance.mcnemar(3, 3) == 1
    assert significance.mcnemar(0, 0) == 1


def test_sign_flips_of_right_and_wrong_are_mcnemars_test():
    values = np.array([1] * 7 + [-1] + [0] * 6, float)
    assert significance.sign_flip(values) == pytest.approx(significance.mcnemar(7, 1))


def test_the_bootstrap_is_seeded_and_close_to_a_literal_one():
    values = d(300)
    low, high = significance.bootstrap(values)
    assert (low, high) == significance.bootstrap(values)
    rng = np.random.default_rng(1)
    means = [rng.choice(values, 300).mean() for _ in range(10_000)]
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.01)


def test_the_bootstrap_draws_clusters_whole():
    rng = np.random.default_rng(2)
    sizes = rng.integers(1, 30, 12)  # the mean is over utterances: a speaker with more of them counts more
    clusters = np.repeat([f"speaker {i}" for i in range(12)], sizes)
    values = rng.random(sizes.sum()) < np.repeat(rng.random(12), sizes)
    members = [np.flatnonzero(clusters == name) for name in np.unique(clusters)]
    means = [values[np.concatenate([members[i] for i in rng.integers(0, 12, 12)])].mean() for _ in range(10_000)]
    low, high = significance.bootstrap(values, clusters)
    assert (low, high) == pytest.approx(tuple(np.quantile(means, [0.025, 0.975])), abs=0.01)
    single = significance.bootstrap(values)
    assert high - low > single[1] - single[0]  # utterances of one speaker are alike


def test_clusters_of_one_are_the_plain_bootstrap():
    values = np.arange(20) % 3 == 0
    assert significance.bootstrap(values, [f"speaker {i:02d}" for i in range(20)]) == significance.bootstrap(values)


def test_the_bootstrap_of_two_values_is_known():
    # ten pairs, nine 0 and one 1: the number of ones is binomial(10, 0.1), its quantiles 0.025 and 0.975 are 0 and 3
    values = np.eye(10)[0]
    expected = stats.binom.ppf([0.025, 0.975], 10, 0.1) / 10
    assert significance.bootstrap(values) == pytest.approx(tuple(expected))
    assert significance.bootstrap(np.ones(4)) == (1, 1)


# Trainings, partitions and speakers jointly


def crossed(rng, n_units, n_clusters, unit=0.0, cluster=0.0, interaction=0.0, partitions=1, partition=0.0):
    """Draw sums and sizes of a true mean of 0, from components with these standard deviations."""
    index = np.repeat(np.arange(partitions), n_units // partitions)
    sizes = np.tile(rng.integers(5, 20, n_clusters), (n_units, 1))
    shifts = rng.normal(0, partition, partitions)[index] + rng.normal(0, unit, n_units)
    means = shifts[:, None] + rng.normal(0, cluster, n_clusters)
    return sizes * (means + rng.normal(0, interaction, sizes.shape)), sizes, index


def anova(values):
    """Return the variance of the mean by the mean squares of a crossed table with a value a cell."""
    u, k = values.shape
    rows, columns = values.mean(axis=1), values.mean(axis=0)
    rest = values - rows[:, None] - columns + values.mean()
    squares = rows.var(ddof=1) / u, columns.var(ddof=1) / k, (rest**2).sum() / ((u - 1) * (k - 1)) / (u * k)
    return max(squares[0] + squares[1] - squares[2], squares[0], squares[1])


def test_the_crossed_bootstrap_has_the_variance_of_a_crossed_random_effects_table():
    values = np.random.default_rng(3).normal(0, 1, (5, 12)) + np.arange(5)[:, None] / 2 + np.sin(np.arange(12))
    estimate = significance.crossed_bootstrap(values, np.ones((5, 12)), ["one"] * 5)
    assert estimate.mean == pytest.approx(values.mean())
    assert estimate.error**2 == pytest.approx(anova(values), rel=0.05)
    assert estimate == significance.crossed_bootstrap(values, np.ones((5, 12)), ["one"] * 5)


def test_clusters_count_by_their_utterances_and_partitions_alike():
    # partition a: (2 + 4) / (1 + 2) = 2 and (1 + 2) / (1 + 2) = 1; partition b: 6 / 3 = 2
    sums, sizes = [[2, 4], [1, 2], [6, 0]], [[1, 2], [1, 2], [3, 0]]
    assert significance.crossed_bootstrap(sums, sizes, ["a", "a", "b"]).mean == pytest.approx((1.5 + 2) / 2)


def test_one_unit_or_one_cluster_has_a_mean_and_no_interval():
    for estimate in (
        significance.crossed_bootstrap([[1, 2]], [[1, 1]], ["a"]),
        significance.crossed_bootstrap([[1], [2]], [[1], [1]], ["a", "a"]),
    ):
        assert estimate.mean == 1.5
        assert math.isnan(estimate.p)
        assert all(math.isnan(end) for end in estimate.interval())


def coverage(monkeypatch, repetitions=300, **design):
    """Return how often the true mean lies in the intervals: jointly, over units alone, and over clusters alone."""
    monkeypatch.setattr(significance, "RESAMPLES", 300)
    rng, covered = np.random.default_rng(0), np.zeros((repetitions, 3))
    for row in covered:
        sums, sizes, partitions = crossed(rng, **design)
        means = sums / sizes
        intervals = (
            significance.crossed_bootstrap(sums, sizes, partitions).interval(),
            significance.within_partitions(sums.sum(axis=1) / sizes.sum(axis=1)).interval(),
            significance.within_partitions(means.mean(axis=0)).interval(),
        )
        row[:] = [low <= 0 <= high for low, high in intervals]
    return covered.mean(axis=0)


# Of 300 intervals that cover in 95 of 100 cases 272 to 297 do so in 99.9 of 100 cases.


@pytest.mark.parametrize(
    "design",
    [
        dict(n_units=5, n_clusters=24, unit=0.8, cluster=2.5, interaction=3),
        dict(n_units=10, n_clusters=12, unit=1.5, cluster=2, interaction=1),
    ],
)
def test_joint_intervals_cover_and_those_that_ignore_seeds_or_speakers_do_not(monkeypatch, design):
    jointly, units, clusters = coverage(monkeypatch, **design)
    assert 0.905 <= jointly <= 0.99
    assert units < 0.9
    assert clusters < 0.9


def test_joint_intervals_cover_over_few_partitions_that_differ(monkeypatch):
    design = dict(n_units=15, n_clusters=24, unit=1, cluster=2, interaction=2, partitions=3, partition=1.5)
    jointly, units, clusters = coverage(monkeypatch, **design)
    assert 0.905 <= jointly <= 0.99
    assert units < 0.8  # seeds of one partition are no independent repetitions
    assert clusters < 0.8


def test_partitions_that_are_alike_by_chance_do_not_hide_the_spread_of_seeds():
    values = np.array([[-8.0, -8, -8], [8, 8, 8], [-9, -9, -9], [9, 9, 9]])  # both partitions have the mean 0
    names = ["a", "a", "b", "b"]
    estimate = significance.crossed_bootstrap(values, np.ones((4, 3)), names)
    seeds = significance.within_partitions(values.mean(axis=1), names)
    assert (estimate.error, estimate.freedom) == pytest.approx((seeds.error, seeds.freedom))


def test_an_interaction_that_outweighs_both_sides_leaves_the_degrees_of_freedom_of_one():
    # clusters have the same mean, units means of 0.1 and 0
    values = [[1.1, -0.9, 1.1, -0.9], [-1.0, 1.0, -1.0, 1.0]]
    estimate = significance.crossed_bootstrap(values, np.ones((2, 4)), ["a", "a"])
    assert estimate.freedom == 1
    assert estimate.error == pytest.approx(0.05, rel=0.05)


def test_a_speaker_who_is_in_no_draw_of_a_partition_leaves_its_mean():
    # disjoint test speakers: each partition's mean rests on one of two speakers
    estimate = significance.crossed_bootstrap(
        [[1, 0], [2, 0], [0, 3], [0, 4]], [[1, 0], [1, 0], [0, 1], [0, 1]], [0, 0, 1, 1]
    )
    assert estimate.mean == 2.5
    assert np.isfinite(estimate.error)


def test_holm_by_hand():
    # sorted 0.01, 0.02, 0.03, 0.04 times 4, 3, 2, 1: 0.04, 0.06, 0.06 and not below the one before
    np.testing.assert_allclose(significance.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.holm([0.9, 0.5]), [1, 1])
    np.testing.assert_allclose(significance.holm([0.03]), [0.03])


def test_holm_leaves_out_what_is_no_comparison():
    np.testing.assert_allclose(significance.holm([np.nan, 0.01, 0.04]), [np.nan, 0.02, 0.04])
    assert significance.holm([]).size == 0


def test_holm_never_lies_above_bonferroni_or_below_p():
    p = np.random.default_rng(0).random(20)
    corrected = significance.holm(p)
    assert (corrected >= p).all()
    assert (corrected <= np.minimum(1, 20 * p)).all()
    assert (np.argsort(corrected[np.argsort(p)], kind="stable") == np.arange(20)).all()


# The interval of accuracy


@pytest.fixture
def make(frozen, data, tmp_path):
    """Seed and the utterances of D3 that are wrong → a finished run."""

    def make(seed, wrong):
        right = ~np.isin(np.arange(len(data.rows("D3"))), wrong)
        return fake_run(tmp_path, frozen.replace(seed=seed), data, (0.9, 0.5), right=right)

    return make


def test_a_single_run_is_resampled_by_speaker(make, data):
    d3 = data.table.iloc[data.rows("D3")]
    hits = np.arange(len(d3)) > 0  # the first run is wrong on the first utterance alone
    low, high = significance.bootstrap(hits, d3["speaker"])
    interval = significance.accuracy_interval(make(0, [0]))
    assert (interval.low, interval.high) == (100 * low, 100 * high)
    assert str(interval) == f"{100 * low:.1f} to {100 * high:.1f} ({d3['speaker'].nunique()} speakers)"


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three", "four"], [""]])
def test_few_or_unknown_speakers_are_not_resampled(make, names):
    run = make(0, [0])
    n = len(run.table)
    unvouched(run, "corpus.parquet")
    run.table.assign(speaker=np.resize(names, n)).to_parquet(run.folder / "corpus.parquet")
    interval = significance.accuracy_interval(run)
    hits = correct(run)
    assert interval.units == f"{len(hits)} utterances"
    assert (interval.low, interval.high) == tuple(100 * end for end in significance.bootstrap(hits))


@pytest.mark.parametrize(("right", "reason"), [(True, "all utterances right"), (False, "none right")])
def test_without_any_spread_the_reason_is_said(frozen, data, tmp_path, right, reason):
    run = fake_run(tmp_path, frozen, data, (0.5, 0.5), right=right)
    assert str(significance.accuracy_interval(run)) == f"none: {reason}"


def test_several_runs_are_resampled_over_seeds_and_speakers(make, data):
    d3 = data.table.iloc[data.rows("D3")]
    wrong = ([0], [0, 1, 2], [3, 4])
    interval = significance.accuracy_interval(*(make(seed, rows) for seed, rows in enumerate(wrong)))
    hits = np.array([~np.isin(np.arange(len(d3)), rows) for rows in wrong], float)
    members = np.array([d3["speaker"] == name for name in sorted(set(d3["speaker"]))], float)
    estimate = significance.crossed_bootstrap(100 * hits @ members.T, np.tile(members.sum(axis=1), (3, 1)), [0, 0, 0])
    assert (interval.low, min(100, estimate.interval()[1])) == pytest.approx((estimate.interval()[0], interval.high))
    assert interval.units == f"{len(members)} speakers"
