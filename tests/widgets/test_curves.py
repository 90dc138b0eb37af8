"""Figures over the epochs, from events alone."""

import pytest

from helpers.fake_events import CLASSES, EVENTS, event
from helpers.figures import figures_over_epochs, notes, trace
from ipr_widgets import colours, curves, matrices


def test_the_warm_up_is_shaded_in_every_panel_and_epochs_count_from_0():
    for fig in figures_over_epochs(EVENTS):
        shades = [shape for shape in fig.layout.shapes if shape.type == "rect"]
        assert [(shape.x0, shape.x1) for shape in shades] == [(-0.5, 1.5)] * len(list(fig.select_xaxes()))
        assert list(fig.data[0].x) == [0, 1, 2, 3, 4]


def test_without_warm_up_nothing_is_shaded():
    assert not curves.beta([event(0, warm_up=0)]).layout.shapes


def test_terms_that_the_warm_up_lacks_are_gaps_and_those_that_a_system_lacks_are_left_out():
    fig = curves.losses(EVENTS)
    assert list(trace(fig, "contrastive (Eq. 5)").y) == [None, None, 2.0, 2.0, 2.0]
    assert list(trace(fig, "loss on D1").y) == [1.0] * 5
    baseline = [event(e, losses=dict(precise=1.0, ambiguous=0.0, contrastive=0.0, total=1.0)) for e in range(3)]
    assert [t.name for t in curves.losses(baseline).data] == ["total", "loss on D1"]


def test_every_pair_of_prototypes_has_a_curve_in_the_colours_of_both():
    fig = curves.cosine_trends(EVENTS, CLASSES)
    assert {t.name: t.y[0] for t in fig.data} == {"angry and happy": 0.25, "angry and sad": -0.5, "happy and sad": 0.0}
    curve = trace(fig, "angry and sad")
    assert (curve.line.color, curve.marker.color) == (colours.colour("angry"), colours.colour("sad"))
    assert list(curve.meta) == [0, 2]


def test_a_pair_stands_out_among_the_trends_and_its_two_cells_have_an_outline():
    fig = curves.cosine_trends(EVENTS, CLASSES, pair=(0, 2))
    assert [(list(t.meta), t.opacity == 1, t.line.width) for t in fig.data] == [
        ([0, 1], False, 1), ([0, 2], True, 4), ([1, 2], False, 1),
    ]  # fmt: skip
    cells = matrices.cosines(EVENTS, CLASSES, pair=(0, 2)).layout.shapes
    assert [(cell.x0, cell.x1, cell.y0, cell.y1) for cell in cells] == [(-0.5, 0.5, 1.5, 2.5), (1.5, 2.5, -0.5, 0.5)]
    assert {t.opacity for t in curves.cosine_trends(EVENTS, CLASSES, pair=()).data} == {None}
    assert not matrices.cosines(EVENTS, CLASSES).layout.shapes


def test_the_epoch_that_is_looked_at_has_a_line_in_every_panel():
    for fig in (curves.cosine_trends(EVENTS, CLASSES), curves.label_counts(EVENTS, CLASSES)):
        traces = fig.to_dict()["data"]
        lines = [(line["x0"], line["x1"], line["xref"]) for line in curves.marks(traces, 3)]
        assert lines == [(3, 3, "x"), (3, 3, "x2")][: len(list(fig.select_xaxes()))]
        assert curves.marks(traces, -1) == []


def test_agreement_is_in_per_cent_and_unknown_truth_has_a_note():
    fig = curves.agreement(EVENTS)
    assert trace(fig, "the prototypes'").y[0] == pytest.approx(80)
    assert trace(fig, "the classifier's").y[0] == pytest.approx(70)
    unknown = [event(0, agreement_model=None, agreement_prototypes=None)]
    assert "The true labels of D2 are not known" in notes(curves.agreement(unknown))
    assert "The true labels of D2 are not known" not in notes(fig)


def test_scores_are_in_per_cent():
    heights = {t.name.split(" ")[0]: t.y[0] for t in curves.scores(EVENTS).data[:3]}
    assert heights == pytest.approx({"accuracy": 50, "UAR": 40, "macro-F1": 30})


def test_label_counts_show_both_labellers_and_the_truth():
    fig = curves.label_counts(EVENTS, CLASSES, truth=[3, 3, 4])
    assert [trace(fig, "angry", i).y[0] for i in (0, 1)] == [4, 5]  # prototypes, classifier
    assert sorted(shape.y0 for shape in fig.layout.shapes if shape.type == "line") == [3, 3, 3, 3, 4, 4]
    assert not [s for s in curves.label_counts(EVENTS, CLASSES).layout.shapes if s.type == "line"]


def test_moves_are_the_labels_changed_and_the_angles():
    fig = curves.moves(EVENTS, CLASSES)
    assert list(trace(fig, "changed by this epoch's moves").y) == [None, None, 2, 3, 4]
    assert list(trace(fig, "other than by D1's means").y) == [None, None, 4, 6, 8]
    assert list(trace(fig, "happy").y) == [None, None, 0.25, 0.25, 0.25]
    unmoved = [event(3, labels_changed=None, labels_beyond_d1=None, angles=None)]
    assert "D2 has moved no prototypes so far" in notes(curves.moves(unmoved, CLASSES))


def test_the_gate_has_gaps_and_a_system_without_two_views_has_a_note():
    assert list(curves.gate(EVENTS).data[0].y) == [None, None, 90.0, 90.0, 90.0]
    assert "No epoch so far compared two views of D2" in notes(curves.gate([event(3, gate=None)]))
