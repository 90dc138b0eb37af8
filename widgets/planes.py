"""A run's planes, kept in its folder as `widgets/planes.safetensors`: a replay shows them without computing."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np
import traitlets as t
from safetensors import safe_open
from safetensors.numpy import save_file

from ipr_core.atomic import write
from ipr_core.runs.events import EpochEnd, to_json
from ipr_core.runs.files import FileError, arrays_digest, reading
from ipr_core.runs.run import Run
from ipr_widgets import layout
from ipr_widgets.layout import Layout, Plane


def growing(run: Run, events: Sequence[EpochEnd], seed: int = 0) -> Iterator[list[Plane]]:
    """Yield the planes so far: the stored ones, then again after each new one.

    events: the run's record, arrays are not needed   New planes are stored. A sample that is too small has no planes.
    """
    prints = [fingerprint(event) for event in events]
    planes = _read(run, prints, seed)
    yield planes
    sequence = None
    for epoch in range(len(planes), len(events)):
        arrays = run.arrays(epoch)
        if not layout.large_enough(len(arrays["map"])):
            return
        if sequence is None:
            sequence = _layout_after(run, planes, seed)
        planes = [*planes, sequence.next_plane(arrays["map"], arrays["prototypes"])]
        with contextlib.suppress(OSError):  # in a read-only folder the next reader computes them again
            _keep(run, planes, prints[: epoch + 1], seed)
        yield planes


def of_epochs(run: Run, epochs: Sequence[int]) -> list[Plane]:
    """Return the planes of these epochs as the board shows them, none if the sample is too small.

    Every plane starts from the one before it, so all earlier ones are computed and kept too, if they are not there.
    """
    *_, planes = growing(run, run.history()[: max(epochs) + 1])
    if not planes:
        return []
    shows = run.system.shows_prototypes
    return [planes[epoch] if shows else planes[epoch].bare() for epoch in epochs]


def fingerprint(event: EpochEnd) -> str:
    """Return a hash of an epoch's record without its clock."""
    values = {key: value for key, value in to_json(event).items() if key != "clock"}
    return hashlib.blake2b(json.dumps(values).encode(), digest_size=8).hexdigest()


def _layout_after(run: Run, planes: Sequence[Plane], seed: int) -> Layout:
    """Return a layout whose next plane follows these."""
    sequence = Layout(seed)
    if planes:
        arrays = run.arrays(len(planes) - 1)
        sequence.resume_(planes[-1], arrays["map"], arrays["prototypes"])
    return sequence


def _path(run: Run) -> Path:
    """Return the file of the planes. raises RunError if its folder is a link to another place"""
    return run.subfolder("widgets") / "planes.safetensors"


def _keep(run: Run, planes: Sequence[Plane], prints: Sequence[str], seed: int) -> None:
    arrays = {"points": np.stack([p.points for p in planes]), "prototypes": np.stack([p.prototypes for p in planes])}
    header = {
        "version": layout.VERSION, "seed": str(seed), "epochs": " ".join(prints), "arrays": arrays_digest(arrays)
    }  # fmt: skip
    write(_path(run), lambda path: save_file(arrays, path, header))


def _read(run: Run, prints: Sequence[str], seed: int) -> list[Plane]:
    """Read the stored planes of these epochs and this version of the layout; what is damaged is computed again."""
    path = _path(run)
    with contextlib.suppress(FileError), reading(path):
        with safe_open(path, "numpy") as file:
            header = file.metadata()
            arrays = {name: file.get_tensor(name) for name in ("points", "prototypes")}
        if (header["version"], header["seed"]) != (layout.VERSION, str(seed)):
            return []
        digest = arrays_digest(arrays)
        if header.get("arrays", digest) != digest:
            return []
        equal = [old == new for old, new in zip(header["epochs"].split(), prints, strict=False)]
        count = equal.index(False) if False in equal else len(equal)
        pairs = zip(arrays["points"][:count], arrays["prototypes"][:count], strict=True)
        return [Plane(*pair) for pair in pairs]
    return []


class Planes(t.HasTraits):
    """A run's planes, computed in a thread of their own while training goes on.

    Every epoch is laid out, in order, since each plane starts from the one before it and a slider shows them all.
    Where training is faster, the planes fall behind, and the epoch in view has none yet.
    """

    latest = t.Tuple((None, ()), help="a run, and its planes, one an epoch from epoch 0 on; replaced, never changed")
    working = t.Bool(False, help="whether another plane is being computed")

    def __init__(self, guard: Callable[[], AbstractContextManager], seed: int = 0):
        """guard: a context that reports an error and does not let it through, such as `RunState.guard`"""
        super().__init__()
        self._guard, self._seed = guard, seed
        self._lock = threading.Lock()
        self._request: tuple[Run, Sequence[EpochEnd]] | None = None
        self._thread: threading.Thread | None = None

    def follow(self, run: Run, events: Sequence[EpochEnd]) -> None:
        """Compute the planes of these epochs in the background; returns at once."""
        with self._lock:
            self._request = run, events
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, name="layout", daemon=True)
                self._thread.start()

    def make_ready(self) -> None:
        """Load and compile the layout in the background, which would otherwise begin when the first epoch has ended."""
        with self._lock:
            if self._thread is None:
                self._thread = threading.Thread(target=self._work, args=(True,), name="layout", daemon=True)
                self._thread.start()

    def of_run(self, run: Run) -> Sequence[Plane]:
        """Return the planes of this run so far."""
        latest_run, planes = self.latest
        return planes if latest_run is not None and latest_run.folder == run.folder else ()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until every requested plane is computed, or this much time has passed."""
        thread = self._thread
        if thread is not None:
            thread.join(seconds)

    def _work(self, compile_first: bool = False) -> None:
        if compile_first:
            with self._guard():
                layout.make_ready()
        while True:
            with self._lock:
                if self._request is None:
                    self._thread = None
                    break
                (run, events), self._request = self._request, None
            with self._guard():
                self._lay_out(run, events)

    def _lay_out(self, run: Run, events: Sequence[EpochEnd]) -> None:
        try:
            for planes in growing(run, events, self._seed):
                with self.hold_trait_notifications():
                    self.latest, self.working = (run, planes), len(planes) < len(events)
                if self._request is not None:
                    return  # newer epochs, or another run: the planes so far are in the run folder
        finally:
            self.working = False
