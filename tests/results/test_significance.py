"""Tests of differences, by hand and against slow second versions; their tables, and the interval of a run."""

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from helpers.fake_runs import fake_run
from helpers.whole_runs import unvouched
from ipr_core.results import significance


def d(n: int, seed: int = 0, mean: float = 0.5) -> np.ndarray:
    return np.random.default_rng(seed).normal(mean, 1, n)


# Intervals and tests


def test_the_t_interval_is_scipys_and_known_for_two_pairs():
    values = d(7)
    expected = stats.t.interval(0.95, 6, loc=values.mean(), scale=stats.sem(values))
    assert significance.t_interval(values) == pytest.approx(expected)
    # differences 1 and 3: mean 2, standard error 1, and t(0.975) of one degree of freedom is tan(0.475 π)
    low, high = significance.t_interval([1, 3])
    assert (low, high) == pytest.approx((2 - math.tan(0.475 * math.pi), 2 + math.tan(0.475 * math.pi)))


def test_one_pair_has_no_interval():
    assert all(math.isnan(end) for end in significance.t_interval([1.0]))
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


# The tables


@pytest.fixture
def campaign(frozen, data, tmp_path):
    """Three seeds of three systems, and the baseline's other stream; on D3 they differ in known utterances."""
    accuracies = {
        ("ipr", 0): (0.60, 0.71, 0.80),
        ("baseline", 0): (0.50, 0.60, 0.70),
        ("baseline_plus", 0): (0.51, 0.60, 0.70),
        ("baseline", 1): (0.52, 0.60, 0.67),
    }
    n = len(data.rows("D3"))
    wrong = {"ipr": [0], "baseline": [0, 1, 2], "baseline_plus": [3]}
    return [
        fake_run(
            tmp_path,
            frozen.replace(system=system, seed=seed, stream=stream),
            data,
            (0.9, accuracy),
            right=~np.isin(np.arange(n), wrong[system]),
        )
        for (system, stream), values in accuracies.items()
        for seed, accuracy in enumerate(values)
    ]


def test_over_seeds_by_hand(campaign):
    table = significance.differences(campaign, "baseline").values.set_index("comparison")
    assert table.index.tolist() == ["baseline+ − baseline", "IPR − baseline"]
    assert set(table["pairs"]) == {"seeds"}
    row = table.loc["IPR − baseline"]
    # differences 10, 11 and 10
    assert row["difference"] == pytest.approx(31 / 3)
    assert row["difference ±"] == pytest.approx(math.sqrt(1 / 3))
    assert row["p, t-test"] == pytest.approx(1 - 31 / math.sqrt(31**2 + 2))
    assert row["p, signs"] == 1 / 4
    assert row["p, signs, Holm"] == 2 / 4
    half = 4.302652729911275 / 3  # t(0.975) of two degrees of freedom, times the standard error 1/3
    assert (row["95 % from"], row["to"]) == pytest.approx((31 / 3 - half, 31 / 3 + half))
    assert row["noise"] == pytest.approx(2 * math.sqrt(13 / 3) / math.sqrt(3))
    assert table["within noise"].tolist() == ["yes", "no"]
    np.testing.assert_allclose(table["p, t-test, Holm"], significance.holm(table["p, t-test"]))


def test_the_reference_is_ipr_or_the_first_system(campaign):
    table = significance.differences(campaign).values
    assert table["comparison"].tolist() == ["baseline − IPR", "baseline+ − IPR"]
    assert table["difference"].tolist()[0] == pytest.approx(-31 / 3)
    rest = [run for run in campaign if run.config.training.system != "ipr"]
    assert significance.differences(rest).values["comparison"].tolist() == ["baseline+ − baseline"]
    assert significance.differences(campaign, "mcil").values.empty


def test_over_seeds_needs_two_of_them(campaign):
    first = [run for run in campaign if run.config.training.seed == 0]
    table = significance.differences(first, pairs="seeds")
    assert table.values.empty
    assert "two seeds" in table._repr_html_()
    assert significance.differences([], pairs="seeds").values.empty


def test_without_two_seeds_utterances_are_paired(campaign):
    first = [run for run in campaign if run.config.training.seed == 0]
    table = significance.differences(first)
    assert (table.name, set(table.values["pairs"])) == ("over_utterances", {"utterances"})
    assert significance.differences(campaign).name == "over_seeds"
    assert significance.differences([]).values.empty


