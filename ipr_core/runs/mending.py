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
    states = []
    for name in ("checkpoint", "warm_up"):
        try:
            state = run.load_state(name)
            if state is not None and _leads_on(run, name, state, count, faults):
                states.append(state)
        except RunError as error:
            faults.append(_fault(run, error))
            if name == "warm_up":  # which is made again in passing it
                states = []
    epoch = int(states[0]["epoch"]) if states else 0
    if epoch >= run.config.training.warm_up > 0 and not os.path.lexists(run.folder / "warm_up.safetensors"):
        states, epoch = [], 0
        faults.append(f"{run.folder / 'warm_up.safetensors'} is missing")
    if not faults and count > epoch + (not run.finished):  # a killed run may have recorded an epoch more
        faults.append(f"{run.folder / 'checkpoint.safetensors'} is missing")
    return Start(states[0] if states else None, epoch, faults)


def whole_epochs(run: Run) -> tuple[int, list[str]]:
    """Count the epochs, from the first on, whose line and arrays are whole, and say what is wrong with the next."""
    epoch = 0
    try:
        for epoch in range(run.epochs):
            run.event(epoch)
            run.arrays(epoch)
        return run.epochs, []
    except RunError as error:
        return epoch, [_fault(run, error)]


def _leads_on(run: Run, name: str, state: dict[str, Tensor], count: int, faults: list[str]) -> bool:
    """Tell whether the first `count` epochs of the record lead to a state.

    Adds to the faults if not, unless one of them is the reason. raises RunError if the state is of no or another run
    """
    path, epoch = run.folder / f"{name}.safetensors", int(state.get("epoch", 0))
    if epoch < 1 or "prototypes" not in state or (name == "warm_up" and epoch != run.config.training.warm_up):
        raise RunError(f"{path} is not a state of this run")
    if epoch > count:
        faults += [] if faults else [f"{path} is of epoch {epoch}, but only {count} epochs are recorded"]
        return False
    if not np.array_equal(state["prototypes"].numpy(), run.arrays(epoch - 1)["prototypes"]):
        raise RunError(f"{path} is of another run")
    return True


def _fault(run: Run, error: RunError) -> str:
    return str(error).removesuffix(f"; {run.mended}")
