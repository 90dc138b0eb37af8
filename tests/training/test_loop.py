"""The loop: its events by hand, and going on from a state."""

import dataclasses

import numpy as np
import pytest
import torch

from helpers.sessions import bits, ends, equal
from ipr_core.runs.events import EpochEnd, StepEnd, to_json
from ipr_core.training.checkpoint import without_evaluation
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.passes import Passes
from ipr_core.training.session import Session


def test_beta_by_hand(make):
    # r = 10, w = 0.5, E = 3: at e = 1 0.5 (10^(2/3) − 1) / 9, from e = 1.5 on 0.5; nothing in the warm-up
    session = make()
    expected = [0, 0.5 * (10 ** (2 / 3) - 1) / 9, 0.5]
    assert [session.beta(epoch) for epoch in range(3)] == pytest.approx(expected)
    assert [end.beta for end in ends(refine(session))] == pytest.approx(expected)
    later = make(beta_from="warm_up")  # E = 2, e = 0 and 1
    assert [later.beta(epoch) for epoch in range(3)] == pytest.approx([0, 0, 0.5])


@pytest.mark.parametrize("system", ["daan", "freematch", "softmatch", "pico"])
def test_a_minibatch_moves_the_companion_before_its_losses_are_computed(make, system):
    session, calls = make(system=system, epochs=2), []
    before_step_, refinement_terms = session.companion.before_step_, session.system.refinement_terms

    def losses(step):
        calls.append("losses")
        return refinement_terms(step)

    session.companion.before_step_ = lambda step: (calls.append("companion"), before_step_(step))
    session.system = dataclasses.replace(session.system, refinement_terms=losses)
    ends(refine(session))
    assert calls == ["companion", "losses"] * len(session.plan(1))


def test_progress_is_of_the_warm_up_then_of_the_refinement(make):
    session = make(warm_up=2, epochs=6)
    minibatch = session.plan(2)[0]
    shares = [
        session.forward(minibatch, epoch, within).progress for epoch, within in ((0, 0.5), (1, 0), (2, 0), (5, 0.5))
    ]
    assert shares == [0.25, 0.5, 0, 0.875]
    assert make(warm_up=0).forward(minibatch, 0).progress == 0


def test_the_event_by_hand(make, data):
    session = make()
    steps, end = [], None
    for event in refine(session):
        if isinstance(event, StepEnd):
            steps.append(event)
        elif event.epoch < 2:
            steps = []
        end = event
    d2, d3, truth = session.d2, session.d3, data.labels
    model, prototypes = session.classifier_soft.argmax(1).numpy(), session.schedule.soft.argmax(1).numpy()
    assert end.steps == len(steps) == steps[-1].steps == 4
    assert [step.step for step in steps] == [1, 2, 3, 4]
    assert list(end.losses.values()) == pytest.approx(torch.stack([s.values for s in steps]).mean(0).tolist())
    total = end.losses["precise"] + end.beta * end.losses["ambiguous"] + 0.2 * end.losses["contrastive"]
    assert end.losses["total"] == pytest.approx(total, rel=1e-5)
    assert end.accuracy == np.trace(end.confusion) / len(d3) == np.mean(model[d3] == truth[d3])
    assert np.sum(end.confusion, axis=1).tolist() == np.bincount(truth[d3], minlength=4).tolist()
    assert end.agreement_model == np.mean(model[d2] == truth[d2])
    assert end.agreement_prototypes == np.mean(prototypes[d2] == truth[d2])
    assert end.accuracy_prototypes == np.mean(prototypes[d3] == truth[d3])
    assert end.labels_model == np.bincount(model[d2], minlength=4).tolist()
    assert sum(end.labels_prototypes) == len(d2)
    np.testing.assert_allclose(np.diag(end.cosines), 1, rtol=1e-5)
    vectors = end.arrays["prototypes"] / np.linalg.norm(end.arrays["prototypes"], axis=1, keepdims=True)
    np.testing.assert_allclose(end.cosines, vectors @ vectors.T, atol=1e-6)
    np.testing.assert_array_equal(end.arrays["map"], session.embeddings[session.sample].numpy())
    np.testing.assert_allclose(end.arrays["soft_prototypes"], session.schedule.soft.numpy(), atol=1e-3)


def test_the_loop_can_be_stopped_and_gone_on_with(make):
    plain, stopped = make(), make()
    whole = [to_json(dataclasses.replace(end, clock={})) for end in ends(refine(plain))]
    first = ends(warm_up(stopped))
    assert ends(warm_up(stopped)) == []
    assert [to_json(dataclasses.replace(end, clock={})) for end in first + ends(refine(stopped))] == whole
    assert ends(refine(stopped)) == []
    assert equal(bits(plain), bits(stopped))


@pytest.mark.parametrize("settings", [{}, {"compare_when": "step", "system": "ipr"}, {"system": "baseline_augmented"}])
@pytest.mark.parametrize("epoch", [1, 2])
def test_a_state_goes_on_to_the_bit(make, settings, epoch):
    goes_on_to_the_bit(lambda **state: make(**state, **settings), epoch)


def test_a_state_of_a_trained_encoder_goes_on_to_the_bit(whole):
    goes_on_to_the_bit(whole, 2)


def goes_on_to_the_bit(make_session, epoch: int) -> None:
    plain = make_session()
    state = next(bits(plain) for event in refine(plain) if isinstance(event, EpochEnd) and event.epoch == epoch - 1)
    rest = ends(refine(plain))
    again = make_session(state=state)
    assert again.epoch == epoch
    assert equal(bits(again), state)
    assert ends(refine(again)) == rest
    assert equal(bits(again), bits(plain))


@pytest.mark.parametrize("system", ["ipr", "mcil", "pico", "freematch", "capsules"])
def test_a_state_without_its_evaluation_goes_on_to_the_bit(make, system):
    plain = make(system=system)
    state = next(bits(plain) for event in refine(plain) if isinstance(event, EpochEnd) and event.epoch == 1)
    kept = without_evaluation(state)
    assert kept.keys() == state.keys() - {"embeddings", "own", "soft"}
    again = make(state=kept, system=system)
    assert equal(bits(again), state)
    assert again.schedule.labels.equal(plain.schedule.labels)


def test_a_state_of_another_model_is_refused(make, whole):
    with pytest.raises(ValueError, match="the checkpoint is of another model"):
        make(state=bits(whole()))


def test_what_goes_on_evaluates_nothing_again(make, monkeypatch):
    state = bits(make())
    monkeypatch.setattr(Session, "evaluate_", None)
    monkeypatch.setattr(Passes, "pooled", None)
    assert equal(bits(make(state=state)), state)
