"""Waveforms: 16 kHz mono 16-bit samples, decoded once and memory-mapped."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import struct
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import pandas as pd
import soundfile
import torch
from pandas import DataFrame
from scipy.signal import firwin, resample_poly
from torch import Tensor
from tqdm import tqdm

from ipr_core.atomic import write
from ipr_core.config import SAMPLE_RATE
from ipr_core.data.corpora.table import CorpusError, Fault, complete, numbers

MIN_SECONDS = 0.1
"""A shorter clip is a fault: speech encoders fail on it, and nobody hears an emotion in it."""

_DECODER = "1"  # part of every key: another number decodes everything again
_STREAMED = 0x7FFF_0000  # data sizes from here on stand for "unknown", as programs write them into a pipe
_ROUNDING = 0.01  # seconds that an end may lie beyond the file, since annotations are rounded
_BLOCK = 2**20  # samples decoded at a time
_QUEUE = 4096  # files waiting for a thread


class Source(NamedTuple):
    """An audio file, and the file with its samples.

    That is the audio file itself, or a decoded one in the cache.
    """

    path: str
    digest: str
    """Of the file's bytes."""
    stamp: tuple[int, int]
    """The file's size and time of change when the digest was made."""
    mapped: str
    """The file that holds the samples; `path` itself where nothing had to be decoded."""
    offset: int
    """Bytes before the first sample in `mapped`."""
    samples: int


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
        table: utterances (path, start, end, and id, source, row for messages)
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
        index, paths = pd.factorize(table["path"])
        sources = _sources(list(paths), Path(cache), workers, progress)
        usable = [_NOTHING if isinstance(source, _Unusable) else source for source in sources]
        store = cls(usable, index, start, end)
        return store, _faults(table, store, sources)

    def take(self, rows: np.ndarray) -> WaveStore:
        """Return the store of some utterances, in the order of `rows`."""
        return type(self)(self._sources, self._index[rows], self._start[rows], self._end[rows])

    @functools.cached_property
    def keys(self) -> list[str]:
        """(N,) names by content: of the file's bytes and the part's start and end.

        They are the same wherever the file lies.
        """
        digests = [source.digest for source in self._sources]
        parts = zip(self._index.tolist(), self._start.tolist(), self._end.tolist(), strict=True)
        return [_key(digests[i], start, end) for i, start, end in parts]

    @property
    def seconds(self) -> np.ndarray:
        """(N,) durations."""
        return self.lengths / SAMPLE_RATE

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, i: int) -> np.ndarray:
        """Map (T,) int16 samples at 16 kHz from disk.

        raises CorpusError if the audio file has changed since it was read
        """
        source = self._sources[self._index[i]]
        if source.mapped == source.path and _stamp(source.path) != source.stamp:
            problem = "has changed since it was read"
            raise CorpusError([Fault(source.path, None, problem, "leave audio files as they are, and begin again")])
        begin = source.offset + 2 * int(self._first[i])  # the part alone: a recording of hours is not mapped whole
        return np.memmap(source.mapped, np.dtype("<i2"), "r", begin, (int(self.lengths[i]),))

    def batch(self, rows: Sequence[int], max_seconds: float) -> tuple[Tensor, Tensor]:
        """Return utterances side by side, zero-padded.

        Of a clip longer than max_seconds, the middle that long.
        returns: waves (B, T) float32 in [-1, 1), lengths (B,) int64 samples
        """
        clips = [_middle(self[i], round(max_seconds * SAMPLE_RATE)) for i in rows]
        lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.int64)
        waves = torch.zeros(len(clips), max(map(len, clips), default=0))
        for wave, clip in zip(waves, clips, strict=True):
            wave[: len(clip)] = torch.from_numpy(clip.astype(np.float32))
        return waves.div_(32768), lengths


class _Unusable(Exception):
    """An audio file that cannot be used: the problem, and its cure."""

    def __init__(self, problem: str, cure: str):
        super().__init__(problem, cure)
        self.problem, self.cure = problem, cure


_NOTHING = Source("", "", (0, 0), "", 0, 0)


