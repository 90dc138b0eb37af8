"""Systems with networks of their own: deep spectrum, attention pooling, existence, capsules."""

import math

import pytest
import torch

from helpers.steps import B, C, D, cross_entropy, make_step, mean_loss, random_tensor, random_view
from ipr_core.config import Encoder, Training, demo
from ipr_core.encoders.alexnet import AlexNet
from ipr_core.encoders.spectrogram import SpectrogramCNN
from ipr_core.method.systems import SYSTEMS, attention_pooling, capsules, deep_spectrum, emotion_existence
from ipr_core.training.model import Pooling, build_model

# Deep spectrum, attention pooling, emotion existence, capsules: the losses.


def literal_existence(scores: list[list[float]], shares: list[float]) -> float:
    existence = [1 / (1 + math.exp(-x)) for x in scores[0]]
    likelihoods = [p if share >= 1 / C else 1 - p for p, share in zip(existence, shares, strict=True)]
    return -sum(map(math.log, likelihoods)) / C + cross_entropy(scores[1], shares)


def literal_margin(lengths: list[float], shares: list[float]) -> float:
    pairs = zip(lengths, shares, strict=True)
    return sum(s * max(0, 0.9 - v) ** 2 + 0.5 * (1 - s) * max(0, v - 0.1) ** 2 for v, s in pairs)


def literal_hinge(margins: list[float], shares: list[float]) -> float:
    pairs = zip(margins, shares, strict=True)
    return sum(s * max(0, 1 - m) ** 2 + (1 - s) * max(0, 1 + m) ** 2 for m, s in pairs)


NETWORKS = {
    "deep_spectrum": (literal_hinge, random_tensor(2 * B, C), lambda scores: scores),
    "attention_pooling": (cross_entropy, random_tensor(2 * B, C), lambda scores: scores),
    "emotion_existence": (literal_existence, random_tensor(2 * B, 2, C), lambda scores: scores[:, 1]),
    "capsules": (literal_margin, random_tensor(2 * B, C).sigmoid(), torch.log),
}
"""System → its loss of an utterance, scores of D1 and D2, and the logits of scores."""


@pytest.mark.parametrize("system", NETWORKS)
def test_a_network_learns_d1s_labels_and_its_own_soft_labels_of_d2(system):
    loss, scores, logits = NETWORKS[system]
    d1, d2 = scores.split(B)
    step = make_step(system, precise=random_view(1, d1, logits(d1)), ambiguous=random_view(5, d2, logits(d2)))
    refine, warm_up = SYSTEMS[system].refinement_terms(step), SYSTEMS[system].warm_up_terms(step)
    precise = mean_loss(loss, d1, torch.eye(C)[step.labels])
    assert [refine.precise.item(), warm_up.precise.item()] == pytest.approx([precise] * 2, rel=1e-5)
    assert refine.ambiguous.item() == pytest.approx(mean_loss(loss, d2, step.classifier_soft), rel=1e-5)
    assert refine.total.item() == pytest.approx(refine.precise.item() + 0.3 * refine.ambiguous.item())
    assert warm_up.total.item() == warm_up.precise.item()


# Emotion existence.


