"""The configuration: names, presets, refusals, and the ways that settings come in and go out."""

import json
import math
import subprocess
import sys
from typing import Literal, get_args, get_origin

import pytest
from pydantic import ValidationError

from ipr_core.config import (
    CORPORA,
    FIELDS,
    PRESETS,
    SYSTEMS,
    Config,
    Mark,
    SettingsError,
    allowed,
    build,
    choices,
    demo,
    for_notebook,
    from_notebook,
    marked,
    nearest_preset,
    paper,
    recommended,
)


def faults(**settings) -> list[str]:
    with pytest.raises(SettingsError) as caught:
        recommended(**settings)
    return caught.value.faults


# Names and sentences.


def test_every_setting_has_a_sentence():
    for name, (_, field) in FIELDS.items():
        assert field.description, name
        assert field.description.endswith("."), name


def test_a_setting_is_named_alone():
    everywhere = [name for section in Config.model_fields.values() for name in section.annotation.model_fields]
    assert sorted(everywhere) == sorted(FIELDS)


def test_the_names_listed_are_those_allowed():
    assert choices("corpus") == CORPORA
    assert choices("system") == SYSTEMS
    assert choices("gamma") == choices("test_size") == ()


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("gamma", "a number between 0 and 1"),
        ("tau", "a number above 0, at most 1,000,000"),
        ("mu", "a number between 0 and 1,000,000"),
        ("dropout", "a number at least 0, below 1"),
        ("epochs", "a whole number between 1 and 100,000"),
        ("annotator_count", "a whole number between 3 and 50"),
        ("test_size", "a whole number between 1 and 1,000,000,000 or none"),
        ("unit_norm", "true or false"),
        ("target", "one of 'hard', 'soft'"),
        ("layers", "a list of a whole number between -1,000 and 1,000"),
        ("noise_snr_db", "2 values, each a number between -100 and 100"),
        ("corpus_path", "a text of one line, not empty or none"),
        ("effects", "a list of one of 'noise', 'volume', 'reverberation', 'pitch'"),
    ],
)
def test_what_is_allowed_in_words(name, words):
    assert allowed(name) == words


def test_every_setting_can_say_what_is_allowed():
    for name, (_, field) in FIELDS.items():
        words = allowed(name)
        if get_origin(field.annotation) is Literal:
            assert all(repr(value) in words for value in get_args(field.annotation)), name
        assert words


def test_a_configuration_does_not_change():
    with pytest.raises(ValidationError, match="frozen"):
        Config().method.gamma = 0.5


def test_reading_the_configuration_imports_nothing_heavy():
    check = "import sys, ipr_core.config; sys.exit(bool({'torch', 'pandas', 'sklearn'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", check], check=False).returncode == 0


# Presets.


@pytest.mark.parametrize(
    ("name", "printed", "tried"),
    [
        ("unit_norm", False, True),
        ("standardise", False, True),
        ("compare_when", "step", "epoch"),
        ("compare_mode", "training", "evaluation"),
        ("moves", "classifier", "prototype"),
        ("gate", "views", "views"),
        ("soft_label", "raw", "softmax"),
        ("target", "hard", "hard"),
        ("positives", "view", "view"),
        ("contrast", "dot", "cosine"),
        ("warm_up_prototypes", "means", "means"),
        ("after_warm_up", "move", "anchor+move"),
        ("gamma", 0.99, 0.999),
        ("update", "sequential", "closed"),
        ("beta_growth", 10, 10),
        ("beta_from", "start", "start"),
        ("augmented_target", False, False),
        ("gamma_per", "sample", "sample"),
        ("negatives", "all", "all"),
        ("anchors", "clean", "both"),
        ("augmented_label", "own", "shared"),
        ("own_target", "soft", "same"),
        ("embedding_activation", "linear", "linear"),
        # what the paper says (section 3.2)
        ("batch_size", 8, 8),
        ("epochs", 50, 50),
        ("warm_up", 10, 10),
        ("encoder_lr", 1e-5, 1e-5),
        ("alpha", 1, 1),
        ("mu", 0.2, 0.2),
        ("beta_max", 0.5, 0.5),
        ("encoder", "facebook/wav2vec2-base", "facebook/wav2vec2-base"),
    ],
)
def test_presets(name, printed, tried):
    assert paper().settings()[name] == printed
    assert recommended().settings()[name] == tried


