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
    panel.listing.filters.corrected.value = True
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


def keep(panel, label, row=7):
    panel.state.change(focus=row)
    panel.correction.label.value = label
    panel.correction.keep.click()


def labels(run):
    return corrections.read(run)["label"].tolist()


def test_undo_adds_lines_that_go_back_step_by_step(panel, state, run):
    assert panel.correction.undo.disabled
    keep(panel, "sad")
    keep(panel, "happy")
    panel.correction.withdraw.click()
    keep(panel, "angry", row=9)
    ends = []
    for _ in range(4):
        panel.correction.undo.click()
        ends.append(corrections.newest(run)["label"].tolist())
    assert ends == [[], ["happy"], ["sad"], []]
    assert state.faults == {}
    assert labels(run) == ["sad", "happy", "withdrawn", "angry", "withdrawn", "happy", "sad", "withdrawn"]
    assert panel.correction.undo.disabled
    assert state.corrected == 8


def test_undo_turns_to_the_utterance_and_says_who_had_kept_the_label(panel, state, run, data):
    corrections.add(run, data.table["id"][7], "happy", "Grace", "slow")
    keep(panel, "sad")
    state.change(focus=8)
    panel.correction.undo.click()
    assert state.focus == 7
    last = corrections.read(run).iloc[-1]
    assert (last["label"], last["who"]) == ("happy", "ada")
    assert last["note"].startswith("undo: kept by Grace at 2")
    assert last["note"].endswith("slow")
    assert "happy" in panel.correction.message.value
    assert panel.correction.undo.disabled  # Grace's is not of this session


def test_undo_leaves_what_another_session_has_corrected_since(panel, state, run, data):
    keep(panel, "angry", row=3)
    keep(panel, "sad")
    corrections.add(run, data.table["id"][7], "happy", "Grace")
    panel.correction.undo.click()
    assert labels(run) == ["angry", "sad", "happy"]
    assert "corrected again in another session" in panel.correction.message.value
    panel.correction.undo.click()
    assert labels(run) == ["angry", "sad", "happy", "withdrawn"]
    assert state.focus == 3


def test_an_undo_that_cannot_be_written_can_be_tried_again(panel, state, run):
    keep(panel, "sad")
    panel.correction.author.value = ""
    panel.correction.undo.click()
    assert "needs the name" in panel.correction.message.value
    panel.correction.author.value = "ada"
    panel.correction.undo.click()
    assert corrections.newest(run).empty


def test_a_new_panel_of_the_run_goes_on_with_the_undo(panel, state, run):
    keep(panel, "sad")
    again = Explorer(state)
    assert not again.correction.undo.disabled
    again.correction.undo.click()
    assert panel.correction.undo.disabled
    assert corrections.newest(run).empty
