"""Training in a thread: paused, resumed, stopped and failed at every point, and never waited for without end."""

import itertools
import threading
import time

import pytest

from helpers.whole_runs import assert_same
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.run import RunError
from ipr_core.training import loop
from ipr_core.training.advance import advance, prepare
from ipr_core.training.runner import IDLE, Began, Changed, Runner

SECONDS = 60  # nothing here takes a tenth of it; a deadlock fails


class Log:
    """A watcher that keeps what it hears, and does something at one event."""

    def __init__(self, moment=lambda event: False, do=lambda: None):
        self.events, self._moment, self._do, self._new = [], moment, do, threading.Condition()

    def __call__(self, event):
        with self._new:
            self.events.append(event)
            self._new.notify_all()
        if self._moment(event):
            self._do()

    @property
    def states(self):
        return [event.state for event in self.events if isinstance(event, Changed)]

    @property
    def trained(self):
        """(epoch, step) of every step, (epoch, None) of every epoch's end."""
        return [(e.epoch, getattr(e, "step", None)) for e in self.events if isinstance(e, StepEnd | EpochEnd)]

    def wait_for_state(self, state):
        with self._new:
            assert self._new.wait_for(lambda: state in self.states, SECONDS), f"never {state}, but {self.states}"


def step(epoch, number):
    return lambda event: isinstance(event, StepEnd) and (event.epoch, event.step) == (epoch, number)


def epoch_end(epoch):
    return lambda event: isinstance(event, EpochEnd) and event.epoch == epoch


def ended(runner):
    """The run, once the thread is no more; raises what it failed with."""
    run = runner.wait(SECONDS)
    assert runner.state in IDLE, f"still {runner.state}"
    return run


@pytest.fixture(scope="module")
def undisturbed(frozen, data, tmp_path_factory):
    return advance(prepare(frozen, tmp_path_factory.mktemp("runs"), data=data)[0], data)


@pytest.fixture
def prepared(frozen, data, tmp_path):
    return lambda: prepare(frozen, tmp_path, progress=False, data=data)


@pytest.fixture
def begin():
    """A runner and its log; whatever a test leaves running is stopped."""
    runners = []

    def make(moment=lambda event: False, act="pause", goal="end"):
        runner = Runner(goal)
        log = Log(moment, lambda: getattr(runner, act)())
        runner.watch(log)
        runners.append(runner)
        return runner, log

    yield make
    for runner in runners:
        runner.stop()
        if runner._thread is not None:
            runner._thread.join(SECONDS)
            assert not runner._thread.is_alive()


# Undisturbed.


def test_a_run_in_a_thread_is_the_run_without_one(begin, prepared, undisturbed):
    runner, log = begin()
    assert runner.wait() is None
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)
    assert log.states == ["preparing", "running", "finished"]
    assert [type(event) for event in log.events[:3]] == [Changed, Began, Changed]
    assert [event for event in log.events if isinstance(event, EpochEnd)] == undisturbed.history()
    assert runner.fault is None


def test_started_again_a_finished_run_is_left_as_it_is(begin, prepared, undisturbed):
    runner, log = begin()
    for _ in range(2):
        runner.start(prepared)
        run = ended(runner)
    assert_same(run, undisturbed)
    assert log.states == 2 * ["preparing", "running", "finished"]
    assert len([event for event in log.events if isinstance(event, EpochEnd)]) == 3


def test_the_warm_up_alone_and_then_the_rest(begin, prepared, undisturbed):
    runner, log = begin(goal="warm_up")
    runner.start(prepared)
    run = ended(runner)
    assert (run.epochs, run.warmed_up, run.finished, runner.state) == (1, True, False, "finished")
    runner, log = begin()
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)
    assert log.trained[0] == (1, 1)


def test_one_runner_trains_one_run(begin, prepared):
    runner, log = begin(step(0, 1))
    runner.start(prepared)
    log.wait_for_state("paused")
    with pytest.raises(RuntimeError, match="a run is being trained; stop it and wait for it first"):
        runner.start(prepared)
    assert runner.state == "paused"
    runner.resume()
    assert ended(runner).finished


