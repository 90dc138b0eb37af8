"""Corrections in the explorer: kept, withdrawn, shown, and refused."""

import csv

import pytest

from ipr_core.runs import corrections
from ipr_core.training.runner import Began
from ipr_widgets.corrections import Correction
from ipr_widgets.explorer import Explorer
from ipr_widgets.state import RunState


@pytest.fixture(autouse=True)
def ada(monkeypatch):
    """A user of the computer, and a kernel in which nobody has corrected anything."""
    monkeypatch.setattr(Correction, "last_author", None)
    monkeypatch.setattr("ipr_widgets.corrections.getpass.getuser", lambda: "ada")


def test_a_correction_is_kept_and_shown_and_withdrawn(panel, state, run, data):
    assert panel.correction.author.value == "ada"
    state.change(focus=7)
    panel.correction.label.value, panel.correction.author.value, panel.correction.note.value = "sad", "Grace", "<slow>"
    panel.correction.keep.click()
    (row,) = corrections.read(run).to_dict("records")
    assert (row["id"], row["label"], row["who"], row["note"]) == (data.table["id"][7], "sad", "Grace", "<slow>")
    assert state.corrected == 1
    assert all(text in panel.correction.message.value for text in ("sad", "Grace", row["when"], "&lt;slow&gt;"))
    assert panel.correction.note.value == ""
    state.change(focus=8)
    assert "Grace" not in panel.correction.message.value
    assert panel.correction.label.value is None
    assert panel.correction.withdraw.disabled
    state.change(focus=7)
    assert panel.correction.label.value == "sad"
    panel.correction.withdraw.click()
    assert corrections.newest(run).empty
    assert state.corrected == 2
    assert "Grace" not in panel.correction.message.value
    assert state.faults == {}


@pytest.mark.parametrize("text", ["=1+1", "@SUM(A1)", '<img src=x onerror="alert(1)">', "'=x", "-"])
def test_who_and_note_are_text_in_the_panel_and_no_formula_in_the_file(panel, state, run, text):
    state.change(focus=7)
    panel.correction.label.value, panel.correction.author.value, panel.correction.note.value = "sad", text, text
    panel.correction.keep.click()
    (row,) = corrections.read(run).to_dict("records")
    assert (row["who"], row["note"]) == (text, text)
    assert "<img" not in panel.correction.message.value
    cells = next(csv.reader((run.folder / "corrections" / "history.csv").read_text().splitlines()[1:]))
    assert not [cell for cell in cells if cell.startswith(("=", "@", "-"))]


def test_a_name_is_remembered_by_the_next_panel(panel, state):
    state.change(focus=7)
    panel.correction.label.value, panel.correction.author.value = "sad", "Grace"
    panel.correction.keep.click()
    assert Explorer(state).correction.author.value == "Grace"


def test_corrections_that_were_made_before_are_shown(run, data):
    corrections.add(run, data.table["id"][5], "angry", "Grace")
    state = RunState()
    state.on_event(Began(run, data))
    panel = Explorer(state)
    state.change(focus=5)
    assert "Grace" in panel.correction.message.value
    assert panel.correction.label.value == "angry"


def test_a_refused_correction_is_shown_and_not_raised(panel, state, run):
    state.change(focus=7)
    panel.correction.keep.click()
    assert "choose an emotion first" in panel.correction.message.value
    panel.correction.label.value, panel.correction.author.value = "sad", " "
    panel.correction.keep.click()
    assert "needs the name" in panel.correction.message.value
    assert corrections.read(run).empty
    assert state.corrected == 0


def test_a_damaged_history_is_shown_and_the_utterance_is_still_heard(panel, state, run, data):
    (run.folder / "corrections").mkdir()
    (run.folder / "corrections" / "history.csv").write_text("nonsense\n")
    state.change(focus=7)
    assert "history.csv, line 1" in panel.correction.message.value
    assert data.table["id"][7] in panel.player.caption.value
    panel.listing.part.value = "!"
    assert "history.csv, line 1" in panel.listing.count.value
    assert "history.csv, line 1" in state.faults["list of utterances"]


def test_an_unforeseen_error_is_a_fault_and_goes_when_it_works_again(panel, state, monkeypatch):
    state.change(focus=7)
    panel.correction.label.value = "sad"
    with monkeypatch.context() as patch:
        patch.setattr(corrections, "add", lambda *_: 1 / 0)
        panel.correction.keep.click()
    assert state.faults == {"corrections": "ZeroDivisionError: division by zero"}
    panel.correction.label.value = "sad"
    panel.correction.keep.click()
    assert state.faults == {}


def test_a_container_without_names_still_has_a_panel(monkeypatch, state):
    def fail():
        raise KeyError("uid not found")

    monkeypatch.setattr("ipr_widgets.corrections.getpass.getuser", fail)
    assert Explorer(state).correction.author.value == ""
