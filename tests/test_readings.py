"""The method's settings: those that came after version 0.1, and names that were others in it."""

import pytest

from ipr_core.config import demo, paper, recommended, recorded
from ipr_core.readings import Method

# Digests are those that version 0.1 computed.


@pytest.mark.parametrize(
    ("preset", "settings", "digest"),
    [
        (recommended, {}, "b8950f20"),
        (demo, {}, "870040c9"),
        (demo, {"moves": "all", "gate": "none", "seed": 3}, "b6b27c95"),
        (recommended, {"system": "baseline_plus", "target": "soft"}, "07eeada1"),
    ],
)
def test_what_version_0_1_could_do_has_the_digest_that_it_had(preset, settings, digest):
    assert preset(validation_share=0, **settings).digest() == digest


def test_a_former_name_means_what_it_meant():
    for name in (recommended(moves="agreed"), recorded({"moves": "agreed"}), recommended(moves="prototype")):
        assert name.method.moves == "prototype"
    assert recommended(moves="agreed") == recommended() == recommended(moves="prototype")
    assert recorded({"moves": "agreed"}) == recommended(validation_share=0)  # which version 0.1 did not have
    assert Method.model_validate({"moves": "agreed"}).moves == "prototype"


def test_a_record_that_lacks_later_settings_is_of_what_was_done_then():
    later = {"gamma_per", "own_target", "negatives", "anchors", "augmented_label", "validation_share"}
    record = {name: value for name, value in paper().settings().items() if name not in later} | {"moves": "agreed"}
    method = recorded(record).method
    assert (method.gamma_per, method.own_target, method.negatives) == ("sample", "same", "all")
    assert (method.anchors, method.augmented_label, method.moves) == ("both", "shared", "prototype")
    assert method.contrast == "dot"
    assert recorded(record).partition.validation_share == 0


@pytest.mark.parametrize(
    "setting",
    [{"gamma_per": "epoch"}, {"own_target": "soft"}, {"negatives": "other_label"}, {"anchors": "clean"},
     {"augmented_label": "own"}, {"validation_share": 0.2}, {"moves": "classifier"}, {"gate": "prototypes"}],
    ids=str,
)  # fmt: skip
def test_what_version_0_1_could_not_do_has_another_digest(setting):
    assert recommended(**setting).digest() != recommended().digest()
    assert recorded(recommended(**setting).settings()) == recommended(**setting)
