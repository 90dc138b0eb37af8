"""The folder for files that can be made again: decoded audio, generated sounds, features.

A disk loses bytes, a copy breaks off, somebody tidies up: a file of the cache counts only if it is as it was written.
An array is followed by the digest of its values, and a folder of sounds has one of all its files.
"""

from __future__ import annotations

import contextlib
import errno
import functools
import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from numpy.typing import DTypeLike, NDArray

from ipr_core.atomic import clear_unfinished, write_text
from ipr_core.data.faults import CorpusError, Fault

_DIGEST = 16  # bytes
_HEADERS = threading.Lock()
_SUM = "checksum"  # file name
_ANOTHER = "set IPR_CACHE to a folder that can be written"


def default_cache() -> Path:
    """Return $IPR_CACHE, or ~/.cache/ipr-workbench."""
    return Path(os.environ.get("IPR_CACHE") or Path.home() / ".cache" / "ipr-workbench")


@contextlib.contextmanager
def writable(folder: Path) -> Iterator[None]:
    """Turn the failure to write into the cache into a CorpusError that says how to change it."""
    try:
        yield
    except OSError as error:
        cause = next((part for part in (error, error.__cause__) if isinstance(part, OSError) and part.strerror), error)
        file = cause.filename2 or cause.filename
        reason = (f"{file}: " if file else "") + (cause.strerror or str(error))
        cure = "remove it" if isinstance(cause, IsADirectoryError) else "make room there"
        problem, cure = f"the cache cannot be written ({reason})", f"{cure}, or {_ANOTHER}"
        raise CorpusError([Fault(str(folder), None, problem, cure)]) from error


@functools.cache
def clear_once(folder: Path) -> None:
    """Remove what killed processes left in a folder of the cache, once in a process.

    Whoever only reads there does it too: a kill may come just after a file was put in its place.
    """
    clear_unfinished(folder)


def mapped(file: str | Path) -> np.memmap:
    """Map an array's .npy file; one thread at a time.

    numpy parses its header as Python, at which Python 3.11 may fail in several threads (SystemError, gh-106905 there).
    raises OSError, ValueError, EOFError
    """
    with _HEADERS:
        return np.load(file, mmap_mode="r", allow_pickle=False)


def seal(file: str | Path) -> None:
    """Append the digest of its values to an array's .npy file, which numpy still reads."""
    values = mapped(file)
    with open(file, "ab") as stream:
        stream.write(digest(values))


def sealed(file: str | Path, kind: DTypeLike, axes: int) -> tuple[np.memmap, str] | None:
    """Map an array of the cache, and return it with the digest of its values.

    kind, axes: dtype and number of axes that it has to have
    returns: None if the file is not there, or is not as it was written
    """
    try:
        values = mapped(_plain(file))
        with open(file, "rb") as stream:
            stream.seek(values.offset + values.nbytes)
            trailer = stream.read()
        whole = (values.dtype, values.ndim, len(trailer)) == (np.dtype(kind), axes, _DIGEST)
        return (values, trailer.hex()) if whole and digest(values) == trailer else None
    except (OSError, ValueError, EOFError, AttributeError):  # AttributeError: no values, or another kind of file
        return None


def seal_folder(folder: Path) -> None:
    """Write the digest of all its sounds into a folder."""
    write_text(folder / _SUM, _folder_digest(folder))


def folder_sealed(folder: Path) -> bool:
    """Tell whether a folder's sounds are those that were sealed."""
    try:
        return Path(_plain(folder / _SUM)).read_text("utf-8") == _folder_digest(folder)
    except (OSError, ValueError):
        return False


def digest(values: NDArray) -> bytes:
    """Return the digest of an array's values."""
    contents = np.ascontiguousarray(values).reshape(-1).view(np.uint8)
    return hashlib.blake2b(contents.data, digest_size=_DIGEST).digest()


def _plain(file: str | Path) -> str | Path:
    """Return the path of a file. raises OSError for a pipe or a device, which would be read for ever"""
    if not os.path.isfile(file):
        raise FileNotFoundError(errno.ENOENT, "not a plain file", str(file))
    return file


def _folder_digest(folder: Path) -> str:
    total = hashlib.blake2b(digest_size=_DIGEST)
    for file in sorted(file for file in folder.iterdir() if file.suffix == ".wav"):
        with open(_plain(file), "rb") as stream:
            total.update(file.name.encode() + b"\0" + hashlib.file_digest(stream, "blake2b").digest())
    return total.hexdigest()
