"""A run does not depend on what the process did before, nor on what a watcher does between steps."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from helpers.disturbance import change_switches
from ipr_core.runs.run import Run
from ipr_core.training import conditions as module
from ipr_core.training.advance import advance, prepare
from ipr_core.training.conditions import PROCESS_THREADS, Switches, conditions, under_conditions
from ipr_core.training.loop import refine

TESTS = Path(__file__).parents[1]


def train_in_a_new_process(work: str, cache) -> dict:
    """Run `helpers.disturbance` with one thread for torch. returns: its facts"""
    environment = os.environ | {"OMP_NUM_THREADS": "1", "IPR_CACHE": str(cache), "PYTHONPATH": str(TESTS)}
    command = [sys.executable, "-m", "helpers.disturbance", work]
    process = subprocess.run(command, cwd=TESTS.parent, env=environment, capture_output=True, text=True, timeout=600)
    assert process.returncode == 0, process.stderr
    return json.loads(process.stdout.splitlines()[-1])


def test_a_run_is_that_of_a_fresh_process_whatever_else_is_done_in_its_own(cache):
    fresh, disturbed = (train_in_a_new_process(work, cache) for work in ("fresh", "disturbed"))
    assert fresh["threads"] == disturbed["threads"] == 1
    if (os.cpu_count() or 1) > 1:  # or numba has changed, and this test shows less than it should
        assert disturbed["threads after a plane"] > 1
    assert disturbed["digest"] == fresh["digest"]
    assert disturbed["digest with a watcher"] == fresh["digest"]
    assert disturbed["threads after training"] == 3, "the caller's number is back"


@pytest.fixture
def restored():
    """The switches as they were, whatever a test does to them."""
    switches, seed = Switches.read(), torch.get_rng_state()
    yield switches
    switches.set()
    torch.set_grad_enabled(True)
    torch.set_autocast_enabled("cpu", False)
    torch.set_rng_state(seed)


def test_training_has_its_own_switches_and_gives_the_callers_back(restored):
    change_switches()
    caller = Switches.read()
    assert caller != restored
    with conditions(2):
        assert Switches.read() == Switches(threads=2)
        assert torch.is_grad_enabled()
        assert not torch.is_autocast_enabled("cpu")
        torch.set_num_threads(1)
    assert Switches.read() == caller
    assert not torch.is_grad_enabled()
    assert torch.is_autocast_enabled("cpu")


def test_they_are_back_after_a_failure_too(restored):
    with pytest.raises(ZeroDivisionError), conditions(restored.threads + 1):
        raise ZeroDivisionError
    assert Switches.read() == restored


def test_a_watcher_has_its_own_between_two_items(restored):
    def items():
        for _ in range(3):
            threads.append(torch.get_num_threads())
            yield None

    threads, watched = [], []
    for _ in under_conditions(items(), restored.threads + 1):
        watched.append(torch.get_num_threads())
        torch.set_num_threads(restored.threads + 2)
    assert threads == [restored.threads + 1] * 3
    assert watched == [restored.threads] + [restored.threads + 2] * 2


def test_a_loop_that_is_left_is_closed(make):
    session = make()
    events = refine(session)
    next(events)
    events.close()
    assert session.epoch == 0
    assert list(events) == []


def test_the_number_of_threads_belongs_to_the_run(frozen, data, tmp_path):
    run, _ = prepare(frozen.replace(epochs=1), tmp_path, data=data)
    assert run.meta["threads"] == PROCESS_THREADS


def test_a_run_without_a_number_takes_the_processs_and_keeps_it(frozen, data, tmp_path, monkeypatch):
    config = frozen.replace(epochs=2)
    run = Run.create(config, data, tmp_path)
    assert run.threads is None
    numbers = []
    monkeypatch.setattr("ipr_core.training.advance.PROCESS_THREADS", 3)
    advance(run, data, "warm_up", lambda event: None)
    assert run.threads == 3
    monkeypatch.setattr("ipr_core.training.advance.PROCESS_THREADS", 2)
    set_ = Switches.set
    monkeypatch.setattr(Switches, "set", lambda switches: numbers.append(switches.threads) or set_(switches))
    advance(run, data)
    assert json.loads((run.folder / "config.json").read_text())["threads"] == 3
    assert set(numbers) == {3, torch.get_num_threads()}


def test_the_processs_number_is_read_where_nobody_changed_it(restored):
    torch.set_num_threads(restored.threads)  # also of threads that begin later
    assert module._threads_of_a_new_thread() == restored.threads
