"""Waveforms: every utterance decoded once to 16 kHz mono 16-bit samples, kept by content, read memory-mapped."""

from __future__ import annotations

import functools
import hashlib
import math
import os
import struct
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import soundfile
import torch
from pandas import DataFrame
from scipy.signal import firwin, resample_poly
from torch import Tensor
from tqdm import tqdm

from ipr_core.atomic import write
from ipr_core.corpora.table import CorpusError, Fault, complete, numbers

SAMPLE_RATE = 16_000
"""Samples a second of every stored waveform."""
MIN_SECONDS = 0.1
"""A shorter clip is a fault: speech encoders fail on it, and no emotion is heard in it."""

_DECODER = "1"  # part of every key: another number decodes everything again
_STREAMED = 0x7FFF_0000  # data sizes from here on stand for "unknown", as programs write them into a pipe
_ROUNDING = 0.01  # seconds that an end may lie beyond the file, since annotations are rounded


def default_cache() -> Path:
    """The folder for what can be made again: $IPR_CACHE, or ~/.cache/ipr-workbench."""
    return Path(os.environ.get("IPR_CACHE") or Path.home() / ".cache" / "ipr-workbench")


class WaveStore:
    """The waveforms of an utterance table, one memory-mapped file each, in the table's order.

    Made by `build`. A file's name is the digest of the audio file's bytes, the part's start and end and the
    decoder's version: a changed audio file is decoded again, an unchanged one never.
    """

    def __init__(self, keys: list[str], cache: Path):
        self.keys = keys
        self._cache = Path(cache)
        self.lengths = np.array([len(self[i]) for i in range(len(keys))], dtype=np.int64)  # (N,) samples

    @classmethod
    def build(cls, table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True) -> WaveStore:
        """Decode what the cache does not hold yet, in threads; a progress bar after two seconds.

        table: utterances (path, start, end, and id, source, row for messages)
        raises CorpusError with every file that is missing, empty, truncated, not decodable, too short (MIN_SECONDS),
        holds NaN or infinite samples, or ends before the part that is asked of it
        """
        keys, found = _ingest(table, Path(cache), workers, progress)
        if found:
            raise CorpusError(found)
        return cls(keys, cache)

    @property
    def seconds(self) -> np.ndarray:
        """(N,) durations."""
        return self.lengths / SAMPLE_RATE

    def __len__(self) -> int:
        return len(self.keys)

    def __getitem__(self, i: int) -> np.ndarray:
        """(T,) int16 samples at 16 kHz, mapped from disk."""
        return np.load(_place(self._cache, self.keys[i]), mmap_mode="r", allow_pickle=False)

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


def faults(table: DataFrame, cache: Path, workers: int | None = None, progress: bool = True) -> list[Fault]:
    """Every utterance whose audio cannot be used, with its row and cure; the good ones are decoded meanwhile.

    table: may be unchecked as a reader made it; a start or end that is no number is passed over
    """
    return _ingest(table, Path(cache), workers, progress)[1]


class _Clip(NamedTuple):
    """One row of the table, as far as its audio goes."""

    id: str
    path: str
    start: float
    end: float
    source: str
    row: int


class _Unusable(Exception):
    """What is wrong with an audio file, and its cure."""


def _clips(table: DataFrame) -> list[_Clip]:
    table = complete(table)
    times = {name: numbers(table[name]).replace([np.inf, -np.inf], np.nan) for name in ("start", "end")}
    return [_Clip(*values) for values in table.assign(**times)[list(_Clip._fields)].itertuples(index=False)]


def _ingest(table: DataFrame, cache: Path, workers: int | None, progress: bool) -> tuple[list[str], list[Fault]]:
    """The key of every utterance that is now in the cache, and the faults of the others."""
    clips = _clips(table)
    with ThreadPoolExecutor(workers) as pool:
        # A file of many parts is read for its digest once. These jobs come first, so none waits for a later one.
        digests = {path: pool.submit(_digest, path) for path in dict.fromkeys(clip.path for clip in clips)}
        jobs = pool.map(lambda clip: _key_or_fault(clip, digests[clip.path], cache), clips)
        bar = tqdm(jobs, "Decoding", len(clips), unit="clip", delay=2, leave=False, disable=not progress)
        done = list(bar)
    return [key for key in done if isinstance(key, str)], [fault for fault in done if isinstance(fault, Fault)]


def _key_or_fault(clip: _Clip, digest: Future[str], cache: Path) -> str | Fault:
    try:
        key = _key(digest.result(), clip)
        place = _place(cache, key)
        if not place.exists():
            samples = _decode(clip)
            write(place, lambda path: np.save(path, samples))
        return key
    except _Unusable as error:
        what, cure = error.args
        what = f"utterance {clip.id!r} needs the file {clip.path}, which {what}"
        return Fault(clip.source, int(clip.row) or None, what, cure)


