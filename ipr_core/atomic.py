"""Files that are written whole or not at all: a reader, or another process at the same work, never sees half of one."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

WRITING = ".writing-"
"""How the folder's name begins in which a file is written; what a killed process left of one may be removed."""


def write(path: Path, save: Callable[[Any], Any]) -> None:
    """Write a file whole or not at all: `save` writes it in a folder of its own, then it takes its place.

    A folder, because a library may write to a temporary file beside the one it was asked for (safetensors does):
    what it leaves when killed lies in there too.
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
