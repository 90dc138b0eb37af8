"""The similarity panel without a browser: what marks a pair, and what is redrawn for it."""

import json

import pytest

from helpers.fake_events import CLASSES, EVENTS, event
from ipr_core.data.dataset import Dataset
from ipr_widgets import similarity
from ipr_widgets.state import RunState


@pytest.fixture
def state():
    state = RunState()
    state.change(data=Dataset(None, None, CLASSES, False), events=tuple(EVENTS), epoch=4)
    return state


def parts(panel):
    """The dropdown, the matrix and the trends."""
    head, figures = panel.children
    return head.children[0], *figures.children


def shown(figure):
    return json.loads(figure.figure)


def sent(figure):
    """Grows with every figure that is sent."""
    found = []
    figure.observe(found.append, "figure")
    return found


def touch(figure, kind, **point):
    figure._on_touch(None, {"kind": kind, "points": [{"meta": None, **point}] if point else []}, [])


def marked(trends):
    return [tuple(trace["meta"]) for trace in shown(trends)["data"] if trace.get("opacity", 1) == 1]


def outlined(matrix):
    return {(round(s["x0"] + 0.5), round(s["y0"] + 0.5)) for s in shown(matrix)["layout"].get("shapes", [])}


def test_before_anything_began_it_says_so():
    state = RunState()
    choice, matrix, trends = parts(similarity.panel(state))
    assert "No epoch has been trained yet" in matrix.figure
    assert "No epoch has been trained yet" in trends.figure
    assert choice.value == ()
    assert state.faults == {}


def test_a_cell_that_is_pointed_at_marks_its_trend_and_leaving_clears(state):
    choice, matrix, trends = parts(similarity.panel(state))
    touch(matrix, "hover", x="sad", y="angry")
    assert state.pair == (0, 2) == choice.value
    assert marked(trends) == [(0, 2)]
    assert outlined(matrix) == {(0, 2), (2, 0)}
    touch(matrix, "leave", x="sad", y="angry")
    assert state.pair == () == choice.value
    assert len(marked(trends)) == 3
    assert outlined(matrix) == set()


def test_a_trend_that_is_pointed_at_outlines_its_cells(state):
    _, matrix, trends = parts(similarity.panel(state))
    touch(trends, "hover", x=2, y=0.0, meta=[1, 2])
    assert state.pair == (1, 2)
    assert outlined(matrix) == {(1, 2), (2, 1)}


def test_a_prototype_against_itself_marks_nothing(state):
    _, matrix, trends = parts(similarity.panel(state))
    touch(matrix, "hover", x="sad", y="angry")
    touch(matrix, "hover", x="sad", y="sad")
    assert state.pair == ()
    assert len(marked(trends)) == 3


def test_the_keyboard_marks_a_pair_too(state):
    choice, matrix, trends = parts(similarity.panel(state))
    assert [name for name, _ in choice.options] == ["all pairs", "angry and happy", "angry and sad", "happy and sad"]
    choice.value = (0, 1)
    assert state.pair == (0, 1)
    assert marked(trends) == [(0, 1)]
    assert outlined(matrix) == {(0, 1), (1, 0)}


def test_a_pair_that_is_marked_already_sends_nothing(state):
    _, matrix, trends = parts(similarity.panel(state))
    touch(matrix, "hover", x="sad", y="angry")
    figures = sent(matrix), sent(trends)
    touch(matrix, "hover", x="angry", y="sad")
    touch(trends, "hover", x=1, y=0.0, meta=[0, 2])
    assert figures == ([], [])


def test_a_figure_is_redrawn_once_and_only_for_what_it_shows(state, monkeypatch):
    drawn = []
    for name in ("_matrix", "_page", "_trends"):
        draw = getattr(similarity, name)
        monkeypatch.setattr(similarity, name, lambda state, draw=draw, name=name: (drawn.append(name), draw(state))[1])
    similarity.panel(state)
    drawn.clear()
    state.change(focus=3, selection=(1, 2), status="running")
    assert drawn == []
    state.on_event(event(5))  # events and the epoch change together
    assert sorted(drawn) == ["_page", "_trends"]
    drawn.clear()
    state.change(epoch=2)  # in the trends a line moves
    assert drawn == ["_page"]
    drawn.clear()
    state.change(epoch=1, pair=(0, 1))  # an outline is of the frame
    assert sorted(drawn) == ["_matrix", "_trends"]
    drawn.clear()
    state.change(epoch=2, pair=())
    drawn.clear()
    state.on_event(event(6))  # somebody looks at an earlier epoch: the matrix stays
    assert drawn == ["_trends"]


def test_the_epoch_that_is_looked_at_has_a_line_and_its_matrix(state):
    _, matrix, trends = parts(similarity.panel(state))
    state.change(epoch=1)
    assert "epoch 1" in shown(matrix)["layout"]["title"]["text"]
    lines = [s for s in shown(trends)["layout"]["shapes"] if s["type"] == "line"]
    assert [(line["x0"], line["x1"]) for line in lines] == [(1, 1)]
    assert len(shown(trends)["data"][0]["x"]) == 5


def test_another_corpus_has_other_pairs(state):
    choice, *_ = parts(similarity.panel(state))
    choice.value = (0, 1)
    state.change(data=Dataset(None, None, ("bored", "calm"), False), pair=(), events=(), epoch=-1)
    assert [name for name, _ in choice.options] == ["all pairs", "bored and calm"]
    assert choice.value == state.pair == ()


def test_a_touch_that_makes_no_sense_is_told_and_stops_nothing(state):
    _, matrix, _ = parts(similarity.panel(state))
    touch(matrix, "hover", x="nobody", y="sad")
    assert "ValueError" in state.faults["prototype similarity"]


def test_explained_words(state):
    head = similarity.panel(state).children[0].children[1].value
    assert head.count("<abbr title=") == 2


def test_both_figures_fit_their_height(state):
    for figure in parts(similarity.panel(state))[1:]:
        assert figure.height + 60 <= 430
