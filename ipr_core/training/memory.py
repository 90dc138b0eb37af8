"""How a step fits into memory: its views at once, or layer by layer in parts, see `encoders/in_parts.py`.

What a step takes is estimated from what autograd keeps of one view. That is counted on the longest clip, its half and
its quarter, since it grows with the length and, in attention, with its square. Whatever is chosen, a step has the same
losses and gradients up to rounding. A run keeps its budget, so that it goes on as it began.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from ipr_core import machine
from ipr_core.config import Training
from ipr_core.encoders.encoder import MIN_SAMPLES
from ipr_core.training.model import Recogniser
from ipr_core.training.processes import this_process

GIB = 2**30
_RESERVE = 0.1  # of what is free
_PROCESS = 1.25  # GiB of a process before it trains: imports, the corpus's table
_BYTES_TRAINED, _BYTES_FROZEN = 16, 4  # a parameter's: its value, gradient and two moments; its value
_BYTES_DRAWN = 5  # a number's of dropout, for all parts of a layer: one of them kept, four as it is drawn
_AT_ONCE = 1.15  # what is taken of memory over what autograd keeps
_BACKWARD = 2  # a layer's memory in its backward pass over what autograd keeps of it


def budget_gb(training: Training, device: torch.device) -> float:
    """Return the GiB that training may take on a device: as set, or what is free, less a tenth.

    Workers of a batch have equal shares of the device. So have the processes of a run that share it; all of them
    take the main one's figure.
    """
    if training.memory_gb is not None:
        return training.memory_gb
    process, workers = this_process(), int(os.environ.get(machine.JOBS, "1"))
    if device.type == "cuda":
        free, whole = torch.cuda.mem_get_info(device)
        present = torch.cuda.memory_reserved(device)
    else:
        free, whole = machine.free_memory() // process.neighbours, machine.whole_memory() // process.neighbours
        present = machine.present_memory()
    share = min(free + present, whole // workers)
    return process.same(math.floor(10 * (1 - _RESERVE) * share / GIB) / 10)


class StepMemory:
    """The memory of a step's views, by how many there are and how long.

    x, n: one clip's output of the model's stem (1, T, …), the longest, and its valid frames (1,)
    views: bytes of those that are kept
    """

    def __init__(self, model: Recogniser, x: Tensor, n: Tensor, budget_gb: float, views: int = 0):
        self.budget_gb, self._layers = budget_gb, model.encoder.trained_layers
        process = 0 if x.device.type == "cuda" else round(_PROCESS * GIB)
        self._fixed = process + views + _of_parameters(model)
        if self._layers:
            longest, shortest = x.shape[1], MIN_SAMPLES if x.shape[2] == 1 else 1  # samples, or frames
            lengths = sorted({max(longest // divisor, shortest) for divisor in (1, 2, 4)})
            costs = [_costs(model, x[:, :length].clone(), n.clamp(max=length)) for length in lengths]
            self._inputs, self._layer, self._draws = (
                np.poly1d(np.polyfit(lengths, values, len(lengths) - 1)) for values in zip(*costs, strict=True)
            )

    def part(self, n: int, length: int) -> int | None:
        """Return how many of n views a layer takes at a time; None: all at once, which is kept."""
        if not self._layers or self.need_gb(n, length) <= self.budget_gb:
            return None
        sizes = [math.ceil(n / parts) for parts in range(1, n + 1)]
        return next((size for size in sizes if self.need_gb(n, length, size) <= self.budget_gb), 1)

    def need_gb(self, n: int, length: int, part: int | None = None) -> float:
        """Estimate the GiB of a step on n views of a length, at once or in parts."""
        layer = self._layer(length)
        if part is None:
            step = n * (_AT_ONCE * (self._inputs(length) + self._layers * layer) + layer)
        else:
            step = n * self._inputs(length) + part * _BACKWARD * layer + (n * self._draws(length) if part < n else 0)
        return (self._fixed + step) / GIB

    def choice(self, n: int, length: int) -> str:
        """Say in a few words how n views of a length pass."""
        if not self._layers:
            return "at once"
        part = self.part(n, length)
        if part is None:
            return f"at once, {self.need_gb(n, length):.1f} GiB"
        return f"{part} of {n} a layer, {self.need_gb(n, length, part):.1f} GiB"

    def sentence(self, n: int, length: int) -> str | None:
        """Say how a step of n views passes that does not fit at once; None if it does."""
        if (part := self.part(n, length)) is None:
            return None
        need = self.need_gb(n, length, part)
        short = "" if need <= self.budget_gb else "; that is too much: a smaller batch_size or max_seconds takes less"
        return (
            f"A step's {n} longest views would take about {self.need_gb(n, length):.1f} GiB at once, and memory_gb is "
            f"{self.budget_gb:g}: each layer is computed again in the backward pass, {part} views at a time, which "
            f"takes about {need:.1f} GiB{short}"
        )


def _of_parameters(model: Recogniser) -> int:
    return sum(p.numel() * (_BYTES_TRAINED if p.requires_grad else _BYTES_FROZEN) for p in model.parameters())


def _costs(model: Recogniser, x: Tensor, n: Tensor) -> tuple[float, float, float]:
    """Count the bytes of a view: inputs of layers and what lies beside them, the inside of a layer, dropout's draws."""
    encoder = model.encoder
    with _noisy_layers(model), torch.random.fork_rng([x.device] if x.device.type == "cuda" else []), model.autocast():
        encoder.part = 1
        torch.manual_seed(0)  # always the same choice
        with _Count() as inputs:
            model.scores(x, n)
        with _Count() as features:
            x, n = encoder.features(x, n) if encoder.train_features else (x, n)
        x = encoder.embed(x, n) if encoder.frozen == 0 else x
        x = x.detach().requires_grad_()  # as all layers but the first have it, which keep the most
        with _Count() as layer:
            encoder.layer(encoder.frozen + 1, x, encoder.context(x, n))
    return inputs.kept, max(features.kept, layer.kept), _BYTES_DRAWN * sum(layer.draws)


