"""Every equation by hand or against a literal loop, and what must not change it."""

import math

import pytest
import torch
import torch.nn.functional as F

from ipr_core.method import equations as eq


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


def test_class_means_by_hand():
    q = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 2.0]])
    assert eq.class_means(q, torch.tensor([0, 0, 1]), 2).tolist() == [[2.0, 0.0], [0.0, 2.0]]


def test_class_means_do_not_depend_on_the_order():
    q, y, order = torch.randn(20, 5), torch.arange(20) % 4, torch.randperm(20)
    torch.testing.assert_close(eq.class_means(q, y, 4), eq.class_means(q[order], y[order], 4))


def test_class_means_refuse_a_class_without_utterances():
    with pytest.raises(ValueError, match=r"no utterance of class \[1, 3\]"):
        eq.class_means(torch.randn(4, 2), torch.tensor([0, 2, 0, 2]), 4)


def test_similarity_is_every_dot_product():
    k, p = torch.randn(6, 5), torch.randn(4, 5)
    literal = [[sum(float(a * b) for a, b in zip(ki, pc, strict=True)) for pc in p] for ki in k]
    torch.testing.assert_close(eq.similarity(k, p), torch.tensor(literal))


def test_soft_labels_by_hand():
    # e^(ln 3 · 0.5 / 0.5) = 3, so the shares are 3/4 and 1/4
    soft = eq.soft_labels(torch.tensor([[0.5 * math.log(3), 0.0]]), temperature=0.5)
    torch.testing.assert_close(soft, torch.tensor([[0.75, 0.25]]))


def test_raw_soft_labels_are_shares_and_uniform_where_nothing_differs():
    soft = eq.raw_soft_labels(torch.tensor([[3.0, 1.0, -2.0, 0.0], [-1.0, -1.0, -1.0, -1.0]]))
    torch.testing.assert_close(soft, torch.tensor([[0.75, 0.25, 0.0, 0.0], [0.25, 0.25, 0.25, 0.25]]))


@pytest.mark.parametrize(
    "s", [[-0.5, -0.1], [-3.0, -2.0, -2.5], [0.0, -1.0, -0.2], [-0.1, 0.0, 0.3], [-9.0, -1.0, -5.0]]
)
def test_raw_soft_labels_name_the_nearest_prototype(s):
    s = torch.tensor([s])
    assert eq.raw_soft_labels(s).argmax(dim=1).equal(eq.pseudo_labels(s))
    assert float(eq.raw_soft_labels(s).sum()) == pytest.approx(1)


def test_pseudo_label_is_the_nearest_prototype():
    p = torch.eye(3)
    k = torch.tensor([[0.1, 0.9, 0.0], [0.8, 0.1, 0.7]])
    assert eq.pseudo_labels(eq.similarity(k, p)).tolist() == [1, 0]


def test_the_gate_is_open_where_both_views_have_the_same_class():
    assert eq.one_class(torch.tensor([[0, 0], [1, 0], [2, 2], [-1, -1]])).tolist() == [True, False, True, False]


def test_movement_is_of_one_class_alone_and_of_those_that_passed():
    s = torch.tensor([[0.7, 0.3], [0.4, 0.6], [0.9, 0.1]])
    weight = eq.movement(s, s.argmax(1), torch.tensor([True, True, False]))
    torch.testing.assert_close(weight, torch.tensor([[0.7, 0.0], [0.0, 0.6], [0.0, 0.0]]))


def _case(n=12, c=4, d=6):
    p, k = F.normalize(torch.randn(c, d), dim=-1), F.normalize(torch.randn(n, d), dim=-1)
    s = eq.soft_labels(eq.similarity(k, p), 0.1)
    return p, k, eq.movement(s, s.argmax(1), torch.arange(n) % 3 > 0)


def test_update_by_hand():
    # one utterance k = (0, 1) with s = 0.5 and gamma = 0.6: 0.6 (1, 0) + 0.4 · 0.5 (0, 1) = (0.6, 0.2)
    p = torch.tensor([[1.0, 0.0], [0.0, -1.0]])
    updated = eq.update_prototypes(p, torch.tensor([[0.0, 1.0]]), torch.tensor([[0.5, 0.0]]), gamma=0.6)
    norm = math.hypot(0.6, 0.2)
    torch.testing.assert_close(updated, torch.tensor([[0.6 / norm, 0.2 / norm], [0.0, -1.0]]))


