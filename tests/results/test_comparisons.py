"""Tables of differences, by hand, from run folders written by hand."""

import dataclasses
import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core.results import comparisons, significance


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
    table = comparisons.differences(campaign, "baseline", pairs="seeds").values.set_index("comparison")
    assert table.index.tolist() == ["baseline+ − baseline", "IPR − baseline"]
    row = table.loc["IPR − baseline"]
    # differences 10, 11 and 10
    assert row["difference"] == pytest.approx(31 / 3)
    assert row["difference ±"] == pytest.approx(math.sqrt(1 / 3))
    assert row["p, t-test"] == pytest.approx(1 - 31 / math.sqrt(31**2 + 2))
    assert row["p, signs"] == 1 / 4
    assert row["p, signs, Holm"] == 2 / 4
    half = 4.302652729911275 / 3  # t(0.975) of two degrees of freedom, times the standard error 1/3
    assert (row["95 % from"], row["to"]) == pytest.approx((31 / 3 - half, 31 / 3 + half))
    assert row["reference's noise"] == pytest.approx(2 * math.sqrt(13 / 3) / math.sqrt(3))
    assert math.isnan(row["noise"])  # IPR has no run of another stream
    assert table["within noise"].tolist() == ["yes", "unknown"]
    np.testing.assert_allclose(table["p, t-test, Holm"], significance.holm(table["p, t-test"]))


def test_the_reference_is_ipr_or_the_first_system(campaign):
    table = comparisons.differences(campaign, pairs="seeds").values
    assert table["comparison"].tolist() == ["baseline − IPR", "baseline+ − IPR"]
    assert table["difference"].tolist()[0] == pytest.approx(-31 / 3)
    rest = [run for run in campaign if run.config.training.system != "ipr"]
    assert comparisons.differences(rest).values["comparison"].tolist() == ["baseline+ − baseline"]
    assert comparisons.differences(campaign, "mcil").values.empty


def test_over_seeds_needs_two_of_them(campaign):
    first = [run for run in campaign if run.config.training.seed == 0]
    table = comparisons.differences(first, pairs="seeds")
    assert table.values.empty
    assert "two seeds" in table._repr_html_()
    assert comparisons.differences([], pairs="seeds").values.empty


def test_without_two_seeds_utterances_are_paired(campaign):
    first = [run for run in campaign if run.config.training.seed == 0]
    table = comparisons.differences(first)
    assert table.name == "over_utterances"
    assert comparisons.differences(campaign).name == "differences"
    assert comparisons.differences(first, pairs="jointly").values.empty
    assert comparisons.differences([]).values.empty


def test_over_seeds_says_where_noise_was_not_measured(campaign):
    runs = [run for run in campaign if run.config.training.stream == 0]
    table = comparisons.differences(runs, pairs="seeds")
    assert set(table.values["within noise"]) == {"unknown"}
    assert set(table.texts["noise"]) == set(table.texts["reference's noise"]) == {"unknown"}


def test_only_seeds_that_both_systems_have_are_paired(campaign, frozen, data, tmp_path):
    run = fake_run(tmp_path, frozen.replace(system="ipr", seed=9), data, (0.0, 0.0), right=False)
    for pairs in ("jointly", "seeds", "utterances"):
        table = comparisons.differences([*campaign, run], pairs=pairs).values
        assert table.equals(comparisons.differences(campaign, pairs=pairs).values)


def test_another_score_is_named(campaign):
    table = comparisons.differences(campaign, "baseline", "uar", pairs="seeds")
    assert table.values["difference"].tolist()[1] == pytest.approx(31 / 6)
    assert "UAR D3 %" in table.caption


def test_over_utterances_by_hand(campaign, data):
    n = len(data.rows("D3"))
    table = comparisons.differences(campaign, "baseline", pairs="utterances").values.set_index("comparison")
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
    table = comparisons.differences(first, "baseline", pairs="utterances").values.set_index("comparison")
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
    (row,) = comparisons.differences(runs, "baseline", pairs="utterances").values.to_dict("records")
    assert row["difference"] == pytest.approx(-100 * 0.5 / n)
    assert (row["better on"], row["worse on"]) == (0, 1)


