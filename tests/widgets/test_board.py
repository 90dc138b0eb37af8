"""The board: linked panels, live and replayed; a panel that fails stops nothing."""

import asyncio
import json
import time

import pytest

from helpers.widget_tree import descendants
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare
from ipr_core.training.runner import Began, Runner
from ipr_widgets import board, matrices, pseudo
from ipr_widgets.live import LiveFigure
from ipr_widgets.state import RunState

SECONDS = 120


def figures(widget):
    """Return the content of every figure of a board; a number is the same whole or not."""
    return [json.loads(child.figure or "{}") for child in descendants(widget) if isinstance(child, LiveFigure)]


@pytest.fixture(scope="module")
def begin(frozen, data, tmp_path_factory):
    return lambda **settings: prepare(frozen.replace(**settings), tmp_path_factory.mktemp("runs"), data=data)


@pytest.fixture(scope="module")
def finished(begin, data):
    run, _ = begin(epochs=5, warm_up=2)
    return advance(run, data)


def live_board(run, data):
    """Return a board whose runner has trained its run to the end, and its state."""
    state, runner = RunState(), Runner()
    runner.watch(state.on_event)
    live = board.board(state, runner, run, data)
    runner.start(lambda: (run, data))
    runner.wait(SECONDS)
    return state, live


def wait_for_equal(a, b):
    """Wait until two boards show the same; a thread lays out the plane."""
    end = time.monotonic() + SECONDS
    while figures(a) != figures(b) and time.monotonic() < end:
        time.sleep(0.1)


def test_a_replay_shows_the_same_figures_as_live_training(begin, data):
    run, _ = begin(epochs=4, warm_up=1)
    state, live = live_board(run, data)
    assert run.finished
    assert state.faults == {}
    again = board.replay(run, data)
    again.state.change(focus=state.focus)  # each has chosen what was least certain when it was made
    wait_for_equal(live, again)
    assert figures(live) == figures(again)
    assert len(figures(live)) >= 4
    assert any("epoch 3" in str(figure) for figure in figures(live))


def test_events_are_kept_without_their_arrays(finished, data):
    state = RunState()
    state.on_event(Began(finished, data))
    for event in finished.events():
        state.on_event(event)
    assert len(state.events) == 5
    assert not any(event.arrays for event in state.events)


def test_the_slider_follows_the_newest_epoch_until_it_is_moved_back(finished, data):
    state = RunState()
    slider = board.EpochBar(state).slider
    assert slider.disabled
    state.on_event(Began(finished, data))
    assert (slider.value, slider.max, slider.disabled) == (4, 4, False)
    slider.value = 1
    assert state.epoch == 1
    assert [event.epoch for event in state.past] == [0, 1]
    state.on_event(finished.events()[-1])
    assert (state.epoch, slider.value) == (1, 1)
    slider.value = 4
    assert state.epoch == 4


def test_an_empty_board_can_be_made(begin):
    run, data = begin(seed=9)
    state = RunState()
    board.board(state, Runner(), run, data)
    assert state.faults == {}


def test_a_figure_that_fails_never_stops_training(begin, data, monkeypatch):
    def fail(*_, **__):
        raise ZeroDivisionError("no such matrix")

    monkeypatch.setattr(matrices, "cosines", fail)
    run, _ = begin(seed=3)
    state, live = live_board(run, data)
    assert run.finished
    assert any("no such matrix" in text for text in state.faults.values())
    assert "This figure failed: no such matrix" in live.panels["similarity"].matrix.figure


def test_a_panel_that_cannot_be_made_leaves_the_others(finished, data, monkeypatch):
    monkeypatch.setattr(pseudo, "Panel", lambda state: 1 / 0)
    replay = board.replay(finished, data)
    assert "pseudo-labels" in replay.panels["pseudo-labels"].value
    assert len(figures(replay)) >= 3


def test_a_patient_watcher_is_called_when_the_slider_rests_and_at_once_without_an_event_loop(finished, data):
    state, calls = RunState(), []
    state.on_event(Began(finished, data))
    state.follow(lambda: calls.append(("at once", state.epoch)), ["epoch"])
    state.follow(lambda: calls.append(("patient", state.epoch)), ["focus", "epoch"], patient=True)

    async def move():
        for epoch in (3, 2, 1):
            state.change(epoch=epoch)
        state.change(focus=0)  # a click is no move of the slider
        count = len(calls)
        await asyncio.sleep(0.5)
        return count

    assert asyncio.run(move()) == 4
    assert calls == [("at once", 3), ("at once", 2), ("at once", 1), ("patient", 1), ("patient", 1)]
    state.change(epoch=0)
    assert calls[-2:] == [("at once", 0), ("patient", 0)]


def test_a_turned_page_is_the_one_that_would_be_drawn(finished, data):
    state = RunState()
    whole = board.board(state, Runner(), finished, data)
    state.on_event(Began(finished, data))
    for event in finished.events():
        state.on_event(event)
    wait_for_equal(whole, board.replay(finished, data))
    for epoch in (3, 1):
        state.change(epoch=epoch)
    turned = figures(whole)
    state.change(pair=(0, 1), selection=(0,))
    state.change(pair=(), selection=())  # whose frames are drawn anew
    assert turned == figures(whole)


def test_an_epoch_in_view_is_read_once_for_all_panels_and_again_after_it_has_changed(finished, data, monkeypatch):
    shown, reads = board.replay(finished, data), []
    arrays = Run.arrays
    monkeypatch.setattr(Run, "arrays", lambda run, epoch: reads.append(epoch) or arrays(run, epoch))
    for epoch in (2, 1):
        shown.state.change(epoch=epoch)
    assert (reads.count(2), reads.count(1)) == (1, 1)
    (finished.folder / "epochs" / "0001.safetensors").touch()
    shown.state.arrays(1)
    assert reads.count(1) == 2


def test_the_least_certain_utterance_is_looked_at_and_is_silent(finished, data):
    shown = board.replay(finished, data)
    assert shown.state.focus == shown.panels["explorer"].listing.rows[0]
    assert not shown.panels["explorer"].player.audio.autoplay
    shown.state.change(focus=2)
    assert shown.panels["explorer"].player.audio.autoplay


def test_before_an_epoch_the_board_shows_the_corpus_and_its_most_disputed_utterance(begin, data):
    run, _ = begin(epochs=4)
    shown = board.replay(run, data)
    assert data.table["share"].iloc[shown.state.focus] == data.table["share"].min()
    note = json.loads(shown.panels["UMAP"].figure.figure)["layout"]["annotations"][0]["text"]
    assert f"{len(data.table)} utterances of synthetic" in note
    assert f"D1, precise: {len(data.rows('D1'))}" in note


def test_a_run_that_is_started_again_is_shown_where_a_reader_left_it(finished, data):
    state = RunState()
    state.on_event(Began(finished, data))
    state.change(epoch=1, focus=4, pair=(0, 2))
    state.on_event(Began(finished, data))
    assert (state.epoch, state.focus, state.pair) == (1, 4, (0, 2))


def test_a_board_of_a_run_that_begins_to_be_trained_stays_silent(begin, data):
    run, _ = begin(epochs=6)
    state = RunState()
    state.on_event(Began(run, data))
    shown = board.Board(state)
    focus, player = state.focus, shown.panels["explorer"].player
    state.on_event(Began(run, data))  # by its runner
    assert state.focus == focus >= 0
    assert not player.audio.autoplay
    state.on_event(Began(begin(epochs=7)[0], data))  # another run, by the form
    assert not player.audio.autoplay
    state.change(focus=(state.focus + 1) % 64)
    assert player.audio.autoplay
