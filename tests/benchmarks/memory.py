"""The memory of training wav2vec 2.0 at its defaults, every clip 15 s, under a limit that the system holds.

    python tests/benchmarks/memory.py [--size base|large] [--memory-gb 8] [--steps 1] [--seconds 15] [--at-once]

The first evaluation and a step of IPR's refinement (batches of 8 + 8 + 8 views), with random weights. The process
may take no more than `--memory-gb` of data (RLIMIT_DATA of Linux); beyond that it fails, as it does `--at-once`.
"""

from __future__ import annotations

import argparse
import tempfile
from itertools import chain
from pathlib import Path
from time import perf_counter

import numpy as np
import psutil
import torch
import transformers

from ipr_core.bench import machine, noise, peak_mb, random_weights
from ipr_core.config import recommended
from ipr_core.training.loop import refine
from ipr_core.training.session import Session

LARGE = {
    "hidden_size": 1024, "num_hidden_layers": 24, "num_attention_heads": 16, "intermediate_size": 4096,
    "feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True,
}  # fmt: skip
SIZES = {"base": {}, "large": LARGE}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", choices=SIZES, default="base")
    parser.add_argument("--memory-gb", type=float, default=8)
    parser.add_argument("--steps", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--at-once", action="store_true")
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_weights(Path(folder) / "encoder", **SIZES[args.size])
        budget = 1000 if args.at_once else args.memory_gb
        config = recommended(encoder=encoder, warm_up=0, epochs=1, memory_gb=budget, max_seconds=args.seconds)
        size = args.steps * config.training.batch_size
        data = noise(config, size, Path(folder), lambda n: np.full(n, args.seconds))
        limit = round(args.memory_gb * 2**30)
        psutil.Process().rlimit(psutil.RLIMIT_DATA, (limit, limit))
        print(f"wav2vec 2.0 {args.size}; at most {args.memory_gb:g} GiB", flush=True)
        start = perf_counter()
        session = Session(config, data)
        print(machine(session.device), session.passes.memory.choice(*session.longest_step), sep="; ", flush=True)
        make_moments_(session)
        names = ["the first evaluation", *(f"step {i + 1}" for i in range(args.steps))]
        for name, _ in zip(names, chain([session], refine(session)), strict=False):
            print(f"{name}: {perf_counter() - start:.0f} s, peak {peak_mb(session.device) / 1024:.2f} GiB", flush=True)
            start = perf_counter()


def make_moments_(session: Session) -> None:
    """Make the optimizer's moments, which every step but the first begins with."""
    for parameter in session.model.parameters():
        parameter.grad = torch.zeros_like(parameter) if parameter.requires_grad else None
    session.optimizer.step()


if __name__ == "__main__":
    main()
