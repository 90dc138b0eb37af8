"""The explorer's keys: those of the listening test, and what each of them does."""

import json

import pytest

from ipr_core.runs import corrections
from ipr_core.training.runner import Began
from ipr_widgets.corrections import Correction
from ipr_widgets.explorer import Explorer
from ipr_widgets.keys import Shortcuts, emotion_keys
from ipr_widgets.state import RunState


@pytest.fixture(autouse=True)
def ada(monkeypatch):
    monkeypatch.setattr(Correction, "last_author", "Ada")


def press(panel, kind, **content):
    """Send what the page sends when a key is pressed while it shows the utterance in view."""
    panel.shortcuts.receive(dict(kind=kind, focus=panel.state.focus) | content)


@pytest.mark.parametrize(
    ("classes", "letters"),
    [
        (("angry", "happy", "sad", "neutral"), "ahsn"),
        (("neutral", "calm", "happy", "sad", "angry", "surprised"), "nchsar"),
        (("aa", "ab", "a", "ox"), "ab  "),  # the third has no letter left; o and x are the listening test's
        (("sad", "surprised", "uneasy"), "srn"),  # u undoes
    ],
)
def test_a_letter_is_the_first_of_the_name_that_is_free(classes, letters):
    keys = emotion_keys(classes)
    assert [key["letter"] for key in keys] == [letter.strip() for letter in letters]
    assert [key["digit"] for key in keys] == [str(i + 1) for i in range(len(classes))]
    assert [key["digit"] for key in emotion_keys([f"class {i}" for i in range(11)])][8:] == ["9", "", ""]


def test_a_key_keeps_an_emotion_and_turns_to_the_next_of_the_list(panel, state, run, data):
    first, second, third = panel.listing.rows[:3]
    press(panel, "next")
    assert state.focus == first  # nothing was in view
    press(panel, "emotion", number=2)
    press(panel, "emotion", number=0)
    assert state.focus == third
    lines = corrections.read(run)
    assert lines["id"].tolist() == data.table["id"][[first, second]].tolist()
    assert lines["label"].tolist() == ["sad", "angry"]
    assert all(text in panel.correction.message.value for text in ("Kept", "angry", data.table["id"][second]))
    assert state.faults == {}


def test_an_utterance_that_leaves_the_list_by_its_correction_is_followed_by_the_next_one(panel, state):
    panel.listing.filters.corrected.value = False
    rows = panel.listing.rows[:4]
    state.change(focus=rows[1])
    press(panel, "emotion", number=1)
    assert state.focus == rows[2]
    assert rows[1] not in panel.listing.rows


def test_steps_end_at_the_ends_of_the_list(panel, state):
    rows = panel.listing.rows
    state.change(focus=rows[0])
    press(panel, "previous")
    assert state.focus == rows[0]
    state.change(focus=rows[-2])
    press(panel, "next")
    press(panel, "next")
    assert state.focus == rows[-1]
    press(panel, "emotion", number=0)
    assert state.focus == rows[-1]
    assert "the last one" in panel.correction.message.value
    panel.listing.filters.search.value = "no such id"
    press(panel, "next")
    assert state.focus == rows[-1]


def test_u_takes_the_last_correction_back_and_turns_to_it(panel, state, run):
    first = panel.listing.rows[0]
    state.change(focus=first)
    press(panel, "emotion", number=2)
    assert state.focus != first
    press(panel, "undo")
    assert state.focus == first
    assert corrections.newest(run).empty
    press(panel, "undo")
    assert "no correction left" in panel.correction.message.value


def test_a_key_that_was_meant_for_another_utterance_is_dropped(panel, state, run):
    state.change(focus=7)
    press(panel, "emotion", number=2, focus=6)
    assert state.focus == 7
    assert corrections.read(run).empty
    assert "Press the key again" in panel.correction.message.value


def test_a_key_without_a_name_of_who_corrects_keeps_nothing_and_stays(panel, state, run):
    state.change(focus=7)
    panel.correction.author.value = ""
    press(panel, "emotion", number=2)
    assert state.focus == 7
    assert "needs the name" in panel.correction.message.value
    assert corrections.read(run).empty


def test_the_hint_says_the_keys_and_names_are_text(panel):
    assert all(f"<code>{key}</code>" in panel.hint.value for key in ("1", "a", "4", "n", "u", "Space"))
    shortcuts = Shortcuts(print)
    shortcuts.emotions = emotion_keys(["<img src=x>", "surprised"])
    assert "<img" not in shortcuts.hint


def test_the_keys_follow_the_run(data, run):
    state = RunState()
    panel = Explorer(state)
    assert panel.shortcuts.emotions == []
    state.on_event(Began(run, data))
    assert [key["name"] for key in panel.shortcuts.emotions] == list(data.classes)


def test_speed_and_loop_reach_the_page_and_have_names(panel):
    panel.player.speed.value, panel.player.loop.value = 0.75, True
    page = json.loads(panel.shortcuts.sheet.value)
    assert (page["speed"], page["loop"], page["focus"]) == (0.75, True, -1)
    assert panel.player.speed.tooltip
    assert panel.player.loop.tooltip


def test_the_page_hears_of_the_utterance_in_view_before_it_is_shown(panel, state):
    order = []
    panel.shortcuts.sheet.observe(lambda _: order.append("keys"), "value")
    panel.player.caption.observe(lambda _: order.append("caption"), "value")
    state.change(focus=7)
    assert order == ["keys", "caption"]
