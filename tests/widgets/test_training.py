"""Training from a notebook: the same figures live and waited for."""

import json
import os
import threading
import time

import pytest

from ipr_core.training.advance import prepare
from ipr_widgets import curves, training
from ipr_widgets.training import attended, explore, train

PLOTLY = "application/vnd.plotly.v1+json"
VIEW = "application/vnd.jupyter.widget-view+json"
SECONDS = 60


class Output:
    """An output of a notebook, with its latest content."""

    def __init__(self, bundle):
        self.bundle = bundle

    def update(self, bundle, raw):
        assert raw
        self.bundle = bundle


@pytest.fixture
def outputs(monkeypatch):
    """Outputs in the order of their display."""
    outputs = []

    def display(bundle, raw=False, display_id=None):
        outputs.append(Output(bundle))
        return outputs[-1] if display_id else None

    monkeypatch.setattr(training, "display", display)
    return outputs


@pytest.fixture
def begin(frozen, data, tmp_path):
    """Settings → a new run, and the data."""
    return lambda **settings: prepare(frozen.replace(**settings), tmp_path, data=data)


def wait_for(live, *states):
    end = time.monotonic() + SECONDS
    while live.runner.state not in states:
        assert time.monotonic() < end, live.runner.state
        time.sleep(0.01)


@pytest.fixture
def paused(begin):
    """A live training of many epochs that waits in its pause."""
    live = train(*begin(epochs=300, warm_up=100), live=True)
    wait_for(live, "running", "failed")
    live.runner.pause()
    wait_for(live, "paused", "failed")
    yield live
    live.runner.stop()
    live.runner.wait(SECONDS)


def test_a_jupyter_server_names_the_notebook_that_someone_watches(monkeypatch):
    monkeypatch.delenv("JPY_SESSION_NAME", raising=False)
    monkeypatch.delenv("VOILA_REQUEST_URL", raising=False)
    assert not attended()
    assert attended(True)
    monkeypatch.setenv("JPY_SESSION_NAME", "02_refinement.ipynb")
    assert attended()
    assert not attended(False)
    monkeypatch.delenv("JPY_SESSION_NAME")
    monkeypatch.setenv("VOILA_REQUEST_URL", "http://127.0.0.1/")
    assert attended()


def test_headless_it_waits_and_shows_plain_figures(begin, outputs):
    run, data = begin()
    waited = train(run, data, live=False)
    assert run.finished
    assert waited.wait() is waited.run
    assert waited.show(curves.losses) == curves.losses(run.history())
    waited._ipython_display_()
    assert explore(run, data, live=False) is None
    assert not outputs


def test_the_warm_up_alone_shows_the_warm_up_alone(begin):
    run, data = begin()
    train(run, data, live=False)
    assert [event.epoch for event in train(run, data, goal="warm_up", live=False).events] == [0]
    live = train(run, data, goal="warm_up", live=True)
    live.wait()
    assert [event.epoch for event in live.events] == [0]


def test_live_it_returns_at_once_and_a_plain_figure_is_left_in_the_end(begin, outputs):
    run, data = begin(epochs=12)
    live = train(run, data, live=True)
    live.runner.pause()
    wait_for(live, "paused", "finished")
    assert live.show(curves.losses) is None
    assert VIEW in outputs[0].bundle
    live.runner.resume()
    assert live.wait().finished
    assert outputs[0].bundle[PLOTLY]["data"] == curves.losses(run.history()).to_dict()["data"]
    assert live.show(curves.losses) == curves.losses(run.history())
    assert live.state.faults == {}


def test_a_figure_follows_every_epoch(paused, outputs):
    paused.show(curves.losses)
    figure = paused.figures[0].figure
    content = figure.figure
    paused.runner.resume()
    end = time.monotonic() + SECONDS
    while figure.figure == content:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert '"Loss terms, mean over the steps of an epoch"' in figure.figure


