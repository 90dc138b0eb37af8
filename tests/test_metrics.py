"""Scores by hand, and against slow or foreign second versions."""

import itertools
import math

import numpy as np
import pytest
from scipy.spatial.distance import jensenshannon
from scipy.stats import ttest_rel
from sklearn.metrics import recall_score

from ipr_core import metrics


def shares(rows: int, classes: int = 4, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).dirichlet(np.full(classes, 0.5), rows)


# Hard labels.


def test_accuracy_and_uar_differ_where_classes_do():
    truth, predicted = [0] * 90 + [1] * 10, [0] * 100
    scores = metrics.hard_scores(truth, predicted, 2)
    assert scores["accuracy"] == 0.9
    assert scores["uar"] == 0.5  # recall 1 and 0
    assert scores["macro_f1"] == pytest.approx((2 * 0.9 * 1 / 1.9 + 0) / 2)


def test_hard_scores_by_hand():
    truth, predicted = [0, 0, 0, 1, 1, 2], [0, 0, 1, 1, 2, 2]
    scores = metrics.hard_scores(truth, predicted, 3)
    assert scores["accuracy"] == pytest.approx(4 / 6)
    assert scores["uar"] == pytest.approx((2 / 3 + 1 / 2 + 1) / 3)
    assert scores["macro_f1"] == pytest.approx((0.8 + 0.5 + 2 / 3) / 3)


def test_a_class_without_an_utterance_counts_neither_for_nor_against():
    assert metrics.hard_scores([0, 1], [0, 1], 4)["uar"] == 1
    assert metrics.hard_scores([0, 0], [0, 3], 4)["uar"] == 0.5


def test_renaming_the_classes_changes_no_score():
    random = np.random.default_rng(0)
    truth, predicted, names = random.integers(0, 4, 200), random.integers(0, 4, 200), np.array([2, 0, 3, 1])
    plain = metrics.hard_scores(truth, predicted, 4)
    assert metrics.hard_scores(names[truth], names[predicted], 4) == pytest.approx(plain)


def test_a_class_that_is_not_there():
    with pytest.raises(ValueError, match="a class is 4; there are 4"):
        metrics.hard_scores([0, 4], [0, 1], 4)


def test_confusion_has_the_truth_by_row():
    assert metrics.confusion([0, 0, 1], [1, 0, 1], 3).tolist() == [[1, 1, 0], [0, 1, 0], [0, 0, 0]]


def test_recalls_by_hand_and_of_a_class_without_an_utterance():
    counts = [[3, 1, 0], [0, 0, 0], [1, 1, 2]]
    np.testing.assert_allclose(metrics.recalls(counts), [0.75, np.nan, 0.5])


def test_the_mean_recall_is_sklearns():
    random = np.random.default_rng(0)
    truth, predicted = random.integers(0, 4, 200), random.integers(0, 4, 200)
    scores = metrics.recalls(metrics.confusion(truth, predicted, 4))
    np.testing.assert_allclose(scores, recall_score(truth, predicted, average=None))


# Soft labels.


def test_divergence_is_a_bit_for_the_disjoint_and_nothing_for_the_same():
    p, q = np.array([[1.0, 0.0], [0.3, 0.7]]), np.array([[0.0, 1.0], [0.3, 0.7]])
    np.testing.assert_allclose(metrics.js_divergence(p, q), [1, 0], atol=1e-15)


def test_divergence_of_uniform_and_certain():
    # middle (5/8, 1/8, 1/8, 1/8): half of log2(8/5), and half of (log2(2/5) + 3 log2(2)) / 4
    by_hand = (math.log2(8 / 5) + (math.log2(2 / 5) + 3) / 4) / 2
    scores = metrics.js_divergence(np.full((1, 4), 0.25), np.array([[1.0, 0, 0, 0]]))
    assert scores == pytest.approx(by_hand)
    assert by_hand == pytest.approx(0.5488, abs=1e-4)