def test_the_defaults_are_recommended():
    assert Config() == recommended() == build()


def test_a_setting_goes_before_the_preset():
    for name, preset in PRESETS.items():
        assert build(name, {"gamma": 0.25}) == preset(gamma=0.25)
        assert build(name, {"gamma": 0.25}).method.gamma == 0.25
    assert demo().replace(corpus="ravdess", seed=3).training.seed == 3


def test_nothing_given_keeps_the_presets_value():
    assert build("paper", {"gamma": None, "test_size": None}) == paper()


def test_a_corpus_is_a_name_or_a_description_and_anything_else_is_refused_once():
    assert recommended(corpus="mine/of my own.toml").data.corpus == "mine/of my own.toml"
    [fault] = faults(corpus="ravdes")
    assert fault.startswith("corpus is 'ravdes'; it must be one of 'synthetic', 'iemocap', ")
    assert "'oreau' or the path of a .toml file. The reader: " in fault


def test_an_unknown_preset():
    with pytest.raises(SettingsError, match="preset is 'papre'; it must be one of recommended, paper, demo"):
        build("papre")


# Refusals.


def test_all_faults_at_once_with_name_value_and_what_is_allowed():
    sentences = faults(gamma=1.5, gama=0.9, epochs="many", target="firm", encoder="", classes=("angry", "angry"))
    assert sentences[0] == "gama is not a setting; did you mean gamma?"
    assert len(sentences) == 6
    for start in (
        "gamma is 1.5; it must be a number between 0 and 1. ",
        "epochs is 'many'; it must be a whole number between 1 and 100,000. ",
        "target is 'firm'; it must be one of 'hard', 'soft'. ",
        "encoder is ''; it must be a text of one line, not empty. ",
        "classes is ('angry', 'angry') (a class is named twice); it must be a list of a text of one line, not empty. ",
    ):
        assert sum(fault.startswith(start) for fault in sentences) == 1, start
    assert next(fault for fault in sentences if fault.startswith("gamma")).endswith(FIELDS["gamma"][1].description)


def test_the_error_reads_a_line_a_fault():
    with pytest.raises(SettingsError, match=r"^mu is -1;.*\ntau is 0;.*$"):
        recommended(mu=-1, tau=0)


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"warm_up": 60}, "warm_up is 60; it must not exceed epochs, which is 50"),
        ({"ambiguous_share": 0.9, "precise_share": 0.8}, "ambiguous_share is 0.9; it is the lower bound of D2"),
        ({"test_speakers": ("a",)}, "test_speakers are named; they need speaker_disjoint"),
        ({"volume_db": (3, -3)}, "volume_db is 3.0, -3.0; it must go from the smaller to the larger"),
        ({"effects": ()}, "effects is empty; a second view needs at least one effect"),
        ({"corpus": "manifest"}, "corpus is 'manifest'; it needs corpus_path, the CSV or Parquet file"),
        ({"classes": ("angry",)}, "classes is"),
        ({"beta_growth": 1}, "beta_growth is 1; it must be a number above 1"),
        ({"gamma": math.nan}, "gamma is nan"),
        ({"lr": math.inf}, "lr is inf"),
        ({"epochs": 2.5}, "epochs is 2.5"),
        ({"noise_snr_db": (1.0, 2.0, 3.0)}, "noise_snr_db is"),
        ({"effects": ("echo",)}, "effects is 'echo'"),
        ({"seed": -1}, "seed is -1; it must be a whole number between 0 and 2**63 - 1"),
    ],
)
def test_what_is_not_allowed_is_refused(settings, sentence):
    (fault,) = faults(**settings)
    assert fault.startswith(sentence)


