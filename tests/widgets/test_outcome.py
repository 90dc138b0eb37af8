"""Figures of a run's outcome, and all figures of a run by subject."""

import numpy as np
import pytest
from pandas import DataFrame

from helpers.fake_runs import fake_run
from ipr_core.results import drawn, fairness
from ipr_core.results.table import Table
from ipr_widgets import look, of_run, outcome


@pytest.fixture
def runs(frozen, data, tmp_path):
    """A finished run of IPR and one of the baseline, right on all of D3 but two utterances."""
    right = np.arange(len(data.rows("D3"))) > 1
    confusion = np.diag([3] * len(data.classes)).tolist()
    return [
        fake_run(tmp_path, frozen.replace(system=system), data, (0.2, 0.5), confusion, right)
        for system in ("ipr", "baseline")
    ]


def test_each_run_has_its_accuracy_and_interval(runs):
    fig = outcome.recognition(runs)
    assert [trace.y[0] for trace in fig.data] == ["IPR", "baseline"]
    assert [trace.x[0] for trace in fig.data] == [50, 50]
    assert fig.data[0].marker.symbol != fig.data[1].marker.symbol
    assert fig.layout.annotations[0].text == "always the same emotion"


def test_a_class_without_utterances_has_no_recall(frozen, data, tmp_path):
    confusion = np.diag([3, 3, 3, 0]).tolist()
    fig = outcome.recalls(fake_run(tmp_path, frozen, data, (0.2, 0.5), confusion))
    assert [trace.y[0] for trace in fig.data] == list(data.classes[:3])
    assert [trace.x[0] for trace in fig.data] == [100] * 3


def test_a_curve_of_reliability_stands_for_each_run_with_its_error(runs):
    fig = outcome.reliability(runs)
    assert [trace.name.partition(",")[0] for trace in fig.data[1:]] == ["IPR", "baseline"]
    assert all("ECE" in trace.name for trace in fig.data[1:])


def test_speakers_stand_in_the_order_of_their_recall(runs):
    table = fairness.by_speaker(runs[0])
    fig = outcome.by_speaker(table)
    assert list(fig.layout.yaxis.categoryarray) == table.values["speaker"].tolist()
    rows = DataFrame({"speaker": [f"s{i:03}" for i in range(200)], "utterances": 5, "recall, %": np.arange(200) / 2})
    crowd = outcome.by_speaker(Table("speakers", "", rows.assign(**{"95 % from": 0.0, "to": 100.0})))
    assert len(crowd.data[0].y) == outcome.SPEAKERS
    assert {crowd.data[0].y[0], crowd.data[0].y[-1]} == {"s000", "s199"}


def test_sexes_have_symbols_and_a_legend(runs):
    table = fairness.by_speaker(runs[0])
    sexes = ["female", "male"] * len(table.values)
    fig = outcome.by_speaker(Table("speakers", "", table.values.assign(sex=sexes[: len(table.values)])))
    assert {trace.name: trace.marker.symbol for trace in fig.data} == {"female": "circle", "male": "square"}
    assert all(trace.showlegend for trace in fig.data)


def test_all_figures_of_a_run_have_a_name_of_their_own_and_a_title(trained):
    drawings = of_run.drawings(trained)
    names = [drawing.name for drawing in drawings]
    assert len(set(names)) == len(names) > 15
    assert [drawing.name for drawing in drawings if drawing.subject == drawn.FIRST_PAGE] == [
        "recognition", "recalls", "reliability",
    ]  # fmt: skip
    assert all(drawing.figure.layout.title.text for drawing in drawings)
    assert {drawing.name for drawing in drawings if drawing.is_wide} >= {"planes", "moves", "partition_by_speaker"}
    assert not any(trace.type == "scattergl" for drawing in drawings for trace in look.vector(drawing.figure).data)
