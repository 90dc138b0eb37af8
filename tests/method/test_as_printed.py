"""The preset `paper` against slow loops written from the paper's sentences alone: every equation, and its gradient."""

import pytest
import torch
from torch import Tensor

from helpers import as_printed as printed
from ipr_core.config import paper
from ipr_core.method import equations as eq
from ipr_core.method.prototypes import Prototypes, ViewClasses
from ipr_core.method.systems.baseline_plus import own_label_loss
from ipr_core.method.systems.ipr import contrast, refinement_terms
from ipr_core.method.systems.step import Step, View
from ipr_core.training.session import Session

METHOD = paper().method
B, C, D = 6, 4, 5
SEEDS = range(5)


def tensor(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def close(value, expected):
    torch.testing.assert_close(value.double(), torch.tensor(expected, dtype=torch.float64), rtol=1e-6, atol=1e-6)


def bank(vectors: Tensor) -> Prototypes:
    prototypes = Prototypes(*vectors.shape, METHOD)
    prototypes.vectors = vectors
    return prototypes


def make_step(seed: int) -> Step:
    """Make a step of random tensors, its labels by random prototypes as the loop makes them."""
    parts = {name: 10 * seed + i for i, name in enumerate(("precise", "ambiguous", "ambiguous_augmented"))}
    views = {}
    for name, number in parts.items():
        logits = tensor(B, C, seed=100 + number).requires_grad_()
        views[name] = View(tensor(B, D, seed=200 + number).requires_grad_(), logits, logits)
    prototypes = bank(tensor(C, D, seed=300 + seed))
    k, aug = views["ambiguous"].embedding, views["ambiguous_augmented"].embedding
    return Step(
        method=METHOD, beta=0.3, views=views, labels=torch.arange(B) % C,
        classifier_soft=tensor(B, C, seed=400 + seed).softmax(dim=1), prototype_soft=prototypes.soft(k),
        prototype_labels=prototypes.labels(k), prototype_labels_augmented=prototypes.labels(aug), compared=k,
        compared_augmented=aug, truth=torch.zeros(B), rows=torch.arange(B),
    )  # fmt: skip


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_2(seed):
    q, y = tensor(20, D, seed=seed), torch.arange(20) % C
    prototypes = bank(torch.zeros(C, D, dtype=torch.float64))
    prototypes.anchor_(q, y)
    close(prototypes.vectors, printed.prototypes(q.tolist(), y.tolist(), C))


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_3(seed):
    k, p = tensor(40, D, seed=seed), tensor(C, D, seed=seed + 50)
    close(bank(p).similarity(k), [printed.similarities(row, p.tolist()) for row in k.tolist()])
    labels = [printed.pseudo_label(row, p.tolist()) for row in k.tolist()]
    assert bank(p).labels(k).tolist() == labels
    assert bank(p).soft(k).argmax(dim=1).tolist() == labels


def test_equation_3_where_all_similarities_are_negative():
    p, k = [[1.0, 0.0], [0.0, 1.0]], [-0.5, -0.1]  # s = k
    assert printed.pseudo_label(k, p) == 1
    assert bank(torch.tensor(p)).labels(torch.tensor([k])).tolist() == [1]


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_4(seed):
    k, p = tensor(30, D, seed=seed), tensor(C, D, seed=seed + 50)
    logits, logits_aug = tensor(30, C, seed=seed + 60), tensor(30, C, seed=seed + 70)
    logits_aug[::2] = logits[::2]  # about half of the gates are open
    prototypes = bank(p)
    classes = torch.stack([logits.argmax(dim=1), logits_aug.argmax(dim=1)], dim=1)
    prototypes.move_(k, ViewClasses(classes, torch.full_like(classes, -1)))
    expected = printed.moved(p.tolist(), k.tolist(), logits.tolist(), logits_aug.tolist(), gamma=0.99)
    close(prototypes.vectors, expected)
    assert not prototypes.vectors.allclose(p)


def test_equation_4_by_hand():
    """Prototypes e1 and e2, k = (.8, .6); the classifier names class 2 for both views: e2 moves, and e1 is nearer."""
    p, k, second = [[1.0, 0.0], [0.0, 1.0]], [[0.8, 0.6]], [[0.0, 1.0]]
    expected = printed.normalize([0.01 * 0.6 * 0.8, 0.99 + 0.01 * 0.6 * 0.6])
    close(torch.tensor(printed.moved(p, k, second, second, gamma=0.99)), [[1.0, 0.0], expected])
    prototypes = bank(torch.tensor(p, dtype=torch.float64))
    prototypes.move_(torch.tensor(k, dtype=torch.float64), ViewClasses(torch.tensor([[1, 1]]), torch.tensor([[0, 0]])))
    close(prototypes.vectors, [[1.0, 0.0], expected])


def loss_of_contrast(k: Tensor, aug: Tensor) -> Tensor:
    labels = torch.zeros(len(k), dtype=torch.int64)
    return contrast(k, aug, labels, labels, METHOD)


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_5_and_its_gradient(seed):
    k, aug = tensor(B, D, seed=seed).requires_grad_(), tensor(B, D, seed=seed + 50).requires_grad_()
    loss = loss_of_contrast(k, aug)
    close(loss.detach(), printed.contrast_of_batch(k.tolist(), aug.tolist(), METHOD.tau))
    loss.backward()
    by_k = printed.gradient(lambda rows: printed.contrast_of_batch(rows, aug.tolist(), METHOD.tau), k.tolist())
    by_aug = printed.gradient(lambda rows: printed.contrast_of_batch(k.tolist(), rows, METHOD.tau), aug.tolist())
    close(k.grad, by_k)
    close(aug.grad, by_aug)


@pytest.mark.parametrize("seed", SEEDS)
def test_equation_6_and_its_gradient(seed):
    step = make_step(seed)
    precise, clean, aug = (step.views[name] for name in ("precise", "ambiguous", "ambiguous_augmented"))

    def total(precise_logits, logits) -> float:
        return printed.objective(
            printed.cross_entropy(precise_logits, step.labels.tolist()),
            printed.cross_entropy(logits, step.prototype_labels.tolist()),
            printed.contrast_of_batch(clean.embedding.tolist(), aug.embedding.tolist(), METHOD.tau),
            alpha=1.0, beta=0.3, mu=0.2,
        )  # fmt: skip

    loss = refinement_terms(step).total
    close(loss.detach(), total(precise.logits.tolist(), clean.logits.tolist()))
    loss.backward()
    close(
        precise.logits.grad, printed.gradient(lambda rows: total(rows, clean.logits.tolist()), precise.logits.tolist())
    )
    close(clean.logits.grad, printed.gradient(lambda rows: total(precise.logits.tolist(), rows), clean.logits.tolist()))
    assert aug.logits.grad is None


@pytest.mark.parametrize("r", [2, 10, 100])
def test_equation_7(r):
    for epoch in range(50):
        expected = printed.beta(epoch, 50, 0.5, r)
        assert eq.beta(epoch, 50, METHOD.beta_max, r) == pytest.approx(expected, abs=1e-6)


def test_baseline_plus_employs_model_generated_soft_labels():
    """Section 3.2: "which employs model-generated soft labels instead of the prototype-assigned pseudo labels"."""
    step = make_step(0)
    expected = 0.0
    for row, shares in zip(step.ambiguous.logits.tolist(), step.classifier_soft.tolist(), strict=True):
        expected += sum(share * printed.cross_entropy([row], [c]) for c, share in enumerate(shares)) / B
    close(own_label_loss(step).detach(), expected)


def test_equation_1_is_of_each_utterance_by_itself(frozen, data, views):
    """The embeddings of an evaluation are those of passes with one utterance each."""
    session = Session(frozen, data, views)
    with torch.no_grad():
        alone = printed.embeddings(lambda row: session.model(*views.clean([row]))[0][0].tolist(), data.rows("D1")[:5])
    torch.testing.assert_close(session.embeddings[data.rows("D1")[:5]], torch.tensor(alone), rtol=1e-4, atol=1e-5)
