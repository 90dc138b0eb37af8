"""The explorer without a browser: sound and labels of the utterance in view, and its neighbours."""

import numpy as np
import pytest

from ipr_core.training.runner import Began
from ipr_widgets import explorer, players, umap, utterance
from ipr_widgets.explorer import Explorer
from ipr_widgets.live import Touch
from ipr_widgets.state import RunState

CLASSES = ("angry", "happy", "sad", "neutral")


def test_the_focus_is_played_and_has_a_caption(panel, state, data):
    assert not panel.player.audio.autoplay  # the reader has clicked nothing yet
    state.change(focus=7)
    assert bytes(panel.player.audio.value) == players.mp3(data.waves[7])
    assert panel.player.audio.autoplay
    assert not panel.player.audio.loop
    assert "ipr-player" in panel.player.audio._dom_classes
    assert "ipr-utterance" in panel.player.caption._dom_classes
    row, labels = data.table.iloc[7], state.run.labels.iloc[7]
    share = labels[[f"soft_{name}" for name in CLASSES]].max()
    for text in (
        row["id"],
        row["speaker"],
        row["label"],
        f"{row['share']:.0%}",
        labels["single_label"],
        f"{share:.0%}",
    ):
        assert text in panel.player.caption.value
    panel.player.autoplay.value = False
    state.change(focus=8)
    assert not panel.player.audio.autoplay
    assert bytes(panel.player.audio.value) == players.mp3(data.waves[8])


def test_a_second_click_on_the_utterance_in_view_plays_it_again(panel, state, data):
    state.change(focus=7)
    sounds = []
    panel.player.audio.observe(lambda change: sounds.append(bytes(change["new"])), "value")
    umap.panel(state)._on_touch(Touch("click", [{"customdata": [7, "its id"]}]))
    assert sounds == [players.SILENCE, players.mp3(data.waves[7])]


def test_the_caption_is_calibrated_in_the_last_epoch_of_a_finished_run_alone(panel, state, run):
    state.change(focus=7)
    assert ">calibrated<" in panel.player.caption.value
    share = state.arrays(1)["soft_prototypes"][7].max()
    state.change(epoch=1)
    assert ">uncalibrated<" in panel.player.caption.value
    assert f"share {share:.0%}" in panel.player.caption.value
    run.reopen_()
    state.change(epoch=2, status="running")
    assert ">uncalibrated<" in panel.player.caption.value


def test_an_epoch_changes_the_caption_but_does_not_play_again(panel, state):
    state.change(focus=7)
    changes, sound = [], panel.sound.figure
    panel.player.audio.observe(changes.append)
    caption, shares, history = panel.player.caption.value, panel.shares.figure, panel.history.figure
    state.change(epoch=0)
    assert panel.player.caption.value != caption
    assert panel.shares.figure != shares
    assert panel.history.figure != history
    assert panel.sound.figure == sound
    assert changes == []


def test_a_new_run_forgets_the_focus(panel, state, trained, data):
    state.change(focus=7)
    state.on_event(Began(trained, data))
    assert utterance.NOTHING in panel.player.caption.value
    assert bytes(panel.player.audio.value) == players.SILENCE
    assert panel.correction.keep.disabled


def test_an_empty_state_shows_an_empty_panel():
    state = RunState()
    panel = Explorer(state)
    assert panel.listing.rows == []
    assert panel.listing.count.value == "No epoch has been trained yet."
    assert utterance.NOTHING in panel.player.caption.value
    assert panel.correction.keep.disabled
    assert panel.correction.withdraw.disabled
    for control in (panel.listing.order, panel.listing.filters.part):
        control.value = list(dict(control.options).values())[1]
    assert state.faults == {}


def test_a_run_without_an_epoch_can_be_listened_to(tiny, data, tmp_path):
    from ipr_core.training.advance import prepare

    state = RunState()
    state.on_event(Began(prepare(tiny, tmp_path, data=data)[0], data))
    panel = Explorer(state)
    state.change(focus=3)
    assert bytes(panel.player.audio.value) == players.mp3(data.waves[3])
    assert data.table["id"][3] in panel.player.caption.value
    assert state.faults == {}


@pytest.mark.parametrize("part", ["sound", "shares", "history", "caption"])
def test_a_part_that_fails_leaves_the_others_and_the_state_alone(panel, state, data, monkeypatch, part):
    monkeypatch.setattr(utterance, part, lambda *_, **__: 1 / 0)
    state.change(focus=7)
    assert len(state.faults) == 1
    assert bytes(panel.player.audio.value) == players.mp3(data.waves[7])
    assert panel.listing.choice.value == 7


def test_the_nearest_have_the_largest_cosines_by_hand():
    vectors = np.array([[1, 0], [2, 0.2], [0, 1], [-1, 0], [3, 3]], float)
    rows, cosines = explorer.nearest(vectors, 0, np.array([0, 2, 3, 4]), 2)
    assert rows.tolist() == [4, 2]  # itself left out, length without meaning, 1 no candidate
    np.testing.assert_allclose(cosines, [2**-0.5, 0], atol=1e-7)


def test_neighbours_are_precise_and_choose_themselves(panel, state, data):
    row = int(state.sample[0])
    state.change(focus=row)
    vectors = state.arrays(2)["map"].astype(float)
    unit = dict(zip(state.sample.tolist(), vectors / np.linalg.norm(vectors, axis=1, keepdims=True), strict=True))
    precise = [number for number in unit if number != row and data.table["part"][number] == "D1"]
    expected = sorted(precise, key=lambda number: -(unit[row] @ unit[number]))[: explorer.NEIGHBOURS]
    visible = [button for button in panel.neighbours.buttons if button.layout.display != "none"]
    assert [button.tooltip.split(",")[0] for button in visible] == [data.table["id"][number] for number in expected]
    assert visible[0].description == f"{data.table['label'][expected[0]]} {unit[row] @ unit[expected[0]]:.2f}"
    visible[0].click()
    assert state.focus == expected[0]


def test_an_utterance_outside_the_sample_says_so(panel, state, data):
    state.change(focus=next(row for row in range(64) if row not in state.sample))
    assert "not in the sample of 20 embeddings" in panel.neighbours.message.value
    assert all(button.layout.display == "none" for button in panel.neighbours.buttons)


def test_an_utterance_is_heard_beside_the_nearest_of_d1(panel, state, data):
    assert panel.neighbours.beside.disabled
    row = int(state.sample[1])
    state.change(focus=row, epoch=2)
    panel.neighbours.beside.click()
    nearest = panel.neighbours.rows[0]
    pause = np.zeros(5600, np.int16)
    pair = players.mp3(np.concatenate([data.waves[row], pause, data.waves[nearest]]))
    assert bytes(panel.player.audio.value) == pair
    assert panel.player.audio.autoplay
    assert state.focus == row
    state.change(focus=nearest)
    assert bytes(panel.player.audio.value) == players.mp3(data.waves[nearest])
