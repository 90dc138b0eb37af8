"""Waveforms: 16 kHz mono 16-bit samples, decoded once and memory-mapped."""

from __future__ import annotations

import functools
import logging
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas import DataFrame
from torch import Tensor

from ipr_core.config import SAMPLE_RATE
from ipr_core.data import sources
from ipr_core.data.corpora.table import complete, numbers
from ipr_core.data.faults import CorpusError, Fault, enumeration
from ipr_core.data.source import NOTHING, Source
from ipr_core.data.unusable import Unusable

MIN_SECONDS = 0.1
"""A shorter clip is a fault: speech encoders fail on it, and nobody hears an emotion in it."""

_log = logging.getLogger(__name__)
_ROUNDING = 0.01  # seconds that an end may lie beyond the file, since annotations are rounded


class Clips(Protocol):
    """N clips, each (T,) int16 samples at 16 kHz, read when it is asked for: a list of arrays, or a `WaveStore`."""

    def __len__(self) -> int: ...

    def __getitem__(self, i: int, /) -> NDArray[np.int16]: ...


class WaveStore:
    """The waveforms of an utterance table, in its order.

    Made by `build`. Each waveform is a part of a memory-mapped file, one for each audio file. The store keeps only
    begin and end of each utterance's part, so that a million parts of a few recordings cost a few files. An audio
    file that is 16 kHz mono 16-bit WAV is mapped itself. Any other is decoded whole, once, into a file of the cache
    that is named by the digest of its bytes and the decoder's version: a changed audio file is decoded again, an
    unchanged one never.
    """

    def __init__(self, sources: Sequence[Source], index: np.ndarray, start: np.ndarray, end: np.ndarray):
        """index: (N,) each utterance's source, by number   start, end: (N,) seconds, NaN for the file's own"""
        self._sources, self._index, self._start, self._end = sources, index, start, end
        self._first, last = _bounds(start, end, np.array([source.samples for source in sources], np.int64)[index])
        self.lengths = last - self._first  # (N,) samples

    @classmethod
    def build(cls, table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True) -> WaveStore:
        """Decode, in threads, the files that the cache does not hold yet.

        A progress bar appears after two seconds.
        table: utterances (path, start, end, a channel or none, and id, source, row for messages)
        raises CorpusError with every file that is missing, empty, truncated, not decodable, too short (MIN_SECONDS),
        holds NaN or infinite samples, or ends before the utterance's part does
        """
        store, faults = cls.survey(table, cache, workers, progress)
        if faults:
            raise CorpusError(faults)
        return store

    @classmethod
    def survey(
        cls, table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True
    ) -> tuple[WaveStore, list[Fault]]:
        """Build the store, and find every utterance whose audio cannot be used.

        table: may be unchecked, as a reader made it; a start or end that is no number is ignored
        returns: the store, usable for utterances without fault, and the faults with row and cure
        """
        table = complete(table)
        start, end = (numbers(table[name]).replace([np.inf, -np.inf], np.nan).to_numpy() for name in ("start", "end"))
        channels = numbers(table["channel"]) if "channel" in table else pd.Series(0.0, table.index)
        channels = channels.replace([np.inf, -np.inf], np.nan).fillna(0).clip(0, 2**31).astype(int)
        index, pairs = pd.factorize(pd.MultiIndex.from_arrays([table["path"], channels]))
        files = sources.sources(list(pairs), Path(cache), workers, progress)
        store = cls([NOTHING if isinstance(file, Unusable) else file for file in files], index, start, end)
        _log_notes(store._sources)
        return store, _faults(table, store, files)

    def take(self, rows: np.ndarray) -> WaveStore:
        """Return the store of some utterances, in the order of `rows`."""
        return type(self)(self._sources, self._index[rows], self._start[rows], self._end[rows])

    @functools.cached_property
    def keys(self) -> list[str]:
        """(N,) names by content: of the file's bytes, the channel, and the part's start and end.

        They are the same wherever the file lies.
        """
        files = [(source.digest, source.channel) for source in self._sources]
        parts = zip(self._index.tolist(), self._start.tolist(), self._end.tolist(), strict=True)
        return [sources.key(files[i][0], start, end, files[i][1]) for i, start, end in parts]

    @property
    def sounds(self) -> np.ndarray:
        """(N,) numbers from 0 on, the same for utterances with the same samples.

        Whatever the files are called, and whether they are wav or flac; but a clip that was cut from a recording is
        not compared with that part of it.
        """
        sound = pd.factorize(np.array([source.sound for source in self._sources], object))[0][self._index]
        parts = DataFrame({"sound": sound, "first": self._first, "length": self.lengths})
        return parts.groupby(list(parts), sort=False).ngroup().to_numpy()

    @property
    def seconds(self) -> np.ndarray:
        """(N,) durations."""
        return self.lengths / SAMPLE_RATE

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> np.ndarray:
        """Map (T,) int16 samples at 16 kHz from disk.

        raises CorpusError if the audio file, or its decoded copy in the cache, has changed since it was read
        """
        source = self._sources[self._index[i]]
        if not source.unchanged():
            problem, cure = "has changed since it was read", "leave audio files as they are, and begin again"
            raise CorpusError([Fault(source.mapped, None, problem, cure)])
        begin = source.offset + 2 * int(self._first[i])  # the part alone: a recording of hours is not mapped whole
        return np.memmap(source.mapped, np.dtype("<i2"), "r", begin, (int(self.lengths[i]),))

    def padded(self, rows: Sequence[int], max_seconds: float) -> tuple[Tensor, Tensor]:
        """Return some utterances side by side; see `padded`."""
        return padded([self[i] for i in rows], max_seconds)


