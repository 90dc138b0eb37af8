"""One run on several processes, each with a share of every minibatch. The main one has rank 0.

Hugging Face Accelerate launches the processes, gives each its device and connects them. They exchange sums alone, and
that is enough:

- Every process passes its share of a minibatch's utterances through the model. Embeddings and scores are then
  gathered. Every process computes the same losses of the whole minibatch (Eq. 5 contrasts all of its views), the same
  gate and the same moves of the prototypes (Eq. 4), in the same order: no equation knows of processes.
- A process's own utterances contribute to the gradient through its own share alone. The gradient of the whole
  minibatch is therefore the sum over processes, whether or not shares have the same size. `SummingAdamW` sums it.

That is why the model is not wrapped by DistributedDataParallel. It would take the mean of gradients, which is right
for losses that are means over shares of one size, and it waits for parameters that have no gradient in a step.

Configured sizes are those of the whole minibatch. All processes hold the same bits, on hardware of one kind. Results
agree with those of one process up to rounding. With dropout they are as good but others, since each process draws its
own. The frozen part of the encoder passes every clean view in every process, once; the rest of the work is shared. On
CPUs the processes talk through gloo, which is tested; on GPUs through NCCL, which was never run.

Every pass that is shared is in `passes.py`; `advance.py` lets the main process alone write the run folder.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, distributed
from torch.nn import Parameter

from ipr_core.config import SettingsError
from ipr_core.sentence import SentenceError
from ipr_core.training.adamw import AdamW

if TYPE_CHECKING:
    from accelerate import PartialState

Items = TypeVar("Items", NDArray[np.int64], list[NDArray[np.int64]], list[int])
Groups = list[dict[str, Any]]
"""Parameters with their learning rate and weight decay, as torch's optimizers take them."""
PATIENCE = timedelta(days=2)
"""How long processes wait for one that decodes a corpus, say; one that has ended is noticed at once."""


class RankError(SentenceError, RuntimeError):
    """Another process of the run has failed, so that this one cannot go on."""


class Process:
    """A process that trains a run alone, the usual case: it has everything, and waits for nobody."""

    rank = 0
    size = 1
    neighbours = 1
    """How many of the processes this machine has."""

    @property
    def main(self) -> bool:
        """Whether this one writes the run folder and is watched."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """Return the device that a setting names; "auto" is a GPU where there is one.

        raises SettingsError for a device that this machine does not have
        """
        if fault := device_fault(name):
            raise SettingsError([fault])
        return best_device() if name == "auto" else torch.device(name)

    def share(self, items: Items, least: int = 0) -> Items:
        """Return this process's items: every `size`-th, from its rank on.

        least: with fewer of its own it takes the first ones of all, to have something to do; `gather` drops them
        """
        return items

    def gather(self, part: Tensor, n: int) -> Tensor:
        """Return the rows of all processes in their order, with a gradient for this process's own.

        part: (share, …) made of the `share` of n rows   returns: (n, …)
        """
        return part

    def add_(self, tensor: Tensor) -> None:
        """Add up a tensor over processes, in place, the same bits everywhere."""

    def adamw(self, groups: Groups, parameters: Iterable[Parameter], weight_decay: float) -> AdamW:
        """Return the optimizer of the groups.

        parameters: of the model; each process has a part of their gradients, and all of every other gradient
        """
        return AdamW(groups, weight_decay)

    def same(self, number: float) -> float:
        """Return the main process's number; this waits for the others."""
        return number

    def agreed(self, answer: bool) -> bool:
        """Return the main process's answer; this waits for the others."""
        return bool(self.same(answer))

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """Let the main process make first what the others then find; if it fails they do not begin."""
        yield


