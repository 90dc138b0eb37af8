"""Soft labels beside constant ones, from run folders written by hand."""

import math

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core import metrics
from ipr_core.calibration import Calibration
from ipr_core.results import over_seeds, report, scores, soft_labels, summary
from ipr_core.runs.run import RunError

CALIBRATION = Calibration(2.0, (), 10, "annotators", 1.5, 1.25)
IPR, UNCALIBRATED = "IPR", "IPR, uncalibrated"


@pytest.fixture
def make(frozen, data, tmp_path):
    """System and seed → a finished run."""

    def make(system="ipr", seed=0, **options):
        return fake_run(tmp_path, frozen.replace(system=system, seed=seed), data, (0.2, 0.5), **options)

    return make


@pytest.fixture
def sure(data):
    """(N, C) labels that are sure of a class without a vote."""
    return np.eye(len(data.classes))[data.votes.argmin(axis=1)] * 0.96 + 0.01


@pytest.fixture
def votes(data):
    return data.votes[np.isin(data.table["part"], ["D2", "D3"])]


def row(table, system, part="D2 and D3"):
    (values,) = table.values.query("system == @system and part == @part").to_dict("records")
    return values


def test_every_table_holds_the_constants_and_both_labels_of_a_system(make, sure):
    runs = [make("baseline", 0), make("ipr", 0, soft=sure, calibration=CALIBRATION)]
    table = over_seeds.soft(runs)
    systems = ["baseline", IPR, UNCALIBRATED, *soft_labels.CONSTANTS.values()]
    assert table.values["system"].tolist() == systems * 3
    assert row(table, IPR)["temperature"] == 2
    assert math.isnan(row(table, UNCALIBRATED)["temperature"])
    assert row(table, IPR)["NLL, nats"] < row(table, UNCALIBRATED)["NLL, nats"]


def test_the_constants_by_hand(make, data, votes):
    table = over_seeds.soft([make()])
    d1 = data.table[data.table["part"] == "D1"]
    prior = np.array([(d1["label"] == name).mean() for name in data.classes])
    for title, constant in {
        soft_labels.UNIFORM: np.full(4, 0.25), soft_labels.PRIOR: prior, soft_labels.MEAN: votes.mean(axis=0),
    }.items():  # fmt: skip
        expected = metrics.soft_scores(np.tile(constant, (len(votes), 1)), votes)
        for name in ("js", "nll", "brier"):
            assert row(table, title)[over_seeds.SOFT[name]] == pytest.approx(expected[name])
    assert table.texts.loc[table.values["system"] == soft_labels.UNIFORM, "ECE"].tolist() == [""] * 3
    assert row(table, soft_labels.MEAN)["Brier"] < row(table, soft_labels.UNIFORM)["Brier"]


def test_divergences_stand_beside_the_uncalibrated_and_the_constants(make, sure, votes, data):
    run = make(soft=sure, calibration=CALIBRATION)
    values = scores.divergences(run)
    judged = sure[np.isin(data.table["part"], ["D2", "D3"])]
    assert values["js_votes_uncalibrated"] == pytest.approx(metrics.js_divergence(judged, votes).mean())
    assert values["js_votes"] < values["js_votes_uncalibrated"]
    assert all(math.isfinite(values[f"js_{truth}_{name}"]) for truth in ("votes", "mixture")
               for name in soft_labels.CONSTANTS)  # fmt: skip
    cells = summary.score_rows([run]).set_index("system")["JS to votes, bits"]
    assert cells[IPR] == f"{values['js_votes_uncalibrated']:.3f} → {values['js_votes']:.3f}"
    assert cells[soft_labels.PRIOR] == f"{values['js_votes_prior']:.3f}"


def test_a_run_below_the_prior_says_so_in_its_last_lines_and_its_report(make, sure):
    run = make("baseline", soft=sure, calibration=Calibration(1.1, (), 10, "annotators"))
    last = summary.summary([run]).split("\n\n")[-1].replace("\n", " ")
    assert "baseline**: soft labels are worse than D1's class prior in 1 of 1 runs, by the votes on D2 and D3" in last
    page = report.page(run, [], notes=soft_labels.notes([run]))
    assert "<p><strong>baseline</strong>: soft labels are worse than D1&#x27;s class prior" in page


def test_a_run_above_the_prior_does_not(make, data):
    run = make(soft=data.votes.clip(0.01) / data.votes.clip(0.01).sum(axis=1, keepdims=True))
    assert soft_labels.notes([run]) == [
        "Soft labels are not calibrated: no utterance was held out for it (validation_share)."
    ]
    assert "not calibrated" in summary.summary([run])


def test_several_runs_are_counted_and_simulated_votes_named(make, sure, data):
    good = data.votes.clip(0.01) / data.votes.clip(0.01).sum(axis=1, keepdims=True)
    runs = [make(seed=seed, soft=good if seed else sure, simulated=True) for seed in range(3)]
    (_, caution) = soft_labels.notes(runs)
    assert "in 1 of 3 runs, by the votes of SIMULATED annotators" in caution


def test_the_notes_say_how_labels_were_calibrated(make):
    first, second = (make(seed=seed, calibration=Calibration(1.5 + seed, (), 10, "annotators")) for seed in range(2))
    assert soft_labels.notes([first])[0] == (
        "Soft labels are calibrated on 10 held-out utterances by the annotators' votes: temperature 1.50, without a "
        "bias."
    )
    assert soft_labels.notes([first, second])[0] == "Soft labels are calibrated: temperatures 1.50 to 2.50."
    assert "of 2 of 3 runs" in soft_labels.notes([first, second, make(seed=2)])[0]
    assert soft_labels.notes([]) == []


def test_a_damaged_calibration_is_a_sentence(make):
    run = make(calibration=CALIBRATION)
    (run.folder / "model" / "config.json").write_text('{"calibration": {"temperature": 0}}')
    with pytest.raises(RunError, match=r"config\.json cannot be read"):
        over_seeds.soft([run])
