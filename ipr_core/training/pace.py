"""The time that training still takes, estimated from the clocks of finished epochs."""

from collections.abc import Sequence

from ipr_core.config import Config
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, StepEnd

_LATEST = 3  # epochs of a phase that the estimate is made from


def seconds_left(
    events: Sequence[EpochEnd], config: Config, last: int, precise: int, ambiguous: int, step: StepEnd | None = None
) -> float | None:
    """Estimate the seconds that the epochs up to `last` still take; None before the first epoch.

    An epoch takes the mean of the latest epochs of its phase. Before the first epoch of the refinement, its training
    is estimated from the warm-up's, by how many more views of utterances pass through the encoder.

    events: of the finished epochs   last: how many epochs there will be   precise, ambiguous: the sizes of D1 and D2
    step: the newest, whose share of the epoch's training counts as done
    """
    warm_up = config.training.warm_up
    phases = [[event for event in events if (event.epoch >= warm_up) == refining] for refining in (False, True)]
    paces = _pace(phases[0]), _pace(phases[1])
    if paces[1] is None and paces[0] is not None:
        training, evaluation = paces[0]
        paces = paces[0], (training * _view_ratio(config, precise, ambiguous), evaluation)
    seconds = 0.0
    for epoch in range(len(events), last):
        pace = paces[epoch >= warm_up]
        if pace is None:
            return None
        training, evaluation = pace
        if step is not None and step.epoch == epoch == len(events):
            training *= 1 - step.step / step.steps
        seconds += training + evaluation
    return seconds if events else None


def duration(seconds: float) -> str:
    """Return a duration in words: 48 s, 7 min, 3 h 20 min."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"


def estimate(seconds: float) -> str:
    """Return an estimated duration in words, to five seconds or a minute."""
    return f"about {duration(max(5, 5 * round(seconds / 5)))}"


def _pace(events: Sequence[EpochEnd]) -> tuple[float, float] | None:
    """Return the seconds of training and of evaluation in an epoch like these; None where there is none."""
    clocks = [event.clock for event in events[-_LATEST:]]
    if not clocks:
        return None
    total = sum(clock["seconds"] for clock in clocks) / len(clocks)
    evaluation = sum(clock["evaluation_seconds"] for clock in clocks) / len(clocks)
    return total - evaluation, evaluation


def _view_ratio(config: Config, precise: int, ambiguous: int) -> float:
    """Return the views of an epoch of the refinement that pass through the encoder, over those of the warm-up."""
    system = SYSTEMS[config.training.system]
    views = (system.precise_views + system.ambiguous_views) / system.precise_views
    return max(precise, ambiguous) / precise * views
