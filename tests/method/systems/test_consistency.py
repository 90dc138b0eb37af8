"""FixMatch, FreeMatch and SoftMatch against literal second versions."""

import math

import numpy as np
import pytest
import torch

from helpers.steps import B, C, D, extra_terms, make_step, random_tensor, random_view, softmax
from ipr_core.method.systems import SYSTEMS, freematch, softmatch
from ipr_core.method.systems.step import Step, View


def test_fixmatch_counts_certain_labels_over_the_whole_minibatch():
    clean = torch.tensor([[9.0, 0, 0, 0], [0, 1.0, 0, 0]])
    aug = random_tensor(2, C, seed=3)
    step = make_step(
        "fixmatch",
        ambiguous=View(random_tensor(2, D), clean, clean),
        ambiguous_augmented=View(random_tensor(2, D), aug, aug),
    )
    literal = -math.log(softmax(aug[0].tolist())[0]) / 2  # the second is not certain and counts as 0
    assert extra_terms(step, "fixmatch") == {"consistency": pytest.approx((literal, 1), rel=1e-5)}


def consistency(step: Step, weights: list[float]) -> float:
    """Return the literal CE of the augmented views with the clean ones' pseudo-labels, by weight."""
    total = 0.0
    pairs = zip(step.ambiguous.logits.tolist(), step.ambiguous_augmented.logits.tolist(), weights, strict=True)
    for clean, aug, weight in pairs:
        total -= weight * math.log(softmax(aug)[clean.index(max(clean))])
    return total / B


@pytest.mark.parametrize("system", ["fixmatch", "freematch", "softmatch"])
def test_only_the_augmented_view_learns(system):
    step = make_step(system, ambiguous=random_view(5, 9 * random_tensor(B, C, seed=5)))
    sum(value for value, _ in SYSTEMS[system].refinement_terms(step).extra.values()).backward()
    assert step.ambiguous.logits.grad is None
    assert step.ambiguous_augmented.logits.grad.any()


def test_freematchs_thresholds_by_hand():
    thresholds = freematch.thresholds(torch.tensor(0.8), torch.tensor([0.4, 0.3, 0.2, 0.1]))
    assert thresholds.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_freematch_is_the_literal_consistency_above_the_thresholds_and_fairness():
    step = make_step("freematch")
    expected, counts = [0.4, 0.17, 0.33, 0.1], [0.1, 0.3, 0.4, 0.2]
    step.companion.confidence.fill_(0.77)
    step.companion.shares.copy_(torch.tensor(expected))
    step.companion.counts.copy_(torch.tensor(counts))
    soft = [softmax(row) for row in step.ambiguous.logits.tolist()]
    certain = [max(p) >= 0.77 * expected[p.index(max(p))] / 0.4 for p in soft]
    assert sum(max(p) >= 0.77 for p in soft) < sum(certain) < B  # a rare class has a lower threshold
    rows = zip(step.ambiguous_augmented.logits.tolist(), certain, strict=True)
    shares = [softmax(row) for row, flag in rows if flag]
    frequency = [sum(p.index(max(p)) == c for p in shares) for c in range(C)]
    a = [share / count for share, count in zip(expected, counts, strict=True)]
    b = {c: sum(p[c] for p in shares) / frequency[c] for c in range(C) if frequency[c]}
    fair = sum(a[c] / sum(a) * math.log(b[c] / sum(b.values())) for c in b)
    assert extra_terms(step, "freematch") == {
        "consistency": pytest.approx((consistency(step, certain), 1), rel=1e-5),
        "fairness": pytest.approx((fair, 0.01), rel=1e-5),
    }


def test_freematchs_averages_follow_the_predictions():
    step = make_step("freematch")
    step.companion.shares.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    step.companion.counts.copy_(torch.tensor([0.1, 0.3, 0.4, 0.2]))
    with torch.no_grad():
        step.companion.before_step_(step)
    soft = [softmax(row) for row in step.ambiguous.logits.tolist()]
    labels = [p.index(max(p)) for p in soft]
    assert step.companion.confidence.item() == pytest.approx(0.99 / C + 0.01 * sum(map(max, soft)) / B)
    shares = [0.99 * old + 0.01 * sum(p[c] for p in soft) / B for c, old in enumerate((0.4, 0.3, 0.2, 0.1))]
    counts = [0.99 * old + 0.01 * labels.count(c) / B for c, old in enumerate((0.1, 0.3, 0.4, 0.2))]
    assert step.companion.shares.tolist() == pytest.approx(shares)
    assert step.companion.counts.tolist() == pytest.approx(counts)


