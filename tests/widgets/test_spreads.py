"""Figures over several runs: their traces, and their notes if there is nothing to draw."""

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from helpers.figures import notes, trace
from ipr_core.calibration import Calibration
from ipr_core.results import ablations, comparisons, over_seeds, soft_labels
from ipr_widgets import colours, look, spreads

CLASSES = ("angry", "happy", "sad", "neutral")


@pytest.fixture(scope="module")
def batch(frozen, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    counts = [[3, 1, 0, 0], [0, 2, 2, 0], [1, 0, 1, 0], [1, 1, 1, 1]]
    values = {("ipr", 0): (0.6, 0.8), ("baseline", 0): (0.5, 0.6), ("baseline", 1): (0.51, 0.6)}
    return [
        fake_run(folder, frozen.replace(system=system, seed=seed, stream=stream), data, (0.2, value), confusion=counts)
        for (system, stream), accuracies in values.items()
        for seed, value in enumerate(accuracies)
    ]


def text(fig):
    return " ".join(notes(fig))


def test_every_axis_has_a_title_and_no_figure_a_background(batch):
    figures = [
        spreads.curves(batch),
        spreads.recalls(over_seeds.recalls(batch), CLASSES),
        spreads.differences(comparisons.differences(batch, "baseline")),
        spreads.differences(comparisons.differences(batch, "baseline", pairs="seeds")),
        spreads.differences(comparisons.differences(batch, "baseline", pairs="utterances")),
        spreads.soft(over_seeds.soft(batch)),
    ]
    for fig in figures:
        axes = [*fig.select_xaxes(), next(fig.select_yaxes())]
        assert all(axis.title.text for axis in axes), fig.layout.title.text
        assert fig.layout.template.layout.paper_bgcolor == "rgba(0, 0, 0, 0)"
        assert len(fig.data) > 0


def test_curves_have_the_mean_and_a_band_of_one_deviation(batch):
    fig = spreads.curves(batch, {"accuracy": "accuracy on D3"})
    line, band = trace(fig, "IPR"), trace(fig, "IPR, deviation")
    assert list(line.x) == [0, 1]
    assert list(line.y) == pytest.approx([20, 70])
    deviation = np.std([60, 80], ddof=1)
    assert list(band.x) == [0, 1, 1, 0]
    assert list(band.y) == pytest.approx([20, 70 + deviation, 70 - deviation, 20])
    assert (line.legendgroup, line.line.color) == (band.legendgroup, band.fillcolor)
    shades = [shape for shape in fig.layout.shapes if shape.type == "rect"]
    assert [(shape.x0, shape.x1) for shape in shades] == [(-0.5, 0.5)]


def test_the_band_of_one_seed_has_no_width(batch):
    band = trace(spreads.curves(batch[:1], {"accuracy": ""}), "IPR, deviation")
    assert list(band.y) == pytest.approx([20, 60, 60, 20])


def test_recalls_have_the_colours_of_their_emotions_and_bars_of_a_deviation(batch):
    fig = spreads.recalls(over_seeds.recalls(batch), CLASSES)
    angry = trace(fig, "angry")
    assert list(angry.x) == ["baseline", "IPR"]
    assert list(angry.y) == [75, 75]
    assert angry.marker.color == colours.colour("angry")
    assert list(angry.error_y.array) == [0, 0]


def test_differences_have_intervals_and_the_noise_is_shaded(batch):
    table = comparisons.differences(batch, "baseline", pairs="seeds")
    fig = spreads.differences(table)
    (dots,) = fig.data
    (row,) = table.values.to_dict("records")
    assert list(dots.x) == [pytest.approx(15)]
    assert list(dots.y) == ["IPR − baseline"]
    assert dots.x[0] + dots.error_x.array[0] == pytest.approx(row["to"])
    assert dots.x[0] - dots.error_x.arrayminus[0] == pytest.approx(row["95 % from"])
    (shade,) = fig.layout.shapes
    assert (shade.x0, shade.x1) == pytest.approx((-row["reference's noise"], row["reference's noise"]))
    assert list(dots.marker.color) == [colours.PROTOTYPES]  # outside the noise


def test_soft_labels_stand_beside_uniform_ones(batch):
    table = over_seeds.soft(batch)
    fig = spreads.soft(table, "D3")
    assert [t.name for t in fig.data] == list(spreads.MEASURES)
    levels = [shape.y0 for shape in fig.layout.shapes if shape.type == "line"]
    (uniform,) = table.values.query("system == @soft_labels.UNIFORM and part == 'D3'").to_dict("records")
    named = [name for name in spreads.MEASURES if name != "ECE"]  # uniform labels name no class
    assert levels == pytest.approx([uniform[name] for name in named])
    assert list(fig.data[0].x) == ["baseline", "IPR", soft_labels.PRIOR, soft_labels.MEAN]


def test_uncalibrated_labels_stand_open_at_their_system(frozen, data, tmp_path):
    calibration = Calibration(2.0, (), 10, "annotators")
    table = over_seeds.soft([fake_run(tmp_path, frozen, data, (0.2, 0.5), soft=data.mixtures, calibration=calibration)])
    points = spreads.soft(table).data[0]
    assert list(points.x)[:2] == ["IPR", "IPR"]
    assert list(points.marker.symbol)[:2] == ["circle", "circle-open"]
    assert list(points.marker.color)[2:] == [colours.INK] * 2  # of the constants


def test_the_title_warns_of_simulated_votes(frozen, data, tmp_path):
    run = fake_run(tmp_path, frozen, data, (0.2, 0.5), simulated=True)
    assert "SIMULATED" in spreads.soft(over_seeds.soft([run])).layout.title.text


def test_every_system_is_told_apart_and_none_has_an_emotions_colour():
    from ipr_core.method.systems import SYSTEMS

    looks = [spreads.looks(name) for name in SYSTEMS]
    assert len(set(looks)) == len(SYSTEMS)
    assert not {colour for colour, _ in looks} & set(colours.EMOTIONS.values())


def test_a_figure_with_nothing_to_draw_has_a_note():
    assert look.NO_EPOCH in text(spreads.curves([]))
    assert "ipr batch table3" in text(spreads.recalls(over_seeds.recalls([]), ()))
    assert "two seeds" in text(spreads.differences(comparisons.differences([], pairs="seeds")))
    assert "ipr batch ablations" in text(spreads.differences(ablations.effects(ablations.arrange([]))))
    assert "ipr batch table3" in text(spreads.soft(over_seeds.soft([])))
