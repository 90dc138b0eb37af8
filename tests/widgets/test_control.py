"""The settings form and the bar that trains, without a browser: by their traits."""

import errno
import html
import os
import re
import threading
from typing import Literal, get_origin

import ipywidgets as w
import pytest
import torch
from safetensors import SafetensorError

from helpers.whole_runs import assert_same
from ipr_core.config import FIELDS, PRESETS, SYSTEMS, demo, nearest_preset, paper, recommended
from ipr_core.data.corpora.table import CorpusError, Fault
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.runs.run import RunError
from ipr_core.training.advance import advance, prepare
from ipr_core.training.loop import LossError
from ipr_core.training.runner import Began, Changed, Runner
from ipr_widgets import control
from ipr_widgets.form import SECTIONS, Form, matching, whose
from ipr_widgets.state import RunState

SECONDS = 60

TERMS = ("precise", "ambiguous", "contrastive", "total")


def text(widget) -> str:
    """What a reader sees of HTML."""
    return re.sub("<[^>]*>", " ", widget.value if isinstance(widget, w.HTML) else widget)


@pytest.fixture
def form():
    return Form(demo())


# The form is the configuration's fields.


def test_every_setting_has_an_input_with_its_sentence_to_hover_and_to_read(form):
    assert list(form.inputs) == list(FIELDS)
    for name, (_, field) in FIELDS.items():
        assert form.inputs[name].description == name
        assert form.inputs[name].tooltip == field.description
        assert field.description in html.unescape(form.notes[name].value)


def test_settings_are_grouped_as_the_configuration_groups_them(form):
    assert form.tab.titles == SECTIONS == ("data", "partition", "audio", "encoder", "method", "training")
    for section, page in zip(SECTIONS, form.tab.children, strict=True):
        grid = page.children[1].children
        assert [box.description for box in grid[::2]] == [name for name in FIELDS if FIELDS[name][0] == section]
        assert all(form.notes[box.description] is note for box, note in zip(grid[::2], grid[1::2], strict=True))


def test_an_input_is_made_by_its_annotation(form):
    kinds = {bool: w.Checkbox, int: w.FloatText, float: w.FloatText, str: w.Text}
    for name, (_, field) in FIELDS.items():
        expected = w.Dropdown if get_origin(field.annotation) is Literal else kinds.get(field.annotation, w.Text)
        assert type(form.inputs[name]) is expected, name
    assert form.inputs["system"].options == SYSTEMS
    assert form.inputs["epochs"].step == 1
    assert form.inputs["corpus_path"].placeholder == "none"


@pytest.mark.parametrize("preset", PRESETS)
def test_a_preset_goes_through_the_form(preset):
    form = Form(PRESETS[preset]())
    assert form.config == PRESETS[preset]()
    assert (form.preset.value, form.changed, form.faults) == (preset, (), ())
    assert form.back.disabled


@pytest.mark.parametrize(
    ("name", "typed", "value"),
    [
        ("system", "supervised", "supervised"),
        ("unit_norm", False, False),
        ("epochs", 20, 20),
        ("lr", 3e-5, 3e-5),
        ("encoder", "some/where", "some/where"),
        ("corpus_path", "/data/it.csv", "/data/it.csv"),
        ("test_size", "40", 40),
        ("test_size", "", None),
        ("test_size", "none", None),
        ("layers", "1, -1", (1, -1)),
        ("noise_snr_db", "5, 25.5", (5.0, 25.5)),
        ("classes", "happy,sad", ("happy", "sad")),
        ("effects", "noise", ("noise",)),
    ],
)
def test_what_is_typed_is_what_is_trained_and_comes_back(form, name, typed, value):
    form.inputs[name].value = typed
    assert form.config == demo().replace(**{name: value})
    assert form.changed == (name,)
    again = Form(form.config)
    assert again.config == form.config
    assert again.changed == (name,)


