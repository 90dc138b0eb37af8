"""Files that are written whole or not at all, locks between processes, and places that cannot be written."""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

from filelock import lock_descriptor, unlock_descriptor

from ipr_core.sentence import SentenceError

WRITING = ".writing-"
"""First letters of the folder in which a file is written. A killed process may leave such a folder."""
_ROOM = "make room there, and the same command goes on"
_PERMISSION = "name another place, or get permission to write there"
_ANOTHER = "name another place"
_CURES = {
    errno.ENOSPC: _ROOM,
    errno.EDQUOT: _ROOM,
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EROFS: _PERMISSION,
    errno.EACCES: _PERMISSION,
    errno.EPERM: _PERMISSION,
    errno.ENAMETOOLONG: "give a shorter path",
}
"""Errors of writing, and their cures."""
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class WriteError(SentenceError, OSError):
    """A place that cannot be written; the message names it, the reason and the cure."""

    def __init__(self, path: Path | str, reason: str, cure: str = _ANOTHER):
        super().__init__(f"{path} cannot be written: {reason}; {cure}")


def write(path: Path, save: Callable[[Any], Any]) -> None:
    """Write a file whole or not at all: `save` writes it in a folder of its own, then it is moved to its place.

    It is a folder because a library may write a temporary file beside the one it is given (safetensors does). After a
    kill that file lies in the folder too. A reader, or another process at the same work, never sees half a file.
    raises WriteError
    """
    make_folder(path.parent)
    with _writing(path):
        _check_plain(path)
        with _workplace(path.parent) as folder:
            temporary = Path(folder, path.name)
            save(str(temporary))
            os.chmod(temporary, 0o644)
            os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all. raises WriteError"""
    write(path, lambda temporary: Path(temporary).write_text(text, "utf-8"))


def make_folder(folder: Path) -> None:
    """Make a folder where there is none. raises WriteError"""
    with _writing(folder):
        folder.mkdir(parents=True, exist_ok=True)


def prepare_folder(folder: Path) -> None:
    """Check before work that files can be written in a folder, and clear it of unfinished ones.

    The folder may not exist yet; it is not made. raises WriteError
    """
    with _writing(folder):
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            os.stat(folder)  # a path that is too long, say
        parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
        if not parent.is_dir():
            raise WriteError(folder, f"{parent} is not a folder")
        if not os.access(parent, os.W_OK | os.X_OK):
            read_only = hasattr(os, "statvfs") and os.statvfs(parent).f_flag & os.ST_RDONLY  # Windows does not tell
            raise WriteError(folder, os.strerror(errno.EROFS if read_only else errno.EACCES), _PERMISSION)
        _try(parent, folder)
    clear_unfinished(folder)


def _try(parent: Path, folder: Path) -> None:
    """Make a folder and remove it: permissions do not tell of /proc, of a quota, or of a disk that is full."""
    try:
        with tempfile.TemporaryDirectory(prefix=WRITING, dir=parent, ignore_cleanup_errors=True):
            pass
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno in _CURES else f"nothing can be made in {parent}"
        raise WriteError(folder, reason, _CURES.get(error.errno or 0, _ANOTHER)) from error


def clear_unfinished(folder: Path, alone: bool = False) -> None:
    """Remove what killed processes left of files they were writing; a living writer's is left.

    alone: whether nobody else writes there; some file systems cannot tell
    """
    for path in folder.glob(f"{WRITING}*"):
        with contextlib.suppress(OSError):
            if path.is_symlink() or not path.is_dir():
                path.unlink()
                continue
            with _held(path, wait=False) as free:
                if free or alone:
                    shutil.rmtree(path)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made and stays. A process that ends, even killed, holds none.

    wait: for whoever holds it
    raises BlockingIOError where another holds it and `wait` is false; WriteError, for a link or a pipe too
    """
    descriptor = _lock_file(path)
    try:
        if not lock_descriptor(descriptor, blocking=wait):
            raise BlockingIOError(f"another holds the lock {path}")
        try:
            yield
        finally:
            unlock_descriptor(descriptor)
    finally:
        os.close(descriptor)


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock of a file."""
    if not path.exists():
        return False
    for pause in (0.05, 0):  # another who looks holds it for an instant
        with contextlib.suppress(BlockingIOError), locked(path, wait=False):
            return False
        sleep(pause)
    return True


def _lock_file(path: Path) -> int:
    """Open a lock's file, which a stranger may have made a link to another file, or a pipe that is waited for."""
    flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
    if path.is_symlink():
        raise WriteError(path, "it is a symbolic link", "remove it")
    with _writing(path):
        descriptor = os.open(path, flags, 0o644)
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            os.close(descriptor)
            raise WriteError(path, "it is not a plain file", "remove it")
    return descriptor


@contextlib.contextmanager
def _workplace(parent: Path) -> Iterator[str]:
    """Make a folder to write in, held by this process as long as it writes, so that nobody clears it away."""
    while True:
        folder = tempfile.TemporaryDirectory(prefix=WRITING, dir=parent, ignore_cleanup_errors=True)
        with folder as name, _held(Path(name)):
            if os.path.isdir(name):  # else somebody has cleared it before it was held
                yield name
                return


@contextlib.contextmanager
def _held(folder: Path, wait: bool = True) -> Iterator[bool]:
    """Hold the lock of a folder itself, and tell whether it is held; False where folders have no locks."""
    try:
        descriptor = os.open(folder, os.O_RDONLY)
    except OSError:  # it is gone, or this system does not open folders
        yield False
        return
    try:
        yield _lock_or_not(descriptor, wait)
    finally:
        os.close(descriptor)


def _lock_or_not(descriptor: int, wait: bool) -> bool:
    try:
        return lock_descriptor(descriptor, blocking=wait)
    except OSError:
        return False


def _check_plain(path: Path) -> None:
    """Raise WriteError where a file cannot be replaced: it is a folder, or a device, which would be lost."""
    if path.is_dir() and not path.is_symlink():
        raise WriteError(path, "it is a folder", "remove it, or name another place")
    if path.exists() and not path.is_file():
        raise WriteError(path, "it is not a plain file", "remove it, or name another place")


@contextlib.contextmanager
def _writing(path: Path) -> Iterator[None]:
    """Raise the errors of writing a file as WriteError, whichever library has them."""
    try:
        yield
    except WriteError:
        raise
    except Exception as error:
        code = _code(error, path)
        if not code:
            raise
        raise WriteError(path, os.strerror(code), _CURES.get(code, _ANOTHER)) from error


def _code(error: Exception, path: Path) -> int:
    """Return the number of an error of writing a file, 0 for any other error."""
    if isinstance(error, OSError) and error.errno:
        if error.filename is None:
            return error.errno if error.errno in _CURES else 0
        name = Path(os.fsdecode(error.filename))
        return error.errno if name in (path, *path.parents) or path.parent in name.parents else 0
    return full(error)


def full(error: BaseException) -> int:
    """Return the number of an error that says a disk is full, 0 for any other error.

    Libraries in other languages have the system's words alone in their messages.
    """
    return next((code for code in _FULL if getattr(error, "errno", 0) == code or os.strerror(code) in str(error)), 0)
