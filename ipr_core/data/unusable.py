"""Files that cannot be used: the problem and its cure; and what lies under the name of a sound and is none."""

from __future__ import annotations


class Unusable(Exception):
    """An audio file that cannot be used.

    problem: the predicate of a sentence about it, details after a colon   cure: what to do
    """

    def __init__(self, problem: str, cure: str):
        super().__init__(problem, cure)
        self.problem, self.cure = problem, cure


_CONVERT = "convert it to wav, as `ffmpeg -i OLD NEW.wav` does"
_AGAIN = "download it again"
_UNPACK = "unpack it, and name the files in it"
_MAGIC = (
    (0, b"version https://git-lfs", "is a git-lfs pointer in place of the sound", "run `git lfs pull` in its folder"),
    (0, b"/annex/objects/", "is a git-annex pointer in place of the sound", "run `git annex get` in its folder"),
    (0, b"PK\3\4", "is a zip archive", _UNPACK),
    (0, b"\x1f\x8b", "is a gzip archive", _UNPACK),
    (0, b"7z\xbc\xaf\x27\x1c", "is a 7z archive", _UNPACK),
    (0, b"Rar!\x1a\7", "is a rar archive", _UNPACK),
    (0, b"BZh", "is a bzip2 archive", _UNPACK),
    (0, b"\xfd7zXZ\0", "is an xz archive", _UNPACK),
    (0, b"\x28\xb5\x2f\xfd", "is a zstd archive", _UNPACK),
    (257, b"ustar", "is a tar archive", _UNPACK),
    (0, b"%PDF", "is a PDF document", _AGAIN),
    (0, b"\x89PNG", "is a picture (PNG)", "give the path of the sound"),
    (0, b"\xff\xd8\xff", "is a picture (JPEG)", "give the path of the sound"),
    (0, b"GIF8", "is a picture (GIF)", "give the path of the sound"),
    (0, b"\x93NUMPY", "is a numpy array", "write it as wav, for instance by soundfile.write"),
    (0, b"\x89HDF", "is an HDF5 file", "write its sound as wav"),
    (0, b"\x7fELF", "is a program", "give the path of the sound"),
    (0, b"SQLite format", "is a database (SQLite)", "give the path of the sound"),
    (0, b"PAR1", "is a Parquet table", "give the path of the sound"),
    (0, b"#!AMR", "is AMR of several channels", _CONVERT),
    (0, b"#!SILK", "is SILK, as messengers write it", _CONVERT),
    (0, b"\2#!SILK", "is SILK, as messengers write it", _CONVERT),
    (0, b"MAC ", "is Monkey's Audio (ape)", _CONVERT),
    (0, b"ajkg", "is Shorten (shn)", _CONVERT),
    (0, b".RMF", "is RealAudio or RealVideo", _CONVERT),
    (0, b"\0\0\1\xba", "is a video (MPEG), which does not say whether all of it is there", _CONVERT),
    (0, b"DSD ", "is DSD (dsf)", _CONVERT),
    (0, b"MThd", "is a MIDI score", "give the path of the sound"),
    (8, b"WEBP", "is a picture (WebP)", "give the path of the sound"),
)
_TEXTS = (
    (("<!doctype html", "<html", "<head", "<body"), "is an HTML page, as a server sends it in place of a file", _AGAIN),
    (("<?xml", "<error", "<"), "is an XML document", _AGAIN),
    (("{", "["), "is a JSON document", _AGAIN),
    (("outs:", "md5:"), "is a DVC pointer in place of the sound", "run `dvc pull` in its folder"),
)


def refuse_foreign(head: bytes) -> None:
    """Raise Unusable if a file's first bytes are those of something that is not decoded here."""
    for position, magic, problem, cure in _MAGIC:
        if head[position : position + len(magic)] == magic:
            raise Unusable(problem, cure)
    if not head.strip(b"\0"):
        raise Unusable("begins with zero bytes only, as of a download or a copy that broke off", "copy it again")
    text = _text(head)
    if text is not None:
        start = text.lstrip("\ufeff \t\r\n").lower()
        for starts, problem, cure in _TEXTS:
            if start.startswith(starts):
                raise Unusable(problem, cure)
        raise Unusable(f"is a text: it begins {' '.join(text.split())[:40]!r}", "give the path of the sound")


def _text(head: bytes) -> str | None:
    """Return a file's beginning as text, None if it is none."""
    encoding = "utf-16" if head[:2] in (b"\xff\xfe", b"\xfe\xff") and head[2:4] not in (b"", b"\0\0") else "utf-8"
    text = head.decode(encoding, "replace").rstrip("\ufffd")  # the last character may be cut
    printable = sum(letter.isprintable() or letter in "\t\r\n\ufeff" for letter in text)
    return text if text and "\ufffd" not in text and printable == len(text) else None
