"""Runs side by side, from run folders written by hand so that every figure is known."""

import dataclasses
import json
from itertools import combinations

import numpy as np
import pytest
from IPython.display import HTML

from helpers.fake_events import event
from helpers.sight import DARK, SIGHT, WHITE, contrast, lab
from ipr_core.atomic import write_text
from ipr_core.results.significance import mcnemar
from ipr_core.runs.run import Run, RunError
from ipr_core.training import labels
from ipr_widgets import colours, comparison

END = np.arange(16).reshape(4, 4)


@pytest.fixture(scope="module")
def fake(frozen, data, tmp_path_factory):
    """Return a function of settings and correct utterances of D3 that makes a finished run."""
    folder = tmp_path_factory.mktemp("runs")
    truth, d3 = data.labels, data.rows("D3")

    def fake(right=slice(0, 12), epochs=3, warm_up=1, **settings) -> Run:
        run = Run.create(frozen.replace(epochs=epochs, warm_up=warm_up, **settings), data, folder)
        for epoch in range(epochs):
            run.record(
                event(epoch, warm_up, accuracy=0.1 * epoch, uar=0.05 * epoch, confusion=(END + epoch).tolist(),
                      cosines=np.full((4, 4), 0.1 * epoch).tolist(), clock={"seconds": 1.0})
            )  # fmt: skip
        predicted = (truth + 1) % 4
        predicted[d3[right]] = truth[d3[right]]
        own_shares = np.eye(4)[predicted]
        columns = data.table[["id", "part", "label"]]
        run.save_labels(labels.table(columns, data.classes, own_shares, own_shares, np.full_like(own_shares, 0.25)))
        return run

    return fake


@pytest.fixture(scope="module")
def two(fake):
    """Return two runs: the longer gets 0 to 8 of D3's 12 utterances right, the shorter 7 to 9."""
    return [fake(slice(0, 9)), fake(slice(7, 10), epochs=2, system="baseline")]


@pytest.fixture(scope="module")
def runs(two):
    return comparison.gather(two[0], [str(two[1].folder)])


# Which runs


def test_runs_are_named_by_their_differences(runs, two, fake):
    assert list(runs) == ["IPR, epochs 3", "baseline, epochs 2"]
    three = comparison.gather(two[0], [fake(seed=1).folder, fake(gamma=0.5).folder])
    assert list(three) == ["IPR, seed 0, gamma 0.999", "IPR, seed 1, gamma 0.999", "IPR, seed 0, gamma 0.5"]
    fourth = [fake(gamma=0.5, mu=mu, tau=0.2, alpha=2, weight_decay=decay) for mu in (0.1, 0.3) for decay in (0.1, 0.2)]
    names = list(comparison.gather(two[0], [run.folder for run in fourth]))
    assert len(set(names)) == 5
    assert names[1].endswith(f"({fourth[0].config.digest()})")


def test_a_run_beside_itself_counts_once(two):
    assert list(comparison.gather(two[0], [two[0].folder, two[1].folder / ".." / two[0].folder.name])) == ["IPR"]
    assert list(comparison.gather(two[0], two[0].folder)) == list(comparison.gather(two[0])) == ["IPR"]


def test_runs_that_cannot_be_compared_are_refused_all_at_once(two, fake, data, frozen, tmp_path):
    different = Run.create(frozen, dataclasses.replace(data, table=data.table.assign(part="D1")), tmp_path)
    different.save_labels(two[0].labels)
    unfinished = fake(seed=9)
    (unfinished.folder / "labels.csv").unlink()
    with pytest.raises(RunError) as refused:
        comparison.gather(two[0], [two[1].folder, different.folder, unfinished.folder, tmp_path])
    sentences = str(refused.value).split("\n")
    assert len(sentences) == 3
    assert "its utterances, classes or parts differ" in sentences[0]
    assert f"`ipr resume {unfinished.folder}` goes on" in sentences[1]
    assert f"{tmp_path} is not a run folder" in sentences[2]


def test_the_same_corpus_with_classes_in_another_order_is_refused(two, fake):
    rival = fake(seed=8)
    meta = rival.meta | {"classes": rival.meta["classes"][::-1]}
    write_text(rival.folder / "config.json", json.dumps(meta))
    with pytest.raises(RunError, match="train both with the same data and partition"):
        comparison.gather(two[0], rival.folder)


def test_a_run_alone_says_how_to_get_another(two):
    single = comparison.gather(two[0])
    (text,) = comparison.tables(single)
    assert isinstance(text, HTML)
    assert "ipr run --beside baseline" in text.data
    assert comparison.figures(single) == []


