"""Every reading of the paper, trained once: it trains, and it makes a difference."""

import pytest
import torch

from helpers.readings import READINGS
from helpers.sessions import bits, equal, finite
from ipr_core.config import FIELDS, paper
from ipr_core.training.session import Session


@pytest.mark.parametrize(("name", "value"), READINGS)
def test_every_reading_trains(make, name, value):
    session = make(**{"epochs": 2, name: value})
    assert finite(session)
    torch.testing.assert_close(session.schedule.soft.sum(dim=1), torch.ones(len(session.schedule.soft)))


CHANGED = [(name, value) for name, value in READINGS if value != FIELDS[name][1].default]
MATTERS = {
    "compare_when": {"compare_when": "epoch"},
    "compare_mode": {"compare_when": "step"},
    "own_target": {"system": "baseline_plus"},
    "oracle": {"system": "oracle", "oracle_share": 0.5},
    "augmented_label": {"positives": "label"},
    "warm_up_prototypes": {"after_warm_up": "move", "warm_up": 2},  # an anchor forgets the warm-up
}
"""Settings that a reading makes a difference under, where the usual ones are not such."""


@pytest.mark.parametrize(("name", "value"), CHANGED)
def test_every_reading_makes_a_difference(make, name, value):
    usual = {"compare_when": "step", "gamma": 0.5, "lr": 5e-3} | MATTERS.get(name, {})
    if (name, value) == ("own_target", "hard"):
        usual["target"] = "soft"  # else it is the same
    first, second = make(**usual), make(**usual | {name: value})
    assert finite(first)
    assert finite(second)
    assert not equal(bits(first), bits(second))


@pytest.mark.parametrize("settings", [{"embedding": 0}, {"embedding": 0, "pooling": "mean+deviation"}])
def test_the_paper_preset_trains(make, frozen, data, settings):
    printed = {name: value for name, value in paper().settings().items() if FIELDS[name][0] == "method"}
    session = Session(frozen.replace(standardise=False, **printed, **settings), data)
    assert finite(session)
