"""What is the base, what is varied, and what it changes: from run folders written by hand."""

import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core.results import ablations, significance


@pytest.fixture
def made(frozen, data, tmp_path):
    """Accuracies by seed, and settings → finished runs."""

    def made(*accuracies, system="ipr", stream=0, **settings):
        return [
            fake_run(tmp_path, frozen.replace(system=system, seed=s, stream=stream, **settings), data, (0.9, value))
            for s, value in enumerate(accuracies)
        ]

    return made


@pytest.fixture
def campaign(made):
    return [
        *made(0.60, 0.70, 0.80, mu=0.0),
        *made(0.50, 0.60, 0.73),
        *made(0.50, 0.61, 0.72, stream=1),
        *made(0.40, 0.55, 0.60, gamma=0.9),
        *made(0.51, 0.61, gamma=0.99),
        *made(0.30, 0.40, 0.50, system="baseline"),
        *made(0.30, 0.40, 0.50, system="baseline", mu=0.0),
    ]


def test_the_base_is_what_the_others_differ_from_least(campaign):
    found = ablations.of(campaign)
    assert [run.folder for run in found.base] == [run.folder for run in campaign[3:9]]
    assert [changed for changed, _ in found.variations] == [{"mu": 0.0}, {"gamma": 0.9}, {"gamma": 0.99}]
    assert found.varied == ["mu", "gamma"]
    assert {run.config.training.system for run in found.beside} == {"baseline"}
    assert found.left_out == 3
    said = ablations.circumstances(found)
    assert "**Base**, 3 seeds: `mu` 0.2, `gamma` 0.999. 3 variations of it." in said
    assert "3 finished runs of other systems" in said


def test_of_two_settings_the_one_with_more_runs_is_the_base(made):
    assert ablations.of([*made(0.5, 0.6), *made(0.5, 0.6, 0.7, mu=0.0)]).varied == ["mu"]
    found = ablations.of([*made(0.5, 0.6), *made(0.5, 0.6, 0.7, mu=0.0)])
    assert found.variations[0][0] == {"mu": 0.2}
    found = ablations.of([*made(0.5, 0.6, gamma=0.9), *made(0.5, 0.6)])
    assert found.variations[0][0] == {"gamma": 0.9}  # as many: what is recommended is the base


def test_a_base_may_be_named(campaign, made, tmp_path):
    found = ablations.of(campaign, base=campaign[0].folder)
    assert [changed for changed, _ in found.variations] == [
        {"mu": 0.2},
        {"mu": 0.2, "gamma": 0.9},
        {"mu": 0.2, "gamma": 0.99},
    ]
    with pytest.raises(ValueError, match="nowhere is none of the finished runs of this system"):
        ablations.of(campaign, base=tmp_path / "nowhere")


def test_runs_on_other_utterances_cannot_be_paired(made, tmp_path):
    other = made(0.9, 0.9, mu=0.0)
    for run in other:
        text = (run.folder / "config.json").read_text("utf-8").replace('"corpus": "', '"corpus": "0', 2)
        text = text.replace('"corpus": "0synthetic"', '"corpus": "synthetic"')
        (run.folder / "config.json").write_text(text, "utf-8")
    found = ablations.of([*made(0.5, 0.6, 0.7), *other])
    assert found.variations == ()
    assert found.left_out == 2


def test_effects_by_hand(campaign):
    table = ablations.effects(ablations.of(campaign)).values.set_index("setting")
    assert table.index.tolist() == ["mu 0.0", "gamma 0.99", "gamma 0.9"]  # the largest gain first
    assert table["seeds"].tolist() == [3, 2, 3]
    assert table["difference"].tolist() == pytest.approx([9, 1, -28 / 3])
    d = np.array([10, 10, 7.0])
    assert table.loc["mu 0.0", "p, t-test"] == pytest.approx(2 * t_sf(d))
    low, high = significance.t_interval(d)
    assert (table.loc["mu 0.0", "95 % from"], table.loc["mu 0.0", "to"]) == pytest.approx((low, high))
    # the base differs from itself by 0, 1 and −1
    assert table.loc["mu 0.0", "noise"] == pytest.approx(2 * math.sqrt(2 / 3) / math.sqrt(3))
    assert table["within noise"].tolist() == ["no", "yes", "no"]
    np.testing.assert_allclose(table["p, t-test, Holm"], significance.holm(table["p, t-test"]))


def t_sf(d):
    from scipy.stats import t

    return t.sf(abs(d.mean()) / (d.std(ddof=1) / math.sqrt(len(d))), len(d) - 1)


def test_the_baselines_noise_stands_in_and_no_noise_is_said(made):
    runs = [*made(0.5, 0.6), *made(0.6, 0.7, mu=0.0)]
    table = ablations.effects(ablations.of(runs))
    assert "Noise was not measured" in table.caption
    assert table.values["within noise"].tolist() == ["not measured"]
    runs += [*made(0.5, 0.5, system="baseline"), *made(0.52, 0.5, system="baseline", stream=1)]
    table = ablations.effects(ablations.of(runs)).values
    assert table["noise"].tolist() == pytest.approx([2 * math.sqrt(2) / math.sqrt(2)])


def test_one_seed_has_a_difference_and_no_test(made):
    table = ablations.effects(ablations.of([*made(0.5), *made(0.6, mu=0.0)]))
    assert table.values["difference"].tolist() == pytest.approx([10])
    assert not any(name.startswith("p") for name in table.values)


def test_readings_are_grouped_with_their_sentence(campaign):
    table = ablations.readings(ablations.of(campaign)).values
    assert list(zip(table["setting"], table["value"], strict=True)) == [
        ("mu", "0.2"),
        ("mu", "0.0"),
        ("gamma", "0.999"),
        ("gamma", "0.9"),
        ("gamma", "0.99"),
    ]
    assert table["within noise"].tolist() == ["the base", "no", "the base", "no", "yes"]
    assert table["what it decides"].iloc[2].startswith("Share of the old prototype kept")
    assert table["Acc D3 %"].tolist() == pytest.approx([61, 70, 61, 155 / 3, 56])


def test_many_settings_at_once_are_named_in_short(made):
    changed = dict(mu=0.0, gamma=0.5, tau=0.5, beta_growth=2.0, target="soft")
    table = ablations.effects(ablations.of([*made(0.5, 0.6, 0.7), *made(0.5, 0.6, **changed)]))
    assert table.values["setting"].tolist() == ["mu 0.0, beta_growth 2.0, gamma 0.5 and 2 more"]


def test_nothing_varied_is_a_sentence_not_a_traceback(made):
    for runs in ([], made(0.5, 0.6)):
        found = ablations.of(runs)
        assert "ipr batch ablations" in ablations.circumstances(found)
        assert "ipr batch ablations" in ablations.effects(found)._repr_html_()
        assert ablations.readings(found).values.empty