def test_a_figure_follows_the_training_that_is_started_again(paused, outputs, begin):
    paused.show(curves.losses)
    live = paused.figures[0].figure
    paused.runner.stop()
    wait_for(paused, "stopped")
    paused.runner.wait(SECONDS)
    assert list(outputs[0].bundle) == [PLOTLY]
    run, data = begin(gamma=0.5)  # another run, which is watched to its end
    bundles = []
    paused.runner.watch(lambda event: bundles.append(dict(outputs[0].bundle)))
    paused.runner.start(lambda: (run, data))
    assert paused.wait().folder == run.folder
    assert all(VIEW in bundle for bundle in bundles[:-1])
    assert outputs[0].bundle[PLOTLY]["data"] == curves.losses(run.history()).to_dict()["data"]
    # What a page shows that was loaded again meanwhile: updates do not reach it.
    assert json.loads(live.figure)["data"] == json.loads(curves.losses(run.history()).to_json())["data"]
    assert paused.state.faults == {}


def test_a_cell_that_runs_again_finds_its_own_training(paused):
    assert train(paused.run, paused.state.data, live=True) is paused


def test_another_run_s_training_is_stopped_first(paused, begin):
    rival = train(*begin(seed=5), live=True)
    assert paused.runner.state == "stopped"
    assert rival.wait().finished
    assert not paused.run.finished


def test_wait_raises_the_error_of_training(begin, monkeypatch):
    run, data = begin()

    def fail(*_):
        raise FloatingPointError("the loss is not finite")

    monkeypatch.setattr("ipr_core.training.advance.Session", fail)
    live = train(run, data, live=True)
    with pytest.raises(FloatingPointError, match="the loss is not finite"):
        live.wait()
    assert live.state.status == "failed"


def test_a_figure_that_fails_stops_nothing(paused, outputs):
    calls = iter([curves.losses(paused.events)])
    paused.show(lambda events: next(calls))  # drawn once, and then it raises
    paused.runner.resume()
    end = time.monotonic() + SECONDS
    while "figures" not in paused.state.faults:
        assert time.monotonic() < end
        time.sleep(0.01)
    assert paused.runner.state == "running"


def test_an_editor_is_told_how_to_get_the_board_and_a_terminal_is_told_nothing(begin, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith("VSCODE_")]:
        monkeypatch.delenv(name)
    waited = train(*begin(epochs=2), live=False)
    waited._ipython_display_()
    assert capsys.readouterr().out == ""
    monkeypatch.setenv("VSCODE_PID", "1")
    waited._ipython_display_()
    assert "`live = True`" in capsys.readouterr().out


def test_a_notebook_waits_for_a_run_that_another_process_trains(begin, monkeypatch, capsys):
    monkeypatch.setattr("ipr_core.training.advance._WAIT", 0.05)
    run, data = begin(epochs=2)
    held = threading.Event()

    def other():
        with run.locked():
            held.set()
            time.sleep(0.5)

    thread = threading.Thread(target=other)
    thread.start()
    held.wait(SECONDS)
    assert train(run, data, live=False).wait().finished
    thread.join(SECONDS)
    assert capsys.readouterr().out.count("Another process trains") == 1


def test_a_cell_that_is_run_again_shows_what_was_looked_at(begin):
    run, data = begin(epochs=4)
    train(run, data, live=False)
    first = explore(run, data, live=True)
    filters = first.panels["explorer"].listing.filters
    filters.part.value, filters.search.value, filters.fold.value = "D2", "1", True
    first.panels["UMAP"].colour.value, first.panels["pseudo-labels"].tabs.selected_index = "partition", 2
    first.state.change(epoch=1, focus=5, selection=(3, 5))
    again = explore(run, data, live=True)
    assert again is not first
    assert (again.state.epoch, again.state.focus, again.state.selection) == (1, 5, (3, 5))
    filters = again.panels["explorer"].listing.filters
    assert (filters.part.value, filters.search.value, filters.fold.value) == ("D2", "1", True)
    assert again.panels["explorer"].listing.rows == first.panels["explorer"].listing.rows
    assert again.panels["UMAP"].colour.value == "partition"
    assert again.panels["pseudo-labels"].tabs.selected_index == 2
    first.state.change(epoch=3)  # the newest: the next board follows it
    assert explore(*begin(epochs=2, seed=3), live=True).state.focus != 5  # another run
