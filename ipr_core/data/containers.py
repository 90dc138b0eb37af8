"""Containers of phones, browsers and cameras by their headers: which one a file is, and whether all of it is there.

Decoders read what is left of such a file without an error. Each consists of pieces that say how long they are: the last
one has to end where the file does. A file that was cut just between two pieces of an AMR, ADTS or FLV file, or of a
recording whose length the browser did not write, cannot be told from a shorter one.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import BinaryIO, NamedTuple

from ipr_core.data.unusable import Unusable

_ASF = bytes.fromhex("3026b2758e66cf11")
_ASF_LOCKED = bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e")  # the object that says how it is encrypted
_AMR = (12, 13, 15, 17, 19, 20, 26, 31, 5, 0, 0, 0, 0, 0, 0, 0)
"""Bytes behind the first of a narrow-band frame, by its type (RFC 4867)."""
_AMR_WIDE = (17, 23, 32, 36, 40, 46, 50, 58, 60, 5, 0, 0, 0, 0, 0, 0)
_DAMAGED = -1
_HEAD = 8192  # bytes

_PARENTS = (b"\x18\x53\x80\x67", b"\x1f\x43\xb6\x75")  # a segment and a cluster
_ELEMENTS = (
    *_PARENTS, b"\x1aE\xdf\xa3", b"\x11\x4d\x9b\x74", b"\x15\x49\xa9\x66", b"\x16\x54\xae\x6b", b"\x1c\x53\xbb\x6b",
    b"\x19\x41\xa4\x69", b"\x10\x43\xa7\x70", b"\x12\x54\xc3\x67", b"\xec", b"\xbf", b"\xe7", b"\xa3", b"\xa0", b"\xa7",
    b"\xab", b"\xaf", b"\x58\x54",
)  # fmt: skip
"""Names of what WebM has in a file, a segment and a cluster (RFC 9559)."""

Length = Callable[[bytes], int]
"""(the first bytes of a piece) → all its bytes, its head's too; 0: up to the file's end; -1: it is none."""


class Container(NamedTuple):
    """A container, as PyAV reads it."""

    format: str
    """FFmpeg's name of its reader."""
    begin: int
    """Bytes before the first piece."""
    head: int
    """Bytes of a piece that say how long it is."""
    length: Length
    index_name: bytes = b""
    """Name of a piece without which nothing can be read, written when a recording ends."""


def container(file: BinaryIO) -> Container | None:
    """Return the container of an open file, None if it is none of these."""
    file.seek(0)
    head = file.read(_HEAD)
    if head[:1] < b"\t" and head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide"):
        return Container("mov", 0, 16, _of_box, b"moov")
    if head[:9] == b"#!AMR-WB\n":
        return Container("amr", 9, 1, lambda piece: _of_amr(piece, _AMR_WIDE))
    if head[:6] == b"#!AMR\n":
        return Container("amr", 6, 1, lambda piece: _of_amr(piece, _AMR))
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return Container("avi", 0, 8, _of_riff)
    begin = after_id3(head)
    file.seek(begin)
    if _is_adts(file.read(7)):
        return Container("aac", begin, 7, _of_adts)
    return next((kind for magic, kind in _OTHERS.items() if head.startswith(magic)), None)


def after_id3(head: bytes) -> int:
    """Return how many bytes of tags come before the sound.   head: the file's first ten bytes, or more"""
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    return 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:10], (21, 14, 7, 0), strict=True))


def check_whole(file: BinaryIO, size: int, kind: Container) -> None:
    """Raise Unusable if a file was cut off, is damaged between its pieces, or is locked."""
    file.seek(0)
    if kind.format == "asf" and _ASF_LOCKED in file.read(_HEAD):
        raise locked()
    position, names = kind.begin, set()
    while position < size:
        file.seek(position)
        piece = file.read(kind.head)
        if piece[:3] == b"TAG" or piece[:4] in (b"APET", b"LYRI"):  # tags behind the sound
            break
        length = kind.length(piece)
        if length == _DAMAGED and not piece.strip(b"\0"):
            break  # zeros that fill up
        if length == _DAMAGED and size - position < kind.head:
            raise Unusable("is truncated: its last part is not whole", "copy it again")
        if length == _DAMAGED:
            raise Unusable(f"is damaged: byte {position:,} begins no part of it", "copy it again")
        names.add(piece[4:8])
        position = position + length if length else size
    if position > size:
        raise Unusable(f"is truncated: its header promises {position - size:,} bytes more than it has", "copy it again")
    if kind.index_name and kind.index_name not in names:
        problem = "is truncated: it has no index, as of a recording that was not ended"
        raise Unusable(problem, "copy it again; if there is no more of it, mend it with a program such as untrunc")


