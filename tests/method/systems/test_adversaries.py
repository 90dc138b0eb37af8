"""DANN and DAAN against literal second versions."""

import math

import pytest
import torch
from torch import nn

from helpers.steps import B, C, D, make_step, random_tensor, softmax
from ipr_core.method.systems import daan, dann

# DANN.


def test_the_reversal_negates_gradients_and_scales_them():
    x = random_tensor(3, D).requires_grad_()
    weights = random_tensor(3, D, seed=1)
    result = dann.reverse(x, 0.7)
    assert torch.equal(result, x)
    (result * weights).sum().backward()
    torch.testing.assert_close(x.grad, -0.7 * weights)


def test_the_schedule_by_hand():
    assert dann.schedule(0.0) == 0
    assert dann.schedule(0.5) == pytest.approx(2 / (1 + math.exp(-5)) - 1)
    assert 0.999 < dann.schedule(1.0) < 1


def test_dann_teaches_the_discriminator_and_misleads_the_embedding():
    step = make_step("dann", progress=0.3)
    loss, weight = dann.refinement_terms(step).extra["domain"]
    assert weight == 1
    loss.backward()
    gradient = step.ambiguous.embedding.grad.clone()
    plain = step.companion.discriminator
    inputs = [step.precise.embedding.detach(), step.ambiguous.embedding.detach().requires_grad_()]
    literal = -torch.cat([(1 - plain(inputs[0]).sigmoid()).log(), plain(inputs[1]).sigmoid().log()]).mean()
    gradients = [parameter.grad.clone() for parameter in plain.parameters()]
    plain.zero_grad()
    literal.backward()
    assert loss.item() == pytest.approx(literal.item(), rel=1e-5)
    torch.testing.assert_close(gradient, -(2 / (1 + math.exp(-3)) - 1) * inputs[1].grad)
    torch.testing.assert_close(gradients, [parameter.grad for parameter in plain.parameters()])


def test_d1_and_d2_are_different_domains():
    _, domains = dann.embeddings_and_domains(make_step("daan"))
    assert domains.tolist() == [0.0] * B + [1.0] * B


# DAAN.


def test_a_distance_and_dynamic_factor_by_hand():
    assert daan.a_distance(torch.tensor([0.0, 0.25, 0.5, 0.9])).tolist() == [2, 1, 0, 0]
    assert daan.dynamic_factor(torch.tensor(1.0), torch.tensor([2.0, 1.0, 0.0])).item() == pytest.approx(0.5)
    assert daan.dynamic_factor(torch.tensor(2.0), torch.tensor([0.0, 0.0])).item() == 1
    assert daan.dynamic_factor(torch.tensor(0.0), torch.tensor([0.0, 0.0])).item() == 0.5


def test_daan_teaches_the_literal_sum_over_all_and_every_class_and_misleads_the_embedding():
    step = make_step("daan", progress=0.3)
    step.companion.omega.fill_(0.3)
    loss, weight = daan.refinement_terms(step).extra["domain"]
    assert weight == 1
    loss.backward()
    gradients = [parameter.grad.clone() for parameter in step.companion.parameters()]
    step.companion.zero_grad()
    z, domains = (part.detach() for part in dann.embeddings_and_domains(step))
    p = torch.cat([step.precise.logits, step.ambiguous.logits]).detach().softmax(dim=1)
    z.requires_grad_()

    def bce(discriminator, inputs):
        d = discriminator(inputs)[:, 0].sigmoid()
        return -(domains * d.log() + (1 - domains) * (1 - d).log()).mean()

    class_sum = sum(bce(step.companion.each[c], p[:, c, None] * z) for c in range(C))
    literal = 0.7 * bce(step.companion.all, z) + 0.3 * class_sum
    literal.backward()
    assert loss.item() == pytest.approx(literal.item(), rel=1e-5)
    gradient = torch.cat([step.precise.embedding.grad, step.ambiguous.embedding.grad])
    torch.testing.assert_close(gradient, -(2 / (1 + math.exp(-3)) - 1) * z.grad)
    torch.testing.assert_close(gradients, [parameter.grad for parameter in step.companion.parameters()])
    assert step.ambiguous.logits.grad is None  # the classifier's soft labels are constants


def test_daan_counts_errors_by_the_share_of_a_class():
    step = make_step("daan")
    with torch.no_grad():
        step.companion.before_step_(step)
        z, domains = dann.embeddings_and_domains(step)
    p = [softmax(row) for row in torch.cat([step.precise.logits, step.ambiguous.logits]).tolist()]
    wrong = [0.0] * (1 + C)
    for x, shares, domain in zip(z, p, domains.tolist(), strict=True):
        wrong[0] += (step.companion.all(x).item() > 0) != domain
        for c, discriminator in enumerate(step.companion.each):
            wrong[1 + c] += shares[c] * ((discriminator(shares[c] * x).item() > 0) != domain)
    assert 0 < wrong[0] < 2 * B
    assert step.companion.wrong.tolist() == pytest.approx(wrong)
    assert step.companion.seen.tolist() == pytest.approx([2 * B, *map(sum, zip(*p, strict=True))])


def test_daans_factor_comes_from_plain_errors_of_the_epoch():
    step = make_step("daan")
    pairs = [(step.companion.all, True), *((discriminator, False) for discriminator in step.companion.each)]
    for discriminator, right in pairs:
        for part in discriminator:  # names D2 always, or by the first coordinate
            if isinstance(part, nn.Linear):
                nn.init.zeros_(part.weight)
                nn.init.zeros_(part.bias)
        discriminator[0].weight.data[0, 0] = float(right)
        discriminator[2].weight.data[0, 0] = 1.0
        discriminator[2].bias.data[:] = -0.5 if right else 0.5
    step.precise.embedding.data[:, 0], step.ambiguous.embedding.data[:, 0] = 0.0, 1.0
    step.companion.before_step_(step)
    step.companion.after_epoch_()
    # the one for all is never wrong (distance 2), those of the classes are wrong about all of D1: about half (0)
    assert step.companion.omega.item() > 0.7
    assert not step.companion.wrong.any()
    assert not step.companion.seen.any()
