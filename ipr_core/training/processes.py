"""One run on several processes, each with a share of every batch: a rank each, the main one's is 0.

Hugging Face Accelerate launches the processes, gives each its device and connects them. All they exchange is sums,
and that is enough:

- Every rank passes its share of a batch's utterances through the model. Embeddings and logits are then gathered, and
  every rank computes the same losses of the whole batch (Eq. 5 contrasts all of its views), the same flags of the
  gate and the same moves of the prototypes (Eq. 4), in the same order: no equation knows of ranks.
- What a rank's own utterances contribute to the gradient goes through its own share alone. The gradient of the whole
  batch is therefore the sum over ranks, whether or not shares have the same size.

That is why the model is not wrapped by DistributedDataParallel: it would take the mean of gradients instead, which is
right for losses that are means over shares of one size, and it waits for parameters that have no gradient in a step.

Configured sizes are those of the whole batch. All ranks hold the same bits, on hardware of one kind. Results agree
with those of one process up to rounding; with dropout they are as good but others, since each rank draws its own.
The frozen part of the encoder passes every clean view on every rank, once; the rest of the work is shared. On CPUs
the processes talk through gloo, which is tested; on GPUs through NCCL, which was never run.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, TypeVar

import torch
from torch import Tensor, distributed
from torch.nn import Parameter

from ipr_core.config import SettingsError

if TYPE_CHECKING:
    from accelerate import PartialState

Items = TypeVar("Items", bound=Sequence)
PATIENCE = timedelta(days=2)
"""How long ranks wait for one that decodes a corpus, say; one that has ended is noticed at once."""


class RankError(RuntimeError):
    """Another rank has failed, so that this one cannot go on."""


class Ranks:
    """The usual case, a process alone: it has everything, and waits for nobody."""

    rank = 0
    size = 1

    @property
    def main(self) -> bool:
        """Whether this one writes the run folder and is watched."""
        return self.rank == 0

    def device(self, name: str) -> torch.device:
        """The device a setting names; "auto" is a GPU where there is one."""
        return torch.device(("cuda" if torch.cuda.is_available() else "cpu") if name == "auto" else name)

    def share(self, items: Items, least: int = 0) -> Items:
        """This rank's items: one of `size`, and so on.

        least: where there are fewer, the first ones of all, so that there is something to do; `gather` drops them
        """
        return items

    def gather(self, part: Tensor, n: int) -> Tensor:
        """The rows of all ranks in their order, with a gradient for this rank's own.

        part: (share, …) what `share` of n rows became   returns: (n, …)
        """
        return part

    def add_(self, tensor: Tensor) -> None:
        """The sum over ranks, in place, the same bits everywhere."""

    def add_gradients_(self, parameters: Iterable[Parameter]) -> None:
        """Parameters' gradients become their sums over ranks; one that no rank has a gradient for stays without."""

    def agreed(self, answer: bool) -> bool:
        """The main rank's answer; whoever asks waits for the others."""
        return answer

    @contextmanager
    def main_first(self) -> Iterator[None]:
        """What the main rank makes here the others find; if it fails they do not begin."""
        yield


class Several(Ranks):
    """One of several processes that train a run together."""

    def __init__(self, state: PartialState):
        self.rank, self.size, self._device = state.process_index, state.num_processes, state.device

    def device(self, name: str) -> torch.device:
        """A GPU for each process of a machine. raises SettingsError where the setting names one for all"""
        if ":" in name:
            raise SettingsError([f'device is "{name}"; {self.size} processes need one each, as "auto" gives them'])
        return torch.device("cpu") if name == "cpu" else self._device

    def share(self, items: Items, least: int = 0) -> Items:
        mine = items[self.rank :: self.size]
        return mine if len(mine) >= least else items[:least]

    def gather(self, part: Tensor, n: int) -> Tensor:
        mine = slice(self.rank, n, self.size)
        part = part[: len(range(n)[mine])]
        whole = part.new_zeros(n, *part.shape[1:])
        whole[mine] = part.detach()
        self.add_(whole)
        whole[mine] = part  # with its gradient
        return whole

    def add_(self, tensor: Tensor) -> None:
        try:
            distributed.all_reduce(tensor)
        except RuntimeError as error:
            raise RankError("another process of this run failed or was stopped; its own message says why") from error

    def add_gradients_(self, parameters: Iterable[Parameter]) -> None:
        trained = [parameter for parameter in parameters if parameter.requires_grad]
        found = torch.tensor([parameter.grad is not None for parameter in trained], dtype=torch.int32)
        self.add_(found)  # layers dropped on one rank only have no gradient there
        reached = [parameter for parameter, ranks in zip(trained, found.tolist(), strict=True) if ranks]
        flat = torch.cat([(p.new_zeros(p.shape) if p.grad is None else p.grad).flatten() for p in reached])
        self.add_(flat)
        for parameter, part in zip(reached, flat.split([p.numel() for p in reached]), strict=True):
            parameter.grad = part.view_as(parameter)

    def agreed(self, answer: bool) -> bool:
        told = torch.tensor(int(answer and self.main))
        self.add_(told)
        return bool(told)

    @contextmanager
    def main_first(self) -> Iterator[None]:
        if not self.main:
            self.agreed(True)
        yield
        if self.main:
            self.agreed(True)


def current() -> Ranks:
    """This process's rank among those that were launched together, by what launchers leave in the environment."""
    launched = int(os.environ.get("WORLD_SIZE", "1")) > 1 and "LOCAL_RANK" in os.environ
    return _several() if launched else Ranks()


@cache
def _several() -> Several:
    from accelerate import PartialState  # half a second, for launched processes alone

    if torch.cuda.is_available():  # NCCL for what lies on a GPU, gloo for the rest
        return Several(PartialState(backend="cuda:nccl,cpu:gloo", timeout=PATIENCE))
    return Several(PartialState(cpu=True, timeout=PATIENCE))


def leave() -> None:
    """Leave the others in order, at the end of a process whose work is done."""
    if distributed.is_available() and distributed.is_initialized():
        distributed.destroy_process_group()