class ProcessOfSeveral(Process):
    """One of several processes that train a run together."""

    def __init__(self, state: PartialState):
        self.rank, self.size, self._device = state.process_index, state.num_processes, state.device
        self.neighbours = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))

    def device(self, name: str) -> torch.device:
        """Return a GPU for each process of a machine. raises SettingsError if the setting names one for all"""
        if ":" in name:
            raise SettingsError([f'device is "{name}"; {self.size} processes need one each, as "auto" gives them'])
        return torch.device("cpu") if name == "cpu" else self._device

    def share(self, items: Items, least: int = 0) -> Items:
        part = items[self.rank :: self.size]
        return part if len(part) >= least else items[:least]

    def gather(self, part: Tensor, n: int) -> Tensor:
        rows = slice(self.rank, n, self.size)
        part = part[: len(range(n)[rows])]
        whole = part.new_zeros(n, *part.shape[1:])
        whole[rows] = part.detach()
        self.add_(whole)
        whole[rows] = part  # with its gradient
        return whole

    def add_(self, tensor: Tensor) -> None:
        try:
            distributed.all_reduce(tensor)
        except RuntimeError as error:
            raise RankError("another process of this run failed or was stopped; its own message says why") from error

    def adamw(self, groups: Groups, parameters: Iterable[Parameter], weight_decay: float) -> AdamW:
        return SummingAdamW(groups, parameters, weight_decay, self.add_)

    def same(self, number: float) -> float:
        whole = torch.tensor(number if self.main else 0, dtype=torch.float64)
        self.add_(whole)
        return whole.item()

    @contextmanager
    def main_first(self) -> Iterator[None]:
        if not self.main:
            self.agreed(True)
        yield
        if self.main:
            self.agreed(True)


class SummingAdamW(AdamW):
    """AdamW that sums the gradients of some parameters over processes before each step."""

    def __init__(
        self, groups: Groups, parameters: Iterable[Parameter], weight_decay: float, add_: Callable[[Tensor], None]
    ):
        super().__init__(groups, weight_decay)
        self._parameters, self._add_ = [parameter for parameter in parameters if parameter.requires_grad], add_

    def step(self, closure: Any = None) -> Any:
        self.sum_gradients_()
        return super().step(closure)

    def sum_gradients_(self) -> None:
        """Set gradients to their sums over processes; a parameter without one in every process stays without."""
        reached = torch.tensor([parameter.grad is not None for parameter in self._parameters], dtype=torch.int32)
        self._add_(reached)  # layers dropped in one process only have no gradient there
        parameters = [parameter for parameter, n in zip(self._parameters, reached.tolist(), strict=True) if n]
        flat = torch.cat([(p.new_zeros(p.shape) if p.grad is None else p.grad).flatten() for p in parameters])
        self._add_(flat)
        for parameter, part in zip(parameters, flat.split([p.numel() for p in parameters]), strict=True):
            parameter.grad = part.view_as(parameter)


def this_process() -> Process:
    """Return this process among those that were launched together, by what launchers leave in the environment."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ
    return _connected() if launched else Process()


def device(name: str) -> torch.device:
    """Return the device that a setting names, for this process; "auto" is a GPU where there is one."""
    return this_process().device(name)


def best_device() -> torch.device:
    """Return a GPU, NVIDIA's or Apple's, where torch can use one, else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def device_fault(name: str) -> str | None:
    """Say that this machine has no such device; None where it has."""
    kind, _, number = name.partition(":")
    gpus = [f"cuda:{i}" for i in range(torch.cuda.device_count())] if torch.cuda.is_available() else []
    devices = ["cpu", *gpus] + ["mps"] * torch.backends.mps.is_available()
    if name == "auto" or name in devices or (kind == "cuda" and not number and gpus):
        return None
    return f"device is '{name}', which this machine does not have; it has {', '.join(devices)}, and auto takes the best"


@cache
def _connected() -> ProcessOfSeveral:
    from accelerate import PartialState  # half a second, for launched processes alone

    if torch.cuda.is_available():  # NCCL for what lies on a GPU, gloo for the rest
        return ProcessOfSeveral(PartialState(backend="cuda:nccl,cpu:gloo", timeout=PATIENCE))
    return ProcessOfSeveral(PartialState(cpu=True, timeout=PATIENCE))


def leave() -> None:
    """Leave the others in order, at the end of a process whose work is done."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
