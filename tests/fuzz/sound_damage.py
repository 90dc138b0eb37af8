"""Damages of an audio file: of its bytes, its header, its sound, or of what it is at all."""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.random import Generator

from fuzz.sounds import CHECKED, MEASURED, MOST_CHANNELS, RECORDINGS, UNREAD, USUAL, Sound


@dataclass(frozen=True)
class Damaged:
    """A damaged file; the last three as in `trials.Damage`."""

    name: str
    sound: Sound
    content: bytes | Callable[[Path], object]
    """Its bytes, or a function that makes something other than a file."""
    harmless: bool = False
    invisible: bool = False
    grave: bool = False

    def write(self, path: Path) -> None:
        if isinstance(self.content, bytes):
            path.write_bytes(self.content)
        else:
            self.content(path)


def intact(sound: Sound, draw: Generator) -> Damaged:
    readable = sound.container in USUAL and sound.subtype not in UNREAD
    return Damaged("intact", sound, sound.data, harmless=readable, invisible=True)


# Of the bytes.


def cut(sound: Sound, draw: Generator) -> Damaged:
    """Cut the end off. A cut of an MP3 that loses little cannot be visible: the length in its header is an estimate."""
    data = sound.data
    share = draw.uniform(0.02, 0.98)
    visible = sound.container in MEASURED and not (sound.container == "MP3" and share > 0.9)
    return Damaged("cut", sound, data[: int(share * len(data))], invisible=not visible)


def cut_a_little(sound: Sound, draw: Generator) -> Damaged:
    return Damaged("cut by bytes", sound, sound.data[: -int(draw.integers(1, 45))], invisible=True)


def flip(sound: Sound, draw: Generator) -> Damaged | None:
    """Flip bits in the sound.

    Not of floats, which become so large that each reader cuts them off in its own way, nor of AMR, of which each
    decoder makes another noise.
    """
    if sound.subtype in ("FLOAT", "DOUBLE") or sound.container == "AMR":
        return None
    data = _array(sound)
    begin = min(len(data) - 1, 512)
    index = draw.integers(begin, len(data), draw.integers(1, 65))
    data[index] ^= (1 << draw.integers(0, 8, len(index))).astype(np.uint8)
    return Damaged("flipped bits", sound, data.tobytes(), invisible=sound.container not in CHECKED)


def flip_in_header(sound: Sound, draw: Generator) -> Damaged | None:
    if sound.container == "AMR":
        return None
    data = _array(sound)
    index = draw.integers(0, min(64, len(data)), draw.integers(1, 5))
    data[index] ^= (1 << draw.integers(0, 8, len(index))).astype(np.uint8)
    return Damaged("flipped header", sound, data.tobytes(), invisible=True)


def blank(sound: Sound, draw: Generator) -> Damaged | None:
    """Set a block to zero, as a disk or a broken copy does."""
    if sound.container == "AMR":
        return None
    data = _array(sound)
    begin = int(draw.integers(min(512, len(data) - 1), len(data)))
    data[begin : begin + int(draw.integers(256, 4097))] = 0
    return Damaged("zeroed block", sound, data.tobytes(), invisible=sound.container not in CHECKED)