def locked() -> Unusable:
    """Return the fault of a file whose sound is encrypted."""
    return Unusable("is encrypted (DRM)", "give a copy that is not")


def _of_box(piece: bytes) -> int:
    """Of MP4 and QuickTime."""
    if len(piece) < 8 or not piece[4:8].isascii() or not piece[4:8].strip(b"\0"):
        return _DAMAGED
    length = int.from_bytes(piece[:4], "big")
    if length == 1:
        length = int.from_bytes(piece[8:16], "big")
    return length if length == 0 or length >= 8 else _DAMAGED


def _of_element(piece: bytes) -> int:
    """Of WebM and Matroska; segments and clusters are gone into."""
    name = 9 - piece[0].bit_length()
    if piece[:name] not in _ELEMENTS or not piece[name : name + 1].strip(b"\0"):
        return _DAMAGED
    width = 9 - piece[name].bit_length()
    if len(piece) < name + width:
        return name + width
    length = int.from_bytes(piece[name : name + width], "big") - (1 << 7 * width)
    unknown = length == (1 << 7 * width) - 1
    return name + width + (0 if unknown or piece[:name] in _PARENTS else length)


def _of_object(piece: bytes) -> int:
    """Of WMA and WMV."""
    length = int.from_bytes(piece[16:24], "little")
    return length if len(piece) == 24 and length >= 24 else _DAMAGED


def _of_riff(piece: bytes) -> int:
    """Of AVI, which has a chunk, or one for each gigabyte."""
    if len(piece) < 8 or piece[:4] not in (b"RIFF", b"JUNK", b"idx1"):
        return _DAMAGED
    length = struct.unpack_from("<I", piece, 4)[0]
    if piece[:4] == b"RIFF" and not length:
        raise Unusable("is truncated: its length was never written, as of a recording that was not ended", _AGAIN)
    return 8 + length + length % 2


def _of_tag(piece: bytes) -> int:
    """Of FLV."""
    return 15 + int.from_bytes(piece[1:4], "big") if len(piece) == 11 and piece[0] in (8, 9, 18) else _DAMAGED


def _of_amr(piece: bytes, sizes: tuple[int, ...]) -> int:
    return _DAMAGED if piece[0] & 0x83 else 1 + sizes[piece[0] >> 3 & 15]


def _is_adts(piece: bytes) -> bool:
    return len(piece) >= 7 and piece[0] == 0xFF and piece[1] & 0xF6 == 0xF0  # an MP3's layer is not 0


def _of_adts(piece: bytes) -> int:
    length = (piece[3] & 3) << 11 | piece[4] << 3 | piece[5] >> 5 if _is_adts(piece) else 0
    return length if length >= 7 else _DAMAGED


def _of_wavpack(piece: bytes) -> int:
    return 8 + int.from_bytes(piece[4:8], "little") if piece[:4] == b"wvpk" and len(piece) == 8 else _DAMAGED


_AGAIN = "copy it again, or convert it to wav, as `ffmpeg -i OLD NEW.wav` does"
_OTHERS = {
    b"\x1aE\xdf\xa3": Container("matroska", 0, 12, _of_element),
    _ASF: Container("asf", 0, 24, _of_object),
    b"FLV\1": Container("flv", 13, 11, _of_tag),
    b"wvpk": Container("wv", 0, 8, _of_wavpack),
    b"TTA1": Container("tta", 0, 4, lambda piece: 0),  # each frame has a checksum
}
