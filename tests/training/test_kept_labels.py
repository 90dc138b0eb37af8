"""D2's labels of the end of the warm-up, kept to the end of training; and the oracle's in a whole run."""

import pytest
import torch

from helpers.sessions import bits, ends, equal, trained
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.session import Session


@pytest.fixture
def session(frozen, data, views):
    """Make a session of some settings."""

    def session(state=None, **settings):
        return Session(frozen.replace(**settings), data, views, state)

    return session


def labels_by_step(session):
    """Train to the end; return the classifier's and the prototypes' labels of each step, by the utterance's row."""
    steps, forward = [], session.forward

    def noted(minibatch, epoch, within=0.0):
        step = forward(minibatch, epoch, within)
        if session.refining(epoch):
            steps.append((epoch, step.rows, step.classifier_soft, step.prototype_soft, step.prototype_labels))
        return step

    session.forward = noted
    ends(refine(session))
    return steps


@pytest.mark.parametrize("system", ["ipr", "baseline_plus"])
def test_labels_are_kept_from_the_end_of_the_warm_up(session, system):
    warm = session(system=system)
    ends(warm_up(warm))
    classifier, soft, labels = warm.classifier_soft, warm.schedule.soft, warm.schedule.labels
    refinement = session(system=system, labels_when="warm_up", epochs=4)
    for _, rows, *labels_of_step in labels_by_step(refinement):
        assert all(a.equal(b[rows]) for a, b in zip(labels_of_step, (classifier, soft, labels), strict=True))
    assert not refinement.classifier_soft.equal(classifier)  # which later epochs have changed
    usual = labels_by_step(session(system=system, epochs=4))
    assert any(not labels_of_step[0].equal(classifier[rows]) for epoch, rows, *labels_of_step in usual if epoch > 1)


@pytest.mark.parametrize("settings", [{"labels_when": "warm_up"}, {"system": "oracle", "oracle_share": 0.5}], ids=str)
def test_a_session_goes_on_with_the_labels_that_it_had(session, settings):
    whole = trained(session(epochs=4, **settings))
    first = session(epochs=4, **settings)
    for event in refine(first):
        if getattr(event, "steps", 0) and first.epoch == 2 and not hasattr(event, "step"):
            break
    rest = session(state=bits(first), epochs=4, **settings)
    assert equal(trained(rest), whole)


def test_an_oracle_that_knows_all_learns_more_than_one_that_errs(session, data):
    def agreement(**settings):
        oracle = session(system="oracle", epochs=8, lr=3e-3, **settings)
        return ends(refine(oracle))[-1].agreement_model

    torch.manual_seed(0)
    assert agreement(oracle="random", oracle_share=0.0) > agreement(oracle="random", oracle_share=0.9)
