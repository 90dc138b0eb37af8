"""Events: to JSON and back, with and without what JSON cannot say."""

import dataclasses
import json
import math

import numpy as np
import pytest

from ipr_core.runs.events import EpochEnd, from_json, to_json


def event(**values) -> EpochEnd:
    usual = dict(
        epoch=7, phase="refinement", beta=0.25, losses={"precise": 0.1, "total": 1 / 3}, steps=4, accuracy=0.5, uar=0.4,
        macro_f1=0.3, confusion=[[3, 1], [2, 2]], accuracy_prototypes=0.6, cosines=[[1.0, -0.2], [-0.2, 1.0]],
        agreement_model=0.7, agreement_prototypes=None, labels_model=[5, 5], labels_prototypes=[10, 0], gate=0.9,
        clock={"seconds": 1.5}, arrays={"prototypes": np.eye(2, dtype=np.float32)},
    )  # fmt: skip
    return EpochEnd(**(usual | values))


def test_an_event_goes_through_json_to_the_bit():
    first = event()
    text = json.dumps(to_json(first), allow_nan=False)
    again = from_json(json.loads(text), first.arrays)
    assert again == first
    assert again.clock == first.clock
    assert again.arrays["prototypes"] is first.arrays["prototypes"]
    assert again.losses["total"] == 1 / 3


def test_the_line_names_its_event_and_leaves_arrays_out():
    values = to_json(event())
    assert values["event"] == "EpochEnd"
    assert set(values) == {field.name for field in dataclasses.fields(EpochEnd)} - {"arrays"} | {"event"}


def test_what_is_not_finite_becomes_none():
    values = to_json(event(uar=math.nan, losses={"total": math.inf}, cosines=[[1.0, math.nan]], accuracy=0.0))
    assert values["uar"] is None
    assert values["losses"] == {"total": None}
    assert values["cosines"] == [[1.0, None]]
    assert values["accuracy"] == 0.0
    json.dumps(values, allow_nan=False)


def test_wall_clock_and_arrays_do_not_tell_events_apart():
    assert event() == event(clock={"seconds": 9.0}, arrays={})
    assert event() != event(beta=0.3)


def test_an_event_does_not_change():
    with pytest.raises(dataclasses.FrozenInstanceError, match="epoch"):
        event().epoch = 8