# Jointly, and what survives


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed, and the utterances of D3 that are wrong → a finished run with that accuracy."""

    def make(system, seed, wrong=(), stream=0, utterances=data, **settings):
        config = frozen.replace(system=system, seed=seed, stream=stream, **settings)
        right = ~np.isin(np.arange(len(utterances.rows("D3"))), wrong)
        return fake_run(tmp_path, config, utterances, (0.9, right.mean()), right=right)

    return make


@pytest.fixture
def second(data):
    """The same utterances with other shares of the votes: another partition."""
    return dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 2))


def bad(count, first=0):
    return range(first, first + count)


def test_jointly_is_the_crossed_bootstrap_of_paired_utterances(make, data):
    wrong = {"baseline": (bad(5), bad(4), bad(6)), "ipr": (bad(2), bad(1, 3), bad(3, 1))}
    runs = [make(system, seed, rows) for system, seeds in wrong.items() for seed, rows in enumerate(seeds)]
    (row,) = comparisons.differences(runs, "baseline").values.to_dict("records")
    d3 = data.table.iloc[data.rows("D3")]
    n = len(d3)
    d = np.array([np.isin(range(n), wrong["baseline"][s]) * 1.0 - np.isin(range(n), wrong["ipr"][s]) for s in range(3)])
    members = np.array([d3["speaker"] == name for name in sorted(set(d3["speaker"]))], float)
    estimate = significance.crossed_bootstrap(100 * d @ members.T, np.tile(members.sum(axis=1), (3, 1)), [0, 0, 0])
    assert row["difference"] == pytest.approx(100 * (3 + 3 + 3) / 3 / n)
    assert (row["95 % from"], row["to"]) == pytest.approx(estimate.interval())
    assert row["p"] == row["p, Holm"] == pytest.approx(estimate.p)
    assert (row["seeds"], row["speakers"]) == (3, str(len(members)))
    assert "partitions" not in row


def test_utterances_are_paired_within_their_partition(make, second):
    # the same ids are right in one partition and wrong in the other: paired across, the difference would vanish
    runs = [make("baseline", seed, bad(4)) for seed in range(2)]
    runs += [make("ipr", seed, bad(2)) for seed in range(2)]
    runs += [make("baseline", seed, bad(2), utterances=second, data_seed=1) for seed in range(2)]
    runs += [make("ipr", seed, bad(1), utterances=second, data_seed=1) for seed in range(2)]
    n = int((runs[0].table["part"] == "D3").sum())
    (row,) = comparisons.differences(runs, "baseline").values.to_dict("records")
    assert row["difference"] == pytest.approx(100 * (2 + 1) / 2 / n)
    assert (row["seeds"], row["partitions"]) == (2, 2)
    for pairs in ("seeds", "utterances"):
        (values,) = comparisons.differences(runs, "baseline", pairs=pairs).values.to_dict("records")
        assert values["difference"] == pytest.approx(row["difference"])
        assert (values["seeds"], values["partitions"]) == (2, 2)
    lone = [run for run in runs if run.config.training.system == "baseline" or run.config.data.data_seed == 0]
    (row,) = comparisons.differences(lone, "baseline").values.to_dict("records")
    assert row["difference"] == pytest.approx(100 * 2 / n)


def test_a_difference_survives_above_both_noises_and_below_the_level(make):
    runs = [make("supervised", seed) for seed in range(4)]
    runs += [make("baseline", seed, bad(9)) for seed in range(4)]
    runs += [make("ipr", seed, bad(8 + seed % 2)) for seed in range(4)]
    table = comparisons.differences(runs, "baseline")
    assert table.values["survives"].tolist() == ["no", "noise unknown"]
    assert table.conclusion == (
        "No comparison survives. 1 more may, but the noise of a system is unknown: `--stream 1` measures it."
    )
    runs += [make(system, 0, bad(count), stream=1) for system, count in (("supervised", 1), ("baseline", 9))]
    table = comparisons.differences(runs, "baseline")
    assert table.values["survives"].tolist() == ["no", "yes"]
    assert table.conclusion == "Surviving comparisons, 1 of 2: supervised − baseline (+75.0)."  # 9 of 12
    assert table.conclusion in table.markdown()
    assert table.conclusion in table._repr_html_()
    assert "1 of 2: supervised $-$ baseline (+75.0)." in table.latex()


@pytest.mark.parametrize(("wrong", "expected"), [(6, "yes"), (0, "no")])
def test_a_difference_within_the_noise_of_either_system_does_not_survive(make, wrong, expected):
    runs = [make("supervised", seed) for seed in range(2)] + [make("baseline", seed, bad(6)) for seed in range(2)]
    # another stream of the baseline is the baseline again, or as good as supervised
    runs += [make("supervised", 0, stream=1), make("baseline", 0, bad(wrong), stream=1)]
    assert comparisons.differences(runs, "baseline").values["survives"].tolist() == [expected]
    assert comparisons.differences(runs, "supervised").values["survives"].tolist() == [expected]


def test_holm_takes_account_of_all_rows(make):
    runs = [make("ipr", seed, bad(4 + seed)) for seed in range(3)]
    runs += [make("baseline", seed, bad(6 + seed % 2)) for seed in range(3)]
    runs += [make("supervised", seed, bad(1 + seed % 2)) for seed in range(3)]
    table = comparisons.differences(runs, "baseline").values
    np.testing.assert_allclose(table["p, Holm"], significance.holm(table["p"]))
    assert (table["p, Holm"] >= table["p"]).all()


def test_no_comparison_has_no_conclusion(make):
    assert comparisons.differences([make("ipr", 0), make("ipr", 1)]).conclusion == ""