def test_a_second_runner_of_a_run_follows_the_first_and_stops_when_it_is_told_to(begin, prepared, monkeypatch):
    monkeypatch.setattr("ipr_core.training.advance._WAIT", 0.05)
    first, log = begin(step(0, 1))
    first.start(prepared)
    log.wait_for_state("paused")
    second, seen = begin()
    second.start(prepared)
    seen.wait_for_state("following")
    second.pause()
    assert second.state == "following"
    second.stop()
    second.wait(SECONDS)
    assert second.state == "stopped"
    third, seen = begin()
    third.start(prepared)
    seen.wait_for_state("following")
    first.resume()
    assert ended(first).finished
    assert ended(third).finished
    assert seen.trained == [(0, None), (1, None), (2, None)]  # the first one's epochs, and no step


def test_a_runner_trains_on_what_another_one_has_left(begin, prepared, undisturbed, monkeypatch):
    monkeypatch.setattr("ipr_core.training.advance._WAIT", 0.05)
    first, log = begin(step(1, 1))
    first.start(prepared)
    log.wait_for_state("paused")
    second, seen = begin()
    second.start(prepared)
    seen.wait_for_state("following")
    first.stop()
    run = ended(second)
    assert run.finished
    assert_same(run, undisturbed)


# Pause and resume.


@pytest.mark.parametrize("moment", [step(0, 1), step(1, 2), epoch_end(0), epoch_end(1), epoch_end(2)])
def test_a_pause_holds_steps_and_epochs_and_changes_nothing(begin, prepared, undisturbed, moment):
    runner, log = begin(moment)
    runner.start(prepared)
    log.wait_for_state("paused")
    old = list(log.trained)
    time.sleep(0.3)  # dozens of steps of this run
    assert log.trained == old
    assert runner.state == "paused"
    runner.resume()
    assert_same(ended(runner), undisturbed)
    assert log.states == ["preparing", "running", "pausing", "paused", "running", "finished"]


def test_a_pause_does_not_count_as_training_time(begin, prepared, monkeypatch):
    clock = itertools.count()
    monkeypatch.setattr(loop, "perf_counter", lambda: next(clock) + paused)
    paused = 0
    runner, log = begin(step(1, 1))
    runner.start(prepared)
    log.wait_for_state("paused")
    paused = 1000
    runner.resume()
    assert ended(runner).history()[1].clock["seconds"] < 100


def test_paused_while_preparing_no_step_is_made(begin, prepared, undisturbed):
    runner, log = begin()

    def meanwhile():
        runner.pause()
        return prepared()

    runner.start(meanwhile)
    log.wait_for_state("paused")
    assert log.trained == []
    runner.resume()
    assert_same(ended(runner), undisturbed)
    assert log.states == ["preparing", "pausing", "paused", "running", "finished"]


def test_resumed_before_the_pause_began(begin, prepared, undisturbed):
    runner, log = begin()

    def pause_and_resume():
        runner.pause()
        assert runner.state == "pausing"
        runner.resume()

    runner.watch(Log(step(1, 1), pause_and_resume))
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)
    assert log.states == ["preparing", "running", "pausing", "running", "finished"]
    assert runner.fault is None


def test_paused_again_and_again(begin, prepared, undisturbed):
    runner, log = begin(lambda event: isinstance(event, StepEnd | EpochEnd))
    runner.start(prepared)
    end = time.monotonic() + SECONDS
    while runner.active and time.monotonic() < end:
        runner.resume()
        time.sleep(0.001)
    assert_same(ended(runner), undisturbed)
    assert log.states.count("pausing") == len(log.trained)


# Stop.


@pytest.mark.parametrize("moment", [step(0, 2), step(1, 1), step(2, 3), epoch_end(0), epoch_end(1)])
def test_a_stopped_run_goes_on_to_the_bit(begin, prepared, undisturbed, moment):
    runner, log = begin(moment, "stop")
    runner.start(prepared)
    run = ended(runner)
    assert log.states == ["preparing", "running", "stopping", "stopped"]
    assert moment(log.events[-3])  # nothing was trained after it
    assert run.epochs == sum(step is None for _, step in log.trained)
    assert not run.finished
    log._moment = lambda event: False
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)


def test_stopped_while_paused(begin, prepared, undisturbed):
    runner, log = begin(step(1, 1))
    runner.start(prepared)
    log.wait_for_state("paused")
    runner.stop()
    assert ended(runner).epochs == 1
    assert log.states[-2:] == ["stopping", "stopped"]
    log._moment = lambda event: False
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)


