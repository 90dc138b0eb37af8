"""Waveforms: every audio file as 16 kHz mono 16-bit samples, decoded once if need be, read memory-mapped by parts."""

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
from ipr_core.data.corpora.table import CorpusError, Fault, complete, numbers

SAMPLE_RATE = 16_000
"""Samples a second of every stored waveform."""
MIN_SECONDS = 0.1
"""A shorter clip is a fault: speech encoders fail on it, and no emotion is heard in it."""

_DECODER = "1"  # part of every key: another number decodes everything again
_STREAMED = 0x7FFF_0000  # data sizes from here on stand for "unknown", as programs write them into a pipe
_ROUNDING = 0.01  # seconds that an end may lie beyond the file, since annotations are rounded
_BLOCK = 2**20  # samples decoded at a time
_QUEUE = 4096  # files waiting for a thread


def default_cache() -> Path:
    """The folder for what can be made again: $IPR_CACHE, or ~/.cache/ipr-workbench."""
    return Path(os.environ.get("IPR_CACHE") or Path.home() / ".cache" / "ipr-workbench")


class Source(NamedTuple):
    """An audio file and where its samples lie, 16 kHz mono 16 bits: in itself, or decoded in the cache."""

    path: str
    digest: str
    """Of the file's bytes."""
    stamp: tuple[int, int]
    """The file's size and time of change when the digest was made."""
    mapped: str
    """The file that holds the samples; `path` itself where nothing had to be decoded."""
    offset: int
    """Bytes before the first sample there."""
    samples: int


class WaveStore:
    """The waveforms of an utterance table, in its order: parts of memory-mapped files, one for each audio file.

    Made by `build`. Nothing is kept per utterance but where its part begins and ends, so that a million parts of a few
    recordings cost a few files. An audio file that is 16 kHz mono 16-bit WAV is mapped where it lies; any other is
    decoded whole, once, into a file of the cache named by the digest of its bytes and the decoder's version: a
    changed audio file is decoded again, an unchanged one never.
    """

    def __init__(self, sources: Sequence[Source], of: np.ndarray, start: np.ndarray, end: np.ndarray):
        """of: (N,) each utterance's place among the sources   start, end: (N,) seconds, NaN for the file's own"""
        self._sources, self._of, self._start, self._end = sources, of, start, end
        self._first, last = _bounds(start, end, np.array([source.samples for source in sources], np.int64)[of])
        self.lengths = last - self._first  # (N,) samples

    @classmethod
    def build(cls, table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True) -> WaveStore:
        """Decode what the cache does not hold yet, in threads; a progress bar after two seconds.

        table: utterances (path, start, end, and id, source, row for messages)
        raises CorpusError with every file that is missing, empty, truncated, not decodable, too short (MIN_SECONDS),
        holds NaN or infinite samples, or ends before the part that is asked of it
        """
        store, found = cls.survey(table, cache, workers, progress)
        if found:
            raise CorpusError(found)
        return store

    @classmethod
    def survey(
        cls, table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True
    ) -> tuple[WaveStore, list[Fault]]:
        """What `build` makes, and every utterance whose audio cannot be used, with its row and cure.

        table: may be unchecked as a reader made it; a start or end that is no number is passed over
        returns: the store, which can be used where there is no fault
        """
        table = complete(table)
        start, end = (numbers(table[name]).replace([np.inf, -np.inf], np.nan).to_numpy() for name in ("start", "end"))
        of, paths = pd.factorize(table["path"])
        found = _sources(list(paths), Path(cache), workers, progress)
        store = cls([_NOTHING if isinstance(one, _Unusable) else one for one in found], of, start, end)
        return store, _faults(table, store, found)

    def take(self, rows: np.ndarray) -> WaveStore:
        """The store of some utterances, in the order of `rows`."""
        return type(self)(self._sources, self._of[rows], self._start[rows], self._end[rows])

    @functools.cached_property
    def keys(self) -> list[str]:
        """(N,) names by content, the same wherever the audio lies: the file's bytes, and start and end of the part."""
        digests = [source.digest for source in self._sources]
        parts = zip(self._of.tolist(), self._start.tolist(), self._end.tolist(), strict=True)
        return [_key(digests[of], start, end) for of, start, end in parts]

    @property
    def seconds(self) -> np.ndarray:
        """(N,) durations."""
        return self.lengths / SAMPLE_RATE

    def __len__(self) -> int:
        return len(self._of)

    def __getitem__(self, i: int) -> np.ndarray:
        """(T,) int16 samples at 16 kHz, mapped from disk. raises CorpusError where an audio file changed meanwhile"""
        source = self._sources[self._of[i]]
        if source.mapped == source.path and _stamp(source.path) != source.stamp:
            what = "has changed since it was read"
            raise CorpusError([Fault(source.path, None, what, "leave audio files as they are, and begin again")])
        begin = source.offset + 2 * int(self._first[i])  # the part alone: a recording of hours is not mapped whole
        return np.memmap(source.mapped, np.dtype("<i2"), "r", begin, (int(self.lengths[i]),))

    def batch(self, rows: Sequence[int], max_seconds: float) -> tuple[Tensor, Tensor]:
        """Utterances side by side, zero-padded. Of a clip longer than max_seconds, the middle that long.

        returns: waves (B, T) float32 in [-1, 1), lengths (B,) int64 samples
        """
        clips = [_middle(self[i], round(max_seconds * SAMPLE_RATE)) for i in rows]
        lengths = torch.tensor([len(clip) for clip in clips], dtype=torch.int64)
        waves = torch.zeros(len(clips), max(map(len, clips), default=0))
        for wave, clip in zip(waves, clips, strict=True):
            wave[: len(clip)] = torch.from_numpy(clip.astype(np.float32))
        return waves.div_(32768), lengths


