"""The methods that IPR is compared with learn on the synthetic corpus."""

import numpy as np
import pytest

from ipr_core.config import BEYOND, TABLE2, demo
from ipr_core.dataset import load
from ipr_core.events import EpochEnd
from ipr_core.runner import shared_views
from ipr_core.session import Session
from ipr_core.systems import SYSTEMS
from ipr_core.train import refine


@pytest.fixture(scope="module")
def corpus():
    """Enough of the synthetic corpus to learn from: chance is 0.25."""
    config = demo(
        synthetic_size=240, test_size=60, epochs=12, warm_up=5, batch_size=8, map_size=0, max_seconds=1, device="cpu",
        train_features=False, frozen_layers=-1, lr=1e-3,
    )  # fmt: skip
    data = load(config, progress=False)
    return config, data, shared_views(config, data)


@pytest.mark.parametrize("system", [*TABLE2, *BEYOND])
def test_it_beats_chance_and_does_not_collapse(system, corpus):
    config, data, views = corpus
    session = Session(config.replace(system=system), data, views if SYSTEMS[system].network.encoder is None else None)
    end = [event for event in refine(session) if isinstance(event, EpochEnd)][-1]
    assert end.accuracy > 0.33  # two standard deviations of 60 guesses above 0.25 are 0.36, of 180 on D2 0.31
    assert end.agreement_model > 0.45
    counts = np.array(end.labels_model)
    assert (counts > 0).all()
    assert counts.max() < 0.6 * counts.sum()
