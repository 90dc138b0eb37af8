"""The two views of every utterance as the encoder's never-trained part sees them, computed once and kept.

What is never trained gives the same output in every epoch and for every system. The clean view is passed
through it once; a second view once for its (seed, stream, epoch), which several systems may share.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ipr_core.config import Audio
from ipr_core.data.dataset import Dataset
from ipr_core.data.waves import SAMPLE_RATE
from ipr_core.training.ahead import Ahead
from ipr_core.training.augment import second_view, view_key
from ipr_core.training.minibatches import by_length

Stem = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Padded = tuple[Tensor, Tensor]
"""x (B, F, K) zero-padded, and n (B,) its valid frames."""
Key = tuple[int, ...]
"""An epoch, and the rows of a batch."""

BUDGET = 8 * 2**30  # bytes that kept views may take; beyond it they are computed when they are asked for
PASS = 160 * SAMPLE_RATE
"""Samples, with padding, that a pass without gradients takes at once."""
_TOGETHER = 256  # second views that a GPU makes at once: its phase vocoder goes frame by frame, for all of them alike


class Views:
    """Clean and augmented views of a data set through a model's stem.

    stem: waves (B, T), lengths (B,) → x (B, F, K), n (B,)   stream: (seed, stream) of the second views
    share: keep the second views too, for several systems that see the same ones
    together: make at least so many second views at once of those that are expected; 0: none before they are asked for
    """

    def __init__(
        self,
        stem: Stem,
        data: Dataset,
        audio: Audio,
        stream: tuple[int, int],
        device: torch.device,
        share: bool = False,
        together: int | None = None,
    ):
        self._stem, self._data, self._audio, self._stream, self._device = stem, data, audio, stream, device
        self._share, self._left = share, _budget(device)
        self._together = (_TOGETHER if device.type == "cuda" else 0) if together is None else together
        self._waves, self._blocks = Ahead(self._read), Ahead(self._read, depth=1)
        self._expected: deque[list[Key]] = deque()  # blocks of second views that are to be made yet
        self._made: dict[Key, Padded] = {}  # waves and lengths of those of the last block that are to be asked for yet
        self._clean: dict[int, Tensor] = {}  # row → (F, K)
        self._shared: dict[Key, Padded] = {}  # by epoch and rows: among others, a view's last bits differ
        self.lengths = np.minimum(data.waves.lengths, round(audio.max_seconds * SAMPLE_RATE))
        self._keep_clean()

    def clean(self, rows: Sequence[int]) -> Padded:
        """x^q or x^k of the rows."""
        if not self._clean:
            return self._through(rows)
        parts = [self._clean[row] for row in rows]
        return pad_sequence(parts, batch_first=True), placed([len(part) for part in parts], self._device)

    def augmented(self, rows: Sequence[int], epoch: int) -> Padded:
        """x^aug of the rows in this epoch."""
        key = (epoch, *rows)
        if key in self._shared:
            return self._shared[key]
        x, n = self._stem(*self._second(key))
        if self._share and x.nbytes <= self._left:
            self._shared[key] = x, n
            self._left -= x.nbytes
        return x, n

    def expect(self, asked: Iterable[tuple[Sequence[int], bool]], epoch: int) -> None:
        """Rows, and whether augmented, in the order they will be asked for: a GPU's waves are read while it works."""
        if not self._together:
            return
        asked = [(tuple(rows), augmented) for rows, augmented in asked]
        keys = [(epoch, *rows) for rows, augmented in asked if augmented]
        self._expected = deque(_blocks([key for key in keys if key not in self._shared], self._together))
        self._made = {}
        self._blocks.expect([_rows(block) for block in self._expected])
        self._waves.expect(rows for rows, augmented in asked if not (augmented or self._clean))

    def passes(self) -> list[np.ndarray]:
        """All rows in batches for an evaluation pass; always the same ones, so that results are to the bit."""
        return by_length(self.lengths, PASS)

    def _through(self, rows: Sequence[int]) -> Padded:
        waves, lengths = self._waves.get(tuple(rows))
        return self._stem(waves.to(self._device, non_blocking=True), lengths)

    def _second(self, key: Key) -> Padded:
        """Waves of second views, on the device, and their lengths, on the CPU."""
        if self._expected and key in self._expected[0]:
            self._made = self._augmented(self._expected.popleft())
        return self._made.pop(key) if key in self._made else self._augmented([key])[key]

    def _augmented(self, block: Sequence[Key]) -> dict[Key, Padded]:
        """Second views of several batches, all of one epoch, made at once."""
        rows = _rows(block)
        waves, lengths = self._blocks.get(rows)
        keys = [view_key(*self._stream, block[0][0], id) for id in self._data.table["id"].iloc[list(rows)]]
        views = second_view(waves.to(self._device, non_blocking=True), lengths, keys, self._audio)
        sizes = [len(key) - 1 for key in block]
        parts = zip(block, views.split(sizes), lengths.split(sizes), strict=True)
        return {key: (part[:, : int(n.max())], n) for key, part, n in parts}

    def _read(self, rows: tuple[int, ...]) -> Padded:
        """Waves and lengths, in memory that a GPU copies from without being waited for."""
        read = self._data.waves.batch(rows, self._audio.max_seconds)
        return tuple(x.pin_memory() for x in read) if self._device.type == "cuda" else read

    def _keep_clean(self) -> None:
        """Keep the clean views where all of them fit, judged by the longest ones; else keep none."""
        passes = self.passes()
        x, n = self._through(passes[0])
        per_sample = x[0].numel() * x.element_size() / self.lengths[passes[0]].max()
        if per_sample * self.lengths.sum() > self._left:
            return
        self._keep(passes[0], x, n)
        for rows in passes[1:]:
            self._keep(rows, *self._through(rows))

    def _keep(self, rows: Sequence[int], x: Tensor, n: Tensor) -> None:
        for row, part, frames in zip(rows, x, n.tolist(), strict=True):
            self._clean[row] = part[:frames].clone()
            self._left -= self._clean[row].nbytes


def placed(values: Sequence[int] | NDArray[np.int64], device: torch.device) -> Tensor:
    """Whole numbers on the device, without waiting for what a GPU has in hand."""
    tensor = torch.as_tensor(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor


def _budget(device: torch.device) -> int:
    """Bytes that kept views may take; the larger part of a GPU is left to training."""
    return min(BUDGET, torch.cuda.mem_get_info(device)[0] // 3) if device.type == "cuda" else BUDGET


def _blocks(keys: Sequence[Key], least: int) -> Iterator[list[Key]]:
    """The keys in their order, in blocks of at least so many utterances."""
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
