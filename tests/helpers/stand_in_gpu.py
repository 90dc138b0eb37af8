"""A GPU's stand-in for tests: its tensors say "cuda:0", their numbers are computed on the CPU.

Whatever a GPU refuses it refuses: an operation on tensors of two devices. Whatever makes a program wait for a GPU it
notes, with the function that asked: a number read by the host (`.item()`, `.tolist()`, `bool(tensor)`), a shape that
depends on numbers, a copy in either direction, but for one onto the device out of pinned memory that need not be waited
for. Random numbers are the CPU's, so a run on it has the numbers of the same run on the CPU.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

GPU = torch.device("cuda", 0)
_CORE = str(Path(__file__).parents[2] / "ipr_core")
_READS = {
    "_local_scalar_dense", "is_nonzero", "equal", "nonzero", "masked_select", "_unique2", "unique_dim", "bincount",
    "_linalg_svd", "_linalg_eigh", "linalg_eig",
}  # fmt: skip
"""Operations whose result or its shape the host has to read on a GPU; cuSOLVER's results are checked by the host."""
_INDEXES = {"index", "index_put", "index_put_", "_index_put_impl_", "_unsafe_index"}
_MOVES = {"_to_copy", "copy_"}


class OnGPU(Tensor):
    """A tensor that says it lies on the GPU. `numbers` is on the CPU."""

    __torch_function__ = torch._C._disabled_torch_function_impl
    device = property(lambda self: GPU)  # type: ignore[assignment]
    is_cuda = property(lambda self: True)  # type: ignore[assignment]
    is_meta = property(lambda self: False)  # type: ignore[assignment]
    numbers: Tensor

    @staticmethod
    def __new__(cls, numbers: Tensor) -> OnGPU:
        # To torch's own code a meta tensor, whose backward pass runs without a GPU.
        tensor = Tensor._make_wrapper_subclass(
            cls, numbers.shape, strides=numbers.stride(), dtype=numbers.dtype, device="meta"
        )
        tensor.numbers = numbers
        return tensor

    @classmethod
    def __torch_dispatch__(cls, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        raise RuntimeError(f"{op} on the GPU outside of StandInGPU")

    def tolist(self) -> Any:
        return self.cpu().tolist()

    def __repr__(self, **kwargs: Any) -> str:
        return f"OnGPU({self.numbers})"


class StandInGPU(TorchDispatchMode):
    """Computes whatever lies on the GPU, and notes in `waits` who waits for it."""

    def __init__(self) -> None:
        super().__init__()
        self.waits: list[str] = []
        self._pinned: dict[int, Tensor] = {}  # by address; kept, so that none is given twice

    def take(self) -> list[str]:
        """Return the waits since the last call."""
        waits, self.waits = self.waits, []
        return waits

    def pin(self, tensor: Tensor) -> Tensor:
        """Copy a tensor of the CPU to pinned memory."""
        copy = tensor.clone()
        self._pinned[copy.untyped_storage().data_ptr()] = copy
        return copy

    def __torch_dispatch__(self, op: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs, name = dict(kwargs or {}), op.overloadpacket.__name__
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        here = {id(tensor.numbers): tensor for tensor in tensors if isinstance(tensor, OnGPU)}
        target = torch.device(kwargs["device"]) if kwargs.get("device") is not None else None
        on_gpu = target.type in ("cuda", "meta") if target else bool(here)
        if here or on_gpu:
            self._check(name, op, args, kwargs, tensors, on_gpu)
        if target and on_gpu:
            kwargs["device"] = torch.device("cpu")
        args, kwargs = tree_map_only(OnGPU, lambda tensor: tensor.numbers, (args, kwargs))
        result = op(*args, **kwargs)
        if not on_gpu:
            return result
        return tree_map_only(Tensor, lambda tensor: here[id(tensor)] if id(tensor) in here else OnGPU(tensor), result)

    setattr(__torch_dispatch__, "__dynamo_disable", __torch_dispatch__)  # spares the import of torch's compiler

    def _check(self, name: str, op: Any, args: Any, kwargs: Any, tensors: list[Tensor], on_gpu: bool) -> None:
        host_tensors = [tensor for tensor in tensors if not isinstance(tensor, OnGPU)]
        if name in _MOVES:
            self._check_copy(name, args, kwargs, on_gpu)
        elif name in _READS or (name in _INDEXES and any(map(_is_mask, tree_leaves(args[1])))):
            self._wait(name)
        elif name in _INDEXES and any(
            not isinstance(index, OnGPU) for index in tree_leaves(args[1]) if index is not None
        ):
            self._wait(f"{name} by an index of the CPU")
        elif faults := [tensor for tensor in host_tensors if tensor.ndim > 0]:
            raise RuntimeError(f"{op} of tensors on two devices; one of shape {tuple(faults[0].shape)} is on the CPU")

    def _check_copy(self, name: str, args: Any, kwargs: Any, on_gpu: bool) -> None:
        source = args[1] if name == "copy_" else args[0]
        target_on_gpu = isinstance(args[0], OnGPU) if name == "copy_" else on_gpu
        if isinstance(source, OnGPU) == target_on_gpu:
            return
        patient = kwargs.get("non_blocking") or (name == "copy_" and len(args) > 2 and args[2])
        pinned = not isinstance(source, OnGPU) and source.untyped_storage().data_ptr() in self._pinned
        if not (target_on_gpu and patient and pinned):
            self._wait("a copy to the GPU" if target_on_gpu else "a copy from the GPU")

    def _wait(self, reason: str) -> None:
        self.waits.append(f"{_place()}: {reason}")


def _is_mask(leaf: Any) -> bool:
    return isinstance(leaf, Tensor) and leaf.dtype in (torch.bool, torch.uint8)


def _place() -> str:
    """Return the innermost function of the core that is being called."""
    frame = sys._getframe()
    while frame is not None:
        if frame.f_code.co_filename.startswith(_CORE):
            return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_qualname}"
        frame = frame.f_back
    return "elsewhere"


@contextmanager
def stand_in_gpu() -> Iterator[StandInGPU]:
    """Let "cuda:0" be the stand-in, in this thread."""
    gpu, swaps = StandInGPU(), torch.__future__.get_swap_module_params_on_conversion()
    with pytest.MonkeyPatch.context() as patch, gpu:
        patch.setattr(torch.cuda, "_lazy_init", lambda: None)
        patch.setattr(torch.cuda, "mem_get_info", lambda device: (2**33, 2**33))
        patch.setattr(torch.cuda, "max_memory_allocated", lambda device: 0)
        patch.setattr(torch.cuda, "get_rng_state", lambda device: torch.get_rng_state())
        patch.setattr(torch.cuda, "set_rng_state", lambda state, device: torch.set_rng_state(state))
        patch.setattr(Tensor, "pin_memory", lambda tensor: gpu.pin(tensor))
        patch.setattr("ipr_core.training.processes.device_fault", lambda name: None)
        torch.__future__.set_swap_module_params_on_conversion(True)
        torch._C._set_only_lift_cpu_tensors(True)
        try:
            yield gpu
        finally:
            torch._C._set_only_lift_cpu_tensors(False)
            torch.__future__.set_swap_module_params_on_conversion(swaps)
