"""The settings form, without a browser: by its traits."""

import html
from typing import Literal, get_origin

import ipywidgets as w
import pytest

from helpers.widget_tree import text
from ipr_core.config import CORPORA, FIELDS, PRESETS, SYSTEMS, choices, demo, nearest_preset, paper, recommended
from ipr_widgets.form import SECTIONS, Form, fault_place, matching


@pytest.fixture
def form():
    return Form(demo())


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
        names = w.Dropdown if get_origin(field.annotation) is Literal else w.Combobox
        expected = names if choices(name) else kinds.get(field.annotation, w.Text)
        assert type(form.inputs[name]) is expected, name
    assert form.inputs["corpus"].options == CORPORA
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
        ("corpus", "savee", "savee"),
        ("corpus", "my corpora/it.toml", "my corpora/it.toml"),
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


@pytest.mark.parametrize(
    ("name", "typed", "sentence"),
    [
        ("gamma", 1.5, "gamma is 1.5; it must be a number between 0 and 1. Reading: "),
        ("epochs", 2.5, "epochs is 2.5; it must be a whole number between 1 and 100,000. Epochs"),
        ("epochs", 0, "epochs is 0; it must be"),
        ("lr", float("inf"), "lr is inf; it must be a number above 0, at most 1,000,000."),
        ("encoder", "", "encoder is ''; it must be a text of one line"),
        ("test_size", "many", "test_size is 'many'; it must be a whole number between 1 and 1,000,000,000 or none."),
        ("layers", "last", "layers is 'last'; it must be a list of a whole number"),
        ("noise_snr_db", "1, 2, 3", "noise_snr_db is"),
        ("effects", "echo", "effects is 'echo'; it must be a list of one of"),
    ],
)
def test_a_wrong_value_shows_its_fault_at_once(form, name, typed, sentence):
    form.inputs[name].value = typed
    assert form.config is None
    assert form.faults[0].startswith(sentence)
    assert sentence.replace("'", "&#x27;") in form.notes[name].value
    assert 'role="alert"' in form.notes[name].value
    assert not any('role="alert"' in note.value for field, note in form.notes.items() if field != name)
    assert form.tab.titles[SECTIONS.index(FIELDS[name][0])].endswith("⚠")
    form.fill(demo())
    assert form.config == demo()
    assert not any('role="alert"' in note.value for note in form.notes.values())
    assert form.tab.titles == SECTIONS


@pytest.mark.parametrize(
    ("typed", "section", "sentence"),
    [
        ({"warm_up": 60}, "training", "warm_up is 60; it must not exceed epochs, which is 16"),
        ({"ambiguous_share": 0.9, "precise_share": 0.8}, "partition", "ambiguous_share is 0.9; it is the lower bound"),
        ({"test_speakers": "a"}, "partition", "test_speakers are named; they need speaker_disjoint"),
        ({"effects": ""}, "audio", "effects is empty; a second view needs"),
        ({"corpus": "manifest"}, "data", "it needs corpus_path, the CSV or Parquet file"),
    ],
)
def test_values_that_do_not_go_together_show_their_fault_at_the_head_of_their_section(form, typed, section, sentence):
    for name, value in typed.items():
        form.inputs[name].value = value
    assert form.config is None
    assert sentence in text(form.heads[section])
    assert [head.value for head in form.heads.values()].count("") == len(SECTIONS) - 1
    assert not any('role="alert"' in note.value for note in form.notes.values())


def test_a_fault_that_names_no_setting_is_still_shown():
    assert fault_place("these settings do not go together") == (SECTIONS[0], None)


def test_several_faults_at_once(form):
    form.inputs["gamma"].value, form.inputs["encoder"].value = 2, ""
    assert len(form.faults) == 2
    form.inputs["gamma"].value = 0.5
    assert [fault.split()[0] for fault in form.faults] == ["encoder"]


def test_what_is_typed_is_shown_as_text(form):
    form.inputs["test_size"].value = "<img src=x>"
    assert "<img" not in form.notes["test_size"].value


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
    assert matching("partition votes") == ["precise_share", "min_votes", "tied"]
    assert matching("  ") == list(FIELDS)
    form.find.value = "temperature"
    assert form.tab.titles == ("data (0)", "partition (0)", "audio (0)", "encoder (0)", "method (3)", "training (0)")
    assert form.tab.selected_index == SECTIONS.index("method")
    grid = form.tab.children[form.tab.selected_index].children[1]
    assert [box.description for box in grid.children[::2]] == ["soft_label", "temperature", "tau"]
    form.find.value = ""
    assert form.tab.titles == SECTIONS
