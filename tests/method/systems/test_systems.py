"""Every system's losses against a literal computation, and which gradients there are."""

import dataclasses
import itertools
import math

import pytest
import torch

from ipr_core.config import TABLE3, Method
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import Step, View, ambiguous_loss, terms

C, D = 3, 5


def made(ambiguous: bool = True, beta: float = 0.3, seed: int = 0, **readings) -> Step:
    """Three utterances of D1 and four of D2, all tensors random."""
    random = torch.Generator().manual_seed(seed)

    def view(size: int) -> View:
        return View(*(torch.randn(size, k, generator=random).requires_grad_() for k in (D, C)))

    def shares() -> torch.Tensor:
        return torch.randn(4, C, generator=random).softmax(dim=1)

    precise, augmented = view(3), view(3)
    d2 = dict(
        ambiguous=view(4), ambiguous_augmented=view(4), own=shares(), soft=shares(), truth=torch.tensor([2, 0, 1, 1])
    )
    return Step(
        method=Method(alpha=0.7, mu=0.4, tau=0.6, **readings), beta=beta, precise=precise, precise_augmented=augmented,
        labels=torch.tensor([0, 2, 2]), **(d2 if ambiguous else {}),
    )  # fmt: skip


def only(step: Step, system: str) -> Step:
    """The step as the loop makes it: without the views that the system does not ask for."""
    asks = SYSTEMS[system]
    dropped = {} if asks.precise_views > 1 else {"precise_augmented": None}
    dropped |= {} if asks.ambiguous_views > 0 else {"ambiguous": None}
    dropped |= {} if asks.ambiguous_views > 1 else {"ambiguous_augmented": None}
    return dataclasses.replace(step, **dropped)


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
    if step.method.augmented_target and step.ambiguous_augmented is not None:
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
        below = sum(exps) - exps[i]
        if step.method.positives == "view":
            positives = [(i + n) % (2 * n)]
        else:
            positives = [j for j in range(2 * n) if j != i and labels[j] == labels[i]]
        total += sum(-math.log(exps[p] / below) for p in positives) / len(positives)
    return total / (2 * n)


def check(terms, precise, ambiguous, contrastive, beta):
    """Terms and total are what is expected."""
    found = [x.item() for x in (terms.precise, terms.ambiguous, terms.contrastive, terms.total)]
    total = 0.7 * precise + beta * ambiguous + 0.4 * contrastive
    assert found == pytest.approx([precise, ambiguous, contrastive, total], rel=1e-5)
    assert terms.values().tolist() == found
    assert not terms.values().requires_grad


# Values.


def test_there_are_the_papers_four_and_two_controls():
    assert [name for name in TABLE3 if SYSTEMS[name].moves_prototypes] == ["ipr"]
    asked = {name: (SYSTEMS[name].precise_views, SYSTEMS[name].ambiguous_views) for name in TABLE3}
    assert asked == {
        "baseline": (1, 0), "baseline_augmented": (2, 0), "baseline_plus": (1, 1), "baseline_plus_contrastive": (1, 2),
        "ipr": (1, 2), "supervised": (1, 1),
    }  # fmt: skip


def test_baseline_is_d1_alone():
    step = only(made(ambiguous=False), "baseline")
    check(SYSTEMS["baseline"].refine(step), literal_cross_entropy(step.precise.logits, [0, 2, 2]), 0, 0, 0.3)


def test_baseline_augmented_is_the_mean_of_both_views_of_d1():
    step = only(made(ambiguous=False), "baseline_augmented")
    views = (step.precise, step.precise_augmented)
    precise = sum(literal_cross_entropy(view.logits, [0, 2, 2]) for view in views) / 2
    check(SYSTEMS["baseline_augmented"].refine(step), precise, 0, 0, 0.3)


READINGS = [
    dict(zip(("target", "confidence", "augmented_target", "positives", "contrast"), values, strict=True))
    for values in itertools.product(
        ("hard", "soft"), (False, True), (False, True), ("view", "label"), ("cosine", "dot")
    )
]