def test_divergence_is_symmetric_and_scipys():
    p, q = shares(50), shares(50, seed=1)
    np.testing.assert_allclose(metrics.js_divergence(p, q), metrics.js_divergence(q, p))
    np.testing.assert_allclose(metrics.js_divergence(p, q), jensenshannon(p, q, base=2, axis=1) ** 2)


def test_entropy_in_bits():
    p = np.array([[1.0, 0, 0, 0], [0.25] * 4, [0.5, 0.5, 0, 0], [0.5, 0.25, 0.25, 0]])
    assert metrics.entropy(p).tolist() == [0, 2, 1, 1.5]


def test_soft_scores_by_hand():
    soft = np.array([[0.8, 0.2], [0.4, 0.6]])
    votes = np.array([[1.0, 0.0], [0.5, 0.5]])
    scores = metrics.soft_scores(soft, votes)
    assert scores["nll"] == pytest.approx(-(math.log(0.8) + 0.5 * math.log(0.4) + 0.5 * math.log(0.6)) / 2)
    assert scores["brier"] == pytest.approx((0.08 + 0.02) / 2)
    assert scores["js"] == pytest.approx(metrics.js_divergence(soft, votes).mean())
    assert scores["ece"] == pytest.approx((0.2 + 0.1) / 2)  # 0.8 where all votes are, 0.6 where half of them are
    assert scores["auprc"] == 1  # the one without a majority is the less certain one


def test_the_auprc_is_that_of_finding_utterances_without_a_majority():
    # by entropy the four stand in the order c, a, d, b; c and d have no majority: precision 1/1 and 2/3
    soft = np.array([[0.7, 0.3], [0.95, 0.05], [0.5, 0.5], [0.8, 0.2]])
    votes = np.array([[0.8, 0.2], [1.0, 0.0], [0.5, 0.5], [0.5, 0.5]])
    scores = metrics.soft_scores(soft, votes)
    assert scores["auprc"] == pytest.approx((1 + 2 / 3) / 2)
    assert scores["no_majority"] == 0.5


def test_half_of_the_votes_is_no_majority_whatever_a_sum_of_floats_says():
    votes = np.array([[np.nextafter(0.5, 1), 0.5], [0.5, np.nextafter(0.5, 1)], [0.875, 0.125]])
    assert metrics.soft_scores(np.full((3, 2), 0.5), votes)["no_majority"] == pytest.approx(2 / 3)


def test_labels_that_know_nothing_have_the_share_without_majority_as_auprc():
    votes = shares(200)
    scores = metrics.soft_scores(np.full_like(votes, 0.25), votes)
    assert 0 < scores["no_majority"] < 1
    assert scores["auprc"] == pytest.approx(scores["no_majority"])


def test_perfect_soft_labels():
    votes = shares(40)
    scores = metrics.soft_scores(votes, votes)
    assert scores["js"] == pytest.approx(0)
    assert scores["brier"] == 0
    assert scores["nll"] == pytest.approx(metrics.entropy(votes).mean() * math.log(2))


def test_soft_scores_are_finite_at_the_corners():
    certain, wrong = np.eye(2)[[0, 1, 0]], np.eye(2)[[1, 0, 0]]
    scores = metrics.soft_scores(certain, wrong)
    assert math.isnan(scores.pop("auprc"))  # all have a majority: there is nothing to find
    assert all(math.isfinite(value) for value in scores.values())
    mixed = metrics.soft_scores(certain, np.array([[0.5, 0.5], [1, 0], [0.2, 0.8]]))
    assert all(math.isfinite(value) for value in mixed.values())


