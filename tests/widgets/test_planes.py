"""A run's planes: live and replayed alike, kept in the run folder, computed in a thread of their own."""

import shutil
import threading
from contextlib import contextmanager

import pytest
from safetensors.numpy import load_file

from helpers.equal_planes import equal_planes
from ipr_core.runs.run import Run
from ipr_widgets import layout, planes
from ipr_widgets.layout import Layout
from ipr_widgets.planes import Planes, growing

SECONDS = 120


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run, without planes."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run", ignore=shutil.ignore_patterns("widgets")))


def planes_of(run):
    *_, result = growing(run, run.history())
    return result


def in_background(run, events, **settings):
    faults = []

    @contextmanager
    def guard():
        try:
            yield
        except Exception as error:
            faults.append(error)

    watcher = Planes(guard, **settings)
    watcher.follow(run, events)
    watcher.wait(SECONDS)
    return watcher, faults


def test_planes_made_live_are_those_of_a_replay_and_are_kept(run, monkeypatch):
    events = run.history()
    watcher, faults = in_background(run, events[:1])
    watcher.follow(run, events)  # later epochs follow
    watcher.wait(SECONDS)
    live = watcher.of_run(run)
    assert (len(live), faults) == (len(events), [])
    assert equal_planes(live, layout.planes(run.events()))
    monkeypatch.setattr(Layout, "next_plane", lambda *_: pytest.fail("stored planes are not computed"))
    assert equal_planes(planes_of(run), live)


def test_planes_of_other_epochs_seeds_or_algorithms_are_made_anew(run, monkeypatch):
    events = run.history()
    planes_of(run)
    prints = [planes.fingerprint(event) for event in events]
    assert len(planes._read(run, prints, 0)) == 3
    assert len(planes._read(run, [*prints[:2], "trained otherwise"], 0)) == 2
    assert len(planes._read(run, prints[:1], 0)) == 1
    assert planes._read(run, prints, 1) == []
    monkeypatch.setattr(layout, "VERSION", "0")
    assert planes._read(run, prints, 0) == []


def test_planes_that_are_no_file_of_ours_are_made_anew(run):
    (run.folder / "widgets").mkdir()
    (run.folder / "widgets" / "planes.safetensors").write_bytes(b"half a file")
    assert len(planes_of(run)) == 3
    assert load_file(run.folder / "widgets" / "planes.safetensors")["points"].shape == (3, 20, 2)


def test_a_folder_that_may_not_be_written_still_has_planes(run):
    (run.folder / "widgets").write_text("in the way")
    assert len(planes_of(run)) == 3


def test_the_layout_has_a_thread_of_its_own_that_reports_a_failure_and_can_be_asked_again(run, monkeypatch):
    threads = []

    def fail(*_):
        threads.append(threading.current_thread())
        raise ArithmeticError("no plane today")

    with monkeypatch.context() as patch:
        patch.setattr(Layout, "next_plane", fail)
        watcher, faults = in_background(run, run.history())
    assert [str(fault) for fault in faults] == ["no plane today"]
    assert threads[0].daemon
    assert threads[0] is not threading.main_thread()
    assert (watcher.of_run(run), watcher.working) == ([], False)
    watcher.follow(run, run.history())
    watcher.wait(SECONDS)
    assert len(watcher.of_run(run)) == 3


def test_planes_of_one_run_are_not_shown_for_another(run, trained):
    watcher, _ = in_background(run, run.history())
    assert len(watcher.of_run(run)) == 3
    assert len(watcher.of_run(trained)) == 0


def test_epochs_have_the_planes_of_the_board(run):
    *_, board = growing(run, run.history())
    first, last = planes.of_epochs(run, [0, 2])
    assert equal_planes(first, board[0])
    assert equal_planes(last, board[2])
