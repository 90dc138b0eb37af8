"""A finished run that tests may change, a state that shows it, and the explorer of that state."""

import shutil

import pytest

from ipr_core.runs.run import Run
from ipr_core.training.runner import Began
from ipr_widgets.explorer import Explorer
from ipr_widgets.state import RunState


@pytest.fixture
def run(trained, tmp_path):
    """A copy of the finished run."""
    return Run(shutil.copytree(trained.folder, tmp_path / "run"))


@pytest.fixture
def state(run, data):
    """A state that shows the run."""
    state = RunState()
    state.on_event(Began(run, data))
    return state


@pytest.fixture
def panel(state):
    """The explorer of the state."""
    return Explorer(state)
