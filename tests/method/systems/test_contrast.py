"""L_con by each of its readings against a loop over anchors and views, and by hand."""

import itertools
import math

import pytest
import torch
import torch.nn.functional as F

from ipr_core.config import Method, paper
from ipr_core.method.systems.ipr import contrast

B, D = 5, 4
LABELS, OWN = [0, 1, 0, 2, 1], [0, 0, 2, 2, 1]  # of x^k, and of x^aug by its own similarity
CHOICES = {
    "contrast": ("cosine", "dot"),
    "positives": ("view", "label"),
    "negatives": ("all", "other_label"),
    "anchors": ("both", "clean"),
    "augmented_label": ("shared", "own"),
}
READINGS = [dict(zip(CHOICES, values, strict=True)) for values in itertools.product(*CHOICES.values())]


def embeddings() -> tuple[torch.Tensor, torch.Tensor]:
    random = torch.Generator().manual_seed(0)
    return tuple(torch.randn(B, D, generator=random, dtype=torch.float64) for _ in range(2))


def loss_by(k, aug, labels=LABELS, own=OWN, **readings) -> torch.Tensor:
    return contrast(k, aug, torch.tensor(labels), torch.tensor(own), Method(**readings))


def literal(k, aug, tau, readings) -> float:
    """The loop: an anchor, its positives, and all that it is compared with."""
    if readings["contrast"] == "cosine":
        k, aug = F.normalize(k, dim=1), F.normalize(aug, dim=1)
    views, labels = [*k.tolist(), *aug.tolist()], LABELS + (OWN if readings["augmented_label"] == "own" else LABELS)
    clean = readings["anchors"] == "clean"
    losses = []
    for a in range(B if clean else 2 * B):
        others = [v for v in range(B if clean else 0, 2 * B) if v != a]
        if readings["positives"] == "view":
            positives = [(a + B) % (2 * B)]
        else:
            positives = [v for v in others if labels[v] == labels[a]]
        if readings["negatives"] == "other_label":
            others = [v for v in others if v in positives or labels[v] != labels[a]]
        exps = {v: math.exp(sum(x * y for x, y in zip(views[a], views[v], strict=True)) / tau) for v in others}
        if positives:
            losses.append(sum(-math.log(exps[p] / sum(exps.values())) for p in positives) / len(positives))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("readings", READINGS, ids=lambda readings: "-".join(readings.values()))
def test_every_reading_follows_the_loop(readings):
    k, aug = embeddings()
    assert float(loss_by(k, aug, tau=0.7, **readings)) == pytest.approx(literal(k, aug, 0.7, readings), rel=1e-9)


def test_as_printed_by_hand():
    """Two utterances with equal views e1 and e2, τ = 1: −log(e / (e + 1)) for each k; symmetric: −log(e / (e + 2))."""
    k = torch.eye(2)
    labels = dict(labels=[0, 1], own=[0, 1])
    method = paper().method
    assert float(contrast(k, k, torch.tensor([0, 1]), torch.tensor([0, 1]), method)) == pytest.approx(
        math.log(1 + 1 / math.e)
    )
    assert float(loss_by(k, k, **labels, tau=1)) == pytest.approx(math.log(1 + 2 / math.e))


def test_views_of_the_same_pseudo_label_are_no_negatives():
    """Three utterances of one label: nothing to be told apart from, so that the other view has all of the sum."""
    k, aug = embeddings()
    readings = dict(negatives="other_label", labels=[1] * B, own=[1] * B)
    assert float(loss_by(k, aug, **readings)) == pytest.approx(0, abs=1e-12)
    assert float(loss_by(k, aug, **readings, anchors="clean")) == pytest.approx(0, abs=1e-12)
    assert float(loss_by(k, aug, labels=[1] * B, own=[1] * B)) > 0.1


def test_a_view_is_labelled_by_its_own_similarity():
    """k_1 and k_2 have label 0, their second views label 1: the positives of k_1 are k_2, or all others if shared."""
    k, aug = (x[:2] for x in embeddings())
    readings = dict(labels=[0, 0], own=[1, 1], positives="label", contrast="dot", tau=1.0)
    views = torch.cat([k, aug])
    exps = (views @ views.T).exp().fill_diagonal_(0)
    shares = exps / exps.sum(dim=1, keepdim=True)
    pairs = [(0, 1), (1, 0), (2, 3), (3, 2)]
    expected = sum(-math.log(shares[a, b]) for a, b in pairs) / 4
    assert float(loss_by(k, aug, **readings, augmented_label="own")) == pytest.approx(expected)
    assert float(loss_by(k, aug, **readings)) != pytest.approx(expected)


@pytest.mark.parametrize("negatives", CHOICES["negatives"])
@pytest.mark.parametrize("anchors", CHOICES["anchors"])
def test_an_anchor_without_a_positive_is_left_out_and_every_gradient_is_finite(anchors, negatives):
    k, aug = (x.requires_grad_() for x in embeddings())
    readings = dict(positives="label", augmented_label="own", anchors=anchors, negatives=negatives)
    loss = loss_by(k, aug, labels=[0, 1, 2, 3, 4], own=[5, 6, 7, 8, 9], **readings)  # nobody has one
    loss.backward()
    assert float(loss.detach()) == 0
    assert not k.grad.any()
    assert not aug.grad.any()
    loss = loss_by(k, aug, labels=[0, 1, 2, 3, 4], own=[0, 6, 7, 8, 9], **readings)  # the first has
    loss.backward()
    assert float(loss.detach()) > 0
    assert torch.isfinite(k.grad).all()
    assert k.grad[0].any()
