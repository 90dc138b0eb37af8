"""The optimizer: torch's numbers, without its compiler."""

import subprocess
import sys

import torch
from torch import nn

from ipr_core.training.adamw import AdamW


def test_training_does_not_import_torchs_compiler(cache, tmp_path):
    """An optimizer would, for two seconds in each process; stopped and resumed, so that its state is read too."""
    code = f"""
import sys
from ipr_core import advance, demo, prepare
config = demo(synthetic_size=64, test_size=12, epochs=2, warm_up=1, batch_size=8, map_size=20, max_seconds=1)
for goal in ("warm_up", "end"):
    advance(*prepare(config, {str(tmp_path)!r}, progress=False), goal)
print("torch._dynamo" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "False"


def test_the_optimizer_without_the_import_is_torchs_own():
    parameters = [nn.Parameter(torch.randn(6, 4, dtype=torch.float64)) for _ in range(2)]
    copies = [nn.Parameter(parameter.detach().clone()) for parameter in parameters]
    ours = AdamW([dict(params=parameters, lr=0.01)], 0.1)
    torchs = torch.optim.AdamW([dict(params=copies, lr=0.01)], weight_decay=0.1, fused=True)
    for _ in range(5):
        for parameter, copy in zip(parameters, copies, strict=True):
            parameter.grad = torch.randn_like(parameter)
            copy.grad = parameter.grad.clone()
        ours.step()
        torchs.step()
    assert all(torch.equal(a, b) for a, b in zip(parameters, copies, strict=True))
