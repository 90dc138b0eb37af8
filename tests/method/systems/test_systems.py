"""Every system's losses against a literal computation, and which gradients there are."""

import dataclasses
import itertools
import math

import pytest
import torch

from ipr_core.config import TABLE3, Method
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.ipr import ambiguous_loss
from ipr_core.method.systems.step import Companion, Step, View, terms

C, D = 3, 5


def make_step(ambiguous: bool = True, beta: float = 0.3, seed: int = 0, **readings) -> Step:
    """Make a step with random tensors: three utterances of D1 and four of D2, or none of D2."""
    n = 4 if ambiguous else 0
    random = torch.Generator().manual_seed(seed)

    def view(size: int) -> View:
        embedding, logits = (torch.randn(size, k, generator=random).requires_grad_() for k in (D, C))
        return View(embedding, logits, scores=logits)

    def shares() -> torch.Tensor:
        return torch.randn(n, C, generator=random).softmax(dim=1)

    views = {"precise": view(3), "precise_augmented": view(3)}
    if ambiguous:
        views |= {"ambiguous": view(n), "ambiguous_augmented": view(n)}
    classifier_soft, prototype_soft = shares(), shares()
    return Step(
        method=Method(alpha=0.7, mu=0.4, tau=0.6, **readings), beta=beta, views=views, labels=torch.tensor([0, 2, 2]),
        classifier_soft=classifier_soft, prototype_soft=prototype_soft, prototype_labels=prototype_soft.argmax(dim=1),
        prototype_labels_augmented=shares().argmax(dim=1), compared=torch.zeros(n, D),
        compared_augmented=torch.zeros(n, D),
        truth=torch.tensor([2, 0, 1, 1])[:n], rows=torch.arange(n),
    )  # fmt: skip


def only(step: Step, system: str) -> Step:
    """Return the step as the loop makes it: without the views that the system does not ask for."""
    precise, ambiguous = SYSTEMS[system].precise_views, SYSTEMS[system].ambiguous_views
    names = ("precise", "precise_augmented")[:precise] + ("ambiguous", "ambiguous_augmented")[:ambiguous]
    return with_views(step, **{name: view for name, view in step.views.items() if name in names})


def with_views(step: Step, **views: View) -> Step:
    return dataclasses.replace(step, views=views)


# The literal versions: one utterance after another, in plain Python.


def literal_cross_entropy(logits, targets, weights=None) -> float:
    total = 0.0
    for i, (row, target) in enumerate(zip(logits.tolist(), targets, strict=True)):
        norm = math.log(sum(math.exp(x) for x in row))
        shares = target if isinstance(target, list) else [float(c == target) for c in range(C)]
        total += (weights[i] if weights else 1) * sum(-s * (x - norm) for s, x in zip(shares, row, strict=True))
    return total / len(logits)


def literal_ambiguous(step: Step, soft) -> float:
    rows = soft.tolist()
    targets = rows if step.method.target == "soft" else [row.index(max(row)) for row in rows]
    weights = [max(row) for row in rows] if step.method.confidence else None
    views = [step.ambiguous]
    if step.method.augmented_target and step.has("ambiguous_augmented"):
        views.append(step.ambiguous_augmented)
    return sum(literal_cross_entropy(view.logits, targets, weights) for view in views) / len(views)


def literal_contrastive(step: Step, soft) -> float:
    n = len(soft)
    labels = [row.index(max(row)) for row in soft.tolist()] * 2
    views = step.ambiguous.embedding.tolist() + step.ambiguous_augmented.embedding.tolist()

    def similarity(a, b):
        dot = sum(x * y for x, y in zip(a, b, strict=True))
        return dot / (math.hypot(*a) * math.hypot(*b)) if step.method.contrast == "cosine" else dot

    total = 0.0
    for i in range(2 * n):
        exps = [math.exp(similarity(views[i], views[j]) / step.method.tau) for j in range(2 * n)]
        denominator = sum(exps) - exps[i]
        if step.method.positives == "view":
            positives = [(i + n) % (2 * n)]
        else:
            positives = [j for j in range(2 * n) if j != i and labels[j] == labels[i]]
        total += sum(-math.log(exps[p] / denominator) for p in positives) / len(positives)
    return total / (2 * n)


