"""The two views of every utterance, as the encoder's never-trained part sees them, computed once and kept.

That part gives the same output in every epoch and for every system. The clean view is passed through it once; a second
view once for its (seed, stream, epoch), which several systems may share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Generic, TypeVar

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ipr_core.config import Audio
from ipr_core.data.cache import default_cache
from ipr_core.data.dataset import Dataset
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.progress import Progress, say
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.centring import SpeakerMeans
from ipr_core.training.kept_views import KeptViews
from ipr_core.training.minibatches import PASS, Rows, by_length
from ipr_core.training.tensor_store import TensorStore
from ipr_core.training.transfer import on_device

Stem = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Padded = tuple[Tensor, Tensor]
"""x (B, F, K) zero-padded, and n (B,) its valid frames."""
Key = tuple[int, ...]
"""An epoch, and the rows of a minibatch."""
Input = TypeVar("Input", bound=Hashable)
Output = TypeVar("Output")

BUDGET = 8 * 2**30  # bytes of memory that kept views may take; beyond it they lie on disk
_GIB = 2**30
_TITLE = "Features of the encoder's frozen part"
_SHARE = 1 / 3  # of training's memory that they may take
_BLOCK = 256  # second views that a GPU makes at once: its phase vocoder goes frame by frame, for all of them alike


class Views:
    """Clean and augmented views of a data set through a model's stem.

    stem: waves (B, T), lengths (B,) → x (B, F, K), n (B,)   stream: (seed, stream) of the second views
    share: keep the second views too, for several systems that see the same ones
    block: make at least so many expected second views at once; 0: make them when they are asked for
    kept: where whole epochs of second views are kept between runs, of a wholly frozen encoder
    centring: whether each speaker's mean is taken from the pooled vectors (B, 1, P) that the stem returns
    memory_gb: GiB that training may take, of which kept views have a third at most; the others lie on disk
    """

    means: SpeakerMeans | None = None
    """With `centring`: the speakers' means over all clean views."""

    def __init__(
        self,
        stem: Stem,
        data: Dataset,
        audio: Audio,
        stream: tuple[int, int],
        device: torch.device,
        share: bool = False,
        block: int | None = None,
        kept: KeptViews | None = None,
        centring: bool = False,
        memory_gb: float | None = None,
    ):
        self._stem, self._data, self._audio, self._stream, self._device = stem, data, audio, stream, device
        self.memory_gb = memory_gb
        self._room = BUDGET if memory_gb is None else min(BUDGET, round(memory_gb * _SHARE * 2**30))
        self._share, self._kept = share, kept
        self._store: TensorStore[int | Key] = TensorStore(self._room, default_cache() / "features")
        self._recalled: dict[Key, Padded] = {}  # second views of this epoch that were kept
        self._to_keep: dict[Key, Padded] = {}  # those of this epoch so far, to be kept when all are made
        self._awaited: set[Key] = set()  # the others of this epoch
        self._block = (_BLOCK if device.type == "cuda" else 0) if block is None else block
        self._waves, self._block_waves = Ahead(self._read), Ahead(self._read, depth=1)
        self._blocks: deque[list[Key]] = deque()  # of second views, in their order, none of them made yet
        self._block_views: dict[Key, Padded] = {}  # waves and lengths of the last block made, until they are asked for
        self._clean_bytes: int | None = None  # of all clean views, each (F, K) by its row; None: they are not kept
        self._shared: dict[Key, Tensor] = {}  # n by epoch and rows: among others, a view's last bits differ
        self.lengths = np.minimum(data.waves.lengths, round(audio.max_seconds * SAMPLE_RATE))
        self._offsets: Tensor | None = None  # (N, P) by row
        self._keep_clean()
        if centring:
            self._find_offsets()

    def clean(self, rows: Sequence[int] | Rows) -> Padded:
        """Return x^q or x^k of the rows."""
        if self._clean_bytes is None:
            return self._centred(rows, self._through(rows))
        parts = [self._store.get(int(row), self._device) for row in rows]
        n = on_device([len(part) for part in parts], self._device)
        return self._centred(rows, (pad_sequence(parts, batch_first=True), n))

    def augmented(self, rows: Sequence[int] | Rows, epoch: int) -> Padded:
        """Return x^aug of the rows in this epoch."""
        key = (epoch, *_ints(rows))
        if key in self._shared:
            view = self._store.get(key, self._device), self._shared[key]
        else:
            view = self._recalled.get(key) or self._stem(*self._second(key))
            if self._share and self._store.put(key, view[0]):
                self._shared[key] = view[1]
        if key in self._awaited:
            self._awaited.remove(key)
            self._to_keep[key] = view
        return self._centred(rows, view)

    def expect(self, requests: Iterable[tuple[Sequence[int] | Rows, bool]], epoch: int) -> None:
        """Recall an epoch's second views where they are kept, and read a GPU's waves ahead, while it works.

        requests: rows, and whether augmented, in the order in which they will be asked for
        """
        pairs = [(_ints(rows), augmented) for rows, augmented in requests]
        keys = [(epoch, *rows) for rows, augmented in pairs if augmented]
        self._recalled = self._kept.read(keys, self._device) if self._kept else {}
        self._to_keep, self._awaited = {}, set(keys) if self._kept and not self._recalled else set()
        if not self._block:
            return
        keys = [key for key in keys if key not in self._shared and key not in self._recalled]
        self._blocks = deque(_blocks(keys, self._block))
        self._block_views = {}
        self._block_waves.expect([_rows(block) for block in self._blocks])
        self._waves.expect(rows for rows, augmented in pairs if not augmented and self._clean_bytes is None)

    def keep_(self) -> None:
        """Keep the second views of the epoch on disk, if all of them were made; after its steps, as it takes time."""
        if self._kept and self._to_keep and not self._awaited:
            self._kept.write(self._to_keep)
        self._to_keep = {}

    def longest(self) -> Padded:
        """Return the clean view of the longest clip."""
        return self.clean([int(self.lengths.argmax())])

    def most_bytes(self, epochs: int) -> int:
        """Return the bytes of memory that kept views take at most: a clip's clean one, two second ones an epoch."""
        return self._room if self._clean_bytes is None else min(self._room, self._clean_bytes * (1 + 2 * epochs))

    def passes(self) -> list[Rows]:
        """Return all rows in batches for an evaluation; always the same ones, so that results are to the bit."""
        return by_length(self.lengths, PASS)

    def _find_offsets(self) -> None:
        """Find the speakers' means over the clean views of all rows, and each row's offset."""
        speakers = self._data.table["speaker"]
        means = SpeakerMeans()
        for rows in self.passes():
            means.add(speakers.iloc[rows].tolist(), self.clean(rows)[0][:, 0])
        self._offsets = means.offsets(speakers.tolist()).to(self._device)
        self.means = means

    def _centred(self, rows: Sequence[int] | Rows, view: Padded) -> Padded:
        if self._offsets is None:
            return view
        x, n = view
        return x - self._offsets[on_device(_ints(rows), self._device)][:, None], n

    def _through(self, rows: Sequence[int] | Rows) -> Padded:
        waves, lengths = self._waves.get(_ints(rows))
        return self._stem(waves.to(self._device, non_blocking=True), lengths)

    def _second(self, key: Key) -> Padded:
        """Return the waves of second views, on the device, and their lengths, on the CPU."""
        if self._blocks and key in self._blocks[0]:
            self._block_views = self._augmented(self._blocks.popleft())
        return self._block_views.pop(key) if key in self._block_views else self._augmented([key])[key]

    def _augmented(self, block: Sequence[Key]) -> dict[Key, Padded]:
        """Make the second views of several minibatches at once, all of one epoch."""
        rows = _rows(block)
        waves, lengths = self._block_waves.get(rows)
        keys = [view_key(*self._stream, block[0][0], id) for id in self._data.table["id"].iloc[list(rows)]]
        views = second_view(waves.to(self._device, non_blocking=True), lengths, keys, self._audio)
        sizes = [len(key) - 1 for key in block]
        parts = zip(block, views.split(sizes), lengths.split(sizes), strict=True)
        return {key: (part[:, : int(n.max())], n) for key, part, n in parts}

    def _read(self, rows: tuple[int, ...]) -> Padded:
        """Read waves and lengths, into memory that a GPU copies from without being waited for."""
        waves, lengths = self._data.waves.padded(rows, self._audio.max_seconds)
        return (waves.pin_memory(), lengths.pin_memory()) if self._device.type == "cuda" else (waves, lengths)

    def _keep_clean(self) -> None:
        """Keep the clean views where all of them fit, judged by the longest ones; else keep none, and say so."""
        passes, store = self.passes(), self._store
        x, n = self._through(passes[0])
        size = int(x[0].nbytes / self.lengths[passes[0]].max() * self.lengths.sum())
        if size > store.room:
            return say(_no_room(size, store))
        if size > store.memory_left:
            say(f"{_TITLE}: {size / _GIB:.1f} GiB, of which {store.memory_left / _GIB:.1f} in memory, the rest on disk")
        for rows in Progress(passes, _TITLE, "pass"):
            if rows is not passes[0]:
                x, n = self._through(rows)
            parts = zip(rows.tolist(), x, n.tolist(), strict=True)
            if not all(store.put(row, part[:frames].clone()) for row, part, frames in parts):
                store.clear_()
                return say(_no_room(size, store))
        self._clean_bytes = store.size


