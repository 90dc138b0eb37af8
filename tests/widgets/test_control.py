"""The bar that trains, without a browser: by its traits."""

import errno
import html
import os
import threading

import pytest
import torch
from safetensors import SafetensorError

from helpers.whole_runs import assert_same
from helpers.widget_tree import text
from ipr_core.data.corpora.table import CorpusError, Fault
from ipr_core.runs.events import StepEnd
from ipr_core.runs.run import RunError
from ipr_core.training.advance import advance, prepare
from ipr_core.training.loop import LossError
from ipr_core.training.runner import Began, Changed, Runner
from ipr_widgets import control
from ipr_widgets.state import RunState

SECONDS = 60
TERMS = ("precise", "ambiguous", "contrastive", "total")


@pytest.fixture
def bar(frozen, data, tmp_path):
    """A state, its runner and their control; the corpus is in memory."""
    state, runner = RunState(), Runner()
    runner.watch(state.on_event)
    prepared = prepare(frozen, tmp_path / "runs", progress=False, data=data)
    yield state, runner, control.panel(state, runner, frozen, tmp_path / "runs", prepared)
    runner.stop()
    if runner._thread is not None:
        runner._thread.join(SECONDS)
        assert not runner._thread.is_alive()


def usable(bar) -> str:
    return " ".join(name for name, button in bar.buttons.items() if not button.disabled)


def paused_at(runner, epoch, step):
    """An event that is set when the runner waits after this step."""
    waits = threading.Event()

    def watch(event):
        if isinstance(event, StepEnd) and (event.epoch, event.step) == (epoch, step):
            runner.pause()
        if event == Changed("paused"):
            waits.set()

    runner.watch(watch)
    return waits


@pytest.mark.parametrize(
    ("status", "buttons", "words"),
    [
        ("ready", "Start", "Ready: Start trains"),
        ("preparing", "Pause Stop", "Preparing: the corpus is read"),
        ("running", "Pause Stop", "Training"),
        ("pausing", "Resume Stop", "Pausing after this step"),
        ("paused", "Resume Stop", "Paused: Resume goes on"),
        ("stopping", "", "Stopping after this step"),
        ("stopped", "Start", "Stopped: Start goes on from the last finished epoch"),
        ("finished", "Start", "Finished"),
        ("failed", "Start", "Failed"),
    ],
)
def test_only_possible_actions_can_be_pressed(bar, status, buttons, words):
    state, _, panel = bar
    state.on_event(Changed(status))
    assert usable(panel) == buttons
    assert text(panel.status).strip().startswith(words)
    assert all(button.tooltip for button in panel.buttons.values())


@pytest.mark.parametrize("status", ["stopped", "finished", "ready"])
def test_changed_settings_are_said_to_begin_another_run(bar, status):
    state, _, panel = bar
    state.on_event(Changed(status))
    original = panel.status.value
    panel.form.inputs["gamma"].value, panel.form.inputs["epochs"].value = 0.5, 9
    assert f"{status.title()}: Start begins another run: gamma, epochs" in text(panel.status)
    state.on_event(Changed("paused"))
    assert "this run goes on as it is; Stop, then Start begins another run: gamma, epochs" in text(panel.status)
    state.on_event(Changed(status))
    panel.form.fill(panel.first_config)
    assert panel.status.value == original


def test_wrong_settings_cannot_be_started(bar):
    _, runner, panel = bar
    panel.form.inputs["gamma"].value = 7
    assert usable(panel) == ""
    assert "Ready: Start waits for a right setting: gamma" in text(panel.status)
    panel.form.inputs["gamma"].value = 0.5
    assert usable(panel) == "Start"
    assert runner.state == "ready"


def test_the_form_is_made_when_it_is_first_opened_and_folds_away_again(bar, frozen):
    panel = bar[2]
    assert panel.config == frozen
    assert panel.drawer.children == ()
    assert panel.drawer.layout.display == "none"
    panel.settings.value = True
    assert panel.drawer.children == (panel.form,)
    assert panel.config is panel.form.config
    assert panel.drawer.layout.display is None
    panel.settings.value = False
    assert panel.drawer.layout.display == "none"


