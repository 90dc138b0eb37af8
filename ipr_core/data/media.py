"""Sound that libsndfile does not read, decoded by PyAV: M4A, MP4 and other video, WebM, AMR, AAC, WMA and more.

What FFmpeg reads with a warning is a fault here: a damaged packet, one that is missing, half a frame. It is asked for
one container by name, so that no list of other files, which may be anywhere, is taken for sound.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from ipr_core.data.containers import locked
from ipr_core.data.resampling import BLOCK
from ipr_core.data.unusable import Unusable

_ENCRYPTED = ("enca", "drms", "aavd")
"""What an encrypted track of an MP4 is called, in place of its codec."""
_TIMED = ("mov", "matroska", "asf", "flv")
"""Containers that say when a packet is count."""
_COUNTED = ("wv", "tta")
"""Containers that say how many samples there are."""
_LONGEST_GAP = 0.1
"""Seconds between two packets that are more than a clock that trembles."""
_CURE = "copy it again, or convert it to wav, as `ffmpeg -i OLD NEW.wav` does"
_ASKS_SIZE = 0x10000  # FFmpeg's AVSEEK_SIZE
_FULL_SCALE = {"u8": 128.0, "s16": 2.0**15, "s32": 2.0**31, "s64": 2.0**63, "flt": 1.0, "dbl": 1.0}


class _File:
    """A file as PyAV reads it: a position before its beginning is an error of the header, not of the disk."""

    def __init__(self, binary: BinaryIO):
        self._binary = binary
        binary.seek(0)
        self.read, self.tell = binary.read, binary.tell

    def seek(self, position: int, whence: int = 0) -> int:
        if whence & _ASKS_SIZE:
            return os.fstat(self._binary.fileno()).st_size
        try:
            return self._binary.seek(position, whence)
        except (OSError, ValueError):
            return -1


class Media:
    """The sound of one file, as `audio.decode` reads it."""

    def __init__(self, file: Any, stream: Any, kind: str):
        """file, stream: of PyAV   kind: FFmpeg's name of the container"""
        self._timed, self._expected = kind in _TIMED, stream.duration if kind in _COUNTED else 0
        self._frames = _decoded(file, stream)
        self._first = next(self._frames, None)
        if self._first is None:
            raise Unusable("has no samples", "give a longer clip, or take the utterance out")
        self.rate: int = self._first.sample_rate
        """Samples per second, by the decoder: headers of AAC may have half of it."""
        self.channels: int = self._first.layout.nb_channels
        self.frames = 1
        """Samples by the header: it is not asked."""
        tracks = len(file.streams.audio)
        self.note = f"{tracks} tracks of sound: number {file.streams.audio.index(stream) + 1} is read" * (tracks > 1)
        """What is odd about the file."""

    def blocks(self) -> Iterator[NDArray[np.float32]]:
        """Yield (T, channels) float32 samples with full scale at 1; raises Unusable."""
        parts: list[NDArray[np.float32]] = []
        size = 0
        for samples in self._samples():
            parts.append(samples)
            size += samples.size
            if size >= BLOCK:
                yield np.concatenate(parts)
                parts, size = [], 0
        if parts:
            yield np.concatenate(parts)

    def _samples(self) -> Iterator[NDArray[np.float32]]:
        frame, count, end = self._first, 0, None
        while frame is not None:
            if (frame.sample_rate, frame.layout.nb_channels) != (self.rate, self.channels):
                raise Unusable(f"changes its rate or its channels after {count / self.rate:.1f} s", _CURE)
            begin = float(frame.pts * frame.time_base) if self._timed and frame.pts is not None else None
            if begin is not None and end is not None and begin - end > _LONGEST_GAP:
                raise _gap(begin - end, count / self.rate)
            end = begin + frame.samples / self.rate if begin is not None else None
            count += frame.samples
            yield _floats(frame)
            frame = next(self._frames, None)
        if count < self._expected:
            raise Unusable(f"is truncated: {count:,} of {self._expected:,} samples are there", "copy it again")


@contextmanager
def opened(binary: BinaryIO, kind: str, compressed: bool = False) -> Iterator[Media]:
    """Open the sound of a file.

    kind: FFmpeg's name of its container   compressed: whether plain samples are refused
    raises Unusable if it has none, or none that can be decoded
    """
    import av  # a tenth of a second and 200 MB of address space, for few corpora

    av.logging.set_level(None)
    try:
        with av.open(_File(binary), format=kind, metadata_errors="replace") as file:
            stream = _stream(file)
            if compressed and stream.codec_context.name.startswith("pcm_"):  # which libsndfile would have read
                raise Unusable("cannot be decoded (its header is damaged)", _CURE)
            stream.codec_context.thread_count = 1
            stream.codec_context.options = {"err_detect": "crccheck+explode"}
            yield Media(file, stream, kind)
    except MemoryError:
        raise
    except av.FFmpegError as error:
        raise Unusable(f"cannot be decoded ({_words(error)})", _CURE) from None


def _decoded(file: Any, stream: Any) -> Iterator[Any]:
    """Yield the frames of a stream; raises Unusable at a packet that is not whole."""
    decoder = _decoder(stream)
    for packet in file.demux(stream):
        for frame in decoder.decode(packet):
            if packet.is_corrupt or frame.is_corrupt:
                raise Unusable("is damaged or cut off: a packet of its sound is not whole", _CURE)
            yield frame


def _decoder(stream: Any) -> Any:
    """Return the decoder of a stream; of AMR one that knows pauses, for which FFmpeg's own gives up."""
    import av

    name = f"libopencore_{stream.codec_context.name}"
    if name not in av.codecs_available:
        return stream.codec_context
    decoder: Any = av.CodecContext.create(name, "r")
    decoder.sample_rate, decoder.layout = stream.codec_context.sample_rate, "mono"
    return decoder


def _stream(file: Any) -> Any:
    """Return the track that players play: the one that is marked, else the first."""
    tracks = file.streams.audio
    if not tracks:
        kind = "a video without sound" if file.streams.video else "a file without a track of sound"
        raise Unusable(f"is {kind}", "give the recording with its sound, or take the utterance out")
    marked = [track for track in tracks if track.disposition.default]
    track = (marked or tracks)[0]
    if _tag(track) in _ENCRYPTED:
        raise locked()
    if track.codec_context is None:
        raise Unusable("is not decoded: no decoder here knows how its sound is written", _CURE)
    return track


def _tag(track: Any) -> str:
    try:
        return track.codec_context.codec_tag if track.codec_context else ""
    except UnicodeDecodeError:
        return ""


def _gap(seconds: float, position: float) -> Unusable:
    cure = (
        "copy it again; if its recorder left out silence, fill it, as "
        "`ffmpeg -i OLD -af aresample=async=1 NEW.wav` does"
    )
    return Unusable(f"lacks {seconds:.1f} s of its sound after {position:.1f} s, by its time stamps", cure)


def _floats(frame: Any) -> NDArray[np.float32]:
    """Return (T, channels) samples of a frame, whose array is (channels, T), or (1, T * channels)."""
    name = frame.format.name.removesuffix("p")
    values = frame.to_ndarray()
    values = values.T if frame.format.is_planar else values.reshape(-1, frame.layout.nb_channels)
    if name in ("flt", "dbl"):
        return values.astype(np.float32)
    middle = 128.0 if name == "u8" else 0.0
    return ((values.astype(np.float64) - middle) / _FULL_SCALE[name]).astype(np.float32)


def _words(error: Any) -> str:
    reason = error.log[2].strip() if error.log else ""
    return (reason or error.strerror or str(error)).rstrip(".")
