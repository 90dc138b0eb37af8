"""Work that changes everything a run must not depend on, as a notebook's cells and figures may."""

import hashlib
import json
import random
import sys
from collections.abc import Callable

import numba
import numpy as np
import torch

from ipr_core.config import demo
from ipr_core.data.dataset import load
from ipr_core.training.loop import Event, refine
from ipr_core.training.session import Session
from ipr_widgets.layout import Layout


@numba.njit(parallel=True)
def in_parallel(x):
    """Double x by numba's threads."""
    doubled = np.empty_like(x)
    for row in numba.prange(len(x)):
        doubled[row] = 2 * x[row]
    return doubled


def make_planes() -> None:
    """Lay out as the UMAP panel does, and work in parallel as umap-learn does in a user's own cell.

    There numba's OpenMP layer changes torch's number of threads. A function of a few lines compiles eight times faster
    than umap-learn's.
    """
    embeddings = np.random.default_rng(0).normal(size=(60, 8)).astype(np.float32)
    Layout().next_plane(embeddings, embeddings[:3])
    in_parallel(embeddings)


def change_switches() -> None:
    """Change every switch of torch that changes results, and every global seed."""
    torch.set_num_threads(3)
    torch.set_flush_denormal(True)
    torch.set_default_dtype(torch.float64)
    torch.set_float32_matmul_precision("medium")
    torch.use_deterministic_algorithms(True, warn_only=True)
    torch.backends.cudnn.benchmark = True
    torch.set_grad_enabled(False)
    torch.set_autocast_enabled("cpu", True)
    torch.manual_seed(7)
    np.random.seed(7)  # noqa: NPY002
    random.seed(7)


def train(watch: Callable[[Event], None]) -> str:
    """Train a tiny run. returns: a digest of its state"""
    config = demo(synthetic_size=64, test_size=12, epochs=2, warm_up=1, max_seconds=1, device="cpu", seed=3)
    session = Session(config, load(config, progress=False))
    for event in refine(session):
        watch(event)
    tensors = session.state()
    return hashlib.blake2b(b"".join(tensors[name].numpy().tobytes() for name in sorted(tensors))).hexdigest()


def disturb(event: object = None) -> None:
    """Do all of it; as a watcher, after the first step of an epoch."""
    if event is None or getattr(event, "step", 0) == 1:
        make_planes()
        change_switches()


def main(work: str) -> None:
    """Train in this process, after other work, then with a watcher that does it; print digests and threads."""
    facts: dict[str, object] = {"threads": torch.get_num_threads()}
    if work == "disturbed":
        make_planes()
        facts["threads after a plane"] = torch.get_num_threads()
        change_switches()
    facts["digest"] = train(lambda event: None)
    if work == "disturbed":
        facts["threads after training"] = torch.get_num_threads()
        facts["digest with a watcher"] = train(disturb)
    print(json.dumps(facts))


if __name__ == "__main__":
    main(sys.argv[1])
