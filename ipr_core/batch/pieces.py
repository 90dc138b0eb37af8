"""The pieces of a corpus, labelled by the workers of a batch instead of one process."""

from __future__ import annotations

import hashlib
import platform
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager
from functools import cache
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING

from ipr_core.batch.cells import gpu
from ipr_core.labelling import Order, Piece, Work, label
from ipr_core.runs import provenance
from ipr_core.runs.run import RunError

if TYPE_CHECKING:
    from distributed import Future

    from ipr_core.batch.workers import Workers

_AHEAD = 64
"""Pieces at the workers at a time, whose tables are in memory."""
_TICK = 0.5  # seconds between two looks at the workers


def by_workers(workers: Callable[[int], AbstractContextManager[Workers]]) -> Work:
    """Return the work of as many workers as pieces need.

    A piece whose worker dies moves to another one. Workers see the run's folder, that of the labels, the audio and the
    cache at the same paths; audio that is not in a worker's cache is decoded again.

    workers: how many pieces there are → the workers
    """

    def work(order: Order, pieces: Iterable[Piece], count: int) -> Iterator[None]:
        rest = iter(pieces)
        with workers(count) as team:
            futures: list[Future] = []
            while True:
                for piece in islice(rest, _AHEAD - len(futures)):
                    futures.append(team.client.submit(_label, order, piece, team.gpus, _code(), pure=False))
                if not futures:
                    return
                ready = _ready(futures)
                team.check()
                for future in ready:
                    _raise_failure(future)
                    futures.remove(future)
                    yield

    return work


def _ready(futures: list[Future]) -> list[Future]:
    """Wait a little for some that are done."""
    from distributed import TimeoutError, wait

    try:
        wait(futures, timeout=_TICK, return_when="FIRST_COMPLETED")
    except TimeoutError:
        return []
    return [future for future in futures if future.done()]


def _label(order: Order, piece: Piece, gpus: tuple[str, ...], code: str) -> None:
    if _code() != code:
        raise RunError(f"{platform.node()} has another version of the code, or of its packages, than this process")
    with gpu(gpus):
        label(order, piece)


@cache
def _code() -> str:
    """Return a digest of all modules here, and of the packages that they compute with."""
    digest = hashlib.blake2b(repr(provenance.versions()).encode(), digest_size=8)
    for file in sorted(Path(__file__).parents[1].rglob("*.py")):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _raise_failure(future: Future) -> None:
    """Raise what has gone wrong with a piece. raises RunError where its workers died"""
    from distributed import KilledWorker

    cure = "the same command goes on; with fewer --jobs there is more memory for each"
    if future.cancelled():
        raise RunError(f"the scheduler gave a piece up; {cure}")
    error = future.exception()
    if isinstance(error, KilledWorker):
        raise RunError(f"workers died again and again at one piece; {cure}")
    if error is not None:
        raise error