@pytest.mark.parametrize("readings", READINGS, ids=lambda readings: "-".join(map(str, readings.values())))
def test_losses_on_d2_by_every_reading(readings):
    """ŷ is the model's own label for baseline+, the prototypes' for IPR."""
    full = made(**readings)
    for name, soft in (("baseline_plus", full.own), ("baseline_plus_contrastive", full.own), ("ipr", full.soft)):
        step = only(full, name)
        precise = literal_cross_entropy(step.precise.logits, [0, 2, 2])
        contrastive = literal_contrastive(step, soft) if name != "baseline_plus" else 0
        check(SYSTEMS[name].refine(step), precise, literal_ambiguous(step, soft), contrastive, 0.3)


def test_supervised_uses_the_truth_at_the_weight_of_d1():
    step = only(made(target="soft", confidence=True), "supervised")
    precise, ambiguous = (
        literal_cross_entropy(step.precise.logits, [0, 2, 2]),
        literal_cross_entropy(step.ambiguous.logits, [2, 0, 1, 1]),
    )
    check(SYSTEMS["supervised"].refine(step), precise, ambiguous, 0, beta=0.7)


def test_the_warm_up_has_the_loss_of_d1_alone():
    step = only(made(ambiguous=False, beta=0.0), "ipr")
    check(terms(step), literal_cross_entropy(step.precise.logits, [0, 2, 2]), 0, 0, 0)


@pytest.mark.parametrize("name", ["baseline_plus_contrastive", "ipr"])
@pytest.mark.parametrize("positives", ["view", "label"])
def test_the_order_within_a_batch_does_not_matter(name, positives):
    step, order = made(positives=positives), torch.tensor([2, 0, 3, 1])

    def turned(view: View) -> View:
        return View(view.embedding[order], view.logits[order])

    other = dataclasses.replace(
        step, ambiguous=turned(step.ambiguous), ambiguous_augmented=turned(step.ambiguous_augmented),
        own=step.own[order], soft=step.soft[order],
    )  # fmt: skip
    torch.testing.assert_close(SYSTEMS[name].refine(other).values(), SYSTEMS[name].refine(step).values())


# Gradients.


def test_own_labels_of_the_same_forward_pass_would_have_no_gradient():
    """Why baseline+ takes its labels from the pass before the epoch: READINGS, "must not be a no-op"."""
    step = made(target="soft")
    logits = step.ambiguous.logits
    ambiguous_loss(dataclasses.replace(step, ambiguous_augmented=None), logits.softmax(dim=1)).backward()
    assert logits.grad.abs().max() < 1e-7
    logits.grad = None
    SYSTEMS["baseline_plus"].refine(only(step, "baseline_plus")).total.backward()
    assert logits.grad.abs().max() > 1e-2


def gradients(step: Step, system: str) -> set[str]:
    """Which tensors of which views have a gradient of the system's loss."""
    SYSTEMS[system].refine(only(step, system)).total.backward()
    return {
        f"{name}.{part}"
        for name in ("precise", "precise_augmented", "ambiguous", "ambiguous_augmented")
        for part in ("embedding", "logits")
        if (grad := getattr(getattr(step, name), part).grad) is not None and grad.any()
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
    assert gradients(made(**readings), system) == {"precise.logits", *reached.split()}


@pytest.mark.parametrize("system", ["baseline_plus_contrastive", "ipr"])
@pytest.mark.parametrize("target", ["hard", "soft"])
def test_no_gradient_passes_a_target(system, target):
    step = made(target=target, confidence=True, positives="label")
    step.own.requires_grad_()
    step.soft.requires_grad_()
    SYSTEMS[system].refine(step).total.backward()
    assert step.own.grad is None
    assert step.soft.grad is None


def test_beta_zero_takes_d2s_labels_out():
    logits = made().ambiguous.logits
    step = dataclasses.replace(made(beta=0.0), ambiguous=View(made().ambiguous.embedding, logits))
    SYSTEMS["ipr"].refine(step).total.backward()
    assert not logits.grad.any()


def test_terms_are_named_in_order_and_a_systems_own_count_by_their_weights():
    assert terms(made()).names == ("precise", "ambiguous", "contrastive", "total")
    found = terms(made(), own={"mine": (torch.tensor(3.0), 0.5), "yours": (torch.tensor(1.0), -2.0)})
    assert found.names == ("precise", "ambiguous", "contrastive", "mine", "yours", "total")
    assert found.values()[3:5].tolist() == [3, 1]
    assert found.total.item() == pytest.approx(terms(made()).total.item() + 1.5 - 2.0)
