"""Ablations, from run folders written by hand."""

import dataclasses
import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core.config import SettingsError
from ipr_core.results import ablations, comparisons, significance


@pytest.fixture
def make(frozen, data, tmp_path):
    """Accuracies by seed, and settings → finished runs."""

    def make(*accuracies, system="ipr", stream=0, utterances=data, **settings):
        configs = [frozen.replace(system=system, seed=s, stream=stream, **settings) for s in range(len(accuracies))]
        return [
            fake_run(tmp_path, config, utterances, (0.9, value))
            for config, value in zip(configs, accuracies, strict=True)
        ]

    return make


@pytest.fixture
def campaign(make):
    return [
        *make(0.60, 0.70, 0.80, mu=0.0),
        *make(0.50, 0.60, 0.73),
        *make(0.50, 0.61, 0.72, stream=1),
        *make(0.40, 0.55, 0.60, gamma=0.9),
        *make(0.42, 0.55, 0.58, gamma=0.9, stream=1),
        *make(0.51, 0.61, gamma=0.99),
        *make(0.30, 0.40, 0.50, system="baseline"),
        *make(0.30, 0.40, 0.50, system="baseline", mu=0.0),
    ]


def test_the_base_is_what_the_others_differ_from_least(campaign):
    ablation = ablations.arrange(campaign)
    assert [run.folder for run in ablation.base] == [run.folder for run in campaign[3:9]]
    assert [changed for changed, _ in ablation.variations] == [{"mu": 0.0}, {"gamma": 0.9}, {"gamma": 0.99}]
    assert ablation.varied == ["mu", "gamma"]
    assert {run.config.training.system for run in ablation.other_systems} == {"baseline"}
    assert ablation.left_out == 3
    text = ablations.circumstances(ablation)
    assert "**Base**, 3 seeds: `mu` 0.2, `gamma` 0.999. 3 variations of it." in text
    assert "3 finished runs of other systems" in text


def test_of_two_settings_the_one_with_more_runs_is_the_base(make):
    assert ablations.arrange([*make(0.5, 0.6), *make(0.5, 0.6, 0.7, mu=0.0)]).varied == ["mu"]
    ablation = ablations.arrange([*make(0.5, 0.6), *make(0.5, 0.6, 0.7, mu=0.0)])
    assert ablation.variations[0][0] == {"mu": 0.2}
    ablation = ablations.arrange([*make(0.5, 0.6, gamma=0.9), *make(0.5, 0.6)])
    assert ablation.variations[0][0] == {"gamma": 0.9}  # as many: what is recommended is the base


def test_a_base_may_be_named(campaign, make, tmp_path):
    ablation = ablations.arrange(campaign, base=campaign[0].folder)
    assert [changed for changed, _ in ablation.variations] == [
        {"mu": 0.2},
        {"mu": 0.2, "gamma": 0.9},
        {"mu": 0.2, "gamma": 0.99},
    ]
    with pytest.raises(SettingsError, match="nowhere is none of the finished runs of this system"):
        ablations.arrange(campaign, base=tmp_path / "nowhere")


def test_runs_on_other_utterances_cannot_be_paired(make, tmp_path):
    strangers = make(0.9, 0.9, mu=0.0)
    for run in strangers:
        run._write_meta(run.meta | {"corpus": "0" + run.meta["corpus"]})
    ablation = ablations.arrange([*make(0.5, 0.6, 0.7), *strangers])
    assert ablation.variations == ()
    assert ablation.left_out == 2


def test_effects_by_hand(campaign):
    table = ablations.effects(ablations.arrange(campaign)).values.set_index("setting")
    assert table.index.tolist() == ["mu 0.0", "gamma 0.99", "gamma 0.9"]  # the largest gain first
    assert table["seeds"].tolist() == [3, 2, 3]
    assert table["difference"].tolist() == pytest.approx([9, 1, -28 / 3])
    d = np.array([10, 10, 7.0])
    assert table.loc["mu 0.0", "p, t-test"] == pytest.approx(2 * t_sf(d))
    low, high = significance.within_partitions(d).interval()
    assert (table.loc["mu 0.0", "95 % from"], table.loc["mu 0.0", "to"]) == pytest.approx((low, high))
    # the base differs from itself by 0, 1 and −1, and with gamma 0.9 by 2, 0 and −2
    assert table.loc["mu 0.0", "reference's noise"] == pytest.approx(2 * math.sqrt(2 / 3) / math.sqrt(3))
    assert table.loc["gamma 0.9", "noise"] == pytest.approx(2 * math.sqrt(8 / 3) / math.sqrt(3))
    assert table["within noise"].tolist() == ["unknown", "yes", "no"]
    np.testing.assert_allclose(table["p, t-test, Holm"], significance.holm(table["p, t-test"]))


