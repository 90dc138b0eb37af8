"""Tables over runs: run folders written by hand, so that every figure is known."""

import dataclasses
import json
import math

import numpy as np
import pandas as pd
import pytest

from ipr_core.atomic import write_text
from ipr_core.results import summary
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training import labels


@pytest.fixture
def fake(frozen, data, tmp_path):
    """System, seed, accuracies of two epochs → a finished run that has them, and soft labels by choice."""

    def fake(system: str, seed: int, accuracy: float, stream: int = 0, soft=None, simulated=False) -> Run:
        config = frozen.replace(system=system, seed=seed, stream=stream)
        run = Run.create(config, dataclasses.replace(data, simulated=simulated), tmp_path)
        for epoch, value in enumerate((0.99, accuracy)):  # the best epoch is not the last
            run.record(event(epoch, value))
        soft = np.full((len(data.table), 4), 0.25) if soft is None else soft
        run.save_labels(labels.table(data.table[["id"]], data.classes, soft, soft, False))
        return run

    return fake


def event(epoch: int, accuracy: float) -> EpochEnd:
    return EpochEnd(
        epoch=epoch, phase="refinement", beta=0.5, losses={"total": 1.0}, steps=1, accuracy=accuracy, uar=accuracy / 2,
        macro_f1=accuracy / 4, confusion=[[1]], accuracy_prototypes=0.0, cosines=[[1.0]], agreement_model=0.25,
        agreement_prototypes=0.75, labels_model=[1], labels_prototypes=[1], gate=None, clock={"seconds": 2.0},
    )  # fmt: skip


@pytest.fixture
def campaign(fake):
    """Three seeds of three systems, and of the baseline's second random stream."""
    accuracies = {
        ("ipr", 0): (0.60, 0.71, 0.80),
        ("baseline", 0): (0.50, 0.60, 0.70),
        ("baseline_plus", 0): (0.51, 0.60, 0.70),
        ("baseline", 1): (0.52, 0.60, 0.67),
    }
    return [
        fake(system, seed, value, stream)
        for (system, stream), values in accuracies.items()
        for seed, value in enumerate(values)
    ]


def test_scores_are_of_the_final_epoch(fake):
    found = summary.scores(fake("ipr", 3, 0.5))
    assert (found["system"], found["seed"], found["stream"], found["seconds"]) == ("ipr", 3, 0, 4.0)
    assert found["accuracy"] == 50
    assert found["uar"] == 25
    assert found["macro_f1"] == 12.5
    assert found["agreement_model"] == 25
    assert found["agreement_prototypes"] == 75


def test_the_table_has_mean_and_deviation_over_seeds(campaign):
    table = summary.table(campaign).set_index("system")
    assert table.index.tolist() == [
        "baseline",
        "baseline+",
        "IPR",
        "baseline, random stream 1",
        "uniform soft labels",
    ]
    assert table["seeds"].tolist() == [3, 3, 3, 3, 0]
    assert table["Acc D3 %"].tolist()[:1] == ["60.0 ± 10.0"]
    ipr = np.std([60, 71, 80], ddof=1)
    assert table["Acc D3 %"]["IPR"] == f"{211 / 3:.1f} ± {ipr:.1f}"
    assert table["UAR D3 %"]["baseline"] == "30.0 ± 5.0"
    assert table["prototypes right on D2 %"]["IPR"] == "75.0 → 75.0 ± 0.0"


def test_one_seed_has_no_deviation_and_no_test(fake):
    runs = [fake("baseline", 0, 0.5), fake("ipr", 0, 0.75)]
    assert summary.table(runs)["Acc D3 %"].tolist()[:2] == ["50.0", "75.0"]
    assert summary.differences(runs).empty
    assert "Differences" not in summary.summary(runs)


def test_differences_and_the_noise_by_hand(campaign):
    table = summary.differences(campaign).set_index("systems")
    assert table.index.tolist() == ["baseline+ − baseline", "IPR − baseline", "IPR − baseline+"]
    # the baseline differs from itself by 2, 0 and −3: their mean square is 13/3
    band = 2 * math.sqrt(13 / 3) / math.sqrt(3)
    assert set(table["noise"]) == {f"± {band:.2f}"}
    assert table["difference"]["IPR − baseline"] == f"+10.33 ± {math.sqrt(1 / 3):.2f}"
    assert table["within noise"].tolist() == ["yes", "no", "no"]
    # t = 31 with two degrees of freedom: p = 1 − 31 / √(31² + 2)
    assert table["p"]["IPR − baseline"] == f"{1 - 31 / math.sqrt(31**2 + 2):.3f}"
    assert table["seeds"].tolist() == [3, 3, 3]


