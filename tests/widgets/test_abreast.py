"""Runs side by side: linked by utterance, finished, or followed while another process trains them."""

import json
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
def shown(runs, data):
    return abreast.board(runs, data)


def test_what_is_looked_at_in_one_run_is_looked_at_in_all(shown):
    first, second = shown.states.values()
    second.change(focus=5)
    assert first.focus == 5
    first.change(selection=(1, 2), epoch=1)
    assert (second.selection, second.epoch) == ((1, 2), 1)
    first.change(epoch=3)
    assert second.epoch == 2  # its newest
    assert first.faults == second.faults == {}


def test_the_list_is_what_a_slow_search_finds_furthest_apart_first(shown, data):
    states = list(shown.states.values())
    states[0].change(epoch=1)
    arrays = [state.arrays(1) for state in states]
    soft = [arrays[0]["soft_prototypes"].astype(float), arrays[1]["soft_model"].astype(float)]
    rows = [row for _, row in shown.choice.options]
    assert set(rows) == {i for i in range(64) if soft[0][i].argmax() != soft[1][i].argmax()}
    assert len(rows) > 1
    middle = [(a + b) / 2 for a, b in zip(*soft, strict=True)]
    far = [sum(np.sum(p[i][p[i] > 0] * np.log2(p[i][p[i] > 0] / middle[i][p[i] > 0])) / 2 for p in soft) for i in rows]
    assert far == sorted(far, reverse=True)
    assert shown.count.value == f"{len(rows)} of 64 utterances are labelled differently, epochs 1, 1"
    shown.choice.value = rows[1]
    assert states[1].focus == rows[1]


def test_curves_stand_together_and_a_run_without_prototypes_has_no_matrix(shown, runs):
    for figure in shown.curves:
        assert set(runs) <= {trace["name"] for trace in json.loads(figure.figure)["data"]}
    columns = shown.children[2].children
    assert [len(column.children) for column in columns] == [3, 2]


def test_a_run_that_is_still_trained_is_followed(frozen, data, tmp_path, runs, monkeypatch):
    monkeypatch.setattr(abreast, "_EVERY", 0.05)
    run, _ = prepare(frozen.replace(seed=4), tmp_path, data=data)
    pair = {"first": next(iter(runs.values())), "second": run}
    shown = abreast.board(pair, data)
    assert shown.count.value.startswith("0 of 64")
    advance(run, data)
    end = time.monotonic() + SECONDS
    while len(shown.states["second"].events) < 3:
        assert time.monotonic() < end
        time.sleep(0.05)
    assert [event.epoch for event in shown.states["second"].events] == [0, 1, 2]
    assert shown.choice.options


def test_a_notebook_shows_it_where_someone_watches_and_another_run_is_named(runs, data):
    run, rival = runs.values()
    assert side_by_side(run, data, [rival.folder], live=False) is None
    assert side_by_side(run, data, None, live=True) is None
    assert list(side_by_side(run, data, [rival.folder], live=True).states) == list(runs)