def test_pressed_from_start_to_end(bar, frozen, data, tmp_path):
    state, runner, panel = bar
    waits = paused_at(runner, 1, 2)
    panel.buttons["Start"].click()
    assert waits.wait(SECONDS)
    assert (usable(panel), panel.epochs.value, panel.epochs.max) == ("Resume Stop", 1, 3)
    assert "1 of 3 epochs are trained" in text(panel.status)
    assert "about" in text(panel.status)
    assert "accuracy on D3" in text(panel.numbers)
    waits.clear()
    panel.buttons["Stop"].click()
    runner.wait(SECONDS)
    assert (state.status, usable(panel)) == ("stopped", "Start")
    assert state.run.epochs == 1
    panel.buttons["Start"].click()
    assert waits.wait(SECONDS)
    assert state.epoch == 0
    panel.buttons["Resume"].click()
    runner.wait(SECONDS)
    assert (state.status, usable(panel)) == ("finished", "Start")
    assert (panel.epochs.value, panel.epochs.description, panel.epochs.bar_style) == (3, "epochs 3 of 3", "success")
    assert state.faults == {}
    assert runner.fault is None
    assert_same(state.run, advance(prepare(frozen, tmp_path / "other", data=data)[0], data))


def test_pause_is_pressed_while_training(bar):
    state, runner, panel = bar
    waits = threading.Event()
    runner.watch(lambda event: waits.set() if event == Changed("paused") else None)
    running = threading.Event()
    runner.watch(lambda event: (running.set(), click.wait(SECONDS)) if isinstance(event, StepEnd) else None)
    click = threading.Event()
    panel.buttons["Start"].click()
    assert running.wait(SECONDS)
    panel.buttons["Pause"].click()
    assert "Pausing after this step" in text(panel.status)
    click.set()
    assert waits.wait(SECONDS)
    assert state.status == "paused"
    assert len(state.events) < 3


def test_unchanged_settings_train_the_run_in_memory(bar, monkeypatch):
    state, runner, panel = bar
    monkeypatch.setattr(control, "prepare", None)
    panel.buttons["Start"].click()
    run = runner.wait(SECONDS)
    assert run is panel.prepared[0]
    assert state.data is panel.prepared[1]
    panel.buttons["Start"].click()
    assert runner.wait(SECONDS) is run


def test_changed_settings_train_another_run_and_read_no_corpus_again(bar, monkeypatch, tmp_path):
    from ipr_core.training import advance as module

    state, runner, panel = bar
    monkeypatch.setattr(module, "load", None)
    panel.form.inputs["gamma"].value, panel.form.inputs["epochs"].value = 0.5, 1
    panel.buttons["Start"].click()
    run = runner.wait(SECONDS)
    assert run.folder.parent == tmp_path / "runs"
    assert run.config.method.gamma == 0.5
    assert (state.run, len(state.events), panel.epochs.max) == (run, 1, 1)
    assert len(list((tmp_path / "runs").iterdir())) == 2


def test_another_corpus_is_read(bar):
    state, runner, panel = bar
    panel.form.inputs["synthetic_size"].value, panel.form.inputs["epochs"].value = 60, 1
    panel.buttons["Start"].click()
    assert len(runner.wait(SECONDS).table) <= 60
    assert state.data is not panel.prepared[1]