@contextmanager
def _noisy_layers(model: Recogniser) -> Iterator[None]:
    """Set the model as in training, but for layer drop; afterwards all is as before."""
    encoder, training = model.encoder, model.training
    layerdrop, part, encoder.layerdrop = encoder.layerdrop, encoder.part, 0.0
    model.train()
    try:
        yield
    finally:
        encoder.layerdrop, encoder.part = layerdrop, part
        model.train(training)


class _Count(TorchDispatchMode):
    """Counts the bytes that autograd keeps for a backward pass, parameters apart, and the numbers of every draw."""

    def __init__(self) -> None:
        super().__init__()
        self.draws: list[int] = []
        self._storages: dict[int, torch.UntypedStorage] = {}  # by address, none of which is given twice meanwhile
        self._hooks = torch.autograd.graph.saved_tensors_hooks(self._pack, lambda tensor: tensor)

    @property
    def kept(self) -> int:
        return sum(storage.nbytes() for storage in self._storages.values())

    def __enter__(self) -> _Count:
        self._hooks.__enter__()
        return super().__enter__()

    def __exit__(self, *error: Any) -> None:
        super().__exit__(*error)
        self._hooks.__exit__(*error)

    def __torch_dispatch__(self, op: Any, types: Any, args: Sequence[Any] = (), kwargs: Any = None) -> Any:
        if op in (torch.ops.aten.bernoulli_.float, torch.ops.aten.native_dropout.default):
            self.draws.append(args[0].numel())
        return op(*args, **(kwargs or {}))

    setattr(__torch_dispatch__, "__dynamo_disable", __torch_dispatch__)  # which else imports torch's compiler

    def _pack(self, tensor: Tensor) -> Tensor:
        if not isinstance(tensor, torch.nn.Parameter):
            storage = tensor.untyped_storage()
            self._storages[storage.data_ptr()] = storage
        return tensor
