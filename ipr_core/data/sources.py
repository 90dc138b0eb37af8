"""Audio files made ready: checked, and decoded once into the cache if they have to be."""

from __future__ import annotations

import functools
import hashlib
import os
import stat
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from ipr_core.atomic import write, write_text
from ipr_core.config import SAMPLE_RATE
from ipr_core.data import cache, decoding, headers
from ipr_core.data.audio import check_channel, check_form
from ipr_core.data.headers import Extent
from ipr_core.data.loudness import SILENCE, is_silent, sounding
from ipr_core.data.source import DECODER, INT16, Source, stamp
from ipr_core.data.stamps import Stamps
from ipr_core.data.unusable import Unusable
from ipr_core.progress import Progress

_QUEUE = 4096  # files waiting for a thread
_T = TypeVar("_T")


def sources(files: list[tuple[str, int]], folder: Path, workers: int | None, progress: bool) -> list[Source | Unusable]:
    """Return every file's source, decoded if necessary, or the reason why there is none.

    What is known of a file that has not changed since is not looked for again, see `Stamps`. A limited number of files
    is queued at a time, so that a million of them take little memory.
    files: the path and the channel of each, see `Source.channel`   folder: of the cache   workers: threads
    raises CorpusError if the cache cannot be written
    """
    ready: list[Source | Unusable] = []
    with (
        cache.writable(folder),
        Stamps(folder) as stamps,
        ThreadPoolExecutor(workers) as pool,
        Progress(range(0), "Decoding", "file", len(files), progress) as bar,
    ):
        for begin in range(0, len(files), _QUEUE):
            part = files[begin : begin + _QUEUE]
            hits = stamps.recall(part)
            readings = pool.map(
                lambda file: _source(file[0], file[1], folder), [file for file in part if file not in hits]
            )
            for file in part:
                ready.append(hits.get(file) or next(readings))
                bar.update()
            fresh = [source for file, source in zip(part, ready[begin:], strict=True) if file not in hits]
            stamps.keep(source for source in fresh if isinstance(source, Source))
    return ready


def key(digest: str, start: float, end: float, channel: int = 0) -> str:
    """Return the name of a part of a file with these bytes, of one of its channels or of all.

    It does not depend on the decoder: corrections are found by it, and runs know their audio by it.
    """
    return _name(f"{digest} {start} {end} 1{_suffix(channel)}")


def _suffix(channel: int) -> str:
    """Return what tells a channel's names from those of the whole file, which are as old as the cache."""
    return f" channel {channel}" if channel else ""


def _name(text: str) -> str:
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _source(path: str, channel: int, folder: Path) -> Source | Unusable:
    try:
        _refuse_other_than_file(path)
        present = stamp(path)
        digest = _digest(path, present)
        extent = _read(path, headers.extent)
        note = extent.note if extent else ""
        if extent and extent.plain == (SAMPLE_RATE, 1):
            check_channel(channel, 1)
            return _stored(path, digest, present, extent)._replace(channel=channel)
        name = _name(f"{digest} decoded {DECODER}{_suffix(channel)}")
        file = folder / "waves" / name[:2] / f"{name}.npy"
        cache.clear_once(file.parent)
        source = _cached(path, digest, file, stamp(file), note)
        if source is None:
            _decode(path, channel, file)
            source = _cached(path, digest, file, stamp(file), note)
        if source is None:
            raise OSError(None, "what was written there is not what is read back", str(file))
        return source._replace(channel=channel)
    except Unusable as error:
        return error


def _refuse_other_than_file(path: str) -> None:
    """Raise Unusable for a pipe, which is waited for, and for whatever else is no regular file."""
    mode = _read(path, os.stat).st_mode
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFSOCK: "a socket"}
    if not stat.S_ISREG(mode):
        raise Unusable(f"is {kinds.get(stat.S_IFMT(mode), 'a device')}, not a file", "give the path of an audio file")


def _read(path: str, function: Callable[[str], _T]) -> _T:
    """Call a function that reads the file; raises Unusable if it cannot be read."""
    try:
        return function(path)
    except (FileNotFoundError, NotADirectoryError):
        raise Unusable("is not there", "put the file there, or take the utterance out") from None
    except (OSError, ValueError) as error:  # ValueError: a zero byte in the path
        reason = getattr(error, "strerror", None) or error
        raise Unusable(f"cannot be read ({reason})", "give a file that this user may read") from None


@functools.lru_cache(maxsize=4096)  # a recording of many utterances is read again and again
def _digest(path: str, stamp: tuple[int, int]) -> str:
    """Return the digest of a file's bytes.  stamp: so that a changed file is read again"""
    if not stamp[0]:
        raise Unusable("is empty (0 bytes)", "copy it again, or take the utterance out")
    return _read(path, _digest_now)


def _digest_now(path: str) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.blake2b(digest_size=16)).hexdigest()


@functools.lru_cache(maxsize=4096)
def _stored(path: str, digest: str, stamp: tuple[int, int], extent: Extent) -> Source:
    """Return the source of a file whose bytes are the samples already."""
    count = extent.length // INT16.itemsize
    check_form(SAMPLE_RATE, 1, count)
    samples = np.memmap(path, INT16, "r", extent.offset, (count,))
    frames = sounding(samples)
    if is_silent(frames.sum(), frames.size):
        raise Unusable(*SILENCE)
    sound = cache.digest(samples).hex()
    return Source(path, digest, sound, path, stamp, extent.offset, count, _bits(frames), extent.note)


@functools.lru_cache(maxsize=4096)
def _cached(path: str, digest: str, file: Path, stamp: tuple[int, int], note: str) -> Source | None:
    """Return the source of a decoded file, None if it is not in the cache as it was written.

    file, stamp: in the cache, and the latter so that it is checked again once it has changed
    """
    array = cache.sealed(file, INT16, 1)
    if array is None:
        return None
    samples, sound = array
    note = "; ".join(filter(None, (note, _kept_note(file))))
    return Source(path, digest, sound, str(file), stamp, samples.offset, len(samples), _bits(sounding(samples)), note)


def _decode(path: str, channel: int, file: Path) -> None:
    """Decode a file into the cache, and what the decoder says of it beside it."""

    def save(copy: str) -> None:
        if note := decoding.decode(path, copy, SAMPLE_RATE, channel):
            write_text(_note_file(file), note)
        cache.seal(copy)

    write(file, save)


def _note_file(file: Path) -> Path:
    return file.with_suffix(".txt")


def _kept_note(file: Path) -> str:
    """Return what the decoder said of a file in the cache, "" if it was nothing."""
    try:
        return _note_file(file).read_text("utf-8")
    except (OSError, ValueError):
        return ""


def _bits(frames: NDArray[np.bool_]) -> bytes:
    return b"" if frames.all() else np.packbits(frames).tobytes()
