"""The similarity panel without a browser: marked pairs, and the redrawing for them."""

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


@pytest.fixture
def panel(state):
    return similarity.Panel(state)


def content(figure):
    return json.loads(figure.figure)


def messages(figure):
    """Return a list that grows with every figure that is sent."""
    changes = []
    figure.observe(changes.append, "figure")
    return changes


def touch(figure, kind, **point):
    figure.receive({"kind": kind, "points": [{"meta": None, **point}] if point else []})


def marked(trends):
    return [tuple(trace["meta"]) for trace in content(trends)["data"] if trace.get("opacity", 1) == 1]


def outlined(matrix):
    return {(round(s["x0"] + 0.5), round(s["y0"] + 0.5)) for s in content(matrix)["layout"].get("shapes", [])}


def test_a_panel_without_a_run_has_a_note():
    state = RunState()
    panel = similarity.Panel(state)
    assert "No epoch has been trained yet" in panel.matrix.figure
    assert "No epoch has been trained yet" in panel.trends.figure
    assert panel.pair_choice.value == ()
    assert state.faults == {}


def test_a_cell_that_is_pointed_at_marks_its_trend_and_leaving_clears(panel, state):
    touch(panel.matrix, "hover", x="sad", y="angry")
    assert state.pair == (0, 2) == panel.pair_choice.value
    assert marked(panel.trends) == [(0, 2)]
    assert outlined(panel.matrix) == {(0, 2), (2, 0)}
    touch(panel.matrix, "leave", x="sad", y="angry")
    assert state.pair == () == panel.pair_choice.value
    assert len(marked(panel.trends)) == 3
    assert outlined(panel.matrix) == set()


def test_a_trend_that_is_pointed_at_outlines_its_cells(panel, state):
    touch(panel.trends, "hover", x=2, y=0.0, meta=[1, 2])
    assert state.pair == (1, 2)
    assert outlined(panel.matrix) == {(1, 2), (2, 1)}


def test_a_prototype_against_itself_marks_nothing(panel, state):
    touch(panel.matrix, "hover", x="sad", y="angry")
    touch(panel.matrix, "hover", x="sad", y="sad")
    assert state.pair == ()
    assert len(marked(panel.trends)) == 3


def test_the_keyboard_marks_a_pair_too(panel, state):
    assert [name for name, _ in panel.pair_choice.options] == [
        "all pairs",
        "angry and happy",
        "angry and sad",
        "happy and sad",
    ]
    panel.pair_choice.value = (0, 1)
    assert state.pair == (0, 1)
    assert marked(panel.trends) == [(0, 1)]
    assert outlined(panel.matrix) == {(0, 1), (1, 0)}


def test_a_pair_that_is_marked_already_sends_nothing(panel, state):
    touch(panel.matrix, "hover", x="sad", y="angry")
    figures = messages(panel.matrix), messages(panel.trends)
    touch(panel.matrix, "hover", x="angry", y="sad")
    touch(panel.trends, "hover", x=1, y=0.0, meta=[0, 2])
    assert figures == ([], [])


def test_a_figure_is_redrawn_once_and_only_for_its_content(state, monkeypatch):
    calls = []
    for name in ("_matrix", "_page", "_trends"):
        draw = getattr(similarity, name)
        monkeypatch.setattr(similarity, name, lambda state, draw=draw, name=name: (calls.append(name), draw(state))[1])
    similarity.Panel(state)
    calls.clear()
    state.change(focus=3, selection=(1, 2), status="running")
    assert calls == []
    state.on_event(event(5))  # events and the epoch change together
    assert sorted(calls) == ["_page", "_trends"]
    calls.clear()
    state.change(epoch=2)  # in the trends a line moves
    assert calls == ["_page"]
    calls.clear()
    state.change(epoch=1, pair=(0, 1))  # an outline is of the frame
    assert sorted(calls) == ["_matrix", "_trends"]
    calls.clear()
    state.change(epoch=2, pair=())
    calls.clear()
    state.on_event(event(6))  # somebody looks at an earlier epoch: the matrix stays
    assert calls == ["_trends"]


def test_the_epoch_that_is_looked_at_has_a_line_and_its_matrix(panel, state):
    state.change(epoch=1)
    assert "epoch 1" in content(panel.matrix)["layout"]["title"]["text"]
    lines = [s for s in content(panel.trends)["layout"]["shapes"] if s["type"] == "line"]
    assert [(line["x0"], line["x1"]) for line in lines] == [(1, 1)]
    assert len(content(panel.trends)["data"][0]["x"]) == 5


def test_another_corpus_has_other_pairs(panel, state):
    panel.pair_choice.value = (0, 1)
    state.change(data=Dataset(None, None, ("bored", "calm"), False), pair=(), events=(), epoch=-1)
    assert [name for name, _ in panel.pair_choice.options] == ["all pairs", "bored and calm"]
    assert panel.pair_choice.value == state.pair == ()


def test_a_touch_that_makes_no_sense_is_a_fault_and_stops_nothing(panel, state):
    touch(panel.matrix, "hover", x="nobody", y="sad")
    assert "ValueError" in state.faults["prototype similarity"]


def test_explained_words(panel):
    assert panel.about.value.count("<abbr title=") == 2


def test_both_figures_fit_their_height(panel):
    for figure in (panel.matrix, panel.trends):
        assert figure.height + 60 <= 430
