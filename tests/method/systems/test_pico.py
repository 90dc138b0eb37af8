"""PiCO against literal second versions."""

import math
from dataclasses import replace

import pytest
import torch

from helpers.steps import B, C, D, N, cross_entropy, extra_terms, make_step, mean_loss, random_shares, random_tensor
from ipr_core.method.systems import pico
from ipr_core.method.systems.step import View


def test_disambiguation_by_hand():
    prototypes = torch.eye(3)[:, :2]
    targets = pico.disambiguated(torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[1.0, 0.0]]), prototypes, phi=0.9)
    assert targets[0].tolist() == pytest.approx([0.28, 0.45, 0.27])


def test_every_class_is_a_candidate_at_first_and_targets_and_prototypes_follow():
    step = make_step("pico", progress=0.0)
    companion = step.companion
    assert companion.targets.unique().tolist() == [1 / C]
    companion.before_refinement_(3 * torch.eye(C, D))  # D1's class means
    means = companion.vectors.clone()
    torch.testing.assert_close(means, torch.eye(C, D))
    companion.after_epoch_()  # after an epoch in which targets stay
    with torch.no_grad():
        companion.after_step_(step)
        companion.after_step_(step)  # the same utterances again, as where D1 is larger than D2
    assert (companion.targets == 1 / C).all()
    assert (companion.vectors != means).any()
    torch.testing.assert_close(companion.prototypes.norm(dim=1), torch.ones(C))
    companion.after_epoch_()
    torch.testing.assert_close(companion.targets.sum(dim=1), torch.ones(N))
    rows = (companion.targets != 1 / C).any(dim=1).nonzero().flatten()
    assert rows.tolist() == step.rows.tolist()


def test_targets_stay_even_in_the_first_epoch():
    step = make_step("pico")
    step.companion.before_refinement_(torch.eye(C, D))
    even = -step.ambiguous.logits.log_softmax(dim=1).mean(dim=1).mean().item()
    assert extra_terms(step, "pico")["pseudo-targets"][0] == pytest.approx(even, rel=1e-5)
    with torch.no_grad():
        step.companion.after_step_(step)
    step.companion.after_epoch_()
    assert step.companion.targets.unique().tolist() == [1 / C]
    assert extra_terms(step, "pico")["pseudo-targets"][0] != pytest.approx(even, rel=1e-5)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def literal_contrast(views: list[list[float]], labels: list[int]) -> float:
    """Contrast each of 2B views with all of its label; temperature 0.07."""
    total = 0.0
    for i, view_i in enumerate(views):
        exps = {j: math.exp(cosine(view_i, view_j) / 0.07) for j, view_j in enumerate(views) if j != i}
        alike = [j for j in exps if labels[j] == labels[i]]
        total -= sum(math.log(exps[j] / sum(exps.values())) for j in alike) / len(alike)
    return total / len(views)


@pytest.mark.parametrize(("progress", "phi"), [(0, 0.5), (0.5, 0.35), (1, 0.2)])
def test_pico_is_the_literal_targets_and_contrast_of_one_predicted_class(progress, phi):
    step = make_step("pico", progress=progress)
    step.companion.after_epoch_()  # after an epoch in which targets stay
    step.companion.targets.copy_(random_shares(N, C, seed=21))
    step.companion.before_refinement_(random_tensor(C, D, seed=22))
    vectors = step.companion.vectors.tolist()
    targets, embeddings = step.companion.targets[step.rows].tolist(), step.ambiguous.embedding.tolist()
    for target, k in zip(targets, embeddings, strict=True):
        cosines = [cosine(k, vector) for vector in vectors]
        target[:] = [phi * s + (1 - phi) * (cosines[c] == max(cosines)) for c, s in enumerate(target)]
    targets = torch.tensor(targets)
    target_loss = mean_loss(cross_entropy, step.ambiguous.logits, targets)
    labels = [row.index(max(row)) for row in step.ambiguous.logits.tolist()]
    contrast = literal_contrast(embeddings + step.ambiguous_augmented.embedding.tolist(), labels * 2)
    assert extra_terms(step, "pico") == {
        "pseudo-targets": pytest.approx((target_loss, 1), rel=1e-5),
        "contrast": pytest.approx((contrast, 0.5), rel=1e-5),
    }
    with torch.no_grad():
        step.companion.after_step_(step)
    step.companion.after_epoch_()
    torch.testing.assert_close(step.companion.targets[step.rows], targets)


def test_picos_prototypes_follow_d1_by_label_and_d2_by_the_classifiers_label():
    step = make_step("pico")
    step.companion.before_refinement_(random_tensor(C, D, seed=22))
    vectors = step.companion.vectors.clone()
    views = torch.cat([step.precise.embedding, step.ambiguous.embedding]).detach()
    for k, c in zip(views, [*step.labels.tolist(), *step.ambiguous.logits.argmax(dim=1).tolist()], strict=True):
        vectors[c] = 0.99 * vectors[c] + 0.01 * k / k.norm()
    with torch.no_grad():
        step.companion.after_step_(step)
    torch.testing.assert_close(step.companion.vectors, vectors / vectors.norm(dim=1, keepdim=True))


def test_a_target_moves_once_an_epoch_however_often_it_occurs():
    step = make_step("pico", progress=1.0)
    step.companion.before_refinement_(torch.eye(C, D))
    step.companion.after_epoch_()
    precise = View(step.companion.vectors[step.labels], step.precise.logits, step.precise.scores)
    still = replace(step, views={**step.views, "precise": precise})
    with torch.no_grad():
        for _ in range(3):
            step.companion.after_step_(still)
    step.companion.after_epoch_()
    assert step.companion.targets[step.rows].amax(dim=1).tolist() == pytest.approx([0.2 / C + 0.8] * B)