# Faults.


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("gamma", 1.5, "gamma is 1.5; it is a number between 0 and 1. Reading: share"),
        ("epochs", 2.5, "epochs is 2.5; it is a whole number at least 1. Epochs"),
        ("epochs", 0, "epochs is 0; it is"),
        ("lr", float("inf"), "lr is inf; it is a number above 0."),
        ("encoder", "", "encoder is ''; it is a text."),
        ("test_size", "many", "test_size is 'many'; it is a whole number at least 1 or none."),
        ("layers", "last", "layers is 'last'; it is a list of a whole number."),
        ("noise_snr_db", "1, 2, 3", "noise_snr_db is"),
        ("effects", "echo", "effects is 'echo'; it is a list of one of"),
    ],
)
def test_a_wrong_value_is_told_beside_it_at_once(form, name, typed, sentence):
    form.inputs[name].value = typed
    assert form.config is None
    assert form.faults[0].startswith(sentence)
    assert sentence.replace("'", "&#x27;") in form.notes[name].value
    assert 'role="alert"' in form.notes[name].value
    assert not any('role="alert"' in note.value for other, note in form.notes.items() if other != name)
    assert form.tab.titles[SECTIONS.index(FIELDS[name][0])].endswith("⚠")
    form.fill(demo())
    assert form.config == demo()
    assert not any('role="alert"' in note.value for note in form.notes.values())
    assert form.tab.titles == SECTIONS


@pytest.mark.parametrize(
    ("typed", "section", "sentence"),
    [
        ({"warm_up": 60}, "training", "warm_up is 60; it is at most epochs, which is 16"),
        ({"ambiguous_share": 0.9, "precise_share": 0.8}, "partition", "ambiguous_share is 0.9; it is the lower bound"),
        ({"test_speakers": "a"}, "partition", "test_speakers are named; they need speaker_disjoint"),
        ({"effects": ""}, "audio", "effects is empty; a second view needs"),
        ({"corpus": "manifest"}, "data", "it needs corpus_path, the CSV or Parquet file"),
    ],
)
def test_values_that_do_not_go_together_are_told_at_the_head_of_their_section(form, typed, section, sentence):
    for name, value in typed.items():
        form.inputs[name].value = value
    assert form.config is None
    assert sentence in text(form.heads[section])
    assert [head.value for head in form.heads.values()].count("") == len(SECTIONS) - 1
    assert not any('role="alert"' in note.value for note in form.notes.values())


def test_a_fault_that_names_no_setting_is_still_told():
    assert whose("these settings do not go together") == (SECTIONS[0], None)


def test_several_faults_at_once(form):
    form.inputs["gamma"].value, form.inputs["encoder"].value = 2, ""
    assert len(form.faults) == 2
    form.inputs["gamma"].value = 0.5
    assert [fault.split()[0] for fault in form.faults] == ["encoder"]


def test_what_is_typed_is_shown_as_text(form):
    form.inputs["test_size"].value = "<img src=x>"
    assert "<img" not in form.notes["test_size"].value


# Presets, changes, finding.


def test_changes_are_marked_and_listed_and_undone(form):
    form.inputs["gamma"].value, form.inputs["epochs"].value = 0.5, 20
    assert form.changed == ("gamma", "epochs")
    assert "Changed from the preset demo:  gamma, epochs" in text(form.summary)
    assert "Changed; the preset has 0.999." in form.notes["gamma"].value
    assert "Changed" not in form.notes["tau"].value
    form.back.click()
    assert form.config == demo()
    assert text(form.summary).strip() == "As the preset demo has them."


def test_another_preset_keeps_what_was_changed(form):
    form.inputs["gamma"].value, form.inputs["tau"].value = 0.5, 1
    form.preset.value = "paper"
    assert form.config == paper(gamma=0.5)
    assert form.changed == ("gamma",)  # the paper's tau is 1
    form.preset.value = "recommended"
    assert form.config == recommended(gamma=0.5)


def test_the_preset_is_the_nearest_one():
    assert nearest_preset(paper(seed=3, gamma=0.5)) == "paper"
    assert nearest_preset(demo(epochs=30, corpus="emodb")) == "demo"


