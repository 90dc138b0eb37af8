"""A layer in parts: the same frames, gradients and random numbers as at once, under dropout, for every family."""

import pytest
import torch

from helpers.padding import batch
from helpers.small_encoders import CONFIGS, random_model
from ipr_core.config import Encoder
from ipr_core.encoders import load_encoder
from ipr_core.encoders.in_parts import in_parts

LENGTHS = (9_000, 8_000, 7_000, 6_000, 4_000)
TRAINED = {
    "layers": {}, "all": {"train_features": True}, "upper": {"frozen_layers": 1}, "adapters": {"adapter": "lora"},
}  # fmt: skip
CASES = [("wav2vec2-base", part) for part in TRAINED] + [(name, "all") for name in (*CONFIGS, "compact")]
CASES += [(name, "adapters") for name in ("wavlm-large", "whisper")]


def passed(encoder, part):
    """Return the frames, every weight's gradient, and the random number that is drawn next."""
    encoder.part = part
    encoder.zero_grad()
    torch.manual_seed(5)
    frames, _ = encoder(*batch(LENGTHS))
    frames.square().mean().backward()
    return frames.detach(), {n: p.grad for n, p in encoder.named_parameters() if p.grad is not None}, torch.rand(1)


@pytest.mark.parametrize(("family", "trained"), CASES)
def test_every_family_in_parts_is_as_at_once_under_dropout(tmp_path, family, trained):
    if family != "compact":
        random_model(family).save_pretrained(tmp_path)
    torch.manual_seed(0)
    choice = Encoder(encoder=family if family == "compact" else str(tmp_path), **TRAINED[trained])
    encoder = load_encoder(choice).train()
    encoder.layerdrop = 0.2
    frames, gradients, drawn = passed(encoder, None)
    for part in (5, 2, 1):
        frames_in_parts, gradients_in_parts, drawn_in_parts = passed(encoder, part)
        torch.testing.assert_close(frames_in_parts, frames, atol=1e-5, rtol=1e-5)
        assert gradients_in_parts.keys() == gradients.keys()
        torch.testing.assert_close(gradients_in_parts, gradients, atol=1e-5, rtol=1e-4)
        assert drawn_in_parts.equal(drawn)


def test_dropout_is_another_one_in_every_layer_and_row():
    x, rows = torch.ones(4, 3, 50), torch.ones(4, 1)
    torch.manual_seed(0)
    first, second = (in_parts(lambda x, rows, _: torch.dropout(x, 0.5, True), 1, x, rows) for _ in range(2))
    masks = torch.cat([first, second]).flatten(1).tolist()
    assert len({tuple(mask) for mask in masks}) == 8
    torch.manual_seed(0)
    assert torch.dropout(x, 0.5, True).equal(first)


@pytest.mark.parametrize("n", [3, 1])
@pytest.mark.parametrize("order", [(0, 1, 2), (1, 0, 2), (2, 1, 0), (1, 2, 0)])
def test_draws_follow_the_layout_in_memory(order, n):
    """As at once, where torch draws in the order of memory."""
    x = torch.empty_permuted((n, 4, 5), order).fill_(1)
    torch.manual_seed(0)
    whole = torch.dropout(x, 0.5, True)
    torch.manual_seed(0)
    output = in_parts(lambda x, rows, _: torch.dropout(x, 0.5, True), 1, x, x)
    assert output.equal(whole)
    assert n == 1 or output.stride() == whole.stride()


def test_a_layer_keeps_its_inputs_alone():
    weight = torch.randn(50, 50, requires_grad=True)

    def layer(x, rows, shared):
        for _ in range(10):
            x = (x @ weight).tanh()
        return x

    def kept(apply) -> int:
        sizes = []
        with torch.autograd.graph.saved_tensors_hooks(lambda t: sizes.append(t.numel()) or t, lambda t: t):
            apply(layer, torch.randn(8, 50))
        return sum(sizes)

    assert kept(lambda layer, x: layer(x, x, None)) > 10 * 8 * 50
    assert kept(lambda layer, x: in_parts(layer, 2, x, x[:, :1])) == 8 * 50 + 8


def test_what_rows_share_has_a_gradient_too():
    shared, x, weight = (torch.randn(4, 4, requires_grad=True) for _ in range(3))

    def layer(x, rows, shared):
        return (x @ weight + rows) * shared.sum()

    def gradients(apply):
        rows = torch.arange(4.0)[:, None]
        return torch.autograd.grad(apply(layer, x.sigmoid(), rows, shared.sigmoid()).square().sum(), (x, shared))

    weight.requires_grad_(False)
    literal = gradients(lambda layer, *arguments: layer(*arguments))
    torch.testing.assert_close(gradients(lambda layer, *arguments: in_parts(layer, 3, *arguments)), literal)


def test_autocast_is_the_same_in_the_backward_pass():
    linear, dtypes = torch.nn.Linear(4, 4), []

    def layer(x, rows, shared):
        y = linear(x)
        dtypes.append(y.dtype)
        return y

    with torch.autocast("cpu", torch.bfloat16):
        y = in_parts(layer, 1, torch.ones(2, 4), torch.ones(2, 1))
    y.float().sum().backward()
    assert dtypes == [torch.bfloat16] * 4
    assert linear.weight.grad.dtype == torch.float32