def test_calibration_by_hand():
    # bins of a fifth: (0.55, 0.6) where 0.5 and 0.8 of the votes are, (0.9) all of them, 1.0 none; the last takes 1.0
    soft = np.array([[0.45, 0.55], [0.6, 0.4], [0.9, 0.1], [1.0, 0.0]])
    votes = np.array([[0.5, 0.5], [0.8, 0.2], [1.0, 0.0], [0.0, 1.0]])
    gaps = abs(0.55 - 0.5) + abs(0.6 - 0.8) + abs(0.9 + 1.0 - 1)
    assert metrics.expected_calibration_error(soft, votes, bins=5) == pytest.approx(gaps / 4)


def test_calibration_against_a_loop():
    soft, votes = shares(500), np.random.default_rng(2).multinomial(3, [0.25] * 4, 500) / 3
    confidence, right = soft.max(axis=1), votes[np.arange(500), soft.argmax(axis=1)]
    total = 0.0
    for i in range(15):
        in_bin = (confidence >= i / 15) & ((confidence < (i + 1) / 15) | (i == 14))
        if in_bin.any():
            total += in_bin.sum() / 500 * abs(confidence[in_bin].mean() - right[in_bin].mean())
    assert metrics.expected_calibration_error(soft, votes) == pytest.approx(total)


def test_calibration_is_one_figure_over_all_orders_of_the_classes():
    """Where votes are tied, and where the labels themselves are: one order once got 0.43 and another 0.51."""
    random = np.random.default_rng(0)
    votes = random.multinomial(3, [0.2] * 5, 60) / 3
    for soft in (shares(60, 5), random.multinomial(4, [0.2] * 5, 60) / 4):
        orders = [list(order) for order in itertools.permutations(range(5))]
        figures = [metrics.expected_calibration_error(soft[:, order], votes[:, order]) for order in orders]
        np.testing.assert_allclose(figures, figures[0], rtol=1e-12)


def test_tied_classes_have_the_mean_of_their_votes():
    assert metrics.expected_calibration_error([[0.4, 0.4, 0.2]], [[1.0, 0, 0]]) == pytest.approx(abs(0.4 - 0.5))


def test_uniform_labels_name_no_class_and_have_no_calibration():
    votes = np.array([[1.0, 0.0], [0.5, 0.5]])
    assert math.isnan(metrics.expected_calibration_error(np.full((2, 2), 0.5), votes))
    assert metrics.expected_calibration_error([[0.5, 0.5], [0.8, 0.2]], votes) == pytest.approx(0.3)  # of the other
    assert math.isnan(metrics.soft_scores(np.full((2, 2), 0.5), votes)["ece"])


# Systems against each other.


def test_paired_difference_is_scipys():
    a, b = np.random.default_rng(0).normal(60, 3, (2, 5))
    scores = metrics.paired_difference(a, b)
    assert scores["mean"] == pytest.approx((a - b).mean())
    assert scores["deviation"] == pytest.approx((a - b).std(ddof=1))
    assert scores["p"] == pytest.approx(ttest_rel(a, b).pvalue)


def test_paired_difference_by_hand():
    # differences 1 and 3: mean 2, deviation √2, t = 2 with one degree of freedom: p = 1 − 2 arctan(2) / π
    scores = metrics.paired_difference([3, 5], [2, 2])
    assert scores == pytest.approx({"mean": 2, "deviation": math.sqrt(2), "p": 1 - 2 * math.atan(2) / math.pi})


def test_paired_difference_without_any_spread():
    assert metrics.paired_difference([1, 2], [1, 2]) == {"mean": 0, "deviation": 0, "p": 1}
    assert metrics.paired_difference([2, 3], [1, 2]) == {"mean": 1, "deviation": 0, "p": 0}
    nearly = metrics.paired_difference([0.6, 0.7, 0.8], [0.5, 0.6, 0.7])  # alike but for the last bits: no warning
    assert nearly["p"] == pytest.approx(0, abs=1e-12)


def test_one_pair_is_no_test():
    with pytest.raises(ValueError, match="1 pair; a paired test needs at least 2 seeds"):
        metrics.paired_difference([1], [2])
