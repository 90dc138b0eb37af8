"""A layer in parts: it keeps its input alone, and its backward pass computes it again, some utterances at a time.

Activation checkpointing (Chen et al. 2016) with the batch cut as GradCache cuts it (Gao et al. 2021), but layer by
layer: memory holds the inputs of all layers and the inside of one layer for one part. Losses are computed of the whole
batch at once as ever, and gradients are the same up to rounding, since no utterance depends on its neighbours.

Random numbers are the same too: a layer's dropout is drawn for the whole batch, and each part takes its rows. A GPU's
kernels draw in an order of their own, so that there parts have other numbers, though the same in both passes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

Layer = Callable[[Tensor, Tensor, Tensor | None], Tensor | tuple[Tensor, ...]]
"""Utterances (B, …), what belongs to each of them (B, …), what they share → their outputs (B, …)."""
_DRAW = torch.ops.aten.bernoulli_.float
_DROPOUT = torch.ops.aten.native_dropout.default


def in_parts(layer: Layer, size: int, x: Tensor, rows: Tensor, shared: Tensor | None = None) -> Any:
    """Apply a layer to `size` utterances at a time, and keep its inputs alone for the backward pass.

    x: (B, …)   rows: (B, …) without a gradient   shared: alike for all utterances
    returns: what the layer returns for all of them at once
    """
    # Parameters are reached through the layer, so the output needs a gradient also where no argument does.
    anchor = torch.empty(0, device=x.device, requires_grad=True)
    outputs = _InParts.apply(layer, size, x, rows, shared, anchor)
    return outputs if len(outputs) > 1 else outputs[0]


class _InParts(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, layer: Layer, size: int, x: Tensor, rows: Tensor, shared: Any, anchor: Tensor) -> Any:
        ctx.layer, ctx.size, ctx.random = layer, size, _random_state(x.device)
        ctx.autocast = torch.is_autocast_enabled(x.device.type), torch.get_autocast_dtype(x.device.type)
        ctx.save_for_backward(x, rows, shared)
        noise = _Noise(len(x))
        outputs = [noise.part(part, layer, x[part], rows[part], shared) for part in _parts(len(x), size)]
        whole = tuple(_joined(column) for column in zip(*outputs, strict=True))
        ctx.mark_non_differentiable(*(output for output in whole if not output.is_floating_point()))
        return whole

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Any:
        x, rows, shared = ctx.saved_tensors
        x_gradient = torch.empty_like(x) if ctx.needs_input_grad[2] else None
        if ctx.needs_input_grad[4]:
            shared = shared.detach().requires_grad_()
        noise, (enabled, dtype) = _Noise(len(x)), ctx.autocast
        with _again(ctx.random, x.device):
            for part in _parts(len(x), ctx.size):
                leaf = x[part].detach().requires_grad_(x_gradient is not None)
                with torch.enable_grad(), torch.autocast(x.device.type, dtype, enabled):
                    outputs = noise.part(part, ctx.layer, leaf, rows[part], shared)
                pairs = [(y, g[part]) for y, g in zip(outputs, gradients, strict=True) if y.requires_grad]
                torch.autograd.backward([y for y, _ in pairs], [gradient for _, gradient in pairs])
                if x_gradient is not None:
                    x_gradient[part] = leaf.grad
        return None, None, x_gradient, None, shared.grad if ctx.needs_input_grad[4] else None, None


class _Noise(TorchDispatchMode):
    """Dropout's draws, made for all n utterances by the first part and shared among the parts."""

    def __init__(self, n: int):
        super().__init__()
        self._n, self._draws, self._position, self._part = n, list[Tensor](), 0, slice(0)

    def part(self, part: slice, layer: Layer, x: Tensor, rows: Tensor, shared: Tensor | None) -> tuple[Tensor, ...]:
        """Apply the layer to a part of the utterances, with their rows of the draws."""
        if part.stop - part.start == self._n:
            return _as_tuple(layer(x, rows, shared))
        self._position, self._part = 0, part
        with self:
            return _as_tuple(layer(x, rows, shared))

    def __torch_dispatch__(self, op: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if op is _DRAW:
            return args[0].copy_(self._draw(args[0], args[1] if len(args) > 1 else 0.5))  # torch's default
        if op is _DROPOUT and args[2]:
            mask = self._draw(args[0], 1 - args[1])
            return args[0] * mask / (1 - args[1]), mask
        return op(*args, **(kwargs or {}))

    setattr(__torch_dispatch__, "__dynamo_disable", __torch_dispatch__)  # which else imports torch's compiler

    def _draw(self, like: Tensor, chance: float) -> Tensor:
        """Return this part's rows of the present draw: True by chance."""
        if self._position == len(self._draws):
            whole = _whole(like, self._n, torch.bool)  # a byte each, for all parts
            self._draws.append(whole.bernoulli_(chance))
        draw = self._draws[self._position][self._part]
        self._position += 1
        return draw


def _joined(parts: Sequence[Tensor]) -> Tensor:
    """Join parts of a batch, laid out in memory as they are."""
    if len(parts) == 1:
        return parts[0]
    whole, first = _whole(parts[0], sum(map(len, parts)), parts[0].dtype), 0
    for part in parts:
        whole[first : first + len(part)] = part
        first += len(part)
    return whole


def _whole(part: Tensor, n: int, dtype: torch.dtype) -> Tensor:
    """Return an empty tensor of n rows, in memory in the order of a part's dimensions, in which numbers are drawn."""
    strides = part.stride()
    order = sorted(range(part.ndim), key=lambda d: (-strides[d], d == 0))  # a single row may have any stride
    return torch.empty_permuted((n, *part.shape[1:]), order, dtype=dtype, device=part.device)


def _parts(n: int, size: int) -> Iterator[slice]:
    return (slice(first, min(first + size, n)) for first in range(0, n, size))


def _as_tuple(outputs: Tensor | tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _random_state(device: torch.device) -> tuple[Tensor, Tensor | None]:
    """Return the states of the generators that a layer may draw from, the CPU's and the GPU's."""
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


@contextmanager
def _again(state: tuple[Tensor, Tensor | None], device: torch.device) -> Iterator[None]:
    """Draw from these states; afterwards the generators go on from where they were."""
    present = _random_state(device)
    _set_random_state(state, device)
    try:
        yield
    finally:
        _set_random_state(present, device)


def _set_random_state(state: tuple[Tensor, Tensor | None], device: torch.device) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1], device)