def test_a_setting_is_found_by_name_section_and_sentence(form):
    assert matching("seed") == [name for name in FIELDS if "seed" in name + FIELDS[name][1].description.lower()]
    assert matching("eq. 5 TEMPERATURE") == ["tau"]
    assert matching("partition votes") == ["precise_share", "min_votes"]
    assert matching("  ") == list(FIELDS)
    form.find.value = "temperature"
    assert form.tab.titles == ("data (0)", "partition (0)", "audio (0)", "encoder (0)", "method (3)", "training (0)")
    assert form.tab.selected_index == SECTIONS.index("method")
    grid = form.tab.children[form.tab.selected_index].children[1]
    assert [box.description for box in grid.children[::2]] == ["soft_label", "temperature", "tau"]
    form.find.value = ""
    assert form.tab.titles == SECTIONS


# The bar.


@pytest.fixture
def bar(frozen, data, tmp_path):
    """A state, its runner and their control; the corpus is at hand."""
    state, runner = RunState(), Runner()
    runner.watch(state.on_event)
    found = prepare(frozen, tmp_path / "runs", progress=False, data=data)
    yield state, runner, control.panel(state, runner, frozen, tmp_path / "runs", found)
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
def test_only_what_can_be_done_can_be_pressed(bar, status, buttons, words):
    state, _, panel = bar
    state.on_event(Changed(status))
    assert usable(panel) == buttons
    assert text(panel.status).strip().startswith(words)
    assert all(button.tooltip for button in panel.buttons.values())


@pytest.mark.parametrize("status", ["stopped", "finished", "ready"])
def test_changed_settings_are_said_to_begin_another_run(bar, status):
    state, _, panel = bar
    state.on_event(Changed(status))
    before = panel.status.value
    panel.form.inputs["gamma"].value, panel.form.inputs["epochs"].value = 0.5, 9
    assert f"{status.title()}: Start begins another run: gamma, epochs" in text(panel.status)
    state.on_event(Changed("running"))
    assert "another run" not in panel.status.value  # what is trained is not touched
    state.on_event(Changed(status))
    panel.form.fill(panel._first)
    assert panel.status.value == before


def test_wrong_settings_cannot_be_started(bar):
    _, runner, panel = bar
    panel.form.inputs["gamma"].value = 7
    assert usable(panel) == ""
    panel.form.inputs["gamma"].value = 0.5
    assert usable(panel) == "Start"
    assert runner.state == "ready"


def test_settings_are_made_when_they_are_asked_for_and_folded_away_again(bar, frozen):
    panel = bar[2]
    assert panel.config == frozen
    assert panel.children[-1].children == ()
    assert panel.children[-1].layout.display == "none"
    panel.settings.value = True
    assert panel.children[-1].children == (panel.form,)
    assert panel.config is panel.form.config
    assert panel.children[-1].layout.display is None
    panel.settings.value = False
    assert panel.children[-1].layout.display == "none"


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
    going = threading.Event()
    runner.watch(lambda event: (going.set(), pressed.wait(SECONDS)) if isinstance(event, StepEnd) else None)
    pressed = threading.Event()
    panel.buttons["Start"].click()
    assert going.wait(SECONDS)
    panel.buttons["Pause"].click()
    assert "Pausing after this step" in text(panel.status)
    pressed.set()
    assert waits.wait(SECONDS)
    assert state.status == "paused"
    assert len(state.events) < 3


def test_unchanged_settings_train_the_run_at_hand(bar, monkeypatch):
    state, runner, panel = bar
    monkeypatch.setattr(control, "prepare", None)
    panel.buttons["Start"].click()
    run = runner.wait(SECONDS)
    assert run is panel._found[0]
    assert state.data is panel._found[1]
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
    assert state.data is not panel._found[1]


def test_what_changes_after_start_counts_from_the_next_one_on(bar):
    _, runner, panel = bar
    config = panel.form.config
    waits = paused_at(runner, 0, 1)
    panel.buttons["Start"].click()
    panel.form.inputs["gamma"].value = 0.5
    assert waits.wait(SECONDS)
    assert runner.run.config == config
    assert panel.form.config != config