class _Unusable(Exception):
    """What is wrong with an audio file, and its cure."""


_NOTHING = Source("", "", (0, 0), "", 0, 0)


def _bounds(start: np.ndarray, end: np.ndarray, samples: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """(N,) first sample and the one after the last, of parts in seconds of files with so many samples."""
    first = np.where(np.isnan(start), 0, np.rint(start * SAMPLE_RATE)).clip(0, samples)
    last = np.where(np.isnan(end), samples, np.rint(end * SAMPLE_RATE)).clip(first, samples)
    return first.astype(np.int64), last.astype(np.int64)


def _faults(table: DataFrame, store: WaveStore, found: list[Source | _Unusable]) -> list[Fault]:
    """A fault for each utterance whose file cannot be used, or whose part of it cannot."""
    whole = np.array([source.samples for source in store._sources], np.int64)[store._of]
    beyond = store._end * SAMPLE_RATE > whole + _ROUNDING * SAMPLE_RATE
    wrong = np.flatnonzero(beyond | (store.lengths < MIN_SECONDS * SAMPLE_RATE))  # no length: the file has a fault
    faults = []
    for i, row in zip(wrong, table.iloc[wrong].itertuples(), strict=True):
        one = found[store._of[i]]
        what, cure = one.args if isinstance(one, _Unusable) else _part_fault(store, i, whole[i], beyond[i])
        what = f"utterance {row.id!r} needs the file {row.path}, which {what}"
        faults.append(Fault(row.source, int(row.row) or None, what, cure))
    return faults


def _part_fault(store: WaveStore, i: int, whole: int, beyond: bool) -> tuple[str, str]:
    if beyond:
        what = f"lasts {whole / SAMPLE_RATE:.3f} s, and the part asked of it ends at {store._end[i]:.3f} s"
        return what, "correct the end, or the path"
    cure = "give a longer clip, or take the utterance out"
    what = f"lasts {store.seconds[i]:.3g} s; the shortest allowed is {MIN_SECONDS} s"
    return (what if store.lengths[i] else "has no samples"), cure


def _sources(paths: list[str], cache: Path, workers: int | None, progress: bool) -> list[Source | _Unusable]:
    """Every file's samples, decoded where need be, in threads; some files at a time, so that no long queue is kept."""
    found: list[Source | _Unusable] = []
    with (
        ThreadPoolExecutor(workers) as pool,
        tqdm(total=len(paths), desc="Decoding", unit="file", delay=2, leave=False, disable=not progress) as bar,
    ):
        for begin in range(0, len(paths), _QUEUE):
            for source in pool.map(lambda path: _source(path, cache), paths[begin : begin + _QUEUE]):
                found.append(source)
                bar.update()
    return found


def _source(path: str, cache: Path) -> Source | _Unusable:
    try:
        stamp = _stamp(path)
        digest = _digest(path, stamp)
        if missing := _missing_bytes(path):
            raise _Unusable(f"is truncated: its header promises {missing:,} bytes more than it has", "copy it again")
        with soundfile.SoundFile(path) as file:
            if not file.frames:
                raise _Unusable("has no samples", "give a longer clip, or take the utterance out")
            if _is_as_stored(file):
                return Source(path, digest, stamp, path, _data(path)[0], file.frames)
            place = _place(cache, _key(digest))
            if not place.exists():
                write(place, lambda temporary: _decode(file, temporary))
        stored = np.load(place, mmap_mode="r", allow_pickle=False)
        return Source(path, digest, stamp, str(place), stored.offset, len(stored))
    except soundfile.LibsndfileError as error:
        return _Unusable(f"cannot be decoded ({error.error_string})", "copy it again, or convert it to wav")
    except _Unusable as error:
        return error


def _stamp(path: str) -> tuple[int, int]:
    """Size and time of change, (0, 0) of what is not there."""
    try:
        about = os.stat(path)
        return about.st_size, about.st_mtime_ns
    except OSError:
        return 0, 0


@functools.lru_cache(maxsize=4096)  # a recording of many utterances is met again and again
def _digest(path: str, stamp: tuple[int, int]) -> str:
    """Of the file's bytes.  stamp: so that a file that changed is read again"""
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


def _place(cache: Path, key: str) -> Path:
    return cache / "waves" / key[:2] / f"{key}.npy"


def _is_as_stored(file: soundfile.SoundFile) -> bool:
    kind = (file.format, file.subtype, file.samplerate, file.channels)
    return kind == ("WAV", "PCM_16", SAMPLE_RATE, 1) and _data(file.name) is not None


def _decode(file: soundfile.SoundFile, place: str) -> None:
    """Write the file's samples, int16 at 16 kHz, channels averaged, a block at a time; raises _Unusable."""
    with open(place, "wb") as out:
        _write_header(out, 0)
        for wave in _resampled(_blocks(file), file.samplerate):
            out.write(np.rint(wave * 32768).clip(-32768, 32767).astype("<i2").tobytes())
        samples = (out.tell() - _write_header(out, 0)) // 2
        _write_header(out, samples)


def _write_header(out: BinaryIO, samples: int) -> int:
    """The beginning of a .npy file; returns its bytes, always as many: numpy leaves room for the number to grow."""
    out.seek(0)
    header = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(out, header)
    return out.tell()


def _blocks(file: soundfile.SoundFile) -> Iterator[np.ndarray]:
    """The file's samples (T,) float32 at its own rate, channels averaged, _BLOCK at a time; raises _Unusable."""
    done = 0
    while len(samples := file.read(_BLOCK, dtype="float32", always_2d=True)):
        if not np.isfinite(samples).all():
            raise _Unusable("has samples that are NaN or infinite", "write it again from its source")
        done += len(samples)
        yield samples.mean(axis=1)
    # Frames of an MP3 without a length in its header are an estimate; 5 % is more than it errs by.
    if done < file.frames * (0.95 if file.format == "MP3" else 1):
        raise _Unusable(f"is truncated: {done:,} of {file.frames:,} samples are there", "copy it again")


def _missing_bytes(path: str) -> int:
    """Bytes of samples that a RIFF (wav) header promises and the file lacks: libsndfile reads the rest in silence."""
    offset, length = _data(path) or (0, 0)
    return 0 if length >= _STREAMED else max(0, offset + length - os.path.getsize(path))


def _data(path: str) -> tuple[int, int] | None:
    """Where the samples of a RIFF (wav) file begin, and how many bytes its header promises; None of another file."""
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
    """(T,) blocks at any rate → 16 kHz, by a polyphase filter, to the bit as if there were one block.

    Every block is filtered with what the filter reaches of its neighbours, silence before the first one.
    """
    if rate == SAMPLE_RATE:
        yield from blocks
        return
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    filter = _low_pass(max(up, down))
    reach = down * math.ceil(len(filter) / up / down)  # samples; a multiple of `down`, so that the phase stays
    held = np.zeros(reach, np.float32)
    for block in blocks:
        held = np.concatenate([held, block])
        ready = (len(held) - 2 * reach) // down * down
        if ready > 0:
            wave = resample_poly(held, up, down, window=filter)
            yield wave[reach // down * up : (reach + ready) // down * up]
            held = held[ready:]
    yield resample_poly(held, up, down, window=filter)[reach // down * up :]


@functools.lru_cache(maxsize=8)
def _low_pass(rate: int) -> np.ndarray:
    """Kaiser-windowed sinc, 32 zero crossings a side, 80 dB down from the lower Nyquist frequency on."""
    return firwin(64 * rate + 1, 0.92 / rate, window=("kaiser", 8.0))


def _middle(wave: np.ndarray, longest: int) -> np.ndarray:
    start = max(0, len(wave) - longest) // 2
    return wave[start : start + longest]
