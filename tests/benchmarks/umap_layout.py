"""Faithfulness of the plane on a real run's embeddings, and the cost of an epoch.

    python tests/benchmarks/umap_layout.py RUN [RUN ...]

Trustworthiness: scikit-learn, 15 neighbours, cosine. Displacement: how far a point goes from one epoch to the next,
over the diameter of the whole layout; also of the quarter whose embedding moved least in that epoch.
"""

from __future__ import annotations

import sys
import threading
import time
import warnings
from functools import partial

import numpy as np
from numpy.typing import NDArray
from sklearn.manifold import trustworthiness

from ipr_core.runs.run import Run
from ipr_widgets.layout import Layout

Points = NDArray[np.floating]
_UMAP = dict(n_neighbors=15, metric="cosine", random_state=0)


def successive(vectors: list[Points], classes: int, seed: int = 0) -> list[Points]:
    layout = Layout(seed)
    return [np.concatenate(layout.next_plane(v[:-classes], v[-classes:])) for v in vectors]


def fresh(vectors: list[Points]) -> list[Points]:
    import umap

    return [umap.UMAP(n_jobs=1, **_UMAP).fit_transform(v) for v in vectors]


def aligned(vectors: list[Points]) -> list[Points]:
    import umap

    relation = {i: i for i in range(len(vectors[0]))}
    planes = umap.AlignedUMAP(**_UMAP).fit_transform(vectors, relations=[relation] * (len(vectors) - 1))
    return [np.array(plane) for plane in planes]


def reused(vectors: list[Points]) -> list[Points]:
    """Fit one reducer on the last epoch, and let it place the others."""
    import umap

    reducer = umap.UMAP(n_jobs=1, **_UMAP).fit(vectors[-1])
    return [*(reducer.transform(v) for v in vectors[:-1]), reducer.embedding_]


def measure(vectors: list[Points], planes: list[Points]) -> tuple[float, float, float]:
    """Return mean trustworthiness, mean displacement, and that of the quarter whose embedding moved least."""
    trust = [trustworthiness(v, p, n_neighbors=15, metric="cosine") for v, p in zip(vectors, planes, strict=True)]
    diameter = np.linalg.norm(np.ptp(np.concatenate(planes), axis=0))
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in vectors]
    displacements, still = [], []
    for i in range(1, len(planes)):
        step = np.linalg.norm(planes[i] - planes[i - 1], axis=1) / diameter
        turned = 1 - (unit[i] * unit[i - 1]).sum(axis=1)
        displacements.append(step.mean())
        still.append(step[turned <= np.quantile(turned, 0.25)].mean())
    return float(np.mean(trust)), float(np.mean(displacements)), float(np.mean(still))


def seconds(vectors: list[Points], classes: int, size: int = 3000) -> tuple[float, float, float]:
    """Measure a new epoch of `size` points, jittered copies of real ones.

    returns: seconds by the wall clock, by the processor's clock (which says more on a busy machine), and the longest
    wait of another thread meanwhile
    """
    rng, layout, times = np.random.default_rng(0), Layout(), []
    rows = np.arange(size) % len(vectors[0])
    jitter = rng.normal(0, 0.1, (size, vectors[0].shape[1])) * vectors[0].std(axis=0)
    longest, finished = [0.0], threading.Event()
    for i, v in enumerate(vectors[:5]):
        if i == 1:
            threading.Thread(target=_wait_in_steps, args=(longest, finished), daemon=True).start()
        start = time.perf_counter(), time.thread_time()
        layout.next_plane((v[rows] + jitter).astype(np.float32), v[-classes:])
        times.append((time.perf_counter() - start[0], time.thread_time() - start[1]))
    finished.set()
    return *np.median(times[1:], axis=0).tolist(), longest[0]


def _wait_in_steps(longest: list[float], finished: threading.Event) -> None:
    previous = time.perf_counter()
    while not finished.is_set():
        time.sleep(0.001)
        now = time.perf_counter()
        longest[0], previous = max(longest[0], now - previous), now


def main(folders: list[str]) -> int:
    warnings.simplefilter("ignore")
    for folder in folders:
        run = Run.open(folder)
        epochs = [run.arrays(epoch) for epoch in range(run.epochs)]
        vectors, classes = [np.concatenate([e["map"], e["prototypes"]]) for e in epochs], len(epochs[0]["prototypes"])
        print(f"{run.folder.name}: {len(vectors)} epochs, {len(vectors[0])} points")
        print("                        trust.   displaced  the stillest quarter")
        makers = {f"ours, seed {seed}": partial(successive, classes=classes, seed=seed) for seed in range(3)}
        makers |= {"fresh UMAP each epoch": fresh, "AlignedUMAP": aligned, "one reducer, reused": reused}
        for name, make in makers.items():
            print("{:22}  {:.4f}   {:.4f}     {:.4f}".format(name, *measure(vectors, make(vectors))), flush=True)
        wall, processor, waited = seconds(vectors, classes)
        print(f"a new epoch of 3,000 points: {wall:.2f} s, {processor:.2f} s of a core; ", end="")
        print(f"another thread waited {waited:.3f} s at most", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