class Ahead(Generic[Input, Output]):
    """Outputs of `make`, each begun by a thread `depth` inputs early; of an unexpected input, made at once."""

    def __init__(self, make: Callable[[Input], Output], depth: int = 2):
        self._make, self._depth = make, depth
        self._thread = ThreadPoolExecutor(1, "ahead")
        self._inputs: Iterator[Input] = iter(())
        self._futures: deque[tuple[Input, Future[Output]]] = deque()

    def expect(self, inputs: Iterable[Input]) -> None:
        """Expect these inputs next, in this order, in place of the ones expected so far."""
        for _, future in self._futures:
            future.cancel()
        self._futures.clear()
        self._inputs = iter(inputs)
        self._fill()

    def get(self, key: Input) -> Output:
        """Return the output of an input; raises what `make` raised."""
        if not self._futures or self._futures[0][0] != key:
            return self._make(key)
        _, future = self._futures.popleft()
        self._fill()
        return future.result()

    def _fill(self) -> None:
        while len(self._futures) < self._depth and (key := next(self._inputs, None)) is not None:
            self._futures.append((key, self._thread.submit(self._make, key)))


def _no_room(size: int, store: TensorStore) -> str:
    return (
        f"{_TITLE}: they take about {size / _GIB:.1f} GiB, and there is room for {store.room / _GIB:.1f} in memory and"
        f" {store.folder}, so they are made anew in each step; make room there, or set IPR_CACHE to a larger disk"
    )


def _blocks(keys: Sequence[Key], least: int) -> Iterator[list[Key]]:
    """Cut keys, in their order, into blocks of at least so many utterances."""
    block: list[Key] = []
    for key in keys:
        block.append(key)
        if len(_rows(block)) >= least:
            yield block
            block = []
    if block:
        yield block


def _rows(block: Iterable[Key]) -> tuple[int, ...]:
    return tuple(row for _, *rows in block for row in rows)


def _ints(rows: Sequence[int] | Rows) -> tuple[int, ...]:
    return tuple(int(row) for row in rows)
