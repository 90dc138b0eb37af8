"""Files that are written whole or not at all, and locks between processes."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import sleep
from typing import Any

from filelock import lock_descriptor, unlock_descriptor

WRITING = ".writing-"
"""First letters of the folder in which a file is written. A killed process may leave such a folder."""


def write(path: Path, save: Callable[[Any], Any]) -> None:
    """Write a file whole or not at all: `save` writes it in a folder of its own, then it is moved to its place.

    It is a folder because a library may write a temporary file beside the one it is given (safetensors does). After a
    kill that file lies in the folder too. A reader, or another process at the same work, never sees half a file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=WRITING, dir=path.parent, ignore_cleanup_errors=True) as folder:
        temporary = Path(folder, path.name)
        save(str(temporary))
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)


def write_text(path: Path, text: str) -> None:
    """Write a UTF-8 text file whole or not at all."""
    write(path, lambda temporary: Path(temporary).write_text(text, "utf-8"))


def clear_unfinished(folder: Path) -> None:
    """Remove what killed processes left of files they were writing; call it where nobody else writes."""
    for unfinished in folder.glob(f"{WRITING}*"):
        shutil.rmtree(unfinished)


@contextlib.contextmanager
def locked(path: Path, wait: bool = True) -> Iterator[None]:
    """Hold the lock of a file, which is made and stays. A process that ends, even killed, holds none.

    wait: for whoever holds it   raises BlockingIOError where another holds it and `wait` is false
    """
    with open(path, "a") as file:
        if not lock_descriptor(file.fileno(), blocking=wait):
            raise BlockingIOError(f"another holds the lock {path}")
        try:
            yield
        finally:
            unlock_descriptor(file.fileno())


def is_locked(path: Path) -> bool:
    """Return whether somebody holds the lock of a file."""
    if not path.exists():
        return False
    for pause in (0.05, 0):  # another who looks holds it for an instant
        with contextlib.suppress(BlockingIOError), locked(path, wait=False):
            return False
        sleep(pause)
    return True
