"""The time left: estimated from the latest epochs of each phase, and in words."""

import dataclasses

import pytest

from ipr_core.config import demo
from ipr_core.runs.events import EpochEnd, StepEnd
from ipr_core.training.pace import duration, estimate, seconds_left

TERMS = ("precise", "ambiguous", "contrastive", "total")


def timed(event: EpochEnd, epoch: int, phase: str, seconds: float) -> EpochEnd:
    clock = event.clock | {"seconds": seconds, "evaluation_seconds": 1.0}
    return dataclasses.replace(event, epoch=epoch, phase=phase, clock=clock)


def test_the_time_left_is_estimated_from_the_latest_epochs_of_each_phase(trained, data):
    config, sizes = demo(epochs=10, warm_up=3), [len(data.rows(part)) for part in ("D1", "D2")]
    assert seconds_left([], config, 10, *sizes) is None
    event = trained.history()[0]
    # 2 s of training and 1 s of evaluation an epoch; the refinement: as many more views, but evaluated once
    events = [timed(event, 0, "warm_up", 3)]
    ratio = 3 * max(sizes) / sizes[0]  # x^q, x^k and x^aug
    assert seconds_left(events, config, 10, *sizes) == pytest.approx(2 * 3 + 7 * (2 * ratio + 1))
    assert seconds_left(events, config, 3, *sizes) == pytest.approx(2 * 3)
    step = StepEnd(1, 1, 4, None, TERMS)  # a quarter of this epoch's training
    assert seconds_left(events, config, 3, *sizes, step) == pytest.approx(2 * 3 - 2 / 4)
    # a first, slow one of the refinement counts no more once three later ones are finished
    refinement = [timed(event, 3 + i, "refinement", seconds) for i, seconds in enumerate((100, 5, 6, 7))]
    events += [timed(event, 1, "warm_up", 3), timed(event, 2, "warm_up", 3), *refinement]
    assert seconds_left(events, config, 10, *sizes, step) == pytest.approx(3 * 6)
    events += [timed(event, epoch, "refinement", 6) for epoch in (7, 8, 9)]
    assert seconds_left(events, config, 10, *sizes, step) == 0


@pytest.mark.parametrize(("seconds", "words"), [(3, "3 s"), (89.4, "89 s"), (90, "2 min"), (5400, "1 h 30 min")])
def test_a_duration_in_words(seconds, words):
    assert duration(seconds) == words


@pytest.mark.parametrize(
    ("seconds", "words"),
    [(0, "about 5 s"), (42, "about 40 s"), (61, "about 60 s"), (1000, "about 17 min"), (5400, "about 1 h 30 min")],
)
def test_an_estimate_in_words(seconds, words):
    assert estimate(seconds) == words