# From texts, to JSON and back, from a notebook.


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("layers", "2,3", (2, 3)),
        ("layers", "-1", (-1,)),
        ("volume_db", "-3, 3", (-3.0, 3.0)),
        ("classes", "happy, sad", ("happy", "sad")),
        ("effects", "noise", ("noise",)),
        ("test_size", "none", None),
        ("test_size", "None", None),
        ("test_size", "40", 40),
        ("corpus_path", "none", None),
        ("unit_norm", "false", False),
        ("speaker_disjoint", "true", True),
        ("gamma", "0.9", 0.9),
        ("epochs", "20", 20),
        ("test_speakers", "", ()),
        ("encoder", "none", "none"),  # a text that may not be absent stays a text
    ],
)
def test_a_text_is_read_as_the_setting_needs(name, text, value):
    section, _ = FIELDS[name]
    assert getattr(getattr(recommended(**{name: text}), section), name) == value


def test_none_is_refused_where_a_value_is_needed():
    assert faults(epochs="none")[0].startswith("epochs is 'none'")
    assert faults(epochs=None)[0].startswith("epochs is None")


@pytest.mark.parametrize("config", [recommended(), paper(), demo(test_size="none", layers="1,-1", encoder="a/b c")])
def test_settings_go_through_json(config):
    again = Config().replace(**json.loads(json.dumps(config.settings())))
    assert again == config
    assert again.digest() == config.digest()


def test_the_digest_names_the_settings():
    assert recommended(alpha=1).digest() == recommended(alpha=1.0).digest() == recommended(alpha="1").digest()
    settings = {"seed": 1, "stream": 1, "system": "baseline", "gamma": 0.5, "layers": (1,), "max_seconds": 3}
    digests = [recommended(**{name: value}).digest() for name, value in settings.items()]
    assert len({recommended().digest(), *digests}) == 7
    assert all(len(digest) == 8 for digest in digests)


def test_a_notebooks_plain_values_are_its_settings():
    namespace = {
        "__name__": "__main__", "_": 3, "_i1": "x", "In": ["a"], "Out": {}, "show": print, "axes": [print, 1],
        "preset": "demo", "runs": "elsewhere", "compare": ["a", "b"], "live": None, "gamma": 0.9, "seed": None,
        "layers": [0, 1], "unit_norm": False,
    }  # fmt: skip
    assert from_notebook(namespace) == demo(gamma=0.9, layers=(0, 1), unit_norm=False)
    assert from_notebook({}) == recommended()


def test_a_notebooks_unknown_parameter_is_refused():
    with pytest.raises(SettingsError, match="gmma is not a setting; did you mean gamma") as caught:
        from_notebook({"preset": "demo", "gmma": 0.9, "seed": "one"})
    assert caught.value.faults[1].startswith("seed is 'one'; it must be a whole number between 0 and 2**63 - 1")


def test_differences_are_the_own_values_of_what_another_configuration_has_otherwise():
    assert recommended(gamma=0.5, layers=(0, 1)).differences(recommended()) == {"layers": [0, 1], "gamma": 0.5}
    assert paper().differences(paper()) == {}


@pytest.mark.parametrize("preset", PRESETS)
def test_the_nearest_preset_is_the_one_with_the_fewest_differences(preset):
    assert nearest_preset(PRESETS[preset](seed=3, mu=0.5)) == preset


def test_a_mark_stands_on_the_field_or_on_its_section():
    assert marked(Mark.COMPARED) == {"system", "seed", "stream", "data_seed"}
    views = marked(Mark.SECOND_VIEWS)
    assert views > {
        name for name, (section, _) in FIELDS.items() if section in ("data", "partition", "audio", "encoder")
    }
    assert not views & marked(Mark.AFTER_WARM_UP)
    assert {FIELDS[name][0] for name in marked(Mark.AFTER_WARM_UP)} == {"method", "training"}


def test_a_notebooks_parameters_make_the_same_configuration_again():
    config = demo(test_size=None, gamma=0.25, layers=(0, 1))
    parameters = for_notebook(config, ["test_size", "gamma", "layers"], "demo", "runs")
    assert parameters == {"test_size": "none", "gamma": 0.25, "layers": [0, 1], "preset": "demo", "runs": "runs"}
    assert from_notebook(parameters) == config