def check(terms, precise, ambiguous, contrastive, beta):
    """Compare terms and total with the expected ones."""
    values = [x.item() for x in (terms.precise, terms.ambiguous, terms.contrastive, terms.total)]
    total = 0.7 * precise + beta * ambiguous + 0.4 * contrastive
    assert values == pytest.approx([precise, ambiguous, contrastive, total], rel=1e-5)
    assert terms.values().tolist() == values
    assert not terms.values().requires_grad


# Values.


def test_there_are_the_papers_four_and_two_controls():
    assert [name for name in TABLE3 if SYSTEMS[name].moves_prototypes] == ["ipr"]
    views = {name: (SYSTEMS[name].precise_views, SYSTEMS[name].ambiguous_views) for name in TABLE3}
    assert views == {
        "baseline": (1, 0), "baseline_augmented": (2, 0), "baseline_plus": (1, 1), "baseline_plus_contrastive": (1, 2),
        "ipr": (1, 2), "supervised": (1, 1),
    }  # fmt: skip


def test_baseline_is_d1_alone():
    step = only(make_step(ambiguous=False), "baseline")
    check(SYSTEMS["baseline"].refinement_terms(step), literal_cross_entropy(step.precise.logits, [0, 2, 2]), 0, 0, 0.3)


def test_baseline_augmented_is_the_mean_of_both_views_of_d1():
    step = only(make_step(ambiguous=False), "baseline_augmented")
    views = (step.precise, step.precise_augmented)
    precise = sum(literal_cross_entropy(view.logits, [0, 2, 2]) for view in views) / 2
    check(SYSTEMS["baseline_augmented"].refinement_terms(step), precise, 0, 0, 0.3)


READINGS = [
    dict(zip(("target", "confidence", "augmented_target", "positives", "contrast"), values, strict=True))
    for values in itertools.product(
        ("hard", "soft"), (False, True), (False, True), ("view", "label"), ("cosine", "dot")
    )
]


@pytest.mark.parametrize("readings", READINGS, ids=lambda readings: "-".join(map(str, readings.values())))
def test_losses_on_d2_by_every_reading(readings):
    """ŷ is the model's own label for baseline+, the prototypes' for IPR."""
    full = make_step(**readings)
    for name, soft in (
        ("baseline_plus", full.classifier_soft),
        ("baseline_plus_contrastive", full.classifier_soft),
        ("ipr", full.prototype_soft),
    ):
        step = only(full, name)
        precise = literal_cross_entropy(step.precise.logits, [0, 2, 2])
        contrastive = literal_contrastive(step, soft) if name != "baseline_plus" else 0
        check(SYSTEMS[name].refinement_terms(step), precise, literal_ambiguous(step, soft), contrastive, 0.3)


def test_supervised_uses_the_truth_at_the_weight_of_d1():
    step = only(make_step(target="soft", confidence=True), "supervised")
    precise, ambiguous = (
        literal_cross_entropy(step.precise.logits, [0, 2, 2]),
        literal_cross_entropy(step.ambiguous.logits, [2, 0, 1, 1]),
    )
    check(SYSTEMS["supervised"].refinement_terms(step), precise, ambiguous, 0, beta=0.7)


def test_the_warm_up_has_the_loss_of_d1_alone():
    step = only(make_step(ambiguous=False, beta=0.0), "ipr")
    check(terms(step), literal_cross_entropy(step.precise.logits, [0, 2, 2]), 0, 0, 0)


@pytest.mark.parametrize("name", ["baseline_plus_contrastive", "ipr"])
@pytest.mark.parametrize("positives", ["view", "label"])
def test_the_order_within_a_batch_does_not_matter(name, positives):
    step, order = make_step(positives=positives), torch.tensor([2, 0, 3, 1])

    def reordered(view: View) -> View:
        return View(view.embedding[order], view.logits[order], view.scores[order])

    d2 = {name: reordered(step.views[name]) for name in ("ambiguous", "ambiguous_augmented")}
    permuted = dataclasses.replace(
        step, views={**step.views, **d2}, classifier_soft=step.classifier_soft[order],
        prototype_soft=step.prototype_soft[order], prototype_labels=step.prototype_labels[order],
    )  # fmt: skip
    torch.testing.assert_close(
        SYSTEMS[name].refinement_terms(permuted).values(), SYSTEMS[name].refinement_terms(step).values()
    )


