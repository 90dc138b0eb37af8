"""LoRA's adapters against full training of the same layers: a step, its memory, and what an epoch's checkpoint takes.

    python tests/benchmarks/adapters.py [--frozen-layers 0] [--rank 8] [--batch-size 8] [--seconds 4] [--turns 3]

wav2vec 2.0 base with random weights; three times --batch-size views in a step, every clip as long. Memory is measured
in a process for each. Then steps of the refinement take turns on the same minibatches, so that other work on the
machine slows both.
"""

from __future__ import annotations

import argparse
import multiprocessing
import tempfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any

import numpy as np
import transformers

from ipr_core.bench import forget_peak, machine, noise, peak_mb, random_weights, seconds
from ipr_core.config import Config, recommended
from ipr_core.data.dataset import Dataset
from ipr_core.runs.files import write_state
from ipr_core.training.loop import refine
from ipr_core.training.session import Session


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--frozen-layers", type=int, default=0)
    parser.add_argument("--rank", type=int, default=8)
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--seconds", type=float, default=4)
    parser.add_argument("--turns", type=int, default=3)
    args = parser.parse_args()
    transformers.utils.logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        encoder = random_weights(Path(folder) / "encoder")
        base = recommended(
            encoder=encoder, frozen_layers=args.frozen_layers, adapter_rank=args.rank, warm_up=0, epochs=1,
            batch_size=args.batch_size, max_seconds=args.seconds, memory_gb=1000,
        )  # fmt: skip
        configs = {adapter: base.replace(adapter=adapter) for adapter in ("lora", "none")}
        size = (1 + args.turns) * args.batch_size
        data = noise(base, size, Path(folder), lambda n: np.full(n, args.seconds))
        for adapter, config in configs.items():
            with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
                line = pool.submit(memory_and_checkpoint, config, data, Path(folder)).result()
            print(f"adapter {adapter}: {line}", flush=True)
        in_turns(configs, data, args.turns)


def memory_and_checkpoint(config: Config, data: Dataset, folder: Path) -> str:
    """Return a line about trained parameters, the peak memory of two steps, and size and time of a checkpoint."""
    session = Session(config, data)
    forget_peak(session.device)
    for _, _ in zip(range(2), refine(session), strict=False):
        pass
    peak = peak_mb(session.device) / 1024
    number = sum(p.numel() for p in session.model.encoder.parameters() if p.requires_grad)
    path, started = folder / "checkpoint.safetensors", perf_counter()
    write_state(path, session.state())
    duration = perf_counter() - started
    megabytes = path.stat().st_size / 1e6
    return (
        f"{number:,} parameters of the encoder are trained; peak of a step {peak:.2f} GiB; "
        f"checkpoint {megabytes:,.1f} MB in {duration:.2f} s"
    )


def in_turns(configs: dict[str, Config], data: Dataset, turns: int) -> None:
    """Print the seconds of a step, and their ratio; the first turn warms up."""
    sessions = {adapter: Session(config, data) for adapter, config in configs.items()}
    print(machine(sessions["lora"].device), flush=True)
    loops: dict[str, Iterator[Any]] = {adapter: refine(session) for adapter, session in sessions.items()}
    durations = {adapter: list[float]() for adapter in configs}
    for turn in range(1 + turns):
        for adapter in sorted(loops, reverse=bool(turn % 2)):
            duration = seconds(lambda adapter=adapter: next(loops[adapter]), sessions[adapter].device)
            durations[adapter] += [duration] * (turn > 0)
    ratios = [lora / full for lora, full in zip(durations["lora"], durations["none"], strict=True)]
    middle = ", ".join(f"{adapter} {median(values):.1f} s" for adapter, values in durations.items())
    print(f"a step: {middle}; ratio {median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})", flush=True)


if __name__ == "__main__":
    main()
