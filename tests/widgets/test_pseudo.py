"""The pseudo-label panel without a browser: what is drawn when, and how a collapse is told."""

import json

import pandas as pd
import pytest

from helpers.fake_events import CLASSES, EVENTS, event
from ipr_core.data.dataset import Dataset
from ipr_widgets import pseudo
from ipr_widgets.state import RunState


def table(angry, happy, sad):
    labels = ["angry"] * angry + ["happy"] * happy + ["sad"] * sad
    return pd.DataFrame({"part": "D2", "label": labels})


@pytest.fixture
def state():
    state = RunState()
    state.change(data=Dataset(table(3, 3, 4), None, CLASSES, False), events=tuple(EVENTS), epoch=4)
    return state


def parts(panel):
    """The line of words, the tabs, and the figure of each."""
    warning, tabs = panel.children
    return warning, tabs, [sheet.children[1] for sheet in tabs.children]


def title(figure):
    return json.loads(figure.figure)["layout"]["title"]["text"] if figure.figure else None


def test_before_anything_began_it_says_so():
    state = RunState()
    warning, _, figures = parts(pseudo.panel(state))
    assert warning.value == "No pseudo-labels yet."
    assert "No epoch has been trained yet" in figures[0].figure
    assert state.faults == {}


def test_only_the_tab_in_sight_is_drawn_the_others_when_they_are_opened(state):
    _, tabs, figures = parts(pseudo.panel(state))
    assert [title(figure) for figure in figures] == ["Pseudo-labels of D2 that agree with the truth"] + [None] * 5
    tabs.selected_index = 1
    assert title(figures[1]) == "Pseudo-labels of D2 per class"
    before = figures[0].figure
    state.on_event(event(5))
    assert figures[0].figure == before
    assert len(json.loads(figures[1].figure)["data"][0]["x"]) == 6
    tabs.selected_index = 0
    assert len(json.loads(figures[0].figure)["data"][0]["x"]) == 6


def test_a_tab_that_is_as_it_should_be_is_not_sent_again(state):
    _, tabs, figures = parts(pseudo.panel(state))
    sent = []
    figures[0].observe(sent.append, "figure")
    tabs.selected_index = 2
    tabs.selected_index = 0
    state.change(focus=2, pair=(0, 1))
    assert sent == []


def test_every_tab_draws_and_marks_the_epoch(state):
    _, tabs, figures = parts(pseudo.panel(state))
    state.change(epoch=2)
    for number, figure in enumerate(figures):
        tabs.selected_index = number
        layout = json.loads(figure.figure)["layout"]
        at = [s for s in layout["shapes"] if s["type"] == "line" and s["x0"] == s["x1"] == 2]
        assert len(at) == (2 if tabs.get_title(number) == "Counts" else 1), tabs.get_title(number)
        assert figure.height == 264
        assert layout["legend"]["orientation"] == "h"
    assert state.faults == {}


def test_true_counts_are_those_of_d2_and_nothing_where_they_are_not_known(state):
    assert pseudo.true_counts(state) == [3, 3, 4]
    state.change(events=(event(0, agreement_model=None),), epoch=0)
    assert pseudo.true_counts(state) is None
    assert pseudo.true_counts(RunState()) is None


@pytest.mark.parametrize(
    ("counts", "truth", "told"),
    [
        ([40, 30, 30], [30, 30, 40], []),
        ([81, 10, 9], [30, 30, 40], ["81 % of D2 are angry; 30 % are"]),
        ([81, 10, 9], [75, 15, 10], []),  # so it is
        ([81, 10, 9], None, ["81 % of D2 are angry"]),
        ([59, 40, 1], [30, 30, 40], ["1 % of D2 are sad; 40 % are"]),
        ([59, 40, 1], [60, 38, 2], []),
        ([100, 0, 0], [30, 30, 40], ["100 % of D2 are angry", "0 % of D2 are happy", "0 % of D2 are sad"]),
    ],
)
def test_a_collapse_is_a_share_far_from_the_true_one(counts, truth, told):
    even = [33, 33, 34]
    for who, values in {
        "prototypes": dict(labels_prototypes=counts, labels_model=even),
        "classifier": dict(labels_prototypes=even, labels_model=counts),
    }.items():
        found = pseudo.collapse(event(3, **values), CLASSES, truth)
        assert len(found) == len(told)
        for sentence, part in zip(found, told, strict=True):
            assert part in sentence
            assert who in sentence


def test_the_words_are_those_of_the_epoch_that_is_looked_at(state):
    warning, *_ = parts(pseudo.panel(state))
    assert warning.value == "Epoch 4: no collapse; by the prototypes every class has 20 to 40 % of D2."
    state.on_event(event(5, labels_prototypes=[10, 0, 0]))
    assert "Collapse at epoch 5:" in warning.value
    assert "by the prototypes, 100 % of D2 are angry; 30 % are" in warning.value
    state.change(epoch=4)
    assert "no collapse" in warning.value


def test_a_figure_that_fails_says_so_and_recovers(state, monkeypatch):
    def broken(events):
        raise ZeroDivisionError("of no use")

    monkeypatch.setattr(pseudo.curves, "agreement", broken)
    _, _, figures = parts(pseudo.panel(state))
    assert "This figure failed: of no use" in figures[0].figure
    assert state.faults == {"pseudo-labels": "ZeroDivisionError: of no use"}
    monkeypatch.undo()
    state.change(epoch=1)
    assert title(figures[0]) == "Pseudo-labels of D2 that agree with the truth"
    assert state.faults == {}


def test_jargon_is_explained(state):
    _, tabs, _ = parts(pseudo.panel(state))
    words = "".join(sheet.children[0].value for sheet in tabs.children)
    for word in ("D2", "pseudo-labels", "gate", "β", "UAR"):
        assert f">{word}</abbr>" in words