def test_update_follows_the_literal_loop():
    p, k, weight = _case()
    expected = p.clone()
    for i in range(len(k)):
        for c in range(len(p)):
            if weight[i, c] != 0:
                step = 0.9 * expected[c] + 0.1 * weight[i, c] * k[i]
                expected[c] = step / step.norm()
    torch.testing.assert_close(eq.update_prototypes(p, k, weight, 0.9), expected)


def test_closed_form_is_the_sequence_without_the_norms_between():
    p, k, weight = _case()
    expected = p.clone()
    for i in range(len(k)):
        for c in range(len(p)):
            if weight[i, c] != 0:
                expected[c] = 0.9 * expected[c] + 0.1 * weight[i, c] * k[i]
    torch.testing.assert_close(eq.update_prototypes_closed(p, k, weight, 0.9), F.normalize(expected, dim=-1))


def test_closed_form_and_sequence_agree_to_first_order():
    p, k, weight = _case()
    gaps = [
        (eq.update_prototypes(p, k, weight, g) - eq.update_prototypes_closed(p, k, weight, g)).abs().max()
        for g in (0.99, 0.999)
    ]
    assert gaps[0] < 5e-3
    assert gaps[1] < gaps[0] / 20  # second order in 1 - gamma: a tenth of it gives about a hundredth


def test_batch_update_does_not_depend_on_the_order():
    p, k, weight = _case()
    order = torch.randperm(len(k))
    torch.testing.assert_close(
        eq.update_prototypes_batch(p, k, weight, 0.9), eq.update_prototypes_batch(p, k[order], weight[order], 0.9)
    )


@pytest.mark.parametrize("update", [eq.update_prototypes, eq.update_prototypes_closed, eq.update_prototypes_batch])
def test_what_is_not_moved_keeps_its_bits_and_what_is_has_unit_norm(update):
    p, k, weight = _case()
    weight[:, 2] = 0
    updated = update(p, k, weight, 0.9)
    assert torch.equal(updated[2], p[2])
    torch.testing.assert_close(updated.norm(dim=1), torch.ones(4))
    assert torch.equal(update(p, k, torch.zeros_like(weight), 0.9), p)


def test_positives_of_the_equation_are_the_other_views():
    n = 3
    positives = eq.same_utterance(n)
    assert positives.nonzero().tolist() == [[0, 3], [1, 4], [2, 5], [3, 0], [4, 1], [5, 2]]


def test_positives_of_the_text_share_a_label():
    positives = eq.same_label(torch.tensor([0, 1, 0, 0, 1, 0]))
    assert positives[0].tolist() == [False, False, True, True, False, True]
    assert not positives.diagonal().any()


def symmetric_loss(k, aug, positives, tau):
    """L_con with both views as anchors, each among all the others."""
    views = torch.cat([k, aug])
    return eq.contrastive_loss(views, views, positives, eq.all_others(len(views)), tau)


def _literal_contrast(views, positives, tau):
    losses = []
    for i in range(len(views)):
        denominator = sum(math.exp(float(views[i] @ views[j]) / tau) for j in range(len(views)) if j != i)
        terms = [
            -math.log(math.exp(float(views[i] @ views[p]) / tau) / denominator)
            for p in range(len(views))
            if positives[i, p]
        ]
        losses.append(sum(terms) / len(terms))
    return sum(losses) / len(losses)


@pytest.mark.parametrize("kind", ["view", "label"])
def test_contrastive_loss_follows_the_literal_loop(kind):
    k, aug = F.normalize(torch.randn(5, 4), dim=-1), F.normalize(torch.randn(5, 4), dim=-1)
    positives = eq.same_utterance(5) if kind == "view" else eq.same_label(torch.tensor([0, 1, 0, 2, 1]).repeat(2))
    loss = symmetric_loss(k, aug, positives, 0.5)
    assert float(loss) == pytest.approx(_literal_contrast(torch.cat([k, aug]), positives, 0.5), rel=1e-5)


