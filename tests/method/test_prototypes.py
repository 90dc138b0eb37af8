"""The prototype bank: every reading of Eq. 2 to 4 by hand."""

import math

import pytest
import torch

from ipr_core.config import Method, paper
from ipr_core.method.prototypes import Prototypes, ViewClasses

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def bank(*vectors, **readings) -> Prototypes:
    prototypes = Prototypes(len(vectors), len(vectors[0]), Method(**readings))
    prototypes.vectors = torch.tensor(vectors)
    return prototypes


def pointing(classifier, nearest=None) -> ViewClasses:
    """The classes of both views of each utterance: (k, k^aug) by the classifier, and by the nearest prototype."""
    return ViewClasses(torch.tensor(classifier), torch.tensor(classifier if nearest is None else nearest))


def close(vectors, expected):
    torch.testing.assert_close(vectors, torch.tensor(expected), atol=1e-6, rtol=1e-5)


def unit(x: float, y: float) -> list[float]:
    return [x / math.hypot(x, y), y / math.hypot(x, y)]


# Eq. 2.


def test_anchored_prototypes_are_class_means():
    q = torch.tensor([[4.0, 0.0], [0.0, 2.0], [0.0, 9.0]])
    labels = torch.tensor([0, 0, 1])
    raw, prototypes = bank(E1, E1, unit_norm=False), bank(E1, E1)
    raw.anchor_(q, labels)
    close(raw.vectors, [[2.0, 1.0], [0.0, 9.0]])
    prototypes.anchor_(q, labels)
    close(prototypes.vectors, [unit(1, 1), E2])  # unit vectors first: a loud utterance counts no more than a quiet one


def test_an_anchor_needs_every_class():
    with pytest.raises(ValueError, match=r"no utterance of class \[1\]"):
        bank(E1, E2).anchor_(torch.ones(2, 2), torch.tensor([0, 0]))


def test_following_is_a_moving_average_of_d1():
    prototypes = bank(E1, E2, gamma=0.5)
    prototypes.follow_(torch.tensor([[0.0, 3.0]]), torch.tensor([0]))
    close(prototypes.vectors, [unit(0.5, 0.5), E2])


# Similarity and soft labels.


def test_similarity_is_the_cosine_with_unit_norm_and_the_dot_product_without():
    k = torch.tensor([[3.0, 4.0]])
    close(bank(E1, E2).similarity(k), [[0.6, 0.8]])
    close(bank(E1, E2, unit_norm=False).similarity(k), [[3.0, 4.0]])


def test_soft_labels_by_hand():
    k = torch.tensor([[0.6, 0.8]])
    a, b = math.exp(0.6 / 0.5), math.exp(0.8 / 0.5)
    close(bank(E1, E2, temperature=0.5).soft(k), [[a / (a + b), b / (a + b)]])
    close(bank(E1, E2, soft_label="raw").soft(k), [[0.6 / 1.4, 0.8 / 1.4]])
    close(bank(E1, E2, soft_label="raw").soft(torch.tensor([[-0.6, 0.8]])), [[0.0, 1.0]])
    close(bank(E1, E2, soft_label="raw").soft(torch.tensor([[-0.6, -0.8]])), [[1.0, 0.0]])
    close(bank(E1, E2, soft_label="raw").soft(torch.tensor([[-1.0, -1.0]])), [[0.5, 0.5]])


@pytest.mark.parametrize("soft_label", ["softmax", "raw"])
@pytest.mark.parametrize("k", [(-0.5, -0.1), (-0.1, -0.5), (-0.1, 0.5), (0.3, 0.2), (-3.0, -2.9)])
def test_the_pseudo_label_is_the_nearest_prototype_however_far(soft_label, k):
    prototypes = bank(E1, E2, soft_label=soft_label, unit_norm=False)
    label = int(k[1] > k[0])  # e1 and e2 are the prototypes: s = k
    assert prototypes.labels(torch.tensor([k])).tolist() == [label]
    assert prototypes.soft(torch.tensor([k])).argmax(dim=1).tolist() == [label]


@pytest.mark.parametrize("soft_label", ["softmax", "raw"])
def test_a_soft_label_keeps_the_order_of_similarities_and_sums_to_one(soft_label):
    torch.manual_seed(0)
    prototypes = bank(*torch.randn(4, 6).tolist(), soft_label=soft_label)
    soft = prototypes.soft(torch.randn(50, 6))
    torch.testing.assert_close(soft.sum(dim=1), torch.ones(50))
    assert (soft >= 0).all()
    assert not prototypes.vectors.requires_grad


