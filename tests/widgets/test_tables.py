"""Tables of a run: results, divergences, disagreements, readings."""

import numpy as np
import pandas as pd
import pytest

from helpers.fake_events import CLASSES, event
from helpers.fake_utterances import utterances
from ipr_core.config import demo
from ipr_core.metrics import js_divergence
from ipr_core.results import soft_labels
from ipr_widgets import tables


def labels():
    rows = utterances().iloc[:3]
    model = [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.1, 0.6, 0.3]]
    prototypes = [[0.8, 0.1, 0.1], [0.2, 0.2, 0.6], [0.1, 0.1, 0.8]]
    shares = {"soft": prototypes, "model": model, "prototypes": prototypes}
    columns = {f"{kind}_{c}": np.array(rows)[:, i] for kind, rows in shares.items() for i, c in enumerate(CLASSES)}
    return rows.assign(part=["D2", "D2", "D3"], **columns, classifier_and_prototypes_agree=[True, False, False])


def test_results_report_the_final_epoch_and_warn_of_the_best():
    table = tables.results([event(0, accuracy=0.9), event(1, accuracy=0.6)])
    assert table.loc["final epoch", "accuracy, %"] == 60
    (best,) = set(table.index) - {"final epoch"}
    assert "optimistic" in best
    assert (table.loc[best, "epoch"], table.loc[best, "accuracy, %"]) == (0, 90)


def test_divergences_are_0_to_itself_and_leave_out_unknown_votes():
    table = labels()
    truth = table[[f"soft_{c}" for c in CLASSES]].to_numpy()
    result = tables.divergences(table, truth, CLASSES)
    assert list(result.columns) == ["D2", "D3"]
    assert (result.loc["soft label"] == 0).all()
    assert (result.loc["uniform"] > 0).all()
    assert soft_labels.PRIOR not in result.index  # no utterance of D1 is here
    truth[2] = np.nan
    assert list(tables.divergences(table, truth, CLASSES).columns) == ["D2"]
    assert tables.divergences(table, None, CLASSES).empty


def test_constant_labels_stand_below():
    table = pd.concat([labels(), labels().iloc[:1].assign(part="D1", label="sad")], ignore_index=True)
    truth = np.array([[0, 0.5, 0.5], [0, 0, 1], [0, 0.5, 0.5], [np.nan] * 3])
    table.loc[1:2, "part"] = "D3"
    result = tables.divergences(table, truth, CLASSES)
    sad, mean = np.array([[0, 0, 1.0]] * 2), np.array([[0, 0.25, 0.75]] * 2)
    assert result.loc[soft_labels.PRIOR, "D3"] == pytest.approx(js_divergence(sad, truth[1:3]).mean(), abs=1e-4)
    (seen,) = [name for name in result.index if "has seen" in name]
    assert result.loc[seen, "D3"] == pytest.approx(js_divergence(mean, truth[1:3]).mean(), abs=1e-4)
    assert result.loc[seen, "D2"] == 0


def test_divergence_of_disjoint_labels_is_one_bit():
    table = labels().iloc[:1].assign(soft_angry=1.0, soft_happy=0.0, soft_sad=0.0)
    assert tables.divergences(table, np.array([[0.0, 0.5, 0.5]]), CLASSES).loc["soft label", "D2"] == 1


def test_disagreements_are_those_of_ambiguous_utterances_the_surest_first():
    rows = tables.disagreements(labels(), CLASSES)
    assert list(rows.index) == [1, 2]  # the surer of b is sure to 60 %, of c too, in the table's order
    assert list(rows.loc[1, ["classifier", "prototypes"]]) == ["happy", "sad"]
    assert list(rows.loc[1, ["its share, %", "their share, %"]]) == [70, 60]
    surer = labels().assign(model_happy=[0.1, 0.7, 0.75])
    assert list(tables.disagreements(surer, CLASSES).index) == [2, 1]


def test_no_disagreement_is_an_empty_table():
    assert tables.disagreements(labels().assign(classifier_and_prototypes_agree=True), CLASSES).empty


def test_readings_name_every_open_choice_and_its_value():
    table = tables.readings(demo(gamma=0.9))
    assert table.loc["gamma", "value"] == "0.9"
    assert {"unit_norm", "moves", "positives", "beta_growth"} <= set(table.index)
    assert "batch_size" not in table.index
