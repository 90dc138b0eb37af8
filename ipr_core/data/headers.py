"""Audio files by their headers alone: whether a file is audio, and whether all its sound is there.

Only a few bytes of a file are read, and no decoder sees them. libsndfile reads the rest of a file that was cut off
without an error, and nothing of one whose recorder died before it wrote the length.
"""

from __future__ import annotations

import math
import os
import struct
import zlib
from typing import BinaryIO, NamedTuple

from ipr_core.data import containers
from ipr_core.data.unusable import Unusable, refuse_foreign

EXCESS = 128
"""Bytes of sound that a header may promise beyond the file's end: phones count their header's 44 bytes too."""

_STREAMED = 0x7FFF_0000  # 32-bit lengths from here on stand for "unknown", as programs write them into a pipe
_ENDLESS = 2**62  # the same of 64-bit lengths
_NO_LENGTH = "no length, as of a recording that was not ended: all that is there is read"
_TOO_LONG = "a length some bytes beyond its end: it is read to its end"
_LEFT_OUT = "a length that leaves out bytes behind its sound: they are not read"
_MOST_CHUNKS = 10_000
_MIRRORED = bytes(int(f"{byte:08b}"[::-1], 2) for byte in range(256))
_FRAME = 1_500  # bytes of the longest MP3 frame


class Extent(NamedTuple):
    """Where the sound of a file lies."""

    offset: int
    """Bytes before the first sample."""
    length: int
    """Bytes of sound that are there."""
    mend: tuple[int, bytes] | None = None
    """Position and bytes of the right length, where the decoder would not read the header's."""
    note: str = ""
    """An odd length in the header, and its reading."""
    plain: tuple[int, int] | None = None
    """Rate and channels of 16-bit PCM in a little-endian WAV, whose bytes are the samples."""


class _Container(NamedTuple):
    """How a family of formats writes its chunks."""

    first: int
    """Bytes before the first chunk."""
    name: int
    """Bytes of a chunk's name."""
    size: str
    """A chunk's length, as `struct` has it."""
    align: int
    """Chunks begin at multiples of so many bytes from the last one's begin."""
    sound: bytes
    """Name of the chunk with the samples."""
    lead: int = 0
    """Bytes of that chunk before the first sample; its length counts them."""
    own_head: int = 0
    """Bytes of a chunk's own head that its length counts."""


class _Length(NamedTuple):
    """A header's field for the length of the samples."""

    position: int
    form: str
    """As `struct` has it."""
    claim: int

    @property
    def unknown(self) -> bool:
        """Whether it stands for "unknown"."""
        return not -1 < self.claim < (_STREAMED if self.form.endswith("I") else _ENDLESS)


_W64 = bytes.fromhex("f3acd3118cd100c04f8edb8a")
_RIFF = _Container(12, 4, "<I", 2, b"data")
_CONTAINERS = {
    (b"RIFF", b"WAVE"): _RIFF,
    (b"RF64", b"WAVE"): _RIFF,
    (b"BW64", b"WAVE"): _RIFF,
    (b"RIFX", b"WAVE"): _Container(12, 4, ">I", 2, b"data"),
    (b"FORM", b"AIFF"): _Container(12, 4, ">I", 2, b"SSND", lead=8),
    (b"FORM", b"AIFC"): _Container(12, 4, ">I", 2, b"SSND", lead=8),
    (b"riff", b"wave"): _Container(40, 16, "<Q", 8, b"data" + _W64, own_head=24),
    (b"caff", b"desc"): _Container(8, 4, ">q", 1, b"data", lead=4),
}


def extent(path: str) -> Extent | None:
    """Return where the samples of a file lie, None of a compressed or unknown one.

    raises Unusable if the file is not whole, or no audio
    """
    size = os.path.getsize(path)
    with open(path, "rb") as file:
        head = file.read(4096)
        container = _CONTAINERS.get((head[:4], head[8:12])) or _CONTAINERS.get((head[:4], head[24:28]))
        if container:
            return _of_chunks(file, size, container)
        if head[:4] in (b".snd", b"dns."):
            return _of_au(file, size, head)
        if head[:7] == b"NIST_1A":
            return _of_sphere(head, size)
        if head[:4] == b"OggS":
            _check_ogg(file)
        elif kind := containers.container(file):
            containers.check_whole(file, size, kind)
        elif head[:4] != b"fLaC":
            refuse_foreign(head)
            return _of_mp3(file, size, head)
    return None


def _of_chunks(file: BinaryIO, size: int, container: _Container) -> Extent | None:
    """Go through a file's chunks up to its samples."""
    head = container.name + struct.calcsize(container.size)
    position, plain, long_length = container.first, None, 0
    for _ in range(_MOST_CHUNKS):
        if position >= size:
            break
        file.seek(position)
        if len(chunk := file.read(head + 40)) < head:
            break
        claim = struct.unpack_from(container.size, chunk, container.name)[0]
        if chunk.startswith(b"fmt ") and container is _RIFF and len(chunk) >= 24:
            plain = _plain(chunk[8:])
        elif chunk.startswith(b"ds64"):
            long_length = position + 16
        elif chunk.startswith(container.sound):
            field = _Length(position + container.name, container.size, claim)
            if long_length and claim == 0xFFFF_FFFF:
                file.seek(long_length)
                field = _Length(long_length, "<Q", int.from_bytes(file.read(8), "little"))
            return _measured(file, size, container, position + head, field)._replace(plain=plain)
        position += max(claim, head) if container.own_head else head + max(claim, 0)
        position += -position % container.align
    return None