def test_changes_after_start_count_from_the_next_start(bar):
    _, runner, panel = bar
    config = panel.form.config
    waits = paused_at(runner, 0, 1)
    panel.buttons["Start"].click()
    panel.form.inputs["gamma"].value = 0.5
    assert waits.wait(SECONDS)
    assert runner.run.config == config
    assert panel.form.config != config


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (RunError("runs/a is being trained by another process; wait for it"), "wait for it"),
        (CorpusError([Fault("a.csv", 3, "no label", "give it one"), Fault("a.csv", 9, "no file", "add it")]), "give"),
        (LossError("epoch 3: loss total is nan; train with a smaller lr"), ">epoch 3: loss total is nan"),
        (ZeroDivisionError("<in> step 3"), "ZeroDivisionError: &lt;in&gt; step 3\n<code>training.wait()</code> shows"),
        (torch.OutOfMemoryError("CUDA"), "CUDA\nThe memory is too small: a smaller <code>batch_size</code> or"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "memory\nThe memory is too small"),
        (OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), "device\nFree disk space, then Start goes on"),
        (SafetensorError("I/O error: No space left on device (os error 28)"), "28)\nFree disk space"),
    ],
)
def test_a_failure_is_shown_with_its_cure(bar, error, words):
    _, runner, panel = bar

    def fails():
        raise error

    runner.start(fails)
    with pytest.raises(type(error)):
        runner.wait(SECONDS)
    assert text(panel.status).strip().startswith("Failed")
    assert words in panel.trouble.value
    for line in html.escape(str(error)).splitlines():
        assert line in panel.trouble.value
    assert usable(panel) == "Start"
    panel.buttons["Start"].click()
    runner.wait(SECONDS)
    assert panel.trouble.value == ""


def test_a_widget_that_fails_is_named_and_training_goes_on(bar):
    state, runner, panel = bar
    waits = paused_at(runner, 1, 1)

    def fail(_):
        with state.guard("similarity"):
            raise ZeroDivisionError("no <figure>")

    state.observe(fail, "step")
    panel.buttons["Start"].click()
    assert waits.wait(SECONDS)
    message = "A widget failed (similarity: ZeroDivisionError: no &lt;figure&gt;); training goes on."
    assert message in panel.trouble.value
    panel.buttons["Resume"].click()
    assert runner.wait(SECONDS).finished


def test_a_press_that_fails_is_shown(bar, monkeypatch):
    _, runner, panel = bar
    monkeypatch.setattr(runner, "start", None)
    panel.buttons["Start"].click()
    assert "Start: TypeError" in panel.trouble.value
    assert "training goes on" in panel.trouble.value


def test_the_newest_step_is_shown_with_the_names_of_its_terms(bar, trained):
    state, _, panel = bar
    state.on_event(StepEnd(2, 3, 5, torch.tensor([0.5, 0.25, 0.125, 0.65]), TERMS))
    line = text(panel.numbers)
    for words in ("total  0.650", "loss on D1  0.500", "D2  0.250", "contrastive (Eq. 5)  0.125"):
        assert words in line
    assert (panel.steps.value, panel.steps.max, panel.steps.description) == (3, 5, "steps 3 of 5")
    state.change(step=StepEnd(0, 4, 4, torch.tensor([0.5, 0, 0, 0.5]), TERMS))
    assert "D2" not in text(panel.numbers)  # the warm-up has no such term


def test_the_newest_epoch_is_shown(trained):
    event = trained.history()[-1]
    line = text(control.numbers(None, event))
    assert f"accuracy on D3  {100 * event.accuracy:.1f} %" in line
    assert f"β  {event.beta:.3f}" in line
    assert f"audio  {event.clock['audio_seconds_per_second']:.0f} s/s" in line
    assert f"memory  {event.clock['peak_memory_mb']:,.0f} MB" in line
    assert control.numbers(None, None) == ""


def test_a_finished_run_is_shown_as_it_is(trained, data):
    state = RunState()
    panel = control.panel(state, Runner(), trained.config)
    assert panel.numbers.value == ""
    state.on_event(Began(trained, data))
    assert (panel.epochs.value, panel.epochs.max, panel.steps.description) == (3, 3, "steps 0 of 0")
    assert trained.folder.name in text(panel.status)


def test_the_warm_ups_own_bar_ends_with_it(trained, data):
    state = RunState()
    panel = control.panel(state, Runner("warm_up"), trained.config)
    state.on_event(Began(trained, data))
    assert (panel.epochs.value, panel.epochs.max) == (1, 1)