def test_existence_by_hand():
    existence = emotion_existence.exists(torch.tensor([[0.5, 0.25, 0.2, 0.05], [1.0, 0.0, 0.0, 0.0]]))
    assert existence.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    logits = torch.tensor([[0.0, 2.0]])
    assert emotion_existence.exists(torch.full((1, 7), 0.14285713)).tolist() == [[1] * 7]  # even, in float32 below 1/7
    assert emotion_existence.exists(torch.zeros(1, 49).softmax(dim=1) - 1e-8).all()
    assert not emotion_existence.exists(torch.tensor([[0.2499, 0.7501, 0.0, 0.0]]))[0, 0]
    literal = -(math.log(0.5) + math.log(1 - 1 / (1 + math.exp(-2)))) / 2
    assert emotion_existence.existence_loss(logits, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(literal)


def test_existence_is_learnt_first_and_the_dominant_emotion_with_it():
    d1 = random_tensor(B, 2, C)
    losses = []
    for progress in (0.0, 0.49, 0.5, 1.0):
        step = make_step("emotion_existence", progress, precise=random_view(1, d1, d1[:, 1]))
        losses.append(SYSTEMS["emotion_existence"].warm_up_terms(step).precise.item())
    existence = emotion_existence.existence_loss(d1[:, 0], torch.eye(C)[step.labels]).item()
    both = mean_loss(literal_existence, d1, torch.eye(C)[step.labels])
    assert losses == pytest.approx([existence, existence, both, both])


def test_the_dominant_emotion_reads_the_existence_but_does_not_train_it():
    torch.manual_seed(0)
    classifier = emotion_existence.Existence(D, C, Encoder())
    scores = classifier(random_tensor(B, D))
    assert torch.equal(classifier.logits(scores), scores[:, 1])
    classifier.logits(scores).sum().backward()
    assert not any(parameter.grad.any() for parameter in classifier.existence.parameters())
    with torch.no_grad():
        classifier.existence[2].bias += 5
        assert not torch.allclose(classifier(random_tensor(B, D))[:, 1], scores[:, 1])


# Attention pooling.


def test_attention_is_a_map_for_all_times_a_map_for_each():
    torch.manual_seed(0)
    attention, maps = attention_pooling.Attention(D, C), attention_pooling.Maps(D, C, Encoder())
    frames, n = random_tensor(2, 7, D), torch.tensor([7, 4])
    logits = maps(attention(frames, n))
    for row in range(2):
        x = frames[row, : n[row]]
        common = attention.map(x)[:, 0].softmax(dim=0)  # (F,)
        per_class = x @ maps.maps.weight.T  # (F, C)
        torch.testing.assert_close(logits[row], (common[:, None] * per_class).sum(dim=0) + maps.maps.bias)


# The network over spectrograms.


def test_the_maps_of_a_spectrogram_keep_its_level():
    torch.manual_seed(0)
    network, n = SpectrogramCNN(Encoder()), torch.tensor([40])
    x = random_tensor(1, 40, 64)
    (plain, _), (louder, _) = network.trunk(x, n), network.trunk(3 * x, n)
    torch.testing.assert_close(louder, 3 * plain, rtol=1e-3, atol=1e-4)
    assert 0.3 < plain.square().mean().sqrt() < 3  # and their scale, through four layers


# Capsules.


def test_squash_keeps_the_direction_and_stays_below_1():
    s = torch.tensor([[3.0, 4.0]])
    torch.testing.assert_close(capsules.squash(s), s / 5 * 25 / 26)
    assert capsules.squash(torch.zeros(1, 2)).isfinite().all()


def test_routing_is_the_literal_procedure():
    votes, weights = random_tensor(1, 5, 3, 2), torch.tensor([[0.5, 0.3, 0.2, 0.4, 0.6]])
    bias = random_tensor(3, 2, seed=1)

    def literal():
        b = torch.zeros(5, 3)
        for round_ in range(capsules.ROUNDS):
            c = b.softmax(dim=1)
            s = [sum(3 * weights[0, i] * c[i, j] * votes[0, i, j] for i in range(5)) + bias[j] for j in range(3)]
            v = [capsules.squash(part) for part in s]
            if round_ < capsules.ROUNDS - 1:
                b = b + torch.tensor([[float(votes[0, i, j] @ v[j]) for j in range(3)] for i in range(5)])
        return torch.stack(v)

    torch.testing.assert_close(capsules.routed(votes, weights, bias)[0], literal())


def test_capsules_ignore_padding_and_a_long_utterance_is_no_louder():
    torch.manual_seed(0)
    pool = capsules.Capsules(16, C)
    frames = random_tensor(1, 6, 16)
    plain = pool(frames, torch.tensor([6]))
    padded = pool(torch.cat([frames, torch.zeros(1, 3, 16)], dim=1), torch.tensor([6]))
    twice = pool(frames.repeat(1, 2, 1), torch.tensor([12]))
    torch.testing.assert_close(plain, padded)
    torch.testing.assert_close(plain, twice, rtol=1e-4, atol=1e-5)


def test_margin_loss_by_hand_and_soft_labels_are_shares_of_the_lengths():
    lengths = torch.tensor([[0.95, 0.3, 0.05]])
    loss = capsules.margin_loss(lengths, torch.tensor([[1.0, 0.0, 0.0]]))
    assert loss.item() == pytest.approx(0.5 * 0.2**2)
    half = capsules.margin_loss(lengths, torch.tensor([[0.5, 0.5, 0.0]]))
    assert half.item() == pytest.approx(0.5 * 0.6**2 + 0.25 * 0.85**2 + 0.25 * 0.2**2)
    classifier = capsules.Lengths(6, 3, Encoder())
    embedding = random_tensor(2, 6)
    scores = classifier(embedding)
    torch.testing.assert_close(scores, embedding.view(2, 3, 2).norm(dim=2))
    torch.testing.assert_close(classifier.logits(scores).softmax(dim=1), scores / scores.sum(dim=1, keepdim=True))


# Deep spectrum.


def test_hinge_by_hand():
    margins = torch.tensor([[1.5, -0.5]])
    assert deep_spectrum.hinge_loss(margins, torch.tensor([[1.0, 0.0]])).item() == pytest.approx(0.5**2)
    assert deep_spectrum.hinge_loss(margins, torch.tensor([[0.0, 1.0]])).item() == pytest.approx(2.5**2 + 1.5**2)
    mixed = deep_spectrum.hinge_loss(margins, torch.tensor([[0.5, 0.5]])).item()
    assert mixed == pytest.approx((0.25 + 6.25 + 2.25) / 2)


def test_a_deep_spectrum_is_one_frame_and_has_no_deviation():
    choice = Encoder(pooling="mean+deviation")
    alone, several = Pooling(AlexNet(choice), choice), Pooling(SpectrogramCNN(choice), choice)
    assert (alone.width, several.width) == (4096, 2 * 64)
    frame = random_tensor(2, 1, 4096)
    assert torch.equal(alone(frame, torch.ones(2)), frame[:, 0])


def test_the_svm_learns_at_ten_times_the_rate_and_other_networks_at_the_rate_set():
    rates = {}
    for system in ("deep_spectrum", "ipr"):
        model = build_model(demo(system=system))
        groups = model.parameter_groups(Training(lr=1e-3, encoder_lr=1e-5))
        rates[system] = {name_of(model, parameter): group["lr"] for group in groups for parameter in group["params"]}
    assert set(rates["deep_spectrum"].values()) == {1e-3 * 10}
    assert {name.split(".")[0] for name in rates["deep_spectrum"]} == {"classifier"}
    assert rates["ipr"]["classifier.0.weight"] == 1e-3


def name_of(model: torch.nn.Module, parameter: torch.nn.Parameter) -> str:
    return next(name for name, own in model.named_parameters() if own is parameter)


def test_random_weights_are_warned_of():
    assert "RANDOM" in deep_spectrum.caution(Encoder())
    assert deep_spectrum.caution(Encoder(image_weights="folder")) is None
