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
from typing import BinaryIO, Protocol

import numpy as np
import soundfile

from ipr_core.data import cache, containers, headers, media
from ipr_core.data.headers import Extent
from ipr_core.data.loudness import Channels, is_silent, sounding
from ipr_core.data.resampling import BLOCK, int16, resampled
from ipr_core.data.unusable import Unusable

KINDS = ("WAV", "WAVEX", "RF64", "W64", "AIFF", "AU", "CAF", "NIST", "FLAC", "OGG", "MP3")
"""Formats that libsndfile decodes, as it names them. Those of others do not say whether all sound is there."""
_OTHER_CODECS = {b"RIFF": "wav", b"RF64": "wav", b"riff": "w64", b"FORM": "aiff", b"caff": "caf", b"OggS": "ogg"}
"""What PyAV calls containers that may hold a codec libsndfile does not know."""
RATES = (1_000, 768_000)
"""Samples per second that a file may have."""
MOST_CHANNELS = 256
MOST_HOURS = 24


class Sound(Protocol):
    """The sound of an open file."""

    rate: int
    channels: int
    frames: int
    """Samples by the header."""
    note: str
    """What is odd about it, for the user."""

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (T, channels) float32 samples, all that are there; raises Unusable where they are damaged."""


def decode(path: str, file: str, rate: int, channel: int = 0) -> str:
    """Write a file's samples as .npy, a block at a time.

    int16 at `rate`, of one channel, counted from 1, or of the average of all: 0
    returns: what is odd about the file, "" if nothing is
    raises Unusable if it is no audio, not whole, silent, out of bounds (RATES, MOST_CHANNELS, MOST_HOURS), far beyond
    full scale, holds NaN or infinite samples, or does not have the channel
    """
    try:
        with _opened(path, os.path.dirname(file)) as sound:
            check_form(sound.rate, sound.channels, sound.frames)
            check_channel(channel, sound.channels)
            channels = Channels(1 if channel else sound.channels)
            _write(resampled(_mono(sound, channels, channel), sound.rate, rate), file)
    except soundfile.LibsndfileError as error:
        raise Unusable(f"cannot be decoded ({_words(error)})", "copy it again, or convert it to wav") from None
    samples = cache.mapped(file)
    frames = sounding(samples)
    if is_silent(frames.sum(), frames.size):
        channels.refuse_silence(sound.rate, rate)
    return sound.note


def check_channel(channel: int, channels: int) -> None:
    """Raise Unusable if a file does not have the channel that is asked of it, counted from 1."""
    if channel > channels:
        number = f"{channels} channel{'s' * (channels > 1)}"
        raise Unusable(f"has {number}, and number {channel} is asked of it", "correct the channel, or the path")


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
def _opened(path: str, folder: str) -> Iterator[Sound]:
    """Open a file, or a copy of it with the right length in its header.

    By its descriptor, so that no suffix says what it is.   folder: for the copy
    """
    extent = headers.extent(path)
    with contextlib.ExitStack() as stack:
        binary: BinaryIO = stack.enter_context(open(path, "rb", buffering=0))  # libsndfile moves its position too
        if extent and extent.mend:
            binary = _mend(binary, extent, stack.enter_context(tempfile.TemporaryFile(dir=folder, buffering=0)))
        if kind := containers.container(binary):
            yield stack.enter_context(media.opened(binary, kind.format))
            return
        descriptor = os.dup(binary.fileno())  # which libsndfile closes
        os.lseek(descriptor, 0, os.SEEK_SET)
        try:
            file = stack.enter_context(soundfile.SoundFile(descriptor))
        except soundfile.LibsndfileError as error:
            yield stack.enter_context(_other_codec(binary, error))
            return
        if file.format not in KINDS:
            problem = f"is not decoded: a {file.format} file does not say whether all of it is there"
            raise Unusable(problem, "convert it to wav")
        if file.subtype.startswith("DWVW"):  # soundfile seeks after each block, which libsndfile cannot in these
            raise Unusable("is not decoded: its samples are DWVW, which no decoder here reads", "convert it to wav")
        yield _Plain(file, path)


def _other_codec(binary: BinaryIO, error: soundfile.LibsndfileError) -> contextlib.AbstractContextManager[Sound]:
    """Open a container whose codec libsndfile does not know, such as AAC in CAF; raises its error for any other."""
    binary.seek(0)
    head = binary.read(4)
    if head not in _OTHER_CODECS:
        raise error
    return media.opened(binary, _OTHER_CODECS[head], compressed=True)


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


def _mono(sound: Sound, channels: Channels, channel: int) -> Iterator[np.ndarray]:
    """Yield (T,) float32 at the sound's own rate: a channel, or the average of all for 0; raises Unusable."""
    count = 0
    for samples in sound.blocks():
        samples = samples[:, channel - 1 : channel] if channel else samples
        if not np.isfinite(samples).all():
            raise Unusable("has samples that are NaN or infinite", "write it again from its source")
        count += len(samples)
        check_form(sound.rate, sound.channels, count)
        mono = samples.mean(axis=1)
        channels.update(samples, mono)
        yield mono
    channels.check()


class _Plain:
    """The sound of a file that libsndfile reads."""

    note = ""

    def __init__(self, file: soundfile.SoundFile, path: str):
        self._file, self._path = file, path
        self.rate, self.channels, self.frames = file.samplerate, file.channels, file.frames

    def blocks(self) -> Iterator[np.ndarray]:
        """Yield (T, channels) float32; raises Unusable if some are missing, or are not those of the MD5."""
        file, count = self._file, 0
        signature = _Signature.read(self._path) if file.format == "FLAC" else None
        while len(samples := file.read(max(1, BLOCK // file.channels), dtype="float32", always_2d=True)):
            if signature:
                signature.update(samples)
            count += len(samples)
            yield samples
        # Frames of an MP3 without a length in its header are an estimate; 5 % is more than it errs by.
        if count < file.frames * (0.95 if file.subtype.startswith("MPEG") else 1):
            raise Unusable(f"is truncated: {count:,} of {file.frames:,} samples are there", "copy it again")
        if signature:
            signature.check()


class _Signature:
    """The MD5 that a FLAC file has of its samples."""

    def __init__(self, bits: int, expected: bytes):
        self._bits, self._expected, self._sum = bits, expected, hashlib.md5(usedforsecurity=False)

    @classmethod
    def read(cls, path: str) -> _Signature | None:
        """Read it; None if the file has none, or samples of more bits than a float holds."""
        with open(path, "rb") as file:
            head = file.read(10)
            file.seek(containers.after_id3(head))
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
