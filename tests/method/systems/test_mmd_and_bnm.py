"""MMD and BNM against literal second versions."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel

from helpers.steps import B, C, extra_terms, make_step, random_shares, random_tensor
from ipr_core.method.systems import bnm, mmd

# MMD.


def test_mmd_of_a_sample_with_itself_is_nothing_and_of_distant_ones_is_large():
    x = random_tensor(8, 3)
    assert mmd.mmd2(x, x).item() == pytest.approx(0, abs=1e-6)
    assert mmd.mmd2(x, x + 50).item() > 0.5
    assert mmd.mmd2(x, x + 50).item() == pytest.approx(mmd.mmd2(x + 50, x).item())


def literal_mmd(x: np.ndarray, y: np.ndarray) -> float:
    z = np.concatenate([x, y])
    scale = np.square(z[:, None] - z[None]).sum(axis=2).mean()

    def k(a, b):
        return np.mean([rbf_kernel(a, b, gamma=1 / (2 * width * scale)) for width in (0.25, 0.5, 1, 2, 4)])

    return k(x, x) + k(y, y) - 2 * k(x, y)


def test_mmd_is_the_mean_over_all_pairs():
    x, y = random_tensor(5, 3).double(), random_tensor(7, 3, seed=1).double() + 1
    assert mmd.mmd2(x, y).item() == pytest.approx(literal_mmd(x.numpy(), y.numpy()))


def test_mmd_is_between_d1_and_d2():
    step = make_step("mmd")
    literal = literal_mmd(step.precise.embedding.detach().numpy(), step.ambiguous.embedding.detach().numpy())
    assert extra_terms(step, "mmd") == {"MMD²": pytest.approx((literal, 0.1), rel=1e-5)}


def test_mmd_does_not_depend_on_the_scale_of_embeddings():
    x, y = random_tensor(6, 3), random_tensor(6, 3, seed=1) + 1
    assert mmd.mmd2(x, y).item() == pytest.approx(mmd.mmd2(100 * x, 100 * y).item(), rel=1e-4)


def test_descending_mmd_brings_two_samples_together():
    x, y = random_tensor(30, 2), (random_tensor(30, 2, seed=1) + 3).requires_grad_()
    loss = mmd.mmd2(x, y)
    loss.backward()
    assert (-y.grad.mean(dim=0) < 0).all()  # towards x
    assert mmd.mmd2(x, y - 10 * y.grad).item() < loss.item()


# BNM.


def test_nuclear_norm_of_a_balanced_one_hot_batch_by_hand():
    batch = torch.eye(C).repeat(3, 1)  # 12 utterances, 3 of each class: singular values are all sqrt(3)
    assert bnm.nuclear_norm(batch).item() == pytest.approx(math.sqrt(12 * C))
    assert bnm.nuclear_norm(batch).item() == pytest.approx(C * math.sqrt(3))


def test_nuclear_norm_is_the_sum_of_singular_values_and_largest_where_certain_and_various():
    batch = random_shares(12, C)
    assert bnm.nuclear_norm(batch).item() == pytest.approx(np.linalg.svd(batch.numpy(), compute_uv=False).sum())
    one_class = torch.eye(C)[torch.zeros(12, dtype=torch.long)]
    assert bnm.nuclear_norm(one_class).item() == pytest.approx(math.sqrt(12))
    assert bnm.nuclear_norm(batch) < bnm.nuclear_norm(torch.eye(C).repeat(3, 1))


def test_bnm_divides_the_sum_by_the_batch():
    step = make_step("bnm")
    literal = -np.linalg.svd(step.ambiguous.logits.detach().softmax(dim=1).numpy(), compute_uv=False).sum() / B
    assert extra_terms(step, "bnm") == {"− nuclear norm / B": pytest.approx((literal, 1))}
