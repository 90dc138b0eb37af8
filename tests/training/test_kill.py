"""Killed with SIGKILL at ten random moments, a run goes on and ends as one that was never killed."""

import itertools
import multiprocessing
import os
import random
import signal
from pathlib import Path
from time import monotonic, sleep

import pytest

from helpers.whole_runs import all_whole, assert_same
from ipr_core.runs.names import name
from ipr_core.runs.run import Run
from ipr_core.training.advance import train_all

KILLS = 10


@pytest.fixture(scope="module")
def config(frozen):
    """Many short epochs: much of the time goes into writing."""
    return frozen.replace(epochs=6, warm_up=2)


@pytest.fixture(scope="module")
def start(config, data, cache):
    """Folder → a process that trains there, forked from one that has imported torch and done nothing with it."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipr_core.training.advance"])

    def start(folder: Path) -> multiprocessing.Process:
        process = context.Process(target=train_all, args=([config], folder, cache, False))
        process.start()
        return process

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("OMP_NUM_THREADS", "1")
        first = context.Process(target=int)  # it starts the server, whose imports take seconds
        first.start()
        first.join()
        yield start


def wait_for_a_write(folder: Path, seconds: float) -> None:
    end = monotonic() + seconds
    while monotonic() < end and not any(folder.rglob(".writing-*")):
        sleep(0.0002)


def test_killed_at_random_moments_a_run_ends_as_if_it_had_not_been(start, config, tmp_path):
    seed = int.from_bytes(os.urandom(4))
    print(f"moments drawn with seed {seed}")
    draw, began = random.Random(seed), monotonic()
    undisturbed = start(tmp_path / "undisturbed")
    undisturbed.join()
    duration = monotonic() - began
    reference = Run.open(tmp_path / "undisturbed" / name(config))

    kills, interrupted = 0, 0
    for folder in (tmp_path / str(i) for i in itertools.count()):
        run = Run(folder / name(config))
        while not run.finished:  # a run that ends before it is killed makes room for another
            process = start(folder)
            process.join(draw.uniform(0, duration) if kills < KILLS else None)
            if kills % 2 and kills < KILLS:
                wait_for_a_write(folder, duration)  # every other kill in the middle of one
            process.kill()
            process.join()
            assert process.exitcode in (0, -signal.SIGKILL)
            kills += process.exitcode != 0
            interrupted += any(folder.rglob(".writing-*"))
            all_whole(run)
        assert_same(run, reference)
        if kills >= KILLS:
            break
    print(f"{kills} kills, {interrupted} in the middle of a write")
