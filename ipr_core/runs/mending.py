"""Where training of a run goes on: the newest state that its record leads up to.

Training is repeatable. So where a file of the record or a state is damaged, an older state, or the start, leads to the
same result; it only takes longer.
"""

from __future__ import annotations

import os
from typing import NamedTuple

import numpy as np
from torch import Tensor

from ipr_core.runs.run import Run, RunError


class Start(NamedTuple):
    """A point to go on from."""

    state: dict[str, Tensor] | None
    """None: the start of training."""
    epoch: int
    """Epochs trained there."""
    faults: list[str]
    """What is damaged, a sentence each, so that training goes further back than it was."""


def start(run: Run) -> Start:
    """Return the newest state of a run that the record leads up to; nothing is changed."""
    count, faults = whole_epochs(run)
    warm_up = run.config.training.warm_up
    states = []
    for name in ("checkpoint", "warm_up"):
        try:
            if (state := run.load_state(name)) is not None:
                _check(run, name, state, count)
                states.append(state)
        except RunError as error:
            faults.append(str(error))
            if name == "warm_up":  # which is made again in passing it
                return Start(None, 0, faults)
    if not states:
        return Start(None, 0, faults)
    epoch = int(states[0]["epoch"])
    if epoch >= warm_up > 0 and not os.path.lexists(run.folder / "warm_up.safetensors"):
        return Start(None, 0, [*faults, f"{run.folder / 'warm_up.safetensors'} is missing"])
    return Start(states[0], epoch, faults)


def whole_epochs(run: Run) -> tuple[int, list[str]]:
    """Count the epochs, from the first on, whose line and arrays are whole, and say what is wrong with the next."""
    epoch = 0
    try:
        for epoch in range(run.epochs):
            run.event(epoch)
            run.arrays(epoch)
        return run.epochs, []
    except RunError as error:
        return epoch, [str(error)]


def _check(run: Run, name: str, state: dict[str, Tensor], count: int) -> None:
    """Raise RunError if a state is not one that the first `count` epochs of the record lead to."""
    path, epoch = run.folder / f"{name}.safetensors", int(state.get("epoch", 0))
    if epoch < 1 or "prototypes" not in state:
        raise RunError(f"{path} is no state of training; {run.mended}")
    if epoch > count:
        raise RunError(f"{path} is of epoch {epoch}, and {count} epochs are recorded; {run.mended}")
    if name == "warm_up" and epoch != run.config.training.warm_up:
        raise RunError(f"{path} is of epoch {epoch}, not of the end of the warm-up; {run.mended}")
    if not np.array_equal(state["prototypes"].numpy(), run.arrays(epoch - 1)["prototypes"]):
        raise RunError(f"{path} is of another run; {run.mended}")