def test_stopped_while_preparing(begin, prepared):
    runner, log = begin()
    at_work, go = threading.Event(), threading.Event()

    def slowly():
        at_work.set()
        assert go.wait(SECONDS)
        return prepared()

    runner.start(slowly)
    assert at_work.wait(SECONDS)
    runner.pause()
    assert runner.state == "pausing"
    runner.stop()
    go.set()
    assert ended(runner).epochs == 0
    assert log.states == ["preparing", "pausing", "stopping", "stopped"]
    assert log.trained == []


def test_what_cannot_be_done_now_is_not_done(begin, prepared):
    runner, log = begin()
    for act in (runner.pause, runner.resume, runner.stop):
        act()
    assert (runner.state, log.events) == ("ready", [])
    runner.start(prepared)
    ended(runner)
    for act in (runner.pause, runner.resume, runner.stop):
        act()
    assert log.states == ["preparing", "running", "finished"]


# Waiting and failing.


def test_wait_no_longer_than_asked(begin, prepared):
    runner, log = begin(step(1, 1))
    runner.start(prepared)
    log.wait_for_state("paused")
    started = time.monotonic()
    assert runner.wait(0.2).epochs == 1
    assert 0.2 <= time.monotonic() - started < SECONDS
    assert runner.state == "paused"
    runner.resume()
    assert ended(runner).epochs == 3


def test_what_cannot_be_found_is_told_and_raised(begin, prepared, undisturbed):
    runner, log = begin()

    def fail():
        raise RunError("the folder is not a run; name another one")

    runner.start(fail)
    for _ in range(2):
        with pytest.raises(RunError, match="name another one"):
            runner.wait(SECONDS)
    assert log.states == ["preparing", "failed"]
    assert log.events[-1].error is runner.error
    runner.start(prepared)
    assert runner.error is None
    assert_same(ended(runner), undisturbed)


@pytest.mark.parametrize("error", [FloatingPointError("nan in step 3"), KeyboardInterrupt()])
def test_an_exception_in_training_is_raised_by_wait(begin, prepared, undisturbed, monkeypatch, error):
    from ipr_core.training import advance as module

    def record(run, event):
        if event.epoch == 1:
            raise error
        keep(run, event)

    keep = module.Run.record
    monkeypatch.setattr(module.Run, "record", record)
    runner, log = begin()
    runner.start(prepared)
    with pytest.raises(type(error)):
        ended(runner)
    assert (runner.state, runner.error, log.states[-1]) == ("failed", error, "failed")
    assert log.events[-1].error is error
    assert not runner.active
    monkeypatch.undo()
    runner.start(prepared)  # the run is whole, and not locked
    assert_same(ended(runner), undisturbed)


def test_a_watcher_that_fails_stops_neither_training_nor_other_watchers(begin, prepared, undisturbed):
    runner, log = begin()

    def fail_too(event):
        raise ZeroDivisionError(type(event).__name__)

    runner._watchers.insert(0, fail_too)
    runner.start(prepared)
    assert_same(ended(runner), undisturbed)
    assert [event for event in log.events if isinstance(event, EpochEnd)] == undisturbed.history()
    assert (type(runner.fault), str(runner.fault)) == (ZeroDivisionError, "Changed")
    assert runner.error is None


def test_what_a_slow_watcher_hears_last_is_what_holds(begin, prepared):
    """Pressed as training ends, a button's own "pausing" may reach a watcher after "finished"."""
    runner, log = begin()
    pause_begun, end = threading.Event(), threading.Event()

    def slow(event):
        if event == Changed("pausing"):
            pause_begun.set()
            assert end.wait(SECONDS)

    runner._watchers.insert(0, slow)  # before the log: that hears of the pause when training is over

    def last(event):
        if isinstance(event, EpochEnd) and event.epoch == 2:
            press.start()
            assert pause_begun.wait(SECONDS)

    press = threading.Thread(target=runner.pause)
    runner.watch(last)
    runner.watch(lambda event: end.set() if event == Changed("finished") else None)
    runner.start(prepared)
    assert ended(runner).finished
    press.join(SECONDS)
    assert not press.is_alive()
    assert runner.state == log.states[-1] == "finished"
    assert "pausing" in log.states
    assert runner.fault is None
