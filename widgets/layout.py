"""Utterances and prototypes on one plane, epoch after epoch.  M utterances of the sample, C classes, D embedding.

The planes are kept in the run folder, `widgets/planes.safetensors`: a replay shows them without computing.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import NamedTuple

import numpy as np
import traitlets as t
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from ipr_core.atomic import write
from ipr_core.runs.events import EpochEnd, to_json
from ipr_core.runs.run import Run

Points = NDArray[np.float32]

FEWEST = 16
"""Utterances that make a plane."""
NEIGHBOURS = 20
"""Neighbours whose closeness the plane keeps, the point itself counted."""
_VERSION = "1"
"""Of the algorithm: planes of another one are made anew."""
_ROUNDS, _ALL_TURNS = 600, 900_000
"""Rounds of the descent; fewer for many points, so that points times rounds are no more than this."""
_FIRST, _NEXT = 1.0, 0.1
"""The descent's rate: from nothing, as UMAP's own, and from a plane that is nearly right already."""
_HOLD, _HOLD_POWER = 1.5, 2
"""How strongly a point is held in its place: 1.5 s², s the share of neighbours it kept (Jaccard)."""
_MOVED_AWAY = 0.1
"""A point that kept less than this share of its neighbours starts among its new ones."""


class Plane(NamedTuple):
    """One epoch's plane."""

    points: Points
    """(M, 2)"""
    prototypes: Points
    """(C, 2), none of a system that has no prototypes"""

    def bare(self) -> Plane:
        """The plane without prototypes, which are laid out for every system."""
        return Plane(self.points, self.prototypes[:0])


class Layout:
    """Lays one epoch after the other onto a plane, so that what keeps its neighbours keeps its place.

    Each epoch has UMAP's own graph (cosine, as utterances meet prototypes; exact neighbours). The first plane is
    UMAP's. Every later one descends from the plane before it, where a point is held the more strongly the more of
    its neighbours are the same; one that has hardly any of them left starts in the midst of its new ones. Nothing is
    turned or scaled afterwards: held points keep the frame.

    Why not something simpler: starting from the plane before without holding moved points more than AlignedUMAP
    (0.044 of the diameter an epoch against 0.030), blending planes afterwards by what a point kept cost 0.01 of
    trustworthiness. Means over 20 epochs with the frozen stand-in encoder, as tests/benchmarks/umap_layout.py measures:

                                 trustworthiness   displaced   the stillest quarter
    RAVDESS (676)   this               0.981          0.029         0.016
                    fresh UMAP         0.983          0.295         0.305
                    AlignedUMAP        0.981          0.030         0.018
    EmoDB (343)     this, 3 seeds      0.976          0.022         0.014
                    fresh UMAP         0.975          0.219         0.225
                    AlignedUMAP        0.976          0.029         0.021

    The constants above were chosen on these two runs, where trustworthiness is a tie with AlignedUMAP. On an EmoDB run
    of another training seed it was a little behind, 0.968 against 0.969 (fresh UMAP 0.968), and moved less: 0.025
    against 0.032, the stillest quarter 0.015 against 0.021. A new epoch of 3,000 points takes 1.2 s.

    seed: the same one gives the same planes
    """

    def __init__(self, seed: int = 0):
        self.seed = seed
        self._before: Points | None = None
        self._near: NDArray[np.int32] | None = None

    def place(self, embeddings: NDArray[np.floating], prototypes: NDArray[np.floating]) -> Plane:
        """The next epoch's plane.

        embeddings: (M, D), at least FEWEST, the same utterances each time   prototypes: (C, D)
        """
        vectors = np.concatenate([embeddings, prototypes]).astype(np.float32)
        near, distances = neighbours(vectors)
        graph = _graph(vectors, near, distances, self.seed)
        if self._before is None:
            start = _spectral(vectors, graph, self.seed)
            points = _descend(graph, start, start, np.zeros(len(start)), self.seed, _FIRST)
        else:
            kept = _kept(near, self._near)
            start = np.where(kept[:, None] < _MOVED_AWAY, _among(near, self._before), self._before)
            points = _descend(graph, start, self._before, _HOLD * kept**_HOLD_POWER, self.seed, _NEXT)
        self._before, self._near = points, near
        return Plane(points[: len(embeddings)], points[len(embeddings) :])

    def resume_(self, plane: Plane, embeddings: NDArray[np.floating], prototypes: NDArray[np.floating]) -> None:
        """Go on after a plane that was made from these before."""
        self._before = np.concatenate(plane).astype(np.float32)
        self._near, _ = neighbours(np.concatenate([embeddings, prototypes]).astype(np.float32))