def test_nothing_here_has_a_gradient():
    prototypes = bank(E1, E2)
    k = torch.tensor([[3.0, 4.0]], requires_grad=True)
    assert not prototypes.soft(k).requires_grad
    prototypes.anchor_(k.repeat(2, 1), torch.tensor([0, 1]))
    prototypes.move_(k, pointing([[0, 0]]))
    assert not prototypes.vectors.requires_grad


# Eq. 4.

K = torch.tensor([[0.8, 0.6]])  # nearest to the first prototype: s = (0.8, 0.6)


def move(k=K, classes=None, **readings) -> tuple[torch.Tensor, torch.Tensor]:
    prototypes = bank(E1, E2, **({"gamma": 0.5, "soft_label": "raw"} | readings))
    gate = prototypes.move_(k, pointing([[0, 0]] * len(k)) if classes is None else classes)
    return prototypes.vectors, gate


MOVED_1 = unit(0.5 + 0.5 * 0.8 * 0.8, 0.5 * 0.8 * 0.6)  # e1 moved by k with s = 0.8
MOVED_2 = unit(0.5 * 0.6 * 0.8, 0.5 + 0.5 * 0.6 * 0.6)  # e2 moved by k with s = 0.6


def test_the_class_that_both_views_name_moves_though_another_prototype_is_nearer():
    """Eq. 4 as printed: "if c = argmax MLP(k_i) = argmax MLP(k_i^aug)"."""
    printed = {name: paper().settings()[name] for name in ("moves", "gate", "soft_label", "unit_norm", "update")}
    vectors, gate = move(classes=pointing([[1, 1]]), **printed)
    close(vectors, [E1, MOVED_2])
    assert gate.tolist() == [True]


@pytest.mark.parametrize(
    ("moves", "expected"),
    [("classifier", [E1, MOVED_2]), ("prototype", [MOVED_1, E2]), ("all", [MOVED_1, MOVED_2])],
)
def test_which_prototypes_an_utterance_moves(moves, expected):
    close(move(classes=pointing([[1, 1]], [[0, 0]]), moves=moves)[0], expected)


def test_without_a_gate_the_classifiers_class_is_that_of_the_clean_view():
    close(move(classes=pointing([[1, 0]]), moves="classifier", gate="none")[0], [E1, MOVED_2])


def test_softmax_shares_weigh_instead_of_similarities():
    share = 1 / (1 + math.exp(-0.2 / 0.1))  # softmax of (0.8, 0.6) / 0.1
    vectors, _ = move(soft_label="softmax", temperature=0.1)
    close(vectors, [unit(0.5 + 0.5 * share * 0.8, 0.5 * share * 0.6), E2])


@pytest.mark.parametrize(
    ("gate", "classifier", "nearest", "passes"),
    [
        ("views", [0, 0], [0, 1], True),
        ("views", [1, 1], [0, 1], True),  # the views agree, on another class than the nearest prototype's
        ("views", [0, 1], [0, 0], False),
        ("views+prototype", [0, 0], [0, 1], True),
        ("views+prototype", [1, 1], [0, 0], False),
        ("views+prototype", [0, 1], [0, 0], False),
        ("prototypes", [0, 1], [0, 0], True),  # section 1: both views point to one prototype
        ("prototypes", [0, 0], [0, 1], False),
        ("none", [0, 0], [0, 0], True),
        ("none", [1, 0], [1, 0], True),
    ],
)
@pytest.mark.parametrize("moves", ["prototype", "all"])
def test_the_gate(gate, classifier, nearest, passes, moves):
    vectors, passed = move(classes=pointing([classifier], [nearest]), gate=gate, moves=moves)
    assert passed.tolist() == [passes]
    assert vectors.equal(torch.tensor([E1, E2])) is not passes
    assert vectors[1].equal(torch.tensor(E2)) is not (passes and moves == "all")


# γ.


@pytest.mark.parametrize("update", ["closed", "sequential"])
@pytest.mark.parametrize("n", [1, 10, 400])
def test_gamma_of_an_epoch_is_the_share_kept_after_as_many_updates_as_d2_has_utterances(n, update):
    prototypes = Prototypes(2, 2, Method(gamma=0.5, gamma_per="epoch", update=update, soft_label="raw"), d2_size=n)
    prototypes.vectors = torch.tensor([E1, E2])
    prototypes.move_(torch.tensor([[0.0, 1.0]] * n), pointing([[1, 1]] * n))  # e2 is moved to itself: γ + (1 − γ) = 1
    close(prototypes.vectors, [E1, E2])
    k = torch.tensor([unit(1.0, 0.02)] * n)  # nearly e1: of e1, half is left after the epoch, whatever its length
    prototypes.move_(k, pointing([[0, 0]] * n))
    assert prototypes.vectors[0, 1] == pytest.approx(0.01, rel=1e-3)