# Gradients.


def test_own_labels_of_the_same_forward_pass_would_have_no_gradient():
    """Why baseline+ takes its labels from the pass before the epoch: READINGS, "must not be a no-op"."""
    step = make_step(target="soft")
    logits = step.ambiguous.logits
    ambiguous_loss(only(step, "baseline_plus"), logits.softmax(dim=1), logits.argmax(dim=1)).backward()
    assert logits.grad.abs().max() < 1e-7
    logits.grad = None
    SYSTEMS["baseline_plus"].refinement_terms(only(step, "baseline_plus")).total.backward()
    assert logits.grad.abs().max() > 1e-2


def gradients(step: Step, system: str) -> set[str]:
    """Which tensors of which views have a gradient of the system's loss."""
    SYSTEMS[system].refinement_terms(only(step, system)).total.backward()
    return {
        f"{name}.{part}"
        for name in ("precise", "precise_augmented", "ambiguous", "ambiguous_augmented")
        for part in ("embedding", "logits")
        if (grad := getattr(step.views[name], part).grad) is not None and grad.any()
    }


@pytest.mark.parametrize(
    ("system", "readings", "reached"),
    [
        ("baseline", {}, ""),
        ("baseline_augmented", {}, "precise_augmented.logits"),
        ("baseline_plus", {}, "ambiguous.logits"),
        ("supervised", {}, "ambiguous.logits"),
        ("ipr", {}, "ambiguous.logits ambiguous.embedding ambiguous_augmented.embedding"),
        (
            "ipr",
            {"augmented_target": True},
            "ambiguous.logits ambiguous.embedding ambiguous_augmented.embedding ambiguous_augmented.logits",
        ),
        (
            "baseline_plus_contrastive",
            {},
            "ambiguous.logits ambiguous.embedding ambiguous_augmented.embedding",
        ),
    ],
)
def test_which_views_a_gradient_reaches(system, readings, reached):
    assert gradients(make_step(**readings), system) == {"precise.logits", *reached.split()}


@pytest.mark.parametrize("system", ["baseline_plus_contrastive", "ipr"])
@pytest.mark.parametrize("target", ["hard", "soft"])
def test_no_gradient_passes_a_target(system, target):
    step = make_step(target=target, confidence=True, positives="label")
    step.classifier_soft.requires_grad_()
    step.prototype_soft.requires_grad_()
    SYSTEMS[system].refinement_terms(step).total.backward()
    assert step.classifier_soft.grad is None
    assert step.prototype_soft.grad is None


def test_beta_zero_takes_d2s_labels_out():
    step = make_step(beta=0.0)
    SYSTEMS["ipr"].refinement_terms(step).total.backward()
    assert not step.ambiguous.logits.grad.any()


def test_terms_are_named_in_order_and_extra_ones_count_by_their_weights():
    assert terms(make_step()).names == ("precise", "ambiguous", "contrastive", "total")
    weighed = terms(make_step(), extra={"mine": (torch.tensor(3.0), 0.5), "yours": (torch.tensor(1.0), -2.0)})
    assert weighed.names == ("precise", "ambiguous", "contrastive", "mine", "yours", "total")
    assert weighed.values()[3:5].tolist() == [3, 1]
    assert weighed.total.item() == pytest.approx(terms(make_step()).total.item() + 1.5 - 2.0)


# A step.


def test_a_view_that_was_not_asked_for_is_named_with_its_cure():
    step = only(make_step(), "baseline_plus")
    assert step.has("ambiguous")
    assert not step.has("ambiguous_augmented")
    with pytest.raises(LookupError, match=r"no view 'ambiguous_augmented', only precise, ambiguous: .*ambiguous_views"):
        _ = step.ambiguous_augmented


def test_a_companion_of_another_class_is_refused():
    class Averages(Companion):
        """Another system's."""

    step = make_step()
    assert step.companion_as(Companion) is step.companion
    with pytest.raises(TypeError, match="the companion is a Companion; give System companion=Averages"):
        step.companion_as(Averages)