def _plain(form: bytes) -> tuple[int, int] | None:
    """Return rate and channels of a WAV's format chunk that says 16-bit PCM and nothing odd."""
    tag, channels, rate, _, block, bits = struct.unpack_from("<HHIIHH", form)
    return (rate, channels) if (tag, bits, block) == (1, 16, 2 * channels) else None


def _measured(file: BinaryIO, size: int, container: _Container, begin: int, field: _Length) -> Extent:
    """Compare the length of the samples that a header promises with the file.

    begin: of the contents of the chunk of samples
    """
    offset, aside = begin + container.lead, container.lead + container.own_head
    present, length, note = max(0, size - offset), field.claim - aside, ""
    if field.unknown:
        length = present
    elif length <= 0 and present and not _is_chunk(file, container, offset + max(0, length), size):
        length, note = present, _NO_LENGTH
    elif length > present + EXCESS:
        raise _cut(f"its header promises {length - present:,} bytes more than it has")
    elif length > present:
        length, note = present, _TOO_LONG
    elif present - length > EXCESS and not _is_chunk(file, container, offset + length, size):
        note = _LEFT_OUT
    length = max(0, length)
    whole = length + aside == field.claim and not (container.own_head and length < present)
    return Extent(offset, length, None if whole else (field.position, struct.pack(field.form, length + aside)), note)


def _is_chunk(file: BinaryIO, container: _Container, position: int, size: int) -> bool:
    """Tell whether another chunk begins here, or the file ends but for a byte that fills up."""
    position += -position % container.align
    file.seek(position)
    head = file.read(container.name + struct.calcsize(container.size))
    if len(head) <= container.align:
        return True
    if len(head) < container.name + struct.calcsize(container.size):
        return False
    length = struct.unpack_from(container.size, head, container.name)[0]
    return all(32 <= byte < 127 for byte in head[:4]) and 0 <= length <= size - position


def _of_au(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    order = ">" if head[:4] == b".snd" else "<"
    if len(head) < 24:
        return None
    offset, claim = struct.unpack_from(order + "II", head, 4)
    return _measured(file, size, _Container(0, 4, order + "I", 1, b""), offset, _Length(8, order + "I", claim))


def _of_sphere(head: bytes, size: int) -> Extent | None:
    """Return where the samples of a NIST SPHERE file lie, None if it does not say."""
    fields = {words[0]: words[2] for line in head[:1024].split(b"\n") if len(words := line.split()) == 3}
    try:
        offset = int(head[8:16])
        length = math.prod(int(fields[name]) for name in (b"sample_count", b"sample_n_bytes", b"channel_count"))
    except (KeyError, ValueError):
        return None
    coding = fields.get(b"sample_coding", b"").decode("latin-1")
    if "embedded" in coding:
        raise Unusable(f"is compressed ({coding})", "convert it to wav, as `sph2pipe -f wav OLD NEW.wav` does")
    if offset + length == size:
        return None
    if offset + length > size:
        raise _cut(f"its header promises {offset + length - size:,} bytes more than it has")
    return Extent(offset, length, (0, head[:8]), _LEFT_OUT)  # libsndfile would read all


def _check_ogg(file: BinaryIO) -> None:
    """Raise Unusable if a page of an Ogg file is cut, damaged or missing, or the last one does not end the stream.

    Decoders pass over such pages without an error.
    """
    file.seek(0)
    numbers: dict[bytes, int] = {}
    number, ended = 0, False
    while (head := file.read(27))[:4] == b"OggS":
        table = file.read(head[26]) if len(head) == 27 else b""
        page = head + table + file.read(sum(table))
        if len(head) < 27 or len(page) < 27 + head[26] + sum(table):
            raise _cut("its last page is not whole")
        serial, number = page[14:18], int.from_bytes(page[18:22], "little")
        if _ogg_sum(page) != page[22:26] or number != numbers.get(serial, number - 1) + 1:
            raise Unusable(f"is damaged: page {number} of its sound is not as it was written", "copy it again")
        numbers[serial], ended = number, bool(page[5] & 4)
    if not ended:
        raise _cut(f"page {number}, the last one that can be read, does not end the stream")


def _ogg_sum(page: bytes) -> bytes:
    """Return the checksum that a page has to have: zlib's, with all bits the other way round."""
    mirrored = (page[:22] + bytes(4) + page[26:]).translate(_MIRRORED)
    return (zlib.crc32(mirrored, 0xFFFF_FFFF) ^ 0xFFFF_FFFF).to_bytes(4, "big").translate(_MIRRORED)


def _of_mp3(file: BinaryIO, size: int, head: bytes) -> Extent | None:
    """Compare the length in an MP3's first frame, where Xing and LAME write it, with the file."""
    begin = containers.after_id3(head)
    file.seek(begin)
    frame = file.read(_FRAME)
    mark = max(frame.find(b"Xing", 0, 64), frame.find(b"Info", 0, 64))
    if mark < 0 or len(frame) < mark + 16:
        return None
    flags = struct.unpack_from(">I", frame, mark + 4)[0]
    claim = struct.unpack_from(">I", frame, mark + (12 if flags & 1 else 8))[0] if flags & 2 else 0
    missing = begin + claim - size
    if missing > _FRAME:
        raise _cut(f"its first frame promises {missing:,} bytes more than it has")
    return Extent(begin, size - begin, None, _TOO_LONG) if missing > 0 else None


def _cut(reason: str) -> Unusable:
    cure = (
        "copy it again; if there is no more of it, write what there is to a new file, as `ffmpeg -i OLD NEW.wav` does"
    )
    return Unusable(f"is truncated: {reason}", cure)