def test_gamma_of_an_epoch_in_one_step_a_batch():
    vectors = []
    for batches in (1, 4):
        prototypes = Prototypes(2, 2, Method(gamma=0.5, gamma_per="epoch", update="batch", soft_label="raw"), d2_size=8)
        prototypes.vectors = torch.tensor([E1, E2])
        for _ in range(batches):
            n = 8 // batches
            prototypes.move_(torch.tensor([unit(1.0, 0.02)] * n), pointing([[0, 0]] * n))
        vectors.append(prototypes.vectors[0, 1].item())
    assert vectors == pytest.approx([0.01, 0.01], rel=1e-3)


def test_gamma_a_sample_does_not_depend_on_the_size_of_d2():
    banks = [Prototypes(2, 2, Method(gamma=0.9), d2_size=n) for n in (1, 1000)]
    for prototypes in banks:
        prototypes.vectors = torch.tensor([E1, E2])
        prototypes.move_(K, pointing([[0, 0]]))
    assert banks[0].vectors.equal(banks[1].vectors)


@pytest.mark.parametrize(("norm", "share"), [(1.0, 0.01 / 1.0), (8.0, 0.64 / 1.63), (20.0, 4.0 / 4.99)])
def test_the_share_of_one_utterance_grows_with_the_square_of_its_norm(norm, share):
    """p = e1, k = norm · e1, γ = 0.99: γ p + (1 − γ) k s = (0.99 + 0.01 norm²) e1."""
    prototypes = bank(E1, E2, gamma=0.99, soft_label="raw", unit_norm=False)
    by_gamma, actual = prototypes.share_of_one(torch.tensor([[norm, 0.0]]))
    assert by_gamma == pytest.approx(0.01)
    assert actual == pytest.approx(share)


def test_updates_of_a_batch():
    k = torch.tensor([[0.8, 0.6], [0.6, 0.8], [1.0, 0.0]])
    readings = dict(gate="none", moves="all", gamma=0.9)
    s = k @ torch.eye(2)  # (3, C): against the prototypes before the batch

    one_by_one = torch.eye(2)
    for k_i, s_i in zip(k, s, strict=True):
        for c in range(2):
            if s_i[c] != 0:
                p = 0.9 * one_by_one[c] + 0.1 * s_i[c] * k_i
                one_by_one[c] = p / p.norm()
    close(move(k, update="sequential", **readings)[0], one_by_one.tolist())

    closed = torch.eye(2)
    for c, movers in ((0, (0, 1, 2)), (1, (0, 1))):  # the third has no similarity to the second prototype
        p = closed[c]
        for i in movers:
            p = 0.9 * p + 0.1 * s[i, c] * k[i]
        closed[c] = p / p.norm()
    close(move(k, update="closed", **readings)[0], closed.tolist())

    mean = torch.eye(2)
    for c, movers in ((0, 3), (1, 2)):
        p = 0.9 * mean[c] + 0.1 * (s[:, c, None] * k).sum(dim=0) / movers
        mean[c] = p / p.norm()
    close(move(k, update="batch", **readings)[0], mean.tolist())


def test_one_utterance_moves_alike_by_every_update():
    vectors = [move(update=update)[0] for update in ("closed", "sequential", "batch")]
    torch.testing.assert_close(vectors[0], vectors[1])
    torch.testing.assert_close(vectors[0], vectors[2])


def test_unit_norm_takes_the_loudness_out_of_a_move():
    quiet, loud = move()[0], move(10 * K)[0]
    torch.testing.assert_close(quiet, loud)
    raw = move(10 * K, unit_norm=False)[0]  # s = 8, k = (8, 6): 0.5 (1, 0) + 0.5 · 8 · (8, 6)
    close(raw, [unit(0.5 + 32, 24), E2])


def test_gamma_one_keeps_and_gamma_zero_forgets():
    assert move(gamma=1.0)[0].equal(torch.tensor([E1, E2]))
    close(move(gamma=0.0)[0], [[0.8, 0.6], E2])


def test_an_empty_gate_moves_nothing_to_the_bit():
    vectors, gate = move(torch.randn(5, 2), pointing([[0, 1]] * 5))
    assert vectors.equal(torch.tensor([E1, E2]))
    assert not gate.any()
