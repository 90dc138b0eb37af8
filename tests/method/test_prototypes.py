"""The prototype bank: every reading of Eq. 2 to 4 by hand."""

import math

import pytest
import torch

from ipr_core.config import Method
from ipr_core.method.prototypes import Prototypes

E1, E2 = [1.0, 0.0], [0.0, 1.0]


def bank(*vectors, **readings) -> Prototypes:
    prototypes = Prototypes(len(vectors), len(vectors[0]), Method(**readings))
    prototypes.vectors = torch.tensor(vectors)
    return prototypes


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
    close(bank(E1, E2, soft_label="raw").soft(torch.tensor([[-0.6, -0.8]])), [[0.5, 0.5]])


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
    prototypes.move_(k, torch.tensor([0]))
    assert not prototypes.vectors.requires_grad


# Eq. 4.

K = torch.tensor([[0.8, 0.6]])  # nearest to the first prototype: s = (0.8, 0.6)


def move(k=K, predicted=(0,), **readings) -> tuple[torch.Tensor, torch.Tensor]:
    prototypes = bank(E1, E2, **({"gamma": 0.5, "soft_label": "raw"} | readings))
    gate = prototypes.move_(k, torch.tensor(predicted))
    return prototypes.vectors, gate


def test_an_utterance_moves_its_pseudo_labels_prototype_by_its_similarity():
    vectors, gate = move()
    close(vectors, [unit(0.5 + 0.5 * 0.8 * 0.8, 0.5 * 0.8 * 0.6), E2])
    assert gate.tolist() == [True]


def test_moves_all():
    vectors, _ = move(moves="all")
    close(vectors, [unit(0.5 + 0.5 * 0.8 * 0.8, 0.5 * 0.8 * 0.6), unit(0.5 * 0.6 * 0.8, 0.5 + 0.5 * 0.6 * 0.6)])


def test_softmax_shares_weigh_instead_of_similarities():
    share = 1 / (1 + math.exp(-0.2 / 0.1))  # softmax of (0.8, 0.6) / 0.1
    vectors, _ = move(soft_label="softmax", temperature=0.1)
    close(vectors, [unit(0.5 + 0.5 * share * 0.8, 0.5 * share * 0.6), E2])


@pytest.mark.parametrize(
    ("gate", "predicted", "passes"),
    [
        ("views", 0, True),
        ("views", 1, True),  # the views agree, on another class than the prototypes
        ("views", -1, False),
        ("views+prototype", 0, True),
        ("views+prototype", 1, False),
        ("views+prototype", -1, False),
        ("none", 0, True),
        ("none", 1, True),
        ("none", -1, True),
    ],
)
@pytest.mark.parametrize("moves", ["agreed", "all"])
def test_the_gate(gate, predicted, passes, moves):
    vectors, gate = move(predicted=(predicted,), gate=gate, moves=moves)
    assert gate.tolist() == [passes]
    assert vectors.equal(torch.tensor([E1, E2])) is not passes
    assert vectors[1].equal(torch.tensor(E2)) is not (passes and moves == "all")


def test_updates_of_a_batch():
    k = torch.tensor([[0.8, 0.6], [0.6, 0.8], [1.0, 0.0]])
    readings = dict(gate="none", moves="all", gamma=0.9, predicted=(-1, -1, -1))
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
    vectors, gate = move(torch.randn(5, 2), (-1,) * 5)
    assert vectors.equal(torch.tensor([E1, E2]))
    assert not gate.any()