def test_fairness_is_the_literal_cross_entropy_of_the_pseudo_labels():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1], [0.2, 0.2, 0.6]], requires_grad=True)
    certain = torch.tensor([True, True, True, False])
    expected, counts = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.5, 0.25])
    a = [0.5 / 0.25, 0.3 / 0.5, 0.2 / 0.25]
    b = [(1.4 / 3) / (2 / 3), (1.3 / 3) / (1 / 3)]  # no pseudo-label names the third
    literal = sum(a[c] / sum(a) * math.log(b[c] / sum(b)) for c in range(2))
    assert freematch.fairness(expected, counts, p, certain).item() == pytest.approx(literal, rel=1e-5)
    none = freematch.fairness(expected, counts, p, torch.zeros(4, dtype=torch.bool))
    none.backward()
    assert none.item() == 0
    assert not p.grad.any()  # and it is finite


def test_softmatchs_weights_by_hand():
    weights = softmatch.truncated_gaussian(torch.tensor([0.9, 0.6, 0.4]), torch.tensor(0.6), torch.tensor(0.16))
    assert weights.tolist() == pytest.approx([1, 1, math.exp(-(0.2**2) / (2 * 0.16 / 4))])
    even = softmatch.aligned(torch.tensor([[0.6, 0.4]]), torch.tensor([0.75, 0.25]))
    assert even[0].tolist() == pytest.approx([0.8 / 2.4, 1.6 / 2.4])


def even(p: list[float], expected: list[float]) -> list[float]:
    scaled = [share / mean for share, mean in zip(p, expected, strict=True)]
    return [share / sum(scaled) for share in scaled]


def test_softmatch_is_the_literal_consistency_weighed_by_the_aligned_confidence():
    step = make_step("softmatch")
    expected = [0.1, 0.2, 0.3, 0.4]
    step.companion.mean.fill_(0.6)
    step.companion.variance.fill_(0.09)
    step.companion.shares.copy_(torch.tensor(expected))
    confidence = [max(even(softmax(row), expected)) for row in step.ambiguous.logits.tolist()]
    weights = [1 if p >= 0.6 else math.exp(-((p - 0.6) ** 2) / (2 * 0.09 / 4)) for p in confidence]
    assert 0 < weights.count(1) < B
    assert extra_terms(step, "softmatch") == {"consistency": pytest.approx((consistency(step, weights), 1), rel=1e-5)}


def test_softmatchs_gaussian_follows_the_aligned_confidence():
    step = make_step("softmatch")
    step.companion.shares.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    with torch.no_grad():
        step.companion.before_step_(step)
    soft = [softmax(row) for row in step.ambiguous.logits.tolist()]
    shares = [0.99 * old + 0.01 * sum(p[c] for p in soft) / B for c, old in enumerate((0.1, 0.2, 0.3, 0.4))]
    confidence = [max(even(p, shares)) for p in soft]
    assert step.companion.shares.tolist() == pytest.approx(shares)
    assert step.companion.mean.item() == pytest.approx(0.99 / C + 0.01 * np.mean(confidence))
    assert step.companion.variance.item() == pytest.approx(0.99 + 0.01 * np.var(confidence, ddof=1), abs=1e-7)


def test_softmatchs_mean_soft_label_begins_as_that_of_the_first_minibatch():
    step = make_step("softmatch")
    mean = step.ambiguous.logits.softmax(dim=1).mean(dim=0)
    for _ in range(2):
        with torch.no_grad():
            step.companion.before_step_(step)
        torch.testing.assert_close(step.companion.shares, mean)


def test_a_single_utterance_leaves_the_gaussians_variance():
    logits = torch.tensor([[3.0, 0, 0, 0]])
    step = make_step("softmatch", ambiguous=View(random_tensor(1, D), logits, logits))
    step.companion.shares.fill_(1 / C)
    step.companion.before_step_(step)
    assert step.companion.variance.item() == 1
    assert step.companion.mean.item() > 1 / C
