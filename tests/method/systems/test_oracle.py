"""The oracle's labels: put right, left out or made wrong by the truth, in a share that the settings say."""

import dataclasses

import pytest
import torch

from helpers.steps import B, C, D, make_step
from ipr_core.config import GROUPS, Method
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.oracle import FirstLabels, labels, refinement_terms

N = 4000


def oracle_step(**method):
    """Make a step of the oracle, whose companion has seen it."""
    step = dataclasses.replace(make_step("oracle"), method=Method(**method))
    step.companion.before_step_(step)
    return step


def many(**method):
    """Make a step with so many utterances that shares are near their chance."""
    torch.manual_seed(0)
    step = dataclasses.replace(
        oracle_step(**method), companion=FirstLabels(D, C, N), rows=torch.arange(N), truth=torch.randint(0, C, (N,)),
        classifier_soft=torch.rand(N, C),
    )  # fmt: skip
    step.companion.before_step_(step)
    return step


def test_without_a_share_labels_are_the_classifier_s():
    step = oracle_step()
    target, weights = labels(step)
    assert target.equal(step.classifier_soft.argmax(dim=1))
    assert weights.equal(torch.ones(B))


def test_labels_are_those_of_the_first_step_that_has_the_utterance():
    step = oracle_step()
    later = dataclasses.replace(step, classifier_soft=step.classifier_soft.roll(1, dims=1))
    later.companion.before_step_(later)
    assert labels(later)[0].equal(labels(step)[0])


@pytest.mark.parametrize("share", [0.25, 0.5, 1.0])
def test_a_share_of_the_wrong_labels_is_put_right(share):
    step = many(oracle="correct", oracle_share=share)
    target, weights = labels(step)
    wrong = step.classifier_soft.argmax(dim=1) != step.truth
    assert target[~wrong].equal(step.truth[~wrong])
    assert (target == step.truth)[wrong].float().mean().item() == pytest.approx(share, abs=0.03)
    assert weights.min() == 1


@pytest.mark.parametrize("share", [0.25, 1.0])
def test_a_share_of_the_wrong_labels_is_left_out(share):
    step = many(oracle="gate", oracle_share=share)
    target, weights = labels(step)
    wrong = target != step.truth
    assert target.equal(step.classifier_soft.argmax(dim=1))
    assert weights[~wrong].min() == 1
    assert (weights[wrong] == 0).float().mean().item() == pytest.approx(share, abs=0.03)


@pytest.mark.parametrize("share", [0.0, 0.2, 1.0])
def test_a_share_of_true_labels_is_made_wrong(share):
    step = many(oracle="random", oracle_share=share)
    target, _ = labels(step)
    assert (target != step.truth).float().mean().item() == pytest.approx(share, abs=0.03)
    if share == 1:
        assert torch.bincount(target, minlength=C).min() > N / C / 2  # of every wrong class


def test_the_loss_is_the_cross_entropy_over_the_whole_minibatch():
    step = oracle_step(oracle="gate", oracle_share=1.0)
    target, weights = labels(step)
    losses = -step.ambiguous.logits.log_softmax(dim=1)[torch.arange(B), target]
    assert 0 < weights.sum() < B
    assert refinement_terms(step).ambiguous.item() == pytest.approx((losses * weights).sum().item() / B)


def test_it_is_no_system_to_compare_with():
    assert "oracle" in SYSTEMS
    assert all("oracle" not in names for names in GROUPS.values())