def padded(clips: Sequence[NDArray[np.int16]], max_seconds: float) -> tuple[Tensor, Tensor]:
    """Return (T,) samples side by side, zero-padded; of a clip longer than max_seconds, its middle.

    returns: waves (B, T) float32 in [-1, 1), lengths (B,) int64 samples
    """
    middles = [middle(clip, max_seconds) for clip in clips]
    lengths = torch.tensor([len(clip) for clip in middles], dtype=torch.int64)
    waves = torch.zeros(len(middles), max(map(len, middles), default=0))
    for wave, clip in zip(waves, middles, strict=True):
        wave[: len(clip)] = torch.from_numpy(clip.astype(np.float32))
    return waves.div_(32768), lengths


def middle(clip: NDArray[np.int16], max_seconds: float) -> NDArray[np.int16]:
    """Return the middle of (T,) samples at 16 kHz, at most max_seconds of it."""
    longest = round(max_seconds * SAMPLE_RATE)
    start = max(0, len(clip) - longest) // 2
    return clip[start : start + longest]


def _bounds(start: np.ndarray, end: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) the first sample of each part, and (N,) the one after its last.

    start, end: (N,) seconds   samples: (N,) of the whole file
    """
    first = np.where(np.isnan(start), 0, np.rint(start * SAMPLE_RATE)).clip(0, samples)
    last = np.where(np.isnan(end), samples, np.rint(end * SAMPLE_RATE)).clip(first, samples)
    return first.astype(np.int64), last.astype(np.int64)


def _faults(table: DataFrame, store: WaveStore, files: Sequence[Source | Unusable]) -> list[Fault]:
    """Return a fault for each utterance whose file, or whose part of it, cannot be used."""
    whole = np.array([source.samples for source in store._sources], np.int64)[store._index]
    too_late = store._end * SAMPLE_RATE > whole + _ROUNDING * SAMPLE_RATE
    too_short = store.lengths < MIN_SECONDS * SAMPLE_RATE  # of a file with a fault too: it has no length
    wrong = np.flatnonzero(too_late | too_short | _silent_parts(store))
    faults = []
    for i, row in zip(wrong.tolist(), table.iloc[wrong].itertuples(), strict=True):
        file = files[store._index[i]]
        if isinstance(file, Source):
            file = _unusable_part(store, i, int(whole[i]), bool(too_late[i]), bool(too_short[i]))
        problem = f"utterance {row.id!r} needs the file {row.path}, which {file.problem}"
        faults.append(Fault(row.source, int(row.row) or None, problem, file.cure, _cause(file)))
    return faults


def _cause(file: Unusable) -> str:
    """Return what files with the same problem have in common: its words up to the details."""
    gist = re.split(r": | \(", file.problem)[0]
    return "" if any(letter.isdigit() for letter in gist) else f"a file that {gist}"


def _silent_parts(store: WaveStore) -> np.ndarray:
    """Return (N,) whether an utterance is a silent part of a file that has sound elsewhere."""
    silent = np.zeros(len(store), bool)
    order = np.argsort(store._index, kind="stable")
    for rows in np.split(order, np.flatnonzero(np.diff(store._index[order])) + 1) if len(store) else []:
        source, first = store._sources[store._index[rows[0]]], store._first[rows]
        if source.frames:
            silent[rows] = source.silent_parts(first, first + store.lengths[rows])
    return silent


def _log_notes(files: Sequence[Source]) -> None:
    """Log what is odd about files that are read, a sentence for all with the same oddity."""
    notes: dict[str, list[str]] = {}
    for file in files:
        if file.note:
            notes.setdefault(file.note, []).append(file.path)
    for note, paths in notes.items():
        _log.warning("the header of %s gives %s", enumeration(paths, 3), note)


def _unusable_part(store: WaveStore, i: int, whole: int, too_late: bool, too_short: bool) -> Unusable:
    """Word the fault of a part of a usable file.

    whole: samples of the file   too_late: whether the part ends after the file does
    """
    if too_late:
        problem = f"lasts {whole / SAMPLE_RATE:.3f} s, and the part asked of it ends at {store._end[i]:.3f} s"
        return Unusable(problem, "correct the end, or the path")
    if not too_short:
        return Unusable("is silent in this part: it has less than 0.05 s of sound", "correct its start and end")
    problem = f"lasts {store.seconds[i]:.3g} s; the shortest allowed is {MIN_SECONDS} s"
    return Unusable(problem if store.lengths[i] else "has no samples", "give a longer clip, or take the utterance out")