# Tables


def test_only_settings_that_differ_are_listed(runs):
    table = comparison.settings(runs)
    assert table.to_dict("index") == {
        "system": dict(zip(runs, ["ipr", "baseline"], strict=True)),
        "epochs": dict(zip(runs, ["3", "2"], strict=True)),
    }


def test_final_scores_are_of_each_runs_own_last_epoch(runs):
    table = comparison.final_scores(runs)
    assert table["epochs"].tolist() == [3, 2]
    assert table["Acc D3 %"].tolist() == [20, 10]
    assert table["UAR D3 %"].tolist() == [10, 5]
    assert (table["JS to true mixtures, bits"] > 0).all()
    assert (table["JS to votes, bits"] > 0).all()


def test_utterances_are_paired(runs):
    (row,) = comparison.paired(runs).to_dict("records")
    assert (row["both right"], row["only first"], row["only second"], row["neither"]) == (2, 7, 1, 2)
    # 8 that differ: 2 (1 + 8) / 2^8
    assert row["p (McNemar)"] == pytest.approx(18 / 256)


@pytest.mark.parametrize(("first", "second", "p"), [(0, 0, 1), (5, 5, 1), (0, 5, 2 / 32), (5, 0, 2 / 32)])
def test_mcnemar_by_hand(first, second, p):
    assert mcnemar(first, second) == pytest.approx(p)


def test_every_two_of_three_runs_are_paired(two, fake):
    table = comparison.paired(comparison.gather(two[0], [two[1].folder, fake(seed=1).folder]))
    assert len(table) == 3
    assert (table[["both right", "only first", "only second", "neither"]].sum(axis=1) == 12).all()


# Figures


def test_curves_of_different_length_stand_together(runs):
    fig = comparison.scores(runs)
    assert [(list(t.x), list(t.y), t.name) for t in fig.data[:2]] == [
        ([0, 1, 2], pytest.approx([0, 10, 20]), "IPR, epochs 3"),
        ([0, 1], pytest.approx([0, 10]), "baseline, epochs 2"),
    ]
    assert list(fig.data[2].y) == pytest.approx([0, 5, 10])
    assert list(fig.layout.xaxis.range) == [-0.5, 2.5]
    agreement = comparison.agreement(runs)
    assert [t.y[0] for t in agreement.data] == pytest.approx([80, 80, 70, 70])


def test_the_warm_up_is_shaded_only_where_it_is_that_of_all_runs(runs, two, fake):
    assert len(comparison.scores(runs).layout.shapes) == 2
    longer = fake(warm_up=2)
    assert not comparison.scores(comparison.gather(two[0], longer.folder)).layout.shapes


def test_matrices_of_the_final_epochs_stand_side_by_side(runs, two, fake):
    fig = comparison.cosines(runs)
    assert [t.z[0][0] for t in fig.data] == pytest.approx([0.2, 0.1])
    assert [t.showscale for t in fig.data] == [True, False]
    fig = comparison.confusions(runs)
    assert [t.customdata.tolist() for t in fig.data] == [(END + 2).tolist(), (END + 1).tolist()]
    four = comparison.gather(two[0], [fake(seed=seed).folder for seed in (1, 2, 3)])
    fig = comparison.cosines(four)
    assert len({t.xaxis for t in fig.data}) == 4
    assert fig.layout.height > comparison.cosines(runs).layout.height


def test_bars_are_the_paired_table(runs):
    fig = comparison.paired_bars(runs)
    assert {t.name: list(t.x) for t in fig.data} == {
        "both right": [2], "only first": [7], "only second": [1], "neither": [2],
    }  # fmt: skip
    assert fig.data[0].y[0].endswith("p = 0.07")


def test_every_axis_has_a_title(runs):
    for fig in comparison.figures(runs):
        assert all(axis.title.text for axis in [*fig.select_xaxes(), next(fig.select_yaxes())]), fig.layout.title.text


@pytest.mark.parametrize("sight", SIGHT)
def test_runs_are_told_apart_from_each_other_and_from_emotions(sight):
    assert not set(comparison.COLOURS) & set(colours.EMOTIONS.values())
    for a, b in combinations(comparison.COLOURS, 2):
        assert np.linalg.norm(lab(a, sight) - lab(b, sight)) > 8


@pytest.mark.parametrize("colour", comparison.COLOURS)
def test_runs_are_seen_on_both_pages(colour):
    assert contrast(colour, WHITE) > 2.2
    assert contrast(colour, DARK) > 2.2
