"""The methods that IPR is compared with learn on the synthetic corpus, from D2 too."""

import dataclasses
import functools

import numpy as np
import pytest
import torch

from ipr_core.config import BEYOND, TABLE2, demo
from ipr_core.data.dataset import load
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd
from ipr_core.training.advance import shared_views
from ipr_core.training.loop import refine
from ipr_core.training.session import Session

RIVALS = (*TABLE2, *BEYOND)


def own_network(system) -> bool:
    return SYSTEMS[system].network.encoder is not None


@pytest.fixture(scope="module")
def corpus():
    """Enough of the synthetic corpus to learn from: D1 has 103 utterances, D2 117, D3 100; chance is 0.25."""
    config = demo(
        synthetic_size=320, test_size=100, epochs=12, warm_up=5, batch_size=8, map_size=0, max_seconds=1, device="cpu",
        train_features=False, frozen_layers=-1, lr=1e-3,
    )  # fmt: skip
    data = load(config, progress=False)
    return config, data, shared_views(config, data)


@pytest.fixture(scope="module")
def short():
    """The same for networks that train from the spectrogram on, which is slow: two fifths of a second are enough."""
    config = demo(
        synthetic_size=320, test_size=100, epochs=8, warm_up=4, batch_size=8, map_size=0, max_seconds=0.4, device="cpu",
        train_features=False, frozen_layers=-1, lr=1e-3,
    )  # fmt: skip
    return config, load(config, progress=False), None


def session_of(system, config, data, views) -> Session:
    return Session(config.replace(system=system), data, None if own_network(system) else views)


@pytest.mark.parametrize("system", RIVALS)
def test_it_beats_chance_and_does_not_collapse(system, request):
    corpus = request.getfixturevalue("short" if own_network(system) else "corpus")
    end = [event for event in refine(session_of(system, *corpus)) if isinstance(event, EpochEnd)][-1]
    assert end.accuracy > 0.38  # three standard deviations of 100 guesses above 0.25
    assert end.agreement_model > 0.45  # of 117 they are 0.37; the largest class alone is 0.29
    counts = np.array(end.labels_model)
    assert (counts > 0).all()
    assert counts.max() < 0.6 * counts.sum()


# D2's part in it.


def differing(first: dict[str, torch.Tensor], second: dict[str, torch.Tensor]) -> list[str]:
    return [name for name, value in first.items() if not value.equal(second[name])]


def on_d1_alone(session: Session) -> Session:
    """The same session, whose terms of D2 are left out of the total."""
    system = session.system

    def precise(step):
        return dataclasses.replace(system.refinement_terms(step), beta=0.0, mu=0.0, extra={})

    session.system = dataclasses.replace(system, refinement_terms=precise)
    return session


@pytest.fixture(scope="module")
def sure(frozen):
    """An epoch of warm-up at a rate that leaves the classifier sure of itself, as FixMatch wants it, and two more."""
    return frozen.replace(lr=5e-2, map_size=0)


@pytest.fixture(scope="module")
def weights_of(sure, data, views):
    """The model's weights after two epochs of refinement, on D1 alone or with some settings changed."""

    @functools.cache
    def weights(system, single=False, **settings):
        session = session_of(system, sure.replace(**settings), data, views)
        list(refine(on_d1_alone(session) if single else session))
        return session.model.state_dict()

    return weights


@pytest.mark.parametrize("system", RIVALS)
def test_d2_changes_the_weights(system, weights_of):
    assert differing(weights_of(system), weights_of(system, single=True))


# PiCO's pseudo-targets weigh 1, whatever the settings are.
@pytest.mark.parametrize("system", [*TABLE2, "fixmatch", "freematch", "softmatch"])
def test_without_weight_d2_changes_nothing(system, weights_of):
    assert differing(weights_of(system, own_weight=0, beta_max=0), weights_of(system, single=True)) == []
