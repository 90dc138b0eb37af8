"""The two views of every utterance as the encoder's never-trained part sees them, computed once and kept.

What is never trained gives the same output in every epoch and for every system. The clean view is passed
through it once; a second view once for its (seed, stream, epoch), which several systems may share.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ipr_core.ahead import Ahead
from ipr_core.augment import second_view, view_key
from ipr_core.batches import by_length
from ipr_core.config import Audio
from ipr_core.dataset import Dataset

Stem = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]
Padded = tuple[Tensor, Tensor]
"""x (B, F, K) zero-padded, and n (B,) its valid frames."""

BUDGET = 8 * 2**30  # bytes that kept views may take; beyond it they are computed when they are asked for
_PASS = 32  # utterances a pass over the whole corpus takes at once


class Views:
    """Clean and augmented views of a data set through a model's stem.

    stem: waves (B, T), lengths (B,) → x (B, F, K), n (B,)   stream: (seed, stream) of the second views
    share: keep the second views too, for several systems that see the same ones
    """

    def __init__(
        self,
        stem: Stem,
        data: Dataset,
        audio: Audio,
        stream: tuple[int, int],
        device: torch.device,
        share: bool = False,
    ):
        self._stem, self._data, self._audio, self._stream, self._device = stem, data, audio, stream, device
        self._share, self._left = share, BUDGET
        self._waves = Ahead(self._read)
        self._clean: dict[int, Tensor] = {}  # row → (F, K)
        self._shared: dict[tuple[int, ...], Padded] = {}  # by epoch and rows: among others, a view's last bits differ
        self.lengths = np.minimum(data.waves.lengths, round(audio.max_seconds * 16_000))
        self._keep_clean()

    def clean(self, rows: Sequence[int]) -> Padded:
        """x^q or x^k of the rows."""
        if not self._clean:
            return self._through(rows)
        parts = [self._clean[row] for row in rows]
        return pad_sequence(parts, batch_first=True), torch.tensor([len(p) for p in parts], device=self._device)

    def augmented(self, rows: Sequence[int], epoch: int) -> Padded:
        """x^aug of the rows in this epoch."""
        key = (epoch, *rows)
        if key in self._shared:
            return self._shared[key]
        x, n = self._through(rows, epoch)
        if self._share and x.nbytes <= self._left:
            self._shared[key] = x, n
            self._left -= x.nbytes
        return x, n

    def expect(self, asked: Iterable[tuple[Sequence[int], bool]]) -> None:
        """Rows, and whether augmented, in the order they will be asked for: a GPU's waves are read while it works."""
        if self._device.type == "cuda":
            self._waves.expect(tuple(rows) for rows, augmented in asked if augmented or not self._clean)

    def passes(self, batch_size: int = _PASS) -> list[np.ndarray]:
        """All rows in batches for an evaluation pass; always the same ones, so that results are to the bit."""
        return by_length(self.lengths, batch_size)

    def _through(self, rows: Sequence[int], epoch: int = -1) -> Padded:
        waves, lengths = (x.to(self._device, non_blocking=True) for x in self._waves.get(tuple(rows)))
        if epoch >= 0:
            ids = self._data.table["id"].iloc[list(rows)]
            waves = second_view(waves, lengths, [view_key(*self._stream, epoch, id) for id in ids], self._audio)
        return self._stem(waves, lengths)

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
