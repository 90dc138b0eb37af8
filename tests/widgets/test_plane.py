"""The plane of the embeddings, drawn from points and tables alone."""

import json

import numpy as np
import plotly.graph_objects as go
import pytest

from helpers.fake_events import CLASSES
from helpers.fake_utterances import utterances
from helpers.figures import hover, notes, trace
from ipr_widgets import colours, plane
from ipr_widgets.layout import Plane


def test_a_figure_without_a_plane_has_a_note():
    assert "at least 16" in notes(plane.panels([], utterances(), CLASSES, ["now"]))[0]


def test_points_have_the_colour_of_their_truth_the_symbol_of_their_part_and_their_row():
    points = np.arange(10.0).reshape(5, 2)
    rows = utterances().set_axis([3, 5, 7, 9, 11])
    fig = plane.panels([Plane(points, np.ones((3, 2)))] * 2, rows, CLASSES, ["before", "after"])
    angry = trace(fig, "angry")
    assert [facts[0] for facts in angry.customdata] == [3, 7, 11]
    assert list(angry.x) == [0, 4, 8]
    assert list(angry.marker.symbol) == [plane.SYMBOLS[part] for part in ("D1", "D2", "D2")]
    assert angry.marker.color == colours.colour("angry")
    assert hover(angry, 1).startswith("<b>c</b>, D2<br>truth: angry")
    assert {t.type for t in fig.data} == {"scattergl"}
    stars = [t for t in fig.data if t.name == "prototypes"]
    assert [list(t.marker.color) for t in stars] == [[colours.colour(name) for name in CLASSES]] * 2
    assert stars[0].marker.line.color == colours.INK  # white would not be seen on a light page
    assert [t.showlegend for t in fig.data if t.name == "angry"] == [True, False]
    assert [t.showlegend for t in stars] == [False, False]  # the symbol has an entry of its own


def test_a_plane_marks_selection_and_focus_within_the_given_axes():
    points = Plane(np.arange(10.0).reshape(5, 2), np.ones((3, 2)))
    fig = plane.epoch(points, utterances(), CLASSES, "now", "partition", (-1, 9, -1, 10), plane.View((2, 4), 3))
    d1, d2 = trace(fig, "D1, precise"), trace(fig, "D2, ambiguous")
    assert (list(d1.selectedpoints), list(d2.selectedpoints)) == ([], [0, 1])
    assert list(trace(fig, "looked at").x) == [6]
    assert (list(fig.layout.xaxis.range), list(fig.layout.yaxis.range)) == ([-1, 9], [-1, 10])
    assert all(t.selectedpoints is None for t in plane.epoch(points, utterances(), CLASSES, "now").data)


@pytest.mark.parametrize("colouring", plane.COLOURINGS)
def test_plotly_knows_every_attribute_of_a_plane(colouring):
    rows = utterances().assign(prototypes="sad", classifier="happy", single_label="sad", agree=True, entropy=0.5)
    view = plane.View(focus=3, trail=np.arange(6.0).reshape(3, 2), size=4)
    fig = plane.epoch(Plane(np.arange(10.0).reshape(5, 2), np.ones((3, 2))), rows, CLASSES, "now", colouring, view=view)
    checked = go.Figure(fig.to_dict())  # which `epoch` leaves out
    assert json.loads(checked.to_json()) == json.loads(fig.to_json())


def test_a_point_tells_all_that_an_epoch_says_of_it():
    rows = utterances().assign(prototypes="sad", classifier="happy", agree=False, entropy=0.516)
    fig = plane.epoch(Plane(np.arange(10.0).reshape(5, 2), np.ones((3, 2))), rows, CLASSES, "now")
    words = hover(trace(fig, "angry"), 0).split("<br>")
    assert words[0].startswith("<b>a</b>, ")
    assert words[1] == "truth: angry"
    assert words[-3:] == ["prototypes: sad", "classifier: happy", "entropy: 0.52 bits<extra></extra>"]


def test_labels_of_an_epoch_follow_the_labeller():
    model, soft = np.array([[1, 0, 0], [0.5, 0.5, 0]]), np.array([[0, 1, 0], [0.6, 0.4, 0]])
    rows = utterances().iloc[:2]
    labelled = [plane.table(rows, model, soft, CLASSES, by_prototypes) for by_prototypes in (True, False)]
    assert [list(rows["single_label"]) for rows in labelled] == [["happy", "angry"], ["angry", "angry"]]
    assert list(labelled[0]["agree"]) == [False, True]
    np.testing.assert_allclose(labelled[1]["entropy"], [0, 1])


def test_speakers_have_a_colour_each():
    rows = utterances().assign(speaker=["5", "6", "5", "10", "6"])
    (colour,) = [colour for _, _, colour in plane.COLOURINGS[plane.SPEAKER].groups(rows, CLASSES)]
    assert len({*colour}) == 3
    assert (colour[0], colour[1]) == (colour[2], colour[4])
