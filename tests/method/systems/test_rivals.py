"""The methods that IPR is compared with: each loss against a literal second version, and what it promises."""

import math

import numpy as np
import pytest
import torch
from sklearn.metrics.pairwise import rbf_kernel
from torch import nn

from ipr_core.config import BEYOND, TABLE2, Encoder, Method
from ipr_core.method import equations as eq
from ipr_core.method.systems import (
    SYSTEMS,
    attention_pooling,
    bnm,
    capsules,
    daan,
    dann,
    deep_spectrum,
    emotion_existence,
    freematch,
    majority,
    mcil,
    mmd,
    pico,
    softmatch,
)
from ipr_core.method.systems.step import Step, View

B, C, D, N = 6, 4, 5, 20


def random(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def shares(*shape: int, seed: int = 0) -> torch.Tensor:
    return random(*shape, seed=seed).softmax(dim=-1)


def view(seed: int, scores=None, logits=None) -> View:
    scores = random(B, C, seed=seed) if scores is None else scores
    logits = scores if logits is None else logits
    return View(random(B, D, seed=seed + 1).requires_grad_(), logits.requires_grad_(), scores)


def step(system: str, progress: float = 0.5, own_weight: float | None = None, **changed) -> Step:
    """A step of the refinement with random views, its system's state beside it."""
    torch.manual_seed(0)
    make = SYSTEMS[system].beside
    values = dict(
        method=Method(own_weight=own_weight), beta=0.3, precise=view(1), labels=torch.arange(B) % C, ambiguous=view(5),
        ambiguous_augmented=view(9), own=shares(B, C, seed=13), soft=shares(B, C, seed=14), rows=torch.arange(7, 7 + B),
        progress=progress, beside=make(D, C, N) if make else None,
    )  # fmt: skip
    return Step(**values | changed)


def own(step_: Step, system: str) -> dict[str, tuple[float, float]]:
    """A system's own terms, each with its weight."""
    return {name: (value.item(), weight) for name, (value, weight) in SYSTEMS[system].refine(step_).own.items()}


def softmax(row: list[float]) -> list[float]:
    total = sum(math.exp(x) for x in row)
    return [math.exp(x) / total for x in row]


def cross_entropy(row: list[float], shares: list[float]) -> float:
    return -sum(share * math.log(p) for share, p in zip(shares, softmax(row), strict=True))


def mean_of(loss, rows: torch.Tensor, shares: torch.Tensor) -> float:
    """A loss in plain Python, one utterance after another."""
    return sum(map(loss, rows.tolist(), shares.tolist())) / len(rows)


# What all of them are.


def test_every_row_of_table_2_has_the_papers_figure_and_no_other_system_has():
    assert [SYSTEMS[name].paper for name in TABLE2] == [59.2, 58.0, 57.8, 58.55, 65.0, 67.0, 65.0, 65.75, 68.5, 68.75]
    assert {SYSTEMS[name].paper for name in BEYOND} == {None}


def test_what_moves_its_own_prototypes_shows_them_and_table_2_has_none():
    own_ones = {name for name in BEYOND if step(name).beside is not None and step(name).beside.prototypes is not None}
    assert "pico" in own_ones
    assert all(SYSTEMS[name].shows_prototypes for name in own_ones)
    assert not any(SYSTEMS[name].shows_prototypes or SYSTEMS[name].shows_gate for name in TABLE2)


@pytest.mark.parametrize(
    ("system", "usual", "changed"),
    [
        ("mmd", [1], [0.25]), ("bnm", [1], [0.25]), ("fixmatch", [1], [0.25]), ("softmatch", [1], [0.25]),
        ("freematch", [1, 0.01], [0.25, 0.0025]), ("pico", [1, 0.5], [1, 0.25]),
    ],
)  # fmt: skip
def test_own_weight_takes_the_place_of_the_authors_lambda(system, usual, changed):
    for own_weight, expected in ((None, usual), (0.25, changed)):
        found = step(system, own_weight=own_weight, ambiguous=view(5, 20 * random(B, C, seed=5)))
        made = SYSTEMS[system].refine(found)
        assert [weight for _, weight in made.own.values()] == pytest.approx(expected)
        literal = made.precise.item() + sum(weight * value.item() for value, weight in made.own.values())
        assert made.total.item() == pytest.approx(literal)


@pytest.mark.parametrize("system", ["dann", "daan"])
def test_own_weight_scales_the_reversal_of_the_adversaries(system):
    gradients, losses = [], []
    for own_weight in (None, 0.25, 0):
        found = step(system, own_weight=own_weight)
        loss, weight = SYSTEMS[system].refine(found).own["domain"]
        loss.backward()
        gradients.append(found.ambiguous.embedding.grad)
        losses.append(weight * loss.item())
    assert gradients[0].any()
    torch.testing.assert_close(gradients[1], 0.25 * gradients[0])
    assert not gradients[2].any()
    assert losses == [losses[0]] * 3  # the discriminators learn alike


# MMD.


def test_mmd_of_a_sample_with_itself_is_nothing_and_of_distant_ones_is_large():
    x = random(8, 3)
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
    x, y = random(5, 3).double(), random(7, 3, seed=1).double() + 1
    assert mmd.mmd2(x, y).item() == pytest.approx(literal_mmd(x.numpy(), y.numpy()))


def test_mmd_is_between_d1_and_d2():
    found = step("mmd")
    literal = literal_mmd(found.precise.embedding.detach().numpy(), found.ambiguous.embedding.detach().numpy())
    assert own(found, "mmd") == {"MMD²": pytest.approx((literal, 1), rel=1e-5)}


def test_mmd_does_not_depend_on_the_scale_of_embeddings():
    x, y = random(6, 3), random(6, 3, seed=1) + 1
    assert mmd.mmd2(x, y).item() == pytest.approx(mmd.mmd2(100 * x, 100 * y).item(), rel=1e-4)


def test_descending_mmd_brings_two_samples_together():
    x, y = random(30, 2), (random(30, 2, seed=1) + 3).requires_grad_()
    before = mmd.mmd2(x, y).item()
    mmd.mmd2(x, y).backward()
    assert (-y.grad.mean(dim=0) < 0).all()  # towards x
    assert mmd.mmd2(x, y - 10 * y.grad).item() < before


# BNM.


def test_nuclear_norm_of_a_balanced_one_hot_batch_by_hand():
    batch = torch.eye(C).repeat(3, 1)  # 12 utterances, 3 of each class: singular values are all sqrt(3)
    assert bnm.nuclear_norm(batch).item() == pytest.approx(math.sqrt(12 * C))
    assert bnm.nuclear_norm(batch).item() == pytest.approx(C * math.sqrt(3))


def test_nuclear_norm_is_the_sum_of_singular_values_and_largest_where_certain_and_various():
    batch = shares(12, C)
    assert bnm.nuclear_norm(batch).item() == pytest.approx(np.linalg.svd(batch.numpy(), compute_uv=False).sum())
    one_class = torch.eye(C)[torch.zeros(12, dtype=torch.long)]
    assert bnm.nuclear_norm(one_class).item() == pytest.approx(math.sqrt(12))
    assert bnm.nuclear_norm(batch) < bnm.nuclear_norm(torch.eye(C).repeat(3, 1))


def test_bnm_divides_the_sum_by_the_batch():
    found = step("bnm")
    literal = -np.linalg.svd(found.ambiguous.logits.detach().softmax(dim=1).numpy(), compute_uv=False).sum() / B
    assert own(found, "bnm") == {"− nuclear norm / B": pytest.approx((literal, 1))}


# DANN.


def test_the_reversal_negates_gradients_and_scales_them():
    x = random(3, D).requires_grad_()
    weights = random(3, D, seed=1)
    out = dann.reverse(x, 0.7)
    assert torch.equal(out, x)
    (out * weights).sum().backward()
    torch.testing.assert_close(x.grad, -0.7 * weights)


def test_the_schedule_by_hand():
    assert dann.schedule(0.0) == 0
    assert dann.schedule(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert 0.999 < dann.schedule(1.0) < 1


def test_dann_teaches_the_discriminator_and_misleads_the_embedding():
    found = step("dann", progress=0.3)
    loss, weight = dann.refine(found).own["domain"]
    assert weight == 1
    loss.backward()
    reversed_ = found.ambiguous.embedding.grad.clone()
    plain = found.beside.discriminator
    inputs = [found.precise.embedding.detach(), found.ambiguous.embedding.detach().requires_grad_()]
    literal = -torch.cat([(1 - plain(inputs[0]).sigmoid()).log(), plain(inputs[1]).sigmoid().log()]).mean()
    taught = [parameter.grad.clone() for parameter in plain.parameters()]
    plain.zero_grad()
    literal.backward()
    assert loss.item() == pytest.approx(literal.item(), rel=1e-5)
    torch.testing.assert_close(reversed_, -(2 / (1 + math.exp(-3)) - 1) * inputs[1].grad)
    torch.testing.assert_close(taught, [parameter.grad for parameter in plain.parameters()])


def test_d1_and_d2_are_different_domains():
    _, domains = dann.both(step("daan"))
    assert domains.tolist() == [0.0] * B + [1.0] * B


# DAAN.


def test_a_distance_and_dynamic_factor_by_hand():
    assert daan.a_distance(torch.tensor([0.0, 0.25, 0.5, 0.9])).tolist() == [2, 1, 0, 0]
    assert daan.dynamic_factor(torch.tensor(1.0), torch.tensor([2.0, 1.0, 0.0])).item() == pytest.approx(0.5)
    assert daan.dynamic_factor(torch.tensor(2.0), torch.tensor([0.0, 0.0])).item() == 1
    assert daan.dynamic_factor(torch.tensor(0.0), torch.tensor([0.0, 0.0])).item() == 0.5


def test_daan_teaches_the_literal_sum_over_all_and_every_class_and_misleads_the_embedding():
    found = step("daan", progress=0.3)
    found.beside.omega.fill_(0.3)
    loss, weight = daan.refine(found).own["domain"]
    assert weight == 1
    loss.backward()
    taught = [parameter.grad.clone() for parameter in found.beside.parameters()]
    found.beside.zero_grad()
    z, domains = (part.detach() for part in dann.both(found))
    p = torch.cat([found.precise.logits, found.ambiguous.logits]).detach().softmax(dim=1)
    z.requires_grad_()

    def bce(discriminator, inputs):
        d = discriminator(inputs)[:, 0].sigmoid()
        return -(domains * d.log() + (1 - domains) * (1 - d).log()).mean()

    each = sum(bce(found.beside.each[c], p[:, c, None] * z) for c in range(C))
    literal = 0.7 * bce(found.beside.all, z) + 0.3 * each
    literal.backward()
    assert loss.item() == pytest.approx(literal.item(), rel=1e-5)
    reversed_ = torch.cat([found.precise.embedding.grad, found.ambiguous.embedding.grad])
    torch.testing.assert_close(reversed_, -(2 / (1 + math.exp(-3)) - 1) * z.grad)
    torch.testing.assert_close(taught, [parameter.grad for parameter in found.beside.parameters()])
    assert found.ambiguous.logits.grad is None  # what the classifier says is a constant


def test_daan_counts_errors_by_the_share_of_a_class():
    found = step("daan")
    with torch.no_grad():
        found.beside.note_(found)
        z, domains = dann.both(found)
    p = [softmax(row) for row in torch.cat([found.precise.logits, found.ambiguous.logits]).tolist()]
    wrong = [0.0] * (1 + C)
    for x, shares_, domain in zip(z, p, domains.tolist(), strict=True):
        wrong[0] += (found.beside.all(x).item() > 0) != domain
        for c, one in enumerate(found.beside.each):
            wrong[1 + c] += shares_[c] * ((one(shares_[c] * x).item() > 0) != domain)
    assert 0 < wrong[0] < 2 * B
    assert found.beside.wrong.tolist() == pytest.approx(wrong)
    assert found.beside.seen.tolist() == pytest.approx([2 * B, *map(sum, zip(*p, strict=True))])


def test_daans_factor_comes_from_plain_errors_of_the_epoch():
    found = step("daan")
    for discriminator, right in ((found.beside.all, True), *((one, False) for one in found.beside.each)):
        for part in discriminator:  # says D2 of everything, or what the first coordinate says
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)
        discriminator[0].weight.data[0, 0] = float(right)
        discriminator[2].weight.data[0, 0] = 1.0
        discriminator[2].bias.data[:] = -0.5 if right else 0.5
    found.precise.embedding.data[:, 0], found.ambiguous.embedding.data[:, 0] = 0.0, 1.0
    found.beside.note_(found)
    found.beside.settle_()
    # the one for all is never wrong (distance 2), those of the classes are wrong about all of D1: about half (0)
    assert found.beside.omega.item() > 0.7
    assert not found.beside.wrong.any()
    assert not found.beside.seen.any()


# MCIL and majority voting.


def test_mean_distribution_and_vote_shares_by_hand():
    scores = torch.log(torch.tensor([[[0.6, 0.3, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]]]))
    assert mcil.mean_distribution(scores).exp()[0].tolist() == pytest.approx([1.3 / 3, 1.4 / 3, 0.3 / 3])
    assert majority.vote_shares(scores)[0].tolist() == pytest.approx([(2 + 1.3 / 3) / 4, (1 + 1.4 / 3) / 4, 0.3 / 12])
    # the mean prefers the second class, the majority the first
    assert eq.pseudo_labels(mcil.mean_distribution(scores)).item() == 1
    assert eq.pseudo_labels(majority.vote_shares(scores)).item() == 0


def test_ties_of_votes_are_broken_by_the_mean():
    scores = torch.log(torch.tensor([[[0.9, 0.1], [0.4, 0.6]]]))
    assert eq.pseudo_labels(majority.vote_shares(scores)).item() == 0


def test_members_are_different_and_each_learns_from_the_label_of_all():
    torch.manual_seed(0)
    choice = Encoder(embedding=3)
    members, committee = mcil.Members(D, choice), mcil.Committee(12, C, choice)
    scores = committee(members(random(B, D)))
    assert scores.shape == (B, 4, C)
    target = shares(B, C)
    literal = sum(eq.cross_entropy(scores[:, m], target).item() for m in range(4)) / 4
    loss = mcil.members_loss(scores, target)
    assert loss.item() == pytest.approx(literal)
    loss.backward()
    assert all(parameter.grad.any() for parameter in (*members.parameters(), *committee.parameters()))
    assert len({tuple(map(type, way.modules())) for way in members.ways}) == 4


@pytest.mark.parametrize(("system", "target"), [("mcil", "own"), ("majority", "majority")])
def test_d2s_label_is_the_committees(system, target):
    found = step(system, **{name: view(seed, random(B, 3, C, seed=seed)) for name, seed in PARTS})
    label = found.own if target == "own" else found.own.argmax(dim=1)
    made = SYSTEMS[system].refine(found)
    assert made.ambiguous.item() == pytest.approx(mcil.members_loss(found.ambiguous.scores, label).item())
    assert made.precise.item() == pytest.approx(mcil.members_loss(found.precise.scores, found.labels).item())
    assert made.beta == 0.3


PARTS = (("precise", 1), ("ambiguous", 5))


# Deep spectrum, attention pooling, emotion existence, capsules: the losses.


def literal_existence(scores: list[list[float]], shares: list[float]) -> float:
    there = [1 / (1 + math.exp(-x)) for x in scores[0]]
    right = [p if share >= 1 / C else 1 - p for p, share in zip(there, shares, strict=True)]
    return -sum(map(math.log, right)) / C + cross_entropy(scores[1], shares)


def literal_margin(lengths: list[float], shares: list[float]) -> float:
    pairs = zip(lengths, shares, strict=True)
    return sum(s * max(0, 0.9 - v) ** 2 + 0.5 * (1 - s) * max(0, v - 0.1) ** 2 for v, s in pairs)


def literal_hinge(margins: list[float], shares: list[float]) -> float:
    pairs = zip(margins, shares, strict=True)
    return sum(s * max(0, 1 - m) ** 2 + (1 - s) * max(0, 1 + m) ** 2 for m, s in pairs)


NETWORKS = {
    "deep_spectrum": (literal_hinge, random(2 * B, C), lambda scores: scores),
    "attention_pooling": (cross_entropy, random(2 * B, C), lambda scores: scores),
    "emotion_existence": (literal_existence, random(2 * B, 2, C), lambda scores: scores[:, 1]),
    "capsules": (literal_margin, random(2 * B, C).sigmoid(), torch.log),
}
"""System → its loss of an utterance, scores of D1 and D2, and the logits of scores."""


@pytest.mark.parametrize("system", NETWORKS)
def test_a_network_learns_d1s_labels_and_its_own_soft_labels_of_d2(system):
    loss, scores, logits = NETWORKS[system]
    d1, d2 = scores.split(B)
    found = step(system, precise=view(1, d1, logits(d1)), ambiguous=view(5, d2, logits(d2)))
    made, before = SYSTEMS[system].refine(found), SYSTEMS[system].warm_up(found)
    precise = mean_of(loss, d1, torch.eye(C)[found.labels])
    assert [made.precise.item(), before.precise.item()] == pytest.approx([precise] * 2, rel=1e-5)
    assert made.ambiguous.item() == pytest.approx(mean_of(loss, d2, found.own), rel=1e-5)
    assert made.total.item() == pytest.approx(made.precise.item() + 0.3 * made.ambiguous.item())
    assert before.total.item() == before.precise.item()


# Emotion existence.


def test_existence_by_hand():
    there = emotion_existence.exists(torch.tensor([[0.5, 0.25, 0.2, 0.05], [1.0, 0.0, 0.0, 0.0]]))
    assert there.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    logits = torch.tensor([[0.0, 2.0]])
    literal = -(math.log(0.5) + math.log(1 - 1 / (1 + math.exp(-2)))) / 2
    assert emotion_existence.existence_loss(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(literal)


def test_the_dominant_emotion_hears_the_existence_but_does_not_train_it():
    torch.manual_seed(0)
    classifier = emotion_existence.Existence(D, C, Encoder())
    scores = classifier(random(B, D))
    assert torch.equal(classifier.logits(scores), scores[:, 1])
    classifier.logits(scores).sum().backward()
    assert not any(parameter.grad.any() for parameter in classifier.existence.parameters())
    with torch.no_grad():
        classifier.existence[2].bias += 5
        assert not torch.allclose(classifier(random(B, D))[:, 1], scores[:, 1])


# Attention pooling.


def test_attention_is_a_map_for_all_times_a_map_for_each():
    torch.manual_seed(0)
    attention, maps = attention_pooling.Attention(D, C), attention_pooling.Maps(D, C, Encoder())
    frames, n = random(2, 7, D), torch.tensor([7, 4])
    logits = maps(attention(frames, n))
    for row in range(2):
        x = frames[row, : n[row]]
        common = attention.map(x)[:, 0].softmax(dim=0)  # (F,)
        each = x @ maps.maps.weight.T  # (F, C)
        torch.testing.assert_close(logits[row], (common[:, None] * each).sum(dim=0) + maps.maps.bias)


# Capsules.


def test_squash_keeps_the_direction_and_stays_below_1():
    s = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(capsules.squash(s), s / 5 * 25 / 26)
    assert capsules.squash(torch.zeros(1, 2)).isfinite().all()


def test_routing_is_the_literal_procedure():
    votes, weights = random(1, 5, 3, 2), torch.tensor([[0.5, 0.3, 0.2, 0.4, 0.6]])

    def literal():
        b = torch.zeros(5, 3)
        for round_ in range(capsules.ROUNDS):
            c = b.softmax(dim=1)
            v = [capsules.squash(sum(3 * weights[0, i] * c[i, j] * votes[0, i, j] for i in range(5))) for j in range(3)]
            if round_ < capsules.ROUNDS - 1:
                b = b + torch.tensor([[float(votes[0, i, j] @ v[j]) for j in range(3)] for i in range(5)])
        return torch.stack(v)

    torch.testing.assert_close(capsules.routed(votes, weights)[0], literal())


def test_capsules_do_not_hear_padding_and_a_long_utterance_is_no_louder():
    torch.manual_seed(0)
    pool = capsules.Capsules(16, C)
    frames = random(1, 6, 16)
    alone = pool(frames, torch.tensor([6]))
    padded = pool(torch.cat([frames, torch.zeros(1, 3, 16)], dim=1), torch.tensor([6]))
    twice = pool(frames.repeat(1, 2, 1), torch.tensor([12]))
    torch.testing.assert_close(alone, padded)
    torch.testing.assert_close(alone, twice, rtol=1e-4, atol=1e-5)


def test_margin_loss_by_hand_and_soft_labels_are_shares_of_the_lengths():
    lengths = torch.tensor([[0.95, 0.3, 0.05]])
    loss = capsules.margin_loss(lengths, torch.tensor([[1.0, 0.0, 0.0]]))
    assert loss.item() == pytest.approx(0.5 * 0.2**2)
    half = capsules.margin_loss(lengths, torch.tensor([[0.5, 0.5, 0.0]]))
    assert half.item() == pytest.approx(0.5 * 0.6**2 + 0.25 * 0.85**2 + 0.25 * 0.2**2)
    classifier = capsules.Lengths(6, 3, Encoder())
    embedding = random(2, 6)
    scores = classifier(embedding)
    torch.testing.assert_close(scores, embedding.view(2, 3, 2).norm(dim=2))
    torch.testing.assert_close(classifier.logits(scores).softmax(dim=1), scores / scores.sum(dim=1, keepdim=True))


# Deep spectrum.


def test_hinge_by_hand():
    margins = torch.tensor([[1.5, -0.5]])
    assert deep_spectrum.hinge_loss(margins, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.5**2)
    assert deep_spectrum.hinge_loss(margins, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(2.5**2 + 1.5**2)
    both = deep_spectrum.hinge_loss(margins, torch.tensor([[0.5, 0.5]])).item()
    assert both == pytest.approx((0.25 + 6.25 + 2.25) / 2)


def test_random_weights_are_said():
    assert "RANDOM" in deep_spectrum.caution(Encoder())
    assert deep_spectrum.caution(Encoder(image_weights="folder")) is None


# FixMatch, FreeMatch, SoftMatch.


def test_fixmatch_counts_what_is_certain_over_the_whole_batch():
    clean = torch.tensor([[9.0, 0, 0, 0], [0, 1.0, 0, 0]])
    aug = random(2, C, seed=3)
    found = step("fixmatch", ambiguous=View(random(2, D), clean), ambiguous_augmented=View(random(2, D), aug))
    literal = -math.log(softmax(aug[0].tolist())[0]) / 2  # the second is not certain and counts as 0
    assert own(found, "fixmatch") == {"consistency": pytest.approx((literal, 1), rel=1e-5)}


def consistency(found: Step, weights: list[float]) -> float:
    """The literal CE of the augmented views with the clean ones' pseudo-labels, each by its weight."""
    total = 0.0
    pairs = zip(found.ambiguous.logits.tolist(), found.ambiguous_augmented.logits.tolist(), weights, strict=True)
    for clean, aug, weight in pairs:
        total -= weight * math.log(softmax(aug)[clean.index(max(clean))])
    return total / B


@pytest.mark.parametrize("system", ["fixmatch", "freematch", "softmatch"])
def test_only_the_augmented_view_learns(system):
    found = step(system, ambiguous=view(5, 9 * random(B, C, seed=5)))
    sum(value for value, _ in SYSTEMS[system].refine(found).own.values()).backward()
    assert found.ambiguous.logits.grad is None
    assert found.ambiguous_augmented.logits.grad.any()


def test_freematchs_thresholds_by_hand():
    found = freematch.thresholds(torch.tensor(0.8), torch.tensor([0.4, 0.3, 0.2, 0.1]))
    assert found.tolist() == pytest.approx([0.8, 0.6, 0.4, 0.2])


def test_freematch_is_the_literal_consistency_above_the_thresholds_and_fairness():
    found = step("freematch")
    so_far, counts = [0.4, 0.17, 0.33, 0.1], [0.1, 0.3, 0.4, 0.2]
    found.beside.confidence.fill_(0.77)
    found.beside.shares.copy_(torch.tensor(so_far))
    found.beside.counts.copy_(torch.tensor(counts))
    soft = [softmax(row) for row in found.ambiguous.logits.tolist()]
    passed = [max(p) >= 0.77 * so_far[p.index(max(p))] / 0.4 for p in soft]
    assert sum(max(p) >= 0.77 for p in soft) < sum(passed) < B  # of what is named rarely, less is asked
    heard = [softmax(row) for row, one in zip(found.ambiguous_augmented.logits.tolist(), passed, strict=True) if one]
    named = [sum(p.index(max(p)) == c for p in heard) for c in range(C)]
    a = [share / count for share, count in zip(so_far, counts, strict=True)]
    b = {c: sum(p[c] for p in heard) / named[c] for c in range(C) if named[c]}
    fair = sum(a[c] / sum(a) * math.log(b[c] / sum(b.values())) for c in b)
    assert own(found, "freematch") == {
        "consistency": pytest.approx((consistency(found, passed), 1), rel=1e-5),
        "fairness": pytest.approx((fair, 0.01), rel=1e-5),
    }


def test_freematchs_averages_follow_the_predictions():
    found = step("freematch")
    found.beside.shares.copy_(torch.tensor([0.4, 0.3, 0.2, 0.1]))
    found.beside.counts.copy_(torch.tensor([0.1, 0.3, 0.4, 0.2]))
    with torch.no_grad():
        found.beside.note_(found)
    soft = [softmax(row) for row in found.ambiguous.logits.tolist()]
    named = [p.index(max(p)) for p in soft]
    assert found.beside.confidence.item() == pytest.approx(0.99 / C + 0.01 * sum(map(max, soft)) / B)
    shares = [0.99 * old + 0.01 * sum(p[c] for p in soft) / B for c, old in enumerate((0.4, 0.3, 0.2, 0.1))]
    counts = [0.99 * old + 0.01 * named.count(c) / B for c, old in enumerate((0.1, 0.3, 0.4, 0.2))]
    assert found.beside.shares.tolist() == pytest.approx(shares)
    assert found.beside.counts.tolist() == pytest.approx(counts)


def test_fairness_is_the_literal_cross_entropy_of_what_is_named():
    p = torch.tensor([[0.7, 0.2, 0.1], [0.6, 0.3, 0.1], [0.1, 0.8, 0.1]])
    expected, counted = torch.tensor([0.5, 0.3, 0.2]), torch.tensor([0.25, 0.5, 0.25])
    a = [0.5 / 0.25, 0.3 / 0.5, 0.2 / 0.25]
    b = [(1.4 / 3) / (2 / 3), (1.3 / 3) / (1 / 3)]  # no pseudo-label names the third
    literal = sum(a[c] / sum(a) * math.log(b[c] / sum(b)) for c in range(2))
    assert freematch.fairness(expected, counted, p).item() == pytest.approx(literal, rel=1e-5)
    assert freematch.fairness(expected, counted, p[:0]).item() == 0


def test_softmatchs_weights_by_hand():
    found = softmatch.truncated_gaussian(torch.tensor([0.9, 0.6, 0.4]), torch.tensor(0.6), torch.tensor(0.16))
    assert found.tolist() == pytest.approx([1, 1, math.exp(-(0.2**2) / (2 * 0.16 / 4))])
    even = softmatch.aligned(torch.tensor([[0.6, 0.4]]), torch.tensor([0.75, 0.25]))
    assert even[0].tolist() == pytest.approx([0.8 / 2.4, 1.6 / 2.4])


def even(p: list[float], expected: list[float]) -> list[float]:
    scaled = [share / one for share, one in zip(p, expected, strict=True)]
    return [share / sum(scaled) for share in scaled]


def test_softmatch_is_the_literal_consistency_weighed_by_the_aligned_confidence():
    found = step("softmatch")
    expected = [0.1, 0.2, 0.3, 0.4]
    found.beside.mean.fill_(0.6)
    found.beside.variance.fill_(0.09)
    found.beside.shares.copy_(torch.tensor(expected))
    confidence = [max(even(softmax(row), expected)) for row in found.ambiguous.logits.tolist()]
    weights = [1 if p >= 0.6 else math.exp(-((p - 0.6) ** 2) / (2 * 0.09 / 4)) for p in confidence]
    assert 0 < weights.count(1) < B
    assert own(found, "softmatch") == {"consistency": pytest.approx((consistency(found, weights), 1), rel=1e-5)}


def test_softmatchs_gaussian_follows_the_aligned_confidence():
    found = step("softmatch")
    found.beside.shares.copy_(torch.tensor([0.1, 0.2, 0.3, 0.4]))
    with torch.no_grad():
        found.beside.note_(found)
    soft = [softmax(row) for row in found.ambiguous.logits.tolist()]
    shares = [0.99 * old + 0.01 * sum(p[c] for p in soft) / B for c, old in enumerate((0.1, 0.2, 0.3, 0.4))]
    confidence = [max(even(p, shares)) for p in soft]
    assert found.beside.shares.tolist() == pytest.approx(shares)
    assert found.beside.mean.item() == pytest.approx(0.99 / C + 0.01 * np.mean(confidence))
    assert found.beside.variance.item() == pytest.approx(0.99 + 0.01 * np.var(confidence, ddof=1), abs=1e-7)


def test_a_single_utterance_leaves_the_gaussians_variance():
    one = View(random(1, D), torch.tensor([[3.0, 0, 0, 0]]))
    found = step("softmatch", ambiguous=one)
    found.beside.note_(found)
    assert found.beside.variance.item() == 1
    assert found.beside.mean.item() > 1 / C


# PiCO.


def test_disambiguation_by_hand():
    prototypes = torch.eye(3)[:, :2]
    found = pico.disambiguated(torch.tensor([[0.2, 0.5, 0.3]]), torch.tensor([[1.0, 0.0]]), prototypes, phi=0.9)
    assert found[0].tolist() == pytest.approx([0.28, 0.45, 0.27])


def test_every_class_is_a_candidate_at_first_and_targets_and_prototypes_follow():
    found = step("pico", progress=0.0)
    beside = found.beside
    assert beside.targets.unique().tolist() == [1 / C]
    beside.begin_(3 * torch.eye(C, D))  # D1's class means
    before = beside.vectors.clone()
    torch.testing.assert_close(before, torch.eye(C, D))
    beside.settle_()  # after an epoch in which targets stay
    with torch.no_grad():
        beside.note_(found)
        beside.note_(found)  # the same utterances again, as where D1 is larger than D2
    assert (beside.targets == 1 / C).all()
    assert (beside.vectors != before).any()
    torch.testing.assert_close(beside.prototypes.norm(dim=1), torch.ones(C))
    beside.settle_()
    torch.testing.assert_close(beside.targets.sum(dim=1), torch.ones(N))
    touched = (beside.targets != 1 / C).any(dim=1).nonzero().flatten()
    assert touched.tolist() == found.rows.tolist()


def test_targets_stay_even_in_the_first_epoch():
    found = step("pico")
    found.beside.begin_(torch.eye(C, D))
    even = -found.ambiguous.logits.log_softmax(dim=1).mean(dim=1).mean().item()
    assert own(found, "pico")["pseudo-targets"][0] == pytest.approx(even, rel=1e-5)
    with torch.no_grad():
        found.beside.note_(found)
    found.beside.settle_()
    assert found.beside.targets.unique().tolist() == [1 / C]
    assert own(found, "pico")["pseudo-targets"][0] != pytest.approx(even, rel=1e-5)


def cosine(a: list[float], b: list[float]) -> float:
    return sum(x * y for x, y in zip(a, b, strict=True)) / math.hypot(*a) / math.hypot(*b)


def literal_contrast(views: list[list[float]], labels: list[int]) -> float:
    """Each of 2B views with all of its label; temperature 0.07."""
    total = 0.0
    for i, one in enumerate(views):
        exps = {j: math.exp(cosine(one, other) / 0.07) for j, other in enumerate(views) if j != i}
        alike = [j for j in exps if labels[j] == labels[i]]
        total -= sum(math.log(exps[j] / sum(exps.values())) for j in alike) / len(alike)
    return total / len(views)


@pytest.mark.parametrize(("progress", "phi"), [(0, 0.5), (0.5, 0.35), (1, 0.2)])
def test_pico_is_the_literal_targets_and_contrast_of_what_is_named_alike(progress, phi):
    found = step("pico", progress=progress)
    found.beside.settle_()  # after an epoch in which targets stay
    found.beside.targets.copy_(shares(N, C, seed=21))
    found.beside.begin_(random(C, D, seed=22))
    vectors = found.beside.vectors.tolist()
    targets, embeddings = found.beside.targets[found.rows].tolist(), found.ambiguous.embedding.tolist()
    for target, k in zip(targets, embeddings, strict=True):
        near = [cosine(k, vector) for vector in vectors]
        target[:] = [phi * s + (1 - phi) * (near[c] == max(near)) for c, s in enumerate(target)]
    targets = torch.tensor(targets)
    learnt = mean_of(cross_entropy, found.ambiguous.logits, targets)
    labels = [row.index(max(row)) for row in found.ambiguous.logits.tolist()]
    contrast = literal_contrast(embeddings + found.ambiguous_augmented.embedding.tolist(), labels * 2)
    assert own(found, "pico") == {
        "pseudo-targets": pytest.approx((learnt, 1), rel=1e-5),
        "contrast": pytest.approx((contrast, 0.5), rel=1e-5),
    }
    with torch.no_grad():
        found.beside.note_(found)
    found.beside.settle_()
    torch.testing.assert_close(found.beside.targets[found.rows], targets)


def test_picos_prototypes_follow_d1_by_label_and_d2_by_what_the_classifier_says():
    found = step("pico")
    found.beside.begin_(random(C, D, seed=22))
    vectors = found.beside.vectors.clone()
    views = torch.cat([found.precise.embedding, found.ambiguous.embedding]).detach()
    for k, c in zip(views, [*found.labels.tolist(), *found.ambiguous.logits.argmax(dim=1).tolist()], strict=True):
        vectors[c] = 0.99 * vectors[c] + 0.01 * k / k.norm()
    with torch.no_grad():
        found.beside.note_(found)
    torch.testing.assert_close(found.beside.vectors, vectors / vectors.norm(dim=1, keepdim=True))


def test_a_target_moves_once_an_epoch_however_often_it_is_asked_for():
    found = step("pico", progress=1.0)
    found.beside.begin_(torch.eye(C, D))
    found.beside.settle_()
    still = Step(**{**vars(found), "precise": View(found.beside.vectors[found.labels], found.precise.logits)})
    with torch.no_grad():
        for _ in range(3):
            found.beside.note_(still)
    found.beside.settle_()
    assert found.beside.targets[found.rows].amax(dim=1).tolist() == pytest.approx([0.2 / C + 0.8] * B)