def test_contrastive_loss_by_hand():
    # orthogonal utterances, equal views, tau = 1: -log(e / (e + 1 + 1)) for every view
    k = torch.eye(2)
    assert float(symmetric_loss(k, k, eq.same_utterance(2), 1.0)) == pytest.approx(math.log(1 + 2 / math.e))


def test_contrastive_loss_does_not_depend_on_the_order():
    k, aug, order = torch.randn(6, 4), torch.randn(6, 4), torch.randperm(6)
    positives = eq.same_utterance(6)
    torch.testing.assert_close(
        symmetric_loss(k, aug, positives, 1.0), symmetric_loss(k[order], aug[order], positives, 1.0)
    )


def test_contrastive_loss_of_one_utterance_is_zero_with_a_finite_gradient():
    k = torch.randn(1, 4, requires_grad=True)
    loss = symmetric_loss(k, torch.randn(1, 4), eq.same_utterance(1), 0.1)
    loss.backward()
    assert float(loss.detach()) == 0
    assert torch.isfinite(k.grad).all()


def test_cross_entropy_of_shares_and_of_classes_agree_and_targets_get_no_gradient():
    logits = torch.randn(4, 3, requires_grad=True)
    labels = torch.tensor([0, 2, 1, 1])
    shares = F.one_hot(labels, 3).float().requires_grad_()
    torch.testing.assert_close(eq.cross_entropy(logits, labels), eq.cross_entropy(logits, shares))
    eq.cross_entropy(logits, shares).backward()
    assert shares.grad is None
    assert logits.grad.abs().sum() > 0


def test_cross_entropy_by_hand_with_weights():
    # equal logits cost log 2 each; the weights 1 and 0 halve the mean
    loss = eq.cross_entropy(torch.zeros(2, 2), torch.tensor([0, 1]), torch.tensor([1.0, 0.0]))
    assert float(loss) == pytest.approx(math.log(2) / 2)


def test_beta_is_zero_at_the_start_and_full_from_half_way():
    # r = 2, E = 50, w = 0.5: at e = 25 the power is 1, so beta = 0.5 (2 - 1) / (2 - 1)
    assert eq.beta(0, 50, 0.5, growth=2) == 0
    assert eq.beta(25, 50, 0.5, growth=2) == pytest.approx(0.5)
    assert eq.beta(49, 50, 0.5, growth=2) == 0.5
    # r = 4, E = 4, e = 1: 0.5 (4^(1/2) - 1) / 3 = 1/6
    assert eq.beta(1, 4, 0.5, growth=4) == pytest.approx(1 / 6)


def test_beta_never_falls():
    values = [eq.beta(e, 50, 0.5, growth=10) for e in range(50)]
    assert values == sorted(values)


def test_total_loss_by_hand():
    losses = torch.tensor(1.0), torch.tensor(2.0), torch.tensor(3.0)
    assert float(eq.total_loss(*losses, alpha=1.0, beta=0.5, mu=0.2)) == pytest.approx(2.6)


def test_cosines_of_prototypes():
    p = torch.tensor([[2.0, 0.0], [3.0, 3.0]])
    half = 1 / math.sqrt(2)
    torch.testing.assert_close(eq.cosines(p), torch.tensor([[1.0, half], [half, 1.0]]))


def test_angles_by_hand():
    tiny = 1e-5
    before = torch.tensor([[1.0, 0.0], [2.0, 0.0], [1.0, 0.0], [1.0, 0.0]])
    after = torch.tensor([[3.0, 0.0], [0.0, 1.0], [1.0, 1.0], [1.0, tiny]])
    assert eq.angles(before, after).tolist() == pytest.approx([0, 90, 45, math.degrees(tiny)], rel=1e-3)


def test_gamma_of_a_sample_keeps_the_share_of_an_epoch():
    assert eq.kept_by_sample(0.5, 4) ** 4 == pytest.approx(0.5)
    assert eq.kept_by_sample(0.9, 1) == 0.9
