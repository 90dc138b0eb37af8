"""Runs side by side: linked by utterance, finished, or followed while another process trains them."""

import contextlib
import json
import threading
import time

import numpy as np
import pytest

from ipr_core.training.advance import advance, prepare
from ipr_widgets import abreast, comparison
from ipr_widgets.training import side_by_side

SECONDS = 60


@pytest.fixture(scope="module")
def runs(frozen, data, tmp_path_factory):
    """Two finished runs on the same utterances."""
    folder = tmp_path_factory.mktemp("runs")
    made = [prepare(frozen.replace(**own), folder, data=data)[0] for own in (dict(epochs=4), dict(system="fixmatch"))]
    return comparison.gather(*(advance(run, data) for run in made[:1]), [advance(made[1], data).folder])


@pytest.fixture
def panel(runs, data):
    return abreast.board(runs, data)


def test_what_is_looked_at_in_one_run_is_looked_at_in_all(panel):
    first, second = panel.states.values()
    second.change(focus=5)
    assert first.focus == 5
    first.change(selection=(1, 2), epoch=1)
    assert (second.selection, second.epoch) == ((1, 2), 1)
    first.change(epoch=3)
    assert second.epoch == 2  # its newest
    assert first.faults == second.faults == {}


def test_the_list_is_what_a_slow_search_finds_furthest_apart_first(panel, data):
    states = list(panel.states.values())
    states[0].change(epoch=1)
    arrays = [state.arrays(1) for state in states]
    soft = [arrays[0]["soft_prototypes"].astype(float), arrays[1]["soft_model"].astype(float)]
    rows = [row for _, row in panel.choice.options]
    assert set(rows) == {i for i in range(64) if soft[0][i].argmax() != soft[1][i].argmax()}
    assert len(rows) > 1
    middle = [(a + b) / 2 for a, b in zip(*soft, strict=True)]
    far = [sum(np.sum(p[i][p[i] > 0] * np.log2(p[i][p[i] > 0] / middle[i][p[i] > 0])) / 2 for p in soft) for i in rows]
    assert far == sorted(far, reverse=True)
    assert panel.count.value == f"{len(rows)} of 64 utterances are labelled differently, epochs 1, 1"
    panel.choice.value = rows[1]
    assert states[1].focus == rows[1]


def test_curves_stand_together_and_a_run_without_prototypes_has_no_matrix(panel, runs):
    for figure in panel.curves:
        assert set(runs) <= {trace["name"] for trace in json.loads(figure.figure)["data"]}
    columns = panel.children[2].children
    assert [len(column.children) for column in columns] == [3, 2]


def test_a_run_that_is_still_trained_is_followed(frozen, data, tmp_path, runs, monkeypatch):
    monkeypatch.setattr(abreast, "_EVERY", 0.05)
    run, _ = prepare(frozen.replace(seed=4), tmp_path, data=data)
    pair = {"first": next(iter(runs.values())), "second": run}
    panel = abreast.board(pair, data)
    assert panel.count.value.startswith("0 of 64")
    advance(run, data)
    end = time.monotonic() + SECONDS
    while len(panel.states["second"].events) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [event.epoch for event in panel.states["second"].events] == [0, 1, 2]
    assert panel.choice.options


def test_a_notebook_shows_it_where_someone_watches_and_another_run_is_named(runs, data):
    run, rival = runs.values()
    assert side_by_side(run, data, [rival.folder], live=False) is None
    assert side_by_side(run, data, None, live=True) is None
    assert list(side_by_side(run, data, [rival.folder], live=True).states) == list(runs)


def test_two_threads_that_change_two_runs_do_not_wait_for_each_other(panel):
    first, second = panel.states.values()
    both = threading.Barrier(2)

    def turn(state):
        for i in range(15):
            with state.lock:
                with contextlib.suppress(threading.BrokenBarrierError):  # with one lock for both they never meet
                    both.wait(1)
                state.change(epoch=i % 2, selection=(i % 7,))

    threads = [threading.Thread(target=turn, args=(state,), daemon=True) for state in (first, second)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(SECONDS)
    assert not any(thread.is_alive() for thread in threads)
    assert first.selection == second.selection
