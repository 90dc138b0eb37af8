"""AdamW without the import of torch's compiler, which takes two seconds in each process and compiles nothing here."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterable
from typing import Any

import torch
from torch.optim import Adam, Optimizer

_KEPT_FROM_COMPILER = ("add_param_group", "zero_grad", "state_dict", "load_state_dict")


class AdamW(torch.optim.AdamW):
    """torch's fused AdamW, the same numbers.

    torch's own imports the compiler when it is made and at its first step, only to say what must not be compiled.
    """

    def __init__(self, groups: Iterable[dict[str, Any]], weight_decay: float):
        _spare_import()
        super().__init__(groups, weight_decay=weight_decay, fused=True)

    @torch.no_grad()
    def step(self, closure: Any = None) -> Any:
        return inspect.unwrap(Adam.step)(self, closure)  # the step itself, without what surrounds it


def _spare_import() -> None:
    """Say of the optimizers' functions already that they are not compiled; torch keeps that in an attribute of each."""
    if "torch._dynamo" in sys.modules:
        return
    for name in _KEPT_FROM_COMPILER:
        function = inspect.unwrap(getattr(Optimizer, name))
        if not hasattr(function, "__dynamo_disable"):
            function.__dynamo_disable = function