def _digest(path: str) -> str:
    try:
        with open(path, "rb") as file:
            if not os.fstat(file.fileno()).st_size:
                raise _Unusable("is empty (0 bytes)", "copy it again, or take the utterance out")
            return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()
    except (FileNotFoundError, IsADirectoryError):
        raise _Unusable("is not there", "put the file there, or take the utterance out") from None
    except OSError as error:
        raise _Unusable(f"cannot be read ({error.strerror})", "give a file that this user may read") from None


def _key(digest: str, clip: _Clip) -> str:
    text = f"{digest} {clip.start} {clip.end} {_DECODER}"
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _place(cache: Path, key: str) -> Path:
    return cache / "waves" / key[:2] / f"{key}.npy"


def _decode(clip: _Clip) -> np.ndarray:
    """(T,) int16 at 16 kHz, channels averaged; raises _Unusable."""
    if missing := _missing_bytes(clip.path):
        raise _Unusable(f"is truncated: its header promises {missing:,} bytes more than it has", "copy it again")
    try:
        samples, rate = _read(clip)
    except soundfile.LibsndfileError as error:
        raise _Unusable(f"cannot be decoded ({error.error_string})", "copy it again, or convert it to wav") from None
    if not np.isfinite(samples).all():
        raise _Unusable("has samples that are NaN or infinite", "write it again from its source")
    if len(samples) < MIN_SECONDS * rate:
        what = f"lasts {len(samples) / rate:.3g} s; the shortest allowed is {MIN_SECONDS} s"
        raise _Unusable(what if len(samples) else "has no samples", "give a longer clip, or take the utterance out")
    wave = _resample(samples.mean(axis=1), rate)
    return np.rint(wave * 32768).clip(-32768, 32767).astype(np.int16)


def _read(clip: _Clip) -> tuple[np.ndarray, int]:
    """The clip's own samples (T, channels) float32 and their rate; raises _Unusable, soundfile.LibsndfileError."""
    with soundfile.SoundFile(clip.path) as file:
        rate, frames = file.samplerate, file.frames
        first = 0 if math.isnan(clip.start) else min(max(0, round(clip.start * rate)), frames)
        last = frames if math.isnan(clip.end) else round(clip.end * rate)
        if last > frames + _ROUNDING * rate:
            what = f"lasts {frames / rate:.3f} s, and the part asked of it ends at {clip.end:.3f} s"
            raise _Unusable(what, "correct the end, or the path")
        wanted = max(0, min(last, frames) - first)
        file.seek(first)
        samples = file.read(wanted, dtype="float32", always_2d=True)
    # Frames of an MP3 without a length in its header are an estimate; 5 % is more than it errs by.
    if len(samples) < wanted * (0.95 if file.format == "MP3" else 1):
        raise _Unusable(f"is truncated: {len(samples):,} of {wanted:,} samples are there", "copy it again")
    return samples, rate


def _missing_bytes(path: str) -> int:
    """Bytes of samples that a RIFF (wav) header promises and the file lacks: libsndfile reads the rest in silence."""
    with open(path, "rb") as file:
        size = os.fstat(file.fileno()).st_size
        if file.read(12)[:4] != b"RIFF":
            return 0
        while len(head := file.read(8)) == 8:
            name, length = struct.unpack("<4sI", head)
            if name == b"data":
                return 0 if length >= _STREAMED else max(0, file.tell() + length - size)
            file.seek(length + length % 2, os.SEEK_CUR)  # chunks are padded to an even length
    return 0


def _resample(wave: np.ndarray, rate: int) -> np.ndarray:
    """(T,) at any rate → 16 kHz, by a polyphase filter."""
    if rate == SAMPLE_RATE:
        return wave
    common = math.gcd(rate, SAMPLE_RATE)
    up, down = SAMPLE_RATE // common, rate // common
    return resample_poly(wave, up, down, window=_low_pass(max(up, down)))


@functools.lru_cache(maxsize=8)
def _low_pass(rate: int) -> np.ndarray:
    """Kaiser-windowed sinc, 32 zero crossings a side, 80 dB down from the lower Nyquist frequency on."""
    return firwin(64 * rate + 1, 0.92 / rate, window=("kaiser", 8.0))


def _middle(wave: np.ndarray, longest: int) -> np.ndarray:
    start = max(0, len(wave) - longest) // 2
    return wave[start : start + longest]