def t_sf(d):
    from scipy.stats import t

    return t.sf(abs(d.mean()) / (d.std(ddof=1) / math.sqrt(len(d))), len(d) - 1)


def test_no_other_systems_noise_stands_in_and_unknown_noise_is_said(make):
    runs = [*make(0.5, 0.6), *make(0.6, 0.7, mu=0.0)]
    runs += [*make(0.5, 0.5, system="baseline"), *make(0.52, 0.5, system="baseline", stream=1)]
    table = ablations.effects(ablations.arrange(runs))
    assert table.values["within noise"].tolist() == ["unknown"]
    assert table.texts[[*comparisons.NOISES]].to_numpy().tolist() == [["unknown", "unknown"]]


def test_variations_are_paired_within_the_partitions_of_the_base(make, data):
    second = dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 2))
    third = dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 4))
    runs = [*make(0.5, 0.6), *make(0.7, 0.9, data_seed=1, utterances=second)]
    runs += [*make(0.6, 0.6, mu=0.0), *make(0.7, 0.8, mu=0.0, data_seed=1, utterances=second)]
    runs += make(0.1, 0.1, mu=0.0, data_seed=2, utterances=third)
    ablation = ablations.arrange(runs, base=runs[0].folder)
    assert "**Base**, 2 seeds in 2 partitions" in ablations.circumstances(ablation)
    assert ablation.left_out == 2
    (row,) = ablations.effects(ablation).values.to_dict("records")
    assert (row["seeds"], row["partitions"]) == (2, 2)
    assert row["difference"] == pytest.approx((10 + 0 + 0 - 10) / 4)
    assert ablations.readings(ablation).values["runs"].tolist() == [4, 4]


def test_one_seed_has_a_difference_and_no_test(make):
    table = ablations.effects(ablations.arrange([*make(0.5), *make(0.6, mu=0.0)]))
    assert table.values["difference"].tolist() == pytest.approx([10])
    assert not any(name.startswith("p") for name in table.values)


def test_readings_are_grouped_with_their_sentence(campaign):
    table = ablations.readings(ablations.arrange(campaign)).values
    assert list(zip(table["setting"], table["value"], strict=True)) == [
        ("mu", "0.2"),
        ("mu", "0.0"),
        ("gamma", "0.999"),
        ("gamma", "0.9"),
        ("gamma", "0.99"),
    ]
    assert table["within noise"].tolist() == ["the base", "unknown", "the base", "no", "yes"]
    assert table["what it decides"].iloc[2].startswith("γ of Eq. 4, the share of the old prototype kept")
    assert table["Acc D3 %"].tolist() == pytest.approx([61, 70, 61, 155 / 3, 56])


def test_many_settings_at_once_are_named_in_short(make):
    changed = dict(mu=0.0, gamma=0.5, tau=0.5, beta_growth=2.0, target="soft")
    table = ablations.effects(ablations.arrange([*make(0.5, 0.6, 0.7), *make(0.5, 0.6, **changed)]))
    assert table.values["setting"].tolist() == ["mu 0.0, beta_growth 2.0, gamma 0.5 and 2 more"]


def test_nothing_varied_is_a_sentence_not_a_traceback(make):
    for runs in ([], make(0.5, 0.6)):
        ablation = ablations.arrange(runs)
        assert "ipr batch ablations" in ablations.circumstances(ablation)
        assert "ipr batch ablations" in ablations.effects(ablation)._repr_html_()
        assert ablations.readings(ablation).values.empty


def test_a_setting_s_effect_is_tabulated_for_every_system(make):
    runs = [
        *make(0.50, 0.60, 0.73),
        *make(0.60, 0.70, 0.80, centring="speaker"),
        *make(0.30, 0.40, 0.50, system="baseline"),
        *make(0.35, 0.50, 0.56, system="baseline", centring="speaker"),
        *make(0.90, system="supervised"),
    ]
    frame = ablations.by_system(runs).values.set_index("system")
    assert frame["setting"].tolist() == ["centring speaker"] * 2
    assert set(frame.index) == {"IPR", "baseline"}, "supervised was not varied"
    np.testing.assert_allclose(frame.loc["IPR", ["base", "with it", "difference"]].astype(float), [61, 70, 9])
    np.testing.assert_allclose(frame.loc["baseline", ["base", "with it", "difference"]].astype(float), [40, 47, 7])
    assert frame["p, t-test, Holm"].max() >= frame["p, t-test"].max()
    assert ablations.by_system(make(0.5)).values.empty