def test_over_seeds_says_where_noise_was_not_measured(campaign):
    table = significance.differences([run for run in campaign if run.config.training.stream == 0]).values
    assert set(table["within noise"]) == {"not measured"}


def test_only_seeds_that_both_systems_have_are_paired(campaign, frozen, data, tmp_path):
    run = fake_run(tmp_path, frozen.replace(system="ipr", seed=9), data, (0.0, 0.0), right=False)
    for pairs in ("seeds", "utterances"):
        table = significance.differences([*campaign, run], pairs=pairs).values
        assert table.equals(significance.differences(campaign, pairs=pairs).values)


def test_another_score_is_named(campaign):
    table = significance.differences(campaign, "baseline", "uar")
    assert table.values["difference"].tolist()[1] == pytest.approx(31 / 6)
    assert "UAR D3 %" in table.caption


def test_over_utterances_by_hand(campaign, data):
    n = len(data.rows("D3"))
    table = significance.differences(campaign, "baseline", pairs="utterances").values.set_index("comparison")
    row = table.loc["IPR − baseline"]  # the same in all three seeds: right on two more, wrong on none more
    assert (row["seeds"], row["utterances"], row["better on"], row["worse on"]) == (3, n, 2, 0)
    assert row["difference"] == pytest.approx(100 * 2 / n)
    assert row["p"] == pytest.approx(0.5)  # both signs alike: two of four ways
    assert row["95 % from"] == 0
    plus = table.loc["baseline+ − baseline"]
    assert (plus["better on"], plus["worse on"]) == (3, 1)
    np.testing.assert_allclose(table["p, Holm"], significance.holm(table["p"]))


def test_one_seed_is_tested_by_mcnemar(campaign):
    first = [run for run in campaign if run.config.training.seed == 0]
    table = significance.differences(first, "baseline", pairs="utterances").values.set_index("comparison")
    assert table.loc["baseline+ − baseline", "p"] == significance.mcnemar(3, 1)
    assert set(table["seeds"]) == {1}


def test_averages_over_seeds_count_in_parts(frozen, data, tmp_path):
    n = len(data.rows("D3"))
    settings = [("baseline", 0, []), ("baseline", 1, []), ("ipr", 0, [0]), ("ipr", 1, [])]
    runs = [
        fake_run(
            tmp_path,
            frozen.replace(system=system, seed=seed),
            data,
            (0.5, 0.5),
            right=~np.isin(np.arange(n), wrong),
        )
        for system, seed, wrong in settings
    ]
    (row,) = significance.differences(runs, "baseline", pairs="utterances").values.to_dict("records")
    assert row["difference"] == pytest.approx(-100 * 0.5 / n)
    assert (row["better on"], row["worse on"]) == (0, 1)


# The interval of a single run


def test_a_single_run_is_resampled_by_speaker(campaign, data):
    d3 = data.table.iloc[data.rows("D3")]
    hits = np.arange(len(d3)) > 0  # the first run is wrong on the first utterance alone
    low, high = significance.bootstrap(hits, d3["speaker"])
    interval = significance.accuracy_interval(campaign[0])
    assert (interval.low, interval.high) == (100 * low, 100 * high)
    assert str(interval) == f"{100 * low:.1f} to {100 * high:.1f} ({d3['speaker'].nunique()} speakers)"


@pytest.mark.parametrize("names", [["one"], ["one", "two", "three", "four"], [""]])
def test_few_or_unknown_speakers_are_not_resampled(campaign, names):
    run, n = campaign[0], len(campaign[0].table)
    unvouched(run, "corpus.parquet")
    run.table.assign(speaker=np.resize(names, n)).to_parquet(run.folder / "corpus.parquet")
    interval = significance.accuracy_interval(run)
    hits = significance.correct(run)
    assert interval.units == f"{len(hits)} utterances"
    assert (interval.low, interval.high) == tuple(100 * end for end in significance.bootstrap(hits))


@pytest.mark.parametrize(("right", "reason"), [(True, "all utterances right"), (False, "none right")])
def test_without_any_spread_the_reason_is_said(frozen, data, tmp_path, right, reason):
    run = fake_run(tmp_path, frozen, data, (0.5, 0.5), right=right)
    assert str(significance.accuracy_interval(run)) == f"none: {reason}"