def planes(events: Sequence[EpochEnd], seed: int = 0) -> list[Plane]:
    """The planes of several epochs, none if the sample is too small.  events: of one run, with arrays"""
    if not events or not large_enough(len(events[0].arrays["map"])):
        return []
    layout = Layout(seed)
    made = [layout.place(event.arrays["map"], event.arrays["prototypes"]) for event in events]
    return [plane if event.cosines is not None else plane.bare() for plane, event in zip(made, events, strict=True)]


def large_enough(size: int) -> bool:
    """Whether this many utterances make a plane."""
    return size >= FEWEST


def neighbours(vectors: Points) -> tuple[NDArray[np.int32], Points]:
    """The nearest vectors of each by cosine distance, itself first, and their distances.  vectors: (N, D)

    returns: twice (N, NEIGHBOURS), or (N, N) where there are fewer
    """
    unit = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)
    found = [_nearest(unit, rows) for rows in np.array_split(np.arange(len(unit)), len(unit) // 1000 + 1)]
    near, distances = (np.concatenate(part) for part in zip(*found, strict=True))
    return near.astype(np.int32), distances.clip(0)


def _nearest(unit: Points, rows: NDArray[np.int64]) -> tuple[NDArray, Points]:
    distances = 1 - unit[rows] @ unit.T
    distances[np.arange(len(rows)), rows] = -1  # itself first, also where others lie in the same place
    count = min(NEIGHBOURS, len(unit))
    near = np.argpartition(distances, count - 1, axis=1)[:, :count]
    order = np.take_along_axis(distances, near, axis=1).argsort(axis=1, kind="stable")
    near = np.take_along_axis(near, order, axis=1)
    return near, np.take_along_axis(distances, near, axis=1)


def _kept(near: NDArray[np.int32], before: NDArray[np.int32]) -> NDArray[np.floating]:
    """(N,) neighbours that are the same as before, over all that are so now or were before: 0 to 1."""
    both = (near[:, 1:, None] == before[:, None, 1:]).sum(axis=(1, 2))
    return both / (2 * (near.shape[1] - 1) - both)


def _among(near: NDArray[np.int32], points: Points) -> Points:
    """(N, 2) the middle of each point's neighbours, where most of them are; a little off it, lest points coincide."""
    apart = 1e-3 * np.random.default_rng(0).normal(size=points.shape)
    return (np.median(points[near[:, 1:]], axis=1) + apart).astype(np.float32)


_importing = threading.Lock()


def _umap():
    """UMAP's two modules that are used here, imported late, because it takes seconds."""
    # One thread at a time, and by `from`, which finds them also where another's import of umap was broken off.
    with _importing:
        from umap import spectral, umap_
    return spectral, umap_


def _graph(vectors: Points, near: NDArray[np.int32], distances: Points, seed: int):
    """UMAP's weighted graph of the neighbours.  returns: a sparse (N, N) matrix, the largest weight about 1"""
    random, (_, umap_) = np.random.RandomState(seed), _umap()  # what umap takes
    graph, _, _ = umap_.fuzzy_simplicial_set(
        vectors, near.shape[1], random, "cosine", knn_indices=near, knn_dists=distances
    )
    return graph


def _spectral(vectors: Points, graph, seed: int) -> Points:
    random, (spectral, _) = np.random.RandomState(seed), _umap()  # what umap takes
    with warnings.catch_warnings():
        # Where the graph falls into parts, or has no spectrum, umap finds another start.
        warnings.simplefilter("ignore")
        start = spectral.spectral_layout(vectors, graph, 2, random, metric="cosine")
    return 10 * start / np.abs(start).max()


def _descend(graph, start: Points, before: Points, hold: NDArray[np.floating], seed: int, rate: float) -> Points:
    from ipr_widgets.descent import descend  # compiled on import

    _, umap_ = _umap()
    a, b = umap_.find_ab_params(spread=1.0, min_dist=0.1)
    edges, rounds = graph.tocoo(), min(_ROUNDS, _ALL_TURNS // len(start))
    heavy = edges.data >= edges.data.max() / rounds  # a lighter edge's turn never comes
    every = edges.data.max() / edges.data[heavy]
    start, before = (np.ascontiguousarray(points, np.float32) for points in (start, before))
    head, tail = (side[heavy].astype(np.int32) for side in (edges.row, edges.col))
    return descend(
        start, before, hold.astype(np.float32), head, tail, every.astype(np.float32), rounds, rate, a, b,
        int(np.random.SeedSequence(seed).generate_state(1, np.uint64)[0]) | 1,
    )  # fmt: skip


# A run's planes


def growing(run: Run, events: Sequence[EpochEnd], seed: int = 0) -> Iterator[list[Plane]]:
    """The planes so far: first those that are kept, then with each that is made, which is kept too.

    events: the run's record; arrays are not needed   None are made of a sample that is too small.
    """
    prints = [fingerprint(event) for event in events]
    made = _read(run, prints, seed)
    yield made
    layout = None
    for epoch in range(len(made), len(events)):
        arrays = run.arrays(epoch)
        if not large_enough(len(arrays["map"])):
            return
        if layout is None:
            layout = _layout_after(run, made, seed)
        made = [*made, layout.place(arrays["map"], arrays["prototypes"])]
        with contextlib.suppress(OSError):  # a folder that may not be written: the next reader makes them again
            _keep(run, made, prints[: epoch + 1], seed)
        yield made


def fingerprint(event: EpochEnd) -> str:
    """Hex digits of an epoch's record without its clock: an epoch that was trained otherwise has others."""
    values = {key: value for key, value in to_json(event).items() if key != "clock"}
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()


def _layout_after(run: Run, made: Sequence[Plane], seed: int) -> Layout:
    layout = Layout(seed)
    if made:
        arrays = run.arrays(len(made) - 1)
        layout.resume_(made[-1], arrays["map"], arrays["prototypes"])
    return layout


def _place(run: Run) -> Path:
    """In a folder of its own: training clears away half-written files in the others."""
    return run.folder / "widgets" / "planes.safetensors"


def _keep(run: Run, made: Sequence[Plane], prints: Sequence[str], seed: int) -> None:
    arrays = {"points": np.stack([p.points for p in made]), "prototypes": np.stack([p.prototypes for p in made])}
    about = {"version": _VERSION, "seed": str(seed), "epochs": " ".join(prints)}
    write(_place(run), lambda path: save_file(arrays, path, about))


def _read(run: Run, prints: Sequence[str], seed: int) -> list[Plane]:
    """Kept planes, as far as they are of these epochs and of this algorithm."""
    try:
        with safe_open(_place(run), "numpy") as file:
            about = file.metadata()
            points, prototypes = file.get_tensor("points"), file.get_tensor("prototypes")
    except (OSError, SafetensorError):
        return []
    if (about["version"], about["seed"]) != (_VERSION, str(seed)):
        return []
    same = [old == new for old, new in zip(about["epochs"].split(), prints, strict=False)]
    count = same.index(False) if False in same else len(same)
    return [Plane(*pair) for pair in zip(points[:count], prototypes[:count], strict=True)]


class Planes(t.HasTraits):
    """A run's planes, made in a thread of their own while training goes on.

    Every epoch is laid out, in order, since each plane starts from the one before and a slider shows them all; where
    training is faster, the planes fall behind, and the epoch that is looked at has none yet.
    """

    made = t.Tuple((None, ()), help="a run, and its planes: one an epoch, from epoch 0 on; replaced, never changed")
    working = t.Bool(False, help="whether another one is being made")

    def __init__(self, guard: Callable[[], AbstractContextManager], seed: int = 0):
        """guard: what a failure is reported by, `RunState.guard` for example; it must not let it through"""
        super().__init__()
        self._guard, self._seed = guard, seed
        self._lock = threading.Lock()
        self._wanted: tuple[Run, Sequence[EpochEnd]] | None = None
        self._thread: threading.Thread | None = None

    def follow(self, run: Run, events: Sequence[EpochEnd]) -> None:
        """These are the epochs now; returns at once."""
        with self._lock:
            self._wanted = run, events
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="layout", daemon=True)
                self._thread.start()

    def of(self, run: Run) -> Sequence[Plane]:
        """The planes of this run so far."""
        laid_out, made = self.made
        return made if laid_out is not None and laid_out.folder == run.folder else ()

    def wait(self, seconds: float | None = None) -> None:
        """Until every plane that was asked for is made, or this much time has passed."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self) -> None:
        while True:
            with self._lock:
                if self._wanted is None:
                    self._thread = None
                    break
                (run, events), self._wanted = self._wanted, None
            with self._guard():
                self._lay_out(run, events)

    def _lay_out(self, run: Run, events: Sequence[EpochEnd]) -> None:
        try:
            for made in growing(run, events, self._seed):
                with self.hold_trait_notifications():
                    self.made, self.working = (run, made), len(made) < len(events)
                if self._wanted is not None:
                    return  # newer epochs, or another run: what is made is kept in the run folder
        finally:
            self.working = False
