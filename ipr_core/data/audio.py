"""One audio file decoded: to 16-bit mono samples at one rate, or the reason why it cannot be.

Nothing here needs torch or pandas, since it runs in processes of its own; see `decoding`.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Iterator
from typing import BinaryIO

import numpy as np
import soundfile

from ipr_core.data import headers
from ipr_core.data.headers import Extent
from ipr_core.data.loudness import Channels, is_silent, sounding
from ipr_core.data.resampling import BLOCK, int16, resampled
from ipr_core.data.unusable import Unusable

KINDS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
"""Formats that are decoded, as libsndfile names them. Those of others do not say whether all sound is there."""
RATES = (1_000, 768_000)
"""Samples per second that a file may have."""
MOST_CHANNELS = 256
MOST_HOURS = 24


def decode(path: str, file: str, rate: int) -> None:
    """Write a file's samples as .npy, a block at a time.

    int16 at `rate`, channels averaged
    raises Unusable if it is no audio, not whole, silent, out of bounds (RATES, MOST_CHANNELS, MOST_HOURS), far beyond
    full scale, or holds NaN or infinite samples
    """
    try:
        with _opened(path, os.path.dirname(file)) as sound:
            check_form(sound.samplerate, sound.channels, sound.frames)
            channels = Channels(sound.channels)
            _write(resampled(_blocks(sound, path, channels), sound.samplerate, rate), file)
    except soundfile.LibsndfileError as error:
        raise Unusable(f"cannot be decoded ({_words(error)})", "copy it again, or convert it to wav") from None
    samples = np.load(file, mmap_mode="r", allow_pickle=False)
    frames = sounding(samples)
    if is_silent(frames.sum(), frames.size):
        channels.refuse_silence(sound.samplerate, rate)


def check_form(rate: int, channels: int, frames: int) -> None:
    """Raise Unusable if rate, channels or length of a file are out of bounds."""
    lowest, highest = RATES
    cure = "write it again from its source"
    if not lowest <= rate <= highest:
        raise Unusable(f"has {rate:,} samples per second; {lowest:,} to {highest:,} are allowed", cure)
    if not 1 <= channels <= MOST_CHANNELS:
        raise Unusable(f"has {channels:,} channels; 1 to {MOST_CHANNELS} are allowed", cure)
    if frames <= 0:
        raise Unusable("has no samples", "give a longer clip, or take the utterance out")
    if frames > MOST_HOURS * 3600 * rate:
        raise Unusable(
            f"lasts {frames / rate / 3600:,.1f} hours by its header; {MOST_HOURS} are allowed", "cut it into parts"
        )


@contextlib.contextmanager
def _opened(path: str, folder: str) -> Iterator[soundfile.SoundFile]:
    """Open a file, or a copy of it with the right length in its header.

    By its descriptor, so that no suffix says what it is.   folder: for the copy
    """
    extent = headers.extent(path)
    with contextlib.ExitStack() as stack:
        binary: BinaryIO = stack.enter_context(open(path, "rb"))
        if extent and extent.mend:
            binary = _mend(binary, extent, stack.enter_context(tempfile.TemporaryFile(dir=folder)))
        descriptor = os.dup(binary.fileno())  # which libsndfile closes
        os.lseek(descriptor, 0, os.SEEK_SET)
        file = stack.enter_context(soundfile.SoundFile(descriptor))
        if file.format not in KINDS:
            problem = f"is not decoded: a {file.format} file does not say whether all of it is there"
            raise Unusable(problem, "convert it to wav")
        if file.subtype.startswith("DWVW"):  # soundfile seeks after each block, which libsndfile cannot in these
            raise Unusable("is not decoded: its samples are DWVW, which no decoder here reads", "convert it to wav")
        yield file


def _mend(binary: BinaryIO, extent: Extent, copy: BinaryIO) -> BinaryIO:
    """Copy a file up to the end of its sound, with the right length in its header."""
    position, length = extent.mend or (0, b"")
    shutil.copyfileobj(binary, copy)
    copy.truncate(extent.offset + extent.length)
    copy.seek(position)
    copy.write(length)
    copy.flush()
    return copy


def _words(error: soundfile.LibsndfileError) -> str:
    return error.error_string.strip().rstrip(".") or "its header or its data are damaged"


def _blocks(file: soundfile.SoundFile, path: str, channels: Channels) -> Iterator[np.ndarray]:
    """Yield the file's samples, a block at a time; raises Unusable.

    (T,) float32 at the file's own rate, channels averaged
    """
    count, signature = 0, _Signature.read(path) if file.format == "FLAC" else None
    while len(samples := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
        if not np.isfinite(samples).all():
            raise Unusable("has samples that are NaN or infinite", "write it again from its source")
        if signature:
            signature.update(samples)
        count += len(samples)
        check_form(file.samplerate, file.channels, count)
        mono = samples.mean(axis=1)
        channels.update(samples, mono)
        yield mono
    # Frames of an MP3 without a length in its header are an estimate; 5 % is more than it errs by.
    if count < file.frames * (0.95 if file.format == "MP3" else 1):
        raise Unusable(f"is truncated: {count:,} of {file.frames:,} samples are there", "copy it again")
    if signature:
        signature.check()
    channels.check()


class _Signature:
    """The MD5 that a FLAC file has of its samples."""

    def __init__(self, bits: int, expected: bytes):
        self._bits, self._expected, self._sum = bits, expected, hashlib.md5(usedforsecurity=False)

    @classmethod
    def read(cls, path: str) -> _Signature | None:
        """Read it; None if the file has none, or samples of more bits than a float holds."""
        with open(path, "rb") as file:
            head = file.read(10)
            file.seek(headers.after_id3(head))
            info = file.read(42)
        bits = ((info[20] & 1) << 4 | info[21] >> 4) + 1 if len(info) == 42 else 0
        usable = info[:4] == b"fLaC" and info[4] & 127 == 0 and info[26:42].strip(b"\0")
        return cls(bits, info[26:42]) if usable and bits <= 24 else None

    def update(self, samples: np.ndarray) -> None:
        """Add (T, channels) float32, which are whole numbers of `bits` bits over 2^(bits - 1)."""
        size = (self._bits + 7) // 8
        whole = np.rint(samples * 2.0 ** (self._bits - 1)).astype("<i4")
        self._sum.update(whole.view(np.uint8).reshape(-1, 4)[:, :size].tobytes())

    def check(self) -> None:
        """Raise Unusable if it is that of other samples."""
        if self._sum.digest() != self._expected:
            problem = "is damaged: its samples are not those of its MD5 signature"
            raise Unusable(problem, "copy it again, or encode it again from its source")


def _write(waves: Iterable[np.ndarray], path: str) -> None:
    """Write (T,) float blocks as one int16 array."""
    with open(path, "wb") as stream:
        _write_header(stream, 0)
        for wave in waves:
            stream.write(int16(wave).tobytes())
        samples = (stream.tell() - _write_header(stream, 0)) // 2
        _write_header(stream, samples)
    if not samples:
        raise Unusable("has no samples", "give a longer clip, or take the utterance out")


def _write_header(stream: BinaryIO, samples: int) -> int:
    """Write the beginning of a .npy file, and return its bytes.

    They are always as many, because numpy leaves room for the number to grow.
    """
    stream.seek(0)
    header = {"descr": "<i2", "fortran_order": False, "shape": (samples,)}
    np.lib.format.write_array_header_1_0(stream, header)
    return stream.tell()