def _bounds(start: np.ndarray, end: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return (N,) the first sample of each part, and (N,) the one after its last.

    start, end: (N,) seconds   samples: (N,) of the whole file
    """
    first = np.where(np.isnan(start), 0, np.rint(start * SAMPLE_RATE)).clip(0, samples)
    last = np.where(np.isnan(end), samples, np.rint(end * SAMPLE_RATE)).clip(first, samples)
    return first.astype(np.int64), last.astype(np.int64)


def _faults(table: DataFrame, store: WaveStore, sources: list[Source | _Unusable]) -> list[Fault]:
    """Return a fault for each utterance whose file, or whose part of it, cannot be used."""
    whole = np.array([source.samples for source in store._sources], np.int64)[store._index]
    too_late = store._end * SAMPLE_RATE > whole + _ROUNDING * SAMPLE_RATE
    wrong = np.flatnonzero(too_late | (store.lengths < MIN_SECONDS * SAMPLE_RATE))  # no length: the file has a fault
    faults = []
    for i, row in zip(wrong.tolist(), table.iloc[wrong].itertuples(), strict=True):
        source = sources[store._index[i]]
        if not isinstance(source, _Unusable):
            source = _unusable_part(store, i, int(whole[i]), bool(too_late[i]))
        problem = f"utterance {row.id!r} needs the file {row.path}, which {source.problem}"
        faults.append(Fault(row.source, int(row.row) or None, problem, source.cure))
    return faults


def _unusable_part(store: WaveStore, i: int, whole: int, too_late: bool) -> _Unusable:
    """Word the fault of a part of a usable file.

    whole: samples of the file   too_late: whether the part ends after the file does
    """
    if too_late:
        problem = f"lasts {whole / SAMPLE_RATE:.3f} s, and the part asked of it ends at {store._end[i]:.3f} s"
        return _Unusable(problem, "correct the end, or the path")
    problem = f"lasts {store.seconds[i]:.3g} s; the shortest allowed is {MIN_SECONDS} s"
    return _Unusable(problem if store.lengths[i] else "has no samples", "give a longer clip, or take the utterance out")


def _sources(paths: list[str], cache: Path, workers: int | None, progress: bool) -> list[Source | _Unusable]:
    """Return every file's source, decoded if necessary, in threads.

    A limited number of files is queued at a time, so that a million of them take little memory.
    """
    sources: list[Source | _Unusable] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(paths), desc="Decoding", unit="file", delay=2, leave=False, disable=not progress) as bar,
    ):
        for begin in range(0, len(paths), _QUEUE):
            for source in pool.map(lambda path: _source(path, cache), paths[begin : begin + _QUEUE]):
                sources.append(source)
                bar.update()
    return sources


def _source(path: str, cache: Path) -> Source | _Unusable:
    try:
        stamp = _stamp(path)
        digest = _digest(path, stamp)
        if missing := _missing_bytes(path):
            raise _Unusable(f"is truncated: its header promises {missing:,} bytes more than it has", "copy it again")
        with soundfile.SoundFile(path) as file:
            if not file.frames:
                raise _Unusable("has no samples", "give a longer clip, or take the utterance out")
            offset = _offset_if_stored(file)
            if offset is not None:
                return Source(path, digest, stamp, path, offset, file.frames)
            decoded = _decoded_file(cache, _key(digest))
            if not decoded.exists():
                write(decoded, lambda temporary: _decode(file, temporary))
        samples = np.load(decoded, mmap_mode="r", allow_pickle=False)
        return Source(path, digest, stamp, str(decoded), samples.offset, len(samples))
    except soundfile.LibsndfileError as error:
        return _Unusable(f"cannot be decoded ({error.error_string})", "copy it again, or convert it to wav")
    except _Unusable as error:
        return error


def _stamp(path: str) -> tuple[int, int]:
    """Return a file's size and time of change, (0, 0) if it does not exist."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except OSError:
        return 0, 0


@functools.lru_cache(maxsize=4096)  # a recording of many utterances is read again and again
def _digest(path: str, stamp: tuple[int, int]) -> str:
    """Return the digest of a file's bytes.  stamp: so that a changed file is read again"""
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise _Unusable("is empty (0 bytes)", "copy it again, or take the utterance out")
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise _Unusable("is not there", "put the file there, or take the utterance out") from None
    except OSError as error:
        raise _Unusable(f"cannot be read ({error.strerror})", "give a file that this user may read") from None


def _key(digest: str, start: float = math.nan, end: float = math.nan) -> str:
    text = f"{digest} {start} {end} {_DECODER}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _decoded_file(cache: Path, key: str) -> Path:
    return cache / "waves" / key[:2] / f"{key}.npy"


def _offset_if_stored(file: soundfile.SoundFile) -> int | None:
    """Return the bytes before the first sample of a 16 kHz mono 16-bit WAV.

    returns: None for any other file
    """
    if (file.format, file.subtype, file.samplerate, file.channels) != ("WAV", "PCM_16", SAMPLE_RATE, 1):
        return None
    data = _data(file.name)
    return data[0] if data else None


def _decode(file: soundfile.SoundFile, path: str) -> None:
    """Write the file's samples as .npy, a block at a time; raises _Unusable.

    int16 at 16 kHz, channels averaged
    """
    with open(path, "wb") as stream:
        _write_header(stream, 0)
        for wave in _resampled(_blocks(file), file.samplerate):
            stream.write(np.rint(wave * 32768).clip(-32768, 32767).astype("<i2").tobytes())
        samples = (stream.tell() - _write_header(stream, 0)) // 2
        _write_header(stream, samples)


def _write_header(stream: BinaryIO, samples: int) -> int:
    """Write the beginning of a .npy file, and return its bytes.

    They are always as many, because numpy leaves room for the number to grow.
    """
    stream.seek(0)
    header = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """Yield the file's samples, _BLOCK at a time; raises _Unusable.

    (T,) float32 at the file's own rate, channels averaged
    """
    count = 0
    while len(samples := file.read(_BLOCK, dtype="float32", always_2d=True)):
        if not np.isfinite(samples).all():
            raise _Unusable("has samples that are NaN or infinite", "write it again from its source")
        count += len(samples)
        yield samples.mean(axis=1)
    # Frames of an MP3 without a length in its header are an estimate; 5 % is more than it errs by.
    if count < file.frames * (0.95 if file.format == "MP3" else 1):
        raise _Unusable(f"is truncated: {count:,} of {file.frames:,} samples are there", "copy it again")


def _missing_bytes(path: str) -> int:
    """Return the bytes of samples that a RIFF (wav) header promises and the file lacks.

    libsndfile reads the rest of such a file without an error.
    """
    offset, length = _data(path) or (0, 0)
    return 0 if length >= _STREAMED else max(0, offset + length - os.path.getsize(path))


def _data(path: str) -> tuple[int, int] | None:
    """Return offset and promised bytes of a RIFF (wav) file's samples, None of another."""
    with open(path, "rb") as file:
        if file.read(12)[:4] != b"RIFF":
            return None
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                return file.tell(), length
            file.seek(length + length % 2, os.SEEK_CUR)  # chunks are padded to an even length
    return None


def _resampled(blocks: Iterable[np.ndarray], rate: int) -> Iterator[np.ndarray]:
    """Resample (T,) blocks to 16 kHz by a polyphase filter.

    The result is to the bit as if there were one block. Every block is filtered with the samples of its neighbours
    that the filter reaches, and silence before the first.
    """
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    common = math.gcd(rate, SAMPLE_RATE)
    factor, divisor = SAMPLE_RATE // common, rate // common
    filter = _low_pass(max(factor, divisor))
    reach = divisor * math.ceil(len(filter) / factor / divisor)  # samples; a multiple of `divisor`, for the phase
    first = reach // divisor * factor  # of the resampled samples
    buffer = np.zeros(reach, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        ready = (len(buffer) - 2 * reach) // divisor * divisor
        if ready > 0:
            wave = resample_poly(buffer, factor, divisor, window=filter)
            yield wave[first : (reach + ready) // divisor * factor]
            buffer = buffer[ready:]
    yield resample_poly(buffer, factor, divisor, window=filter)[first:]


@functools.lru_cache(maxsize=8)
def _low_pass(rate: int) -> np.ndarray:
    """Return a Kaiser-windowed sinc with 32 zero crossings a side.

    It is 80 dB down from the lower Nyquist frequency on.
    """
    return firwin(64 * rate + 1, 0.92 / rate, window=("kaiser", 8.0))


def _middle(wave: np.ndarray, longest: int) -> np.ndarray:
    start = max(0, len(wave) - longest) // 2
    return wave[start : start + longest]