# What goes wrong.


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
def test_a_failure_is_told_with_its_cure(bar, error, words):
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

    def broken(_):
        with state.guard("similarity"):
            raise ZeroDivisionError("no <figure>")

    state.observe(broken, "step")
    panel.buttons["Start"].click()
    assert waits.wait(SECONDS)
    told = "A widget failed (similarity: ZeroDivisionError: no &lt;figure&gt;); training goes on."
    assert told in panel.trouble.value
    panel.buttons["Resume"].click()
    assert runner.wait(SECONDS).finished


def test_a_press_that_fails_is_told(bar, monkeypatch):
    _, runner, panel = bar
    monkeypatch.setattr(runner, "start", None)
    panel.buttons["Start"].click()
    assert "Start: TypeError" in panel.trouble.value
    assert "training goes on" in panel.trouble.value


# What it says.


def test_the_newest_step_is_told_by_the_names_of_its_terms(bar, trained):
    state, _, panel = bar
    state.on_event(StepEnd(2, 3, 5, torch.tensor([0.5, 0.25, 0.125, 0.65]), TERMS))
    said = text(panel.numbers)
    for words in ("total  0.650", "loss on D1  0.500", "D2  0.250", "contrastive (Eq. 5)  0.125"):
        assert words in said
    assert (panel.steps.value, panel.steps.max, panel.steps.description) == (3, 5, "steps 3 of 5")
    state.change(step=StepEnd(0, 4, 4, torch.tensor([0.5, 0, 0, 0.5]), TERMS))
    assert "D2" not in text(panel.numbers)  # the warm-up has no such term


def test_the_newest_epoch_is_told(trained):
    event = trained.history()[-1]
    said = text(control.numbers(None, event))
    assert f"accuracy on D3  {100 * event.accuracy:.1f} %" in said
    assert f"β  {event.beta:.3f}" in said
    assert f"audio  {event.clock['audio_seconds_per_second']:.0f} s/s" in said
    assert f"memory  {event.clock['peak_memory_mb']:,.0f} MB" in said
    assert control.numbers(None, None) == ""


def timed(event: EpochEnd, epoch: int, phase: str, seconds: float) -> EpochEnd:
    import dataclasses

    clock = event.clock | {"seconds": seconds, "evaluation_seconds": 1.0}
    return dataclasses.replace(event, epoch=epoch, phase=phase, clock=clock)


def test_the_time_left_is_told_from_the_latest_epochs_of_each_phase(trained, data):
    state, config = RunState(), demo(epochs=10, warm_up=3)
    assert control.seconds_left(state, config, 10) is None
    state.on_event(Began(trained, data))
    one = trained.history()[0]
    # 2 s of training and 1 s of evaluation an epoch; the refinement: as many more views, but evaluated once
    events = [timed(one, 0, "warm_up", 3)]
    state.change(events=tuple(events))
    precise, ambiguous = len(data.rows("D1")), len(data.rows("D2"))
    heavier = 3 * max(precise, ambiguous) / precise  # x^q, x^k and x^aug
    assert control.seconds_left(state, config, 10) == pytest.approx(2 * 3 + 7 * (2 * heavier + 1))
    assert control.seconds_left(state, config, 3) == pytest.approx(2 * 3)
    state.change(step=StepEnd(1, 1, 4, None, TERMS))  # a quarter of this epoch's training
    assert control.seconds_left(state, config, 3) == pytest.approx(2 * 3 - 2 / 4)
    # a first, slow one of the refinement counts no more once three others are known
    refined = [timed(one, 3 + i, "refinement", seconds) for i, seconds in enumerate((100, 5, 6, 7))]
    state.change(events=(*events, timed(one, 1, "warm_up", 3), timed(one, 2, "warm_up", 3), *refined))
    assert control.seconds_left(state, config, 10) == pytest.approx(3 * 6)
    state.change(events=state.events + tuple(timed(one, e, "refinement", 6) for e in (7, 8, 9)))
    assert control.seconds_left(state, config, 10) == 0


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 5 s"), (42, "about 40 s"), (61, "about 1 min"), (1000, "about 17 min"), (5400, "about 1 h 30 min")],
)
def test_a_duration_in_words(seconds, words):
    assert control.duration(seconds) == words


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
