"""PiCO against literal second versions."""

import math
from dataclasses import replace

import pytest
import torch
import torch.nn.functional as F

from helpers.steps import B, C, D, N, cross_entropy, extra_terms, make_step, mean_loss, random_shares, random_tensor
from ipr_core.method.systems import pico
from ipr_core.method.systems.step import Step, View
from ipr_core.training.loop import warm_up
from ipr_core.training.session import Session


def test_disambiguation_by_hand():
    prototypes = torch.eye(3)[:, :2]
    targets = pico.disambiguated(torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[1.0, 0.0]]), prototypes, phi=0.9)
    assert targets[0].tolist() == pytest.approx([0.28, 0.45, 0.27])


def begun(**settings) -> Step:
    """Make a step after `before_refinement_` with random prototypes and embeddings."""
    step = make_step("pico", **settings)
    step.companion.before_refinement_(random_tensor(C, D, seed=22), random_tensor(N, D, seed=23))
    return step


def test_targets_begin_at_the_nearest_of_d1s_class_means():
    companion = make_step("pico").companion
    means = torch.tensor([[9.0, 0, 0, 0, 0], [0, 1, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0]])
    embeddings = torch.zeros(N, D)
    embeddings[:, :2] = torch.tensor([0.2, 0.3])  # nearer to the second by its cosine, to the first by its dot product
    embeddings[3] = torch.tensor([0, 0, 0, 0.5, 0])
    companion.before_refinement_(means, embeddings)
    assert companion.targets.argmax(dim=1).tolist() == [1, 1, 1, 3] + [1] * (N - 4)
    assert companion.targets.amax(dim=1).tolist() == [1] * N
    assert torch.equal(companion.coming, companion.targets)
    torch.testing.assert_close(companion.prototypes.norm(dim=1), torch.ones(C))


def test_a_session_begins_targets_by_the_last_evaluation_of_the_warm_up(frozen, data, views):
    session = Session(frozen.replace(system="pico"), data, views)
    list(warm_up(session))
    session.begin_(1)
    k, p = (F.normalize(vectors, dim=1) for vectors in (session.embeddings, session.prototypes.vectors))
    assert torch.equal(session.companion.targets.argmax(dim=1), (k @ p.T).argmax(dim=1))


def test_targets_stay_in_the_first_epoch_and_move_in_the_second():
    step = begun(progress=0.0)
    first = step.companion.targets.clone()
    for epoch in range(2):
        for _ in range(2):  # the same utterances again, as where D1 is larger than D2
            with torch.no_grad():
                step.companion.before_step_(step)
        assert torch.equal(step.companion.targets, first)
        assert torch.equal(step.companion.coming, first) is (epoch == 0)
        step.companion.after_epoch_()
    rows = (step.companion.targets != first).any(dim=1).nonzero().flatten()
    assert set(rows.tolist()) <= set(step.rows.tolist())
    torch.testing.assert_close(step.companion.targets.sum(dim=1), torch.ones(N))


def test_prototypes_follow_from_the_first_epoch_on():
    step = begun()
    vectors = step.companion.vectors.clone()
    with torch.no_grad():
        step.companion.before_step_(step)
    assert (step.companion.vectors != vectors).any()
    torch.testing.assert_close(step.companion.prototypes.norm(dim=1), torch.ones(C))


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def literal_contrast(anchors: list, views: list, classes: list) -> float:
    """Contrast each anchor, the first of the views, with all views of its class, if any; temperature 0.07."""
    losses = []
    for i, anchor in enumerate(anchors):
        exps = {j: math.exp(cosine(anchor, view) / 0.07) for j, view in enumerate(views) if j != i}
        alike = [j for j in exps if classes[j] == classes[i]]
        losses += [-sum(math.log(exps[j] / sum(exps.values())) for j in alike) / len(alike)] if alike else []
    return sum(losses) / len(losses)


@pytest.mark.parametrize(("progress", "phi"), [(0, 0.5), (0.5, 0.35), (1, 0.2)])
def test_pico_is_the_literal_targets_and_contrast_of_classes(progress, phi):
    step = begun(progress=progress)
    step.companion.after_epoch_()  # after an epoch in which targets stay
    step.companion.targets.copy_(random_shares(N, C, seed=21))
    vectors = step.companion.vectors.tolist()
    targets, embeddings = step.companion.targets[step.rows].tolist(), step.ambiguous.embedding.tolist()
    for target, k in zip(targets, embeddings, strict=True):
        cosines = [cosine(k, vector) for vector in vectors]
        target[:] = [phi * s + (1 - phi) * (cosines[c] == max(cosines)) for c, s in enumerate(target)]
    targets = torch.tensor(targets)
    target_loss = mean_loss(cross_entropy, step.ambiguous.logits, targets)
    predicted = [row.index(max(row)) for row in step.ambiguous.logits.tolist()]
    clean = step.precise.embedding.tolist() + embeddings  # D1's labels are known
    views = clean + step.ambiguous_augmented.embedding.tolist()
    contrast = literal_contrast(clean, views, step.labels.tolist() + predicted * 2)
    with torch.no_grad():
        step.companion.before_step_(step)
    assert extra_terms(step, "pico") == {
        "pseudo-targets": pytest.approx((target_loss, 1), rel=1e-5),
        "contrast": pytest.approx((contrast, 0.5), rel=1e-5),
    }
    step.companion.after_epoch_()
    torch.testing.assert_close(step.companion.targets[step.rows], targets)


def test_the_first_epoch_contrasts_utterances_and_keeps_the_first_targets():
    step = begun()
    first = step.companion.targets[step.rows]
    k, aug = step.ambiguous.embedding.tolist(), step.ambiguous_augmented.embedding.tolist()
    literal = 0.0
    for i, anchor in enumerate(k):
        exps = [math.exp(cosine(anchor, key) / 0.07) for key in aug]
        literal -= math.log(exps[i] / sum(exps)) / B
    with torch.no_grad():
        step.companion.before_step_(step)
    assert extra_terms(step, "pico") == {
        "pseudo-targets": pytest.approx((mean_loss(cross_entropy, step.ambiguous.logits, first), 1), rel=1e-5),
        "contrast": pytest.approx((literal, 0.5), rel=1e-5),
    }


def test_d1_learns_from_the_contrast_of_classes():
    step = begun()
    step.companion.after_epoch_()
    pico.contrast_of_classes(step).backward()
    assert step.precise.embedding.grad.any()


def test_picos_prototypes_follow_d1_by_label_and_d2_by_the_classifiers_label():
    step = begun()
    vectors = step.companion.vectors.clone()
    views = torch.cat([step.precise.embedding, step.ambiguous.embedding]).detach()
    for k, c in zip(views, [*step.labels.tolist(), *step.ambiguous.logits.argmax(dim=1).tolist()], strict=True):
        vectors[c] = 0.99 * vectors[c] + 0.01 * k / k.norm()
    with torch.no_grad():
        step.companion.before_step_(step)
    torch.testing.assert_close(step.companion.vectors, vectors / vectors.norm(dim=1, keepdim=True))


def test_a_target_moves_once_an_epoch_however_often_it_occurs():
    step = begun(progress=1.0)
    step.companion.after_epoch_()
    step.companion.targets.fill_(1 / C)
    precise = View(step.companion.vectors[step.labels], step.precise.logits, step.precise.scores)
    still = replace(step, views={**step.views, "precise": precise})
    with torch.no_grad():
        for _ in range(3):
            step.companion.before_step_(still)
    step.companion.after_epoch_()
    assert step.companion.targets[step.rows].amax(dim=1).tolist() == pytest.approx([0.2 / C + 0.8] * B)
