"""The pseudo-label panel without a browser: its drawings, and its warning of a collapse."""

import itertools
import json

import pandas as pd
import pytest

from helpers.fake_events import CLASSES, EVENTS, event
from ipr_core.data.dataset import Dataset
from ipr_core.training.runner import Began
from ipr_widgets import pseudo
from ipr_widgets.state import RunState


def table(angry, happy, sad):
    labels = ["angry"] * angry + ["happy"] * happy + ["sad"] * sad
    return pd.DataFrame({"part": "D2", "label": labels})


@pytest.fixture
def state(monkeypatch):
    state = RunState()
    state.change(data=Dataset(table(3, 3, 4), None, CLASSES, False), events=tuple(EVENTS), epoch=4)
    monkeypatch.setattr(state, "arrays", lambda epoch: {})  # these events have no files
    return state


@pytest.fixture
def panel(state):
    return pseudo.Panel(state)


def open_tab(panel, name):
    panel.tabs.selected_index = list(panel.tabs.titles).index(name)


def title(figure):
    return json.loads(figure.figure)["layout"]["title"]["text"] if figure.figure else None


def test_a_panel_without_a_run_has_a_note():
    state = RunState()
    panel = pseudo.Panel(state)
    assert panel.warning.value == "No pseudo-labels yet."
    assert "No epoch has been trained yet" in panel.figures["Agreement"].figure
    assert state.faults == {}


def test_only_the_tab_in_sight_is_drawn_the_others_when_they_are_opened(panel, state):
    agreement, counts = panel.figures["Agreement"], panel.figures["Counts"]
    titles = [title(figure) for figure in panel.figures.values()]
    assert titles == ["Pseudo-labels of D2 that agree with the truth"] + [None] * 8
    open_tab(panel, "Counts")
    assert title(counts) == "Pseudo-labels of D2 per class"
    content = agreement.figure
    state.on_event(event(5))
    assert agreement.figure == content
    assert len(json.loads(counts.figure)["data"][0]["x"]) == 6
    open_tab(panel, "Agreement")
    assert len(json.loads(agreement.figure)["data"][0]["x"]) == 6


def test_a_tab_that_is_as_it_should_be_is_not_sent_again(panel, state):
    messages = []
    panel.figures["Agreement"].observe(messages.append, "figure")
    open_tab(panel, "Gate")
    open_tab(panel, "Agreement")
    state.change(focus=2, pair=(0, 1))
    assert messages == []


def test_every_tab_draws_and_marks_the_epoch(panel, state):
    state.change(epoch=2)
    assert list(panel.figures) == list(panel.tabs.titles)
    for name, figure in panel.figures.items():
        open_tab(panel, name)
        layout = json.loads(figure.figure)["layout"]
        lines = [s for s in layout["shapes"] if s["type"] == "line" and s["x0"] == s["x1"] == 2]
        assert len(lines) == (2 if name in ("Counts", "Moves") else 0 if name in pseudo._OF_EPOCH else 1), name
        assert figure.height == 224
        assert layout["legend"]["orientation"] == "h"
    assert state.faults == {}


def test_true_counts_are_those_of_d2_and_nothing_where_they_are_not_known(state):
    assert pseudo.true_counts(state) == [3, 3, 4]
    state.change(events=(event(0, agreement_model=None),), epoch=0)
    assert pseudo.true_counts(state) is None
    assert pseudo.true_counts(RunState()) is None


@pytest.mark.parametrize(
    ("counts", "truth", "phrases"),
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
def test_a_collapse_is_a_share_far_from_the_true_one(counts, truth, phrases):
    even = [33, 33, 34]
    for labeller, values in {
        "prototypes": dict(labels_prototypes=counts, labels_model=even),
        "classifier": dict(labels_prototypes=even, labels_model=counts),
    }.items():
        sentences = pseudo.collapse(event(3, **values), CLASSES, truth)
        assert len(sentences) == len(phrases)
        for sentence, phrase in zip(sentences, phrases, strict=True):
            assert phrase in sentence
            assert labeller in sentence


def test_the_words_are_those_of_the_epoch_that_is_looked_at(panel, state):
    warning = panel.warning
    assert warning.value == "Epoch 4: no collapse; by the prototypes every class has 20 to 40 % of D2."
    state.on_event(event(5, labels_prototypes=[10, 0, 0]))
    assert "Collapse at epoch 5:" in warning.value
    assert "by the prototypes, 100 % of D2 are angry; 30 % are" in warning.value
    state.change(epoch=4)
    assert "no collapse" in warning.value


def test_a_figure_that_fails_shows_its_error_and_recovers(state, monkeypatch):
    def fail(events):
        raise ZeroDivisionError("of no use")

    monkeypatch.setattr(pseudo.curves, "agreement", fail)
    figure = pseudo.Panel(state).figures["Agreement"]
    assert "This figure failed: of no use" in figure.figure
    assert state.faults == {"pseudo-labels": "ZeroDivisionError: of no use"}
    monkeypatch.undo()
    state.change(epoch=1)
    assert title(figure) == "Pseudo-labels of D2 that agree with the truth"
    assert state.faults == {}


def test_jargon_is_explained(panel):
    words = "".join(explanation.value for explanation in panel.explanations.values())
    for word in ("D2", "pseudo-labels", "gate", "β", "UAR"):
        assert f">{word}</abbr>" in words


def test_the_confusion_is_that_of_the_epoch_in_view_and_a_cell_selects_its_utterances(run, data):
    state = RunState()
    state.on_event(Began(run, data))
    panel = pseudo.Panel(state)
    open_tab(panel, "Confusion")
    figure = panel.figures["Confusion"]
    for epoch in (2, 0):
        state.change(epoch=epoch)
        (cells,) = json.loads(figure.figure)["data"]
        assert title(figure) == f"Confusion on D3, epoch {epoch}"
        selected = 0
        for truth, prediction in itertools.product(state.classes, repeat=2):
            figure.receive(dict(kind="click", points=[dict(x=prediction, y=truth)]))
            rows = list(state.selection)
            count = state.events[epoch].confusion[state.classes.index(truth)][state.classes.index(prediction)]
            assert len(rows) == count
            assert set(data.table["label"].iloc[rows]) <= {truth}
            assert set(data.table["part"].iloc[rows]) <= {"D3"}
            selected += len(rows)
        assert selected == len(data.rows("D3"))
        assert cells["texttemplate"] == "%{customdata}"
    assert state.faults == {}


def test_the_views_are_those_of_the_epoch_and_a_cell_selects_its_utterances(run, data):
    state = RunState()
    state.on_event(Began(run, data))
    panel = pseudo.Panel(state)
    open_tab(panel, "Two views")
    figure, d2 = panel.figures["Two views"], data.rows("D2")
    assert title(figure) == "Classes of the two views of D2, epoch 2"
    rows = {}
    for first, second in itertools.product(state.classes, repeat=2):
        figure.receive(dict(kind="click", points=[dict(x=second, y=first)]))
        rows[first, second] = state.selection
    assert sorted(itertools.chain(*rows.values())) == sorted(d2)
    passed = sum(len(rows[name, name]) for name in state.classes)
    assert passed / len(d2) == pytest.approx(state.events[2].gate)
    state.change(epoch=0)  # of the warm-up
    assert pseudo.NO_VIEWS in figure.figure
    assert state.faults == {}