def test_only_seeds_that_both_systems_have_are_paired(campaign, fake):
    more = [*campaign, fake("ipr", 7, 0.0)]
    assert summary.differences(more).equals(summary.differences(campaign))


def test_noise_that_nobody_measured_is_said(campaign):
    table = summary.differences([run for run in campaign if run.config.training.stream == 0])
    assert set(table["noise"]) == {"not measured"}
    assert set(table["within noise"]) == {""}


def test_another_score_may_be_compared(campaign):
    table = summary.differences(campaign, "uar")
    assert table["difference"].tolist()[1].startswith("+5.17")


def test_divergences_by_hand(fake, data):
    asked = (data.table["part"] != "D1").to_numpy()
    found = summary.divergences(fake("ipr", 0, 0.5, soft=data.mixtures))
    assert found["js_mixture"] == pytest.approx(0, abs=1e-12)
    middle = (data.mixtures + 0.25) / 2
    with np.errstate(divide="ignore", invalid="ignore"):
        uniform = np.nansum(data.mixtures * np.log2(data.mixtures / middle) + 0.25 * np.log2(0.25 / middle), axis=1) / 2
    assert found["js_mixture_uniform"] == pytest.approx(uniform[asked].mean(), rel=1e-6)
    assert found["js_votes"] > 0
    assert found["js_votes_uniform"] > 0
    plain = summary.divergences(fake("ipr", 1, 0.5))
    assert plain["js_mixture"] == pytest.approx(plain["js_mixture_uniform"])


def test_simulated_annotators_judge_no_soft_label(fake):
    found = summary.divergences(fake("ipr", 0, 0.5, simulated=True))
    assert all(math.isnan(value) for value in found.values())
    table = summary.table([fake("ipr", 1, 0.5, simulated=True)])
    assert not any("JS" in column for column in table)
    assert table["system"].tolist() == ["IPR"]


def test_only_finished_runs_count(fake, campaign):
    unfinished = fake("supervised", 0, 0.9)
    (unfinished.folder / "labels.csv").unlink()
    assert summary.table([*campaign, unfinished]).equals(summary.table(campaign))
    assert summary.table([unfinished]).empty
    assert summary.differences([unfinished]).empty
    assert summary.summary([unfinished]) == "no finished run"


def test_a_table_in_markdown():
    frame = pd.DataFrame({"system": ["IPR", "b"], "x": [None, "1.0 ± 2.0"]})
    assert summary.show(frame).split("\n") == [
        "| system | x         |",
        "|--------|-----------|",
        "| IPR    |           |",
        "| b      | 1.0 ± 2.0 |",
    ]


def test_the_summary_has_both_tables(campaign):
    text = summary.summary(campaign)
    assert text.index("| baseline ") < text.index("Differences of accuracy on D3, in points")
    assert "nan" not in text


def test_runs_of_other_settings_are_not_averaged(fake, campaign):
    other = fake("ipr", 0, 0.9)
    meta = other.meta | {"settings": other.meta["settings"] | {"gamma": 0.5}}
    write_text(other.folder / "config.json", json.dumps(meta))
    groups = summary.comparable([*campaign[3:], other])
    assert [(title, len(runs)) for title, runs in groups] == [("gamma 0.999", len(campaign) - 3), ("gamma 0.5", 1)]
    assert "### gamma 0.5" in summary.summary([*campaign[3:], other])


def test_the_finished_runs_of_a_folder_are_found(fake, campaign, tmp_path, monkeypatch):
    unfinished = fake("supervised", 0, 0.9)
    (unfinished.folder / "labels.csv").unlink()
    (tmp_path / "tables").mkdir()
    assert {run.folder for run in summary.found(tmp_path)} == {run.folder for run in campaign}
    monkeypatch.setenv("IPR_RUNS", str(tmp_path))
    assert len(summary.found()) == len(campaign)
    assert summary.found(tmp_path / "nowhere") == []
    assert summary.tables_folder(campaign) == summary.tables_folder([]) == tmp_path / "tables"


def test_noise_of_another_system_or_of_none(campaign):
    every = summary.each(campaign)
    assert summary.noise(every, "accuracy") == pytest.approx(math.sqrt(13 / 3))
    assert math.isnan(summary.noise(every, "accuracy", "ipr"))
    assert math.isnan(summary.noise(summary.each([]), "accuracy"))