def shift(sound: Sound, draw: Generator) -> Damaged:
    """Insert or remove bytes in the middle, as a text transfer does."""
    data = sound.data
    middle, count = int(draw.integers(len(data) // 4, len(data))), int(draw.integers(1, 300))
    if draw.random() < 0.5:
        return Damaged("inserted bytes", sound, data[:middle] + draw.bytes(count) + data[middle:], invisible=True)
    visible = sound.container in CHECKED
    return Damaged("removed bytes", sound, data[:middle] + data[middle + count :], invisible=not visible)


def append(sound: Sound, draw: Generator) -> Damaged:
    tail = [draw.bytes(200), b"TAG" + bytes(125), bytes(5000), b"<html>too many requests</html>"][draw.integers(4)]
    return Damaged("something behind it", sound, sound.data + tail, invisible=sound.container not in CHECKED)


# Of the header.


def wrong_length(sound: Sound, draw: Generator) -> Damaged | None:
    """Let the header promise another number of bytes of sound than there are."""
    data = bytearray(sound.data)
    field = _length_field(sound.container, bytes(data))
    if field is None:
        return None
    offset, form = field
    (true,) = struct.unpack_from(form, data, offset)
    name = str(draw.choice(["44 more", "10,000 more", "half", "none", "all ones", "one byte"]))
    value = {"44 more": true + 44, "10,000 more": true + 10_000, "half": true // 2, "none": 0, "one byte": 1}
    struct.pack_into(form, data, offset, value.get(name, (1 << 31) - 1 if form[-1] in "IQ" else -1))
    harmless = sound.container in ("WAV", "WAVEX") and name in ("44 more", "none")
    return Damaged(f"length: {name}", sound, bytes(data), harmless=harmless)


def wrong_rate(sound: Sound, draw: Generator) -> Damaged | None:
    """Let the header have a rate that no recording has, or another one."""
    value = int(draw.choice([0, 1, 7, 100, 4_000_037, 2_147_483_647, 4_294_967_295, 22_050, 44_101, 192_000]))
    return _with_field(sound, f"rate {value:,}", "rate", value, 1000 <= value <= 400_000)


def wrong_channels(sound: Sound, draw: Generator) -> Damaged | None:
    value = int(draw.choice([0, 3, 64, 255, 1024, 65_535]))
    return _with_field(sound, f"channels {value}", "channels", value, value <= MOST_CHANNELS)


def _with_field(sound: Sound, name: str, field: str, value: int, invisible: bool) -> Damaged | None:
    data = bytearray(sound.data)
    if sound.container in ("WAV", "WAVEX", "RF64"):
        begin = data.index(b"fmt ")
        offset, form = {"rate": (begin + 12, "<I"), "channels": (begin + 10, "<H")}[field]
    elif sound.container == "AU":
        offset, form = {"rate": (16, ">I"), "channels": (20, ">I")}[field]
    else:
        return None
    struct.pack_into(form, data, offset, value)
    return Damaged(name, sound, bytes(data), invisible=invisible)


def _length_field(container: str, data: bytes) -> tuple[int, str] | None:
    if container in ("WAV", "WAVEX"):
        return data.index(b"data") + 4, "<I"
    if container == "AU":
        return 8, ">I"
    if container == "AIFF":
        return data.index(b"SSND") + 4, ">I"
    if container == "CAF":
        return data.index(b"data") + 4, ">q"
    if container == "RF64":
        return data.index(b"ds64") + 16, "<Q"
    return (data.index(b"data\xf3\xac") + 16, "<Q") if container == "W64" else None


# Of the sound.


def silence(sound: Sound, draw: Generator) -> Damaged:
    """Return what has no sound, or none once it is mono and of 16 bit."""
    kind = str(draw.choice(["zeros", "faint", "antiphase", "a step"]))
    wave = sound.samples[:, :1]
    samples = {
        "zeros": np.zeros_like(sound.samples), "faint": sound.samples * 1e-6, "antiphase": np.hstack([wave, -wave]),
        "a step": np.full_like(sound.samples, 0.25),
    }[kind]  # fmt: skip
    silent, exact = kind != "a step", kind in ("faint", "antiphase")
    return _with_samples(f"silence: {kind}", sound, samples, exact, grave=silent, invisible=not silent)


def loud(sound: Sound, draw: Generator) -> Damaged:
    """Return samples beyond full scale, or that are no numbers."""
    kind = str(draw.choice(["as integers", "NaN", "infinite", "all infinite"]))
    samples = sound.samples.copy()
    index = draw.integers(len(samples), size=draw.integers(1, 5))
    if kind == "as integers":
        samples *= 32768
    elif kind == "all infinite":
        samples[:] = np.inf
    else:
        samples[index] = np.nan if kind == "NaN" else -np.inf
    return _with_samples(f"samples: {kind}", sound, samples, exact=True, grave=True)


def clipped(sound: Sound, draw: Generator) -> Damaged:
    return _with_samples(
        "clipped", sound, np.clip(sound.samples * draw.uniform(1.5, 40), -1, 1), exact=False, invisible=True
    )


def short(sound: Sound, draw: Generator) -> Damaged:
    count = int(draw.integers(0, sound.rate // 12))
    return _with_samples("short", sound, sound.samples[:count], exact=False, grave=True)


def long(sound: Sound, draw: Generator) -> Damaged | None:
    """Return minutes in a few kilobytes; rarely, since it takes long."""
    if draw.random() < 0.7:
        return None
    samples = np.zeros((8000 * int(draw.integers(100, 400)), 1))
    samples[::8000] = 0.5
    return Damaged("long", flac := Sound(samples, 8000, "FLAC", "PCM_16"), flac.data, invisible=True)


def odd_shape(sound: Sound, draw: Generator) -> Damaged | None:
    """Return the sound at a rate or of channels that few recordings have."""
    channels, rate = int(draw.choice([1, 3, 5, 8, 24])), int(draw.integers(8000, 200_000))
    shape = Sound(np.repeat(sound.samples[:, :1], channels, axis=1), rate, sound.container, sound.subtype)
    try:
        return Damaged("odd rate or channels", shape, shape.data, invisible=True)
    except ValueError:
        return None


def _with_samples(name: str, sound: Sound, samples: np.ndarray, exact: bool, **properties: bool) -> Damaged:
    """Write samples; `exact`, or where the container refuses them, as WAV of floats."""
    damaged = sound.with_samples(samples)
    if exact or sound.container in ("OGG", "MP3", "XI", *RECORDINGS):  # which keep no exact silence
        damaged = sound.with_samples(samples, "WAV", "FLOAT")
    try:
        return Damaged(name, damaged, damaged.data, **properties)
    except ValueError:
        damaged = sound.with_samples(samples, "WAV", "FLOAT")
        return Damaged(name, damaged, damaged.data, **properties)


# Of what it is.

POINTER = b"version https://git-lfs.github.com/spec/v1\noid sha256:" + b"ab" * 32 + b"\nsize 84012\n"
FOREIGN = {
    "empty": b"", "text": b"speaker 1: hello\n" * 40, "a web page": b"<!DOCTYPE html><html><h1>404</h1></html>",
    "a picture": b"\x89PNG\r\n\x1a\n" + bytes(500), "a pointer of git-lfs": POINTER,
    "a zip": b"PK\x03\x04" + bytes(300),
    "m4a": b"\0\0\0\x20ftypM4A " + bytes(400), "webm": b"\x1aE\xdf\xa3" + bytes(400), "zeros": bytes(40_000),
    "RIFF of a film": b"RIFF\0\0\x10\0AVI LIST" + bytes(400), "an archive": b"\x1f\x8b\x08" + bytes(300),
    "text of UTF-16": "wave\n".encode("utf-16") * 50, "a header alone": b"RIFF\x24\0\0\0WAVE",
}  # fmt: skip


def foreign(sound: Sound, draw: Generator) -> Damaged:
    kind = str(draw.choice([*FOREIGN, "noise"]))
    return Damaged(
        f"foreign: {kind}", sound, FOREIGN.get(kind) if kind in FOREIGN else draw.bytes(20_000), invisible=True
    )


def no_file(sound: Sound, draw: Generator) -> Damaged:
    name = str(draw.choice([*_OBJECTS]))
    return Damaged(f"no file: {name}", sound, _OBJECTS[name])


def _socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(os.path.relpath(path))  # a whole path may be too long for a socket


_OBJECTS: dict[str, Callable[[Path], object]] = {
    "a folder": Path.mkdir, "a pipe": os.mkfifo, "a socket": _socket, "nothing": lambda path: None,
    "a link to nothing": lambda path: path.symlink_to("gone"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "endless zeros": lambda path: path.symlink_to("/dev/zero"),
    "the empty device": lambda path: path.symlink_to("/dev/null"),
}  # fmt: skip


def _array(sound: Sound) -> np.ndarray:
    return np.frombuffer(sound.data, np.uint8).copy()


DAMAGES = (
    intact, intact, cut, cut, cut, cut_a_little, flip, flip, flip_in_header, flip_in_header, blank, shift, append,
    wrong_length, wrong_length, wrong_rate, wrong_channels, silence, loud, clipped, short, long, odd_shape, foreign,
    no_file,
)  # fmt: skip
"""Drawn from with equal chances."""
