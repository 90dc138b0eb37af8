"""Calibration: what was put in is fitted, few utterances do not run away, and the bias must pay for itself."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch
from scipy.special import softmax

from ipr_core.calibration import SMALLEST, Calibration, fit

BIAS = np.array([0.8, -0.5, 0.2, 0.0, -0.5])


def sample(n, temperature=3.0, bias=BIAS, votes=3, seed=0):
    """Votes drawn from true shares, and labels that are too sure by a temperature and lean by a bias."""
    random = np.random.default_rng(seed)
    logits = random.normal(0, 2, (n, 5))
    shares = [random.multinomial(votes, row) / votes for row in softmax(logits, axis=1)]
    return softmax(temperature * (logits - bias), axis=1), np.array(shares)


def names(n, groups=None):
    return [str(i % (groups or n)) for i in range(n)]


def nll(soft, votes):
    return -(votes * np.log(np.maximum(soft, SMALLEST))).sum(axis=1)


def apply(calibration, soft):
    return calibration(torch.tensor(soft)).double().numpy()


def test_a_known_temperature_and_bias_are_fitted():
    shares, votes = sample(8000, votes=10)
    calibration = fit(shares, votes, names(8000), "annotators")
    assert calibration.temperature == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(calibration.bias, BIAS - BIAS.mean(), atol=0.05)
    assert (calibration.utterances, calibration.votes) == (8000, "annotators")
    assert calibration.nll_after < calibration.nll_before


def test_without_a_bias_in_the_labels_there_is_none_in_the_calibration():
    shares, votes = sample(100, bias=np.zeros(5))
    calibration = fit(shares, votes, names(100), "annotators")
    assert calibration.bias == ()
    assert calibration.temperature == pytest.approx(3, rel=0.3)


def test_a_bias_that_is_not_tried_is_not_fitted():
    assert fit(*sample(400), names(400), "annotators").bias
    assert fit(*sample(400), names(400), "annotators", biased=False).bias == ()


def test_a_bias_of_few_groups_does_not_pay_for_itself():
    """The labels of two of five groups lean; folds of single utterances take that for a bias of all."""
    parts = [sample(60, bias=np.eye(5)[0] * (3 if i < 2 else 0), seed=i) for i in range(5)]
    shares, votes = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
    assert fit(shares, votes, names(300), "annotators").bias
    assert fit(shares, votes, np.repeat(list("abcde"), 60).tolist(), "annotators").bias == ()


def test_the_fit_is_the_least_of_a_grid():
    shares, votes = sample(200, bias=np.zeros(5))
    temperature = fit(shares, votes, names(200), "annotators").temperature
    grid = np.geomspace(0.5, 20, 2000)
    losses = [nll(softmax(np.log(shares.clip(SMALLEST)) / t, axis=1), votes).sum() + math.log(t) ** 2 / 2 for t in grid]
    assert temperature == pytest.approx(grid[np.argmin(losses)], rel=0.005)


@pytest.mark.parametrize("n", [1, 2, 3, 5, 12])
@pytest.mark.parametrize("right", [True, False])
def test_few_utterances_do_not_run_away(n, right):
    """All right, or all wrong, they would ask for a temperature of 0, or of infinity."""
    shares, votes = np.tile([0.9, 0.1], (n, 1)), np.tile([1.0, 0.0] if right else [0.0, 1.0], (n, 1))
    calibration = fit(shares, votes, names(n), "annotators")
    assert 0.1 < calibration.temperature < 20
    assert (calibration.temperature < 1) == right
    assert np.isfinite(apply(calibration, shares)).all()
    assert (calibration.nll_after is None) == (n == 1)
    assert "nan" not in str(calibration)


def test_shares_of_0_are_no_infinite_loss():
    calibration = fit(np.eye(3)[[0, 1, 2, 0]], np.eye(3)[[1, 1, 2, 0]], names(4), "annotators")
    assert 1 < calibration.temperature < 100
    assert np.isfinite(apply(calibration, np.eye(3))).all()


@pytest.mark.parametrize("n", [20, 60, 200])
@pytest.mark.parametrize("temperature", [1.0, 4.0])
def test_on_other_utterances_it_is_not_worse_than_nothing_beyond_noise(n, temperature):
    gains = []
    for seed in range(12):
        shares, votes = sample(n + 1000, temperature, bias=np.zeros(5), seed=seed)
        calibration = fit(shares[:n], votes[:n], names(n), "annotators", seed)
        gains.append((nll(shares[n:], votes[n:]) - nll(apply(calibration, shares[n:]), votes[n:])).mean())
    assert np.mean(gains) > (-0.02 if temperature == 1 else 0.1)


def test_the_order_of_the_utterances_does_not_matter():
    (shares, votes), groups, order = sample(60), names(60, 12), np.random.default_rng(1).permutation(60)
    ordered = fit(shares, votes, groups, "annotators")
    shuffled = fit(shares[order], votes[order], [groups[i] for i in order], "annotators")
    assert shuffled.temperature == pytest.approx(ordered.temperature, rel=1e-5)
    assert shuffled.nll_after == pytest.approx(ordered.nll_after, rel=1e-5)


def test_the_same_utterances_give_the_same_bits():
    shares, votes = sample(60)
    assert fit(shares, votes, names(60), "annotators") == fit(shares, votes, names(60), "annotators")


def test_by_hand():
    calibration = Calibration(2.0, (0.0, math.log(2)))
    # roots of 0.64 and 0.36 are 0.8 and 0.6, the second of them twice
    assert calibration(torch.tensor([[0.64, 0.36]])).tolist() == [[pytest.approx(0.4), pytest.approx(0.6)]]


def test_the_default_leaves_every_bit():
    shares = torch.rand(50, 4).softmax(dim=1)
    assert Calibration()(shares) is shares


def test_a_temperature_never_changes_the_named_class():
    shares = torch.rand(200, 4).softmax(dim=1)
    assert torch.equal(Calibration(7.3)(shares).argmax(dim=1), shares.argmax(dim=1))


def test_written_and_read_it_is_the_same():
    calibration = fit(*sample(400), names(400), "simulated")
    assert calibration.bias
    assert Calibration.described(json.loads(json.dumps(dataclasses.asdict(calibration)))) == calibration
    assert Calibration.described({}) == Calibration()  # of a version that had none


@pytest.mark.parametrize("values", [{"temperature": 0}, {"temperature": math.nan}, {"bias": [math.inf]}, {"slope": 1}])
def test_what_is_no_calibration_is_refused(values):
    with pytest.raises((ValueError, TypeError)):
        Calibration.described(values)


def test_no_utterance_is_refused():
    with pytest.raises(ValueError, match="there is none"):
        fit(np.empty((0, 3)), np.empty((0, 3)), [], "annotators")


def test_it_says_in_words_whose_votes_it_was_fitted_to():
    assert "no utterance was held out" in str(Calibration())
    assert "SIMULATED" in str(fit(*sample(50), names(50), "simulated"))
    assert "NLL of the votes" in str(fit(*sample(50), names(50), "annotators"))
