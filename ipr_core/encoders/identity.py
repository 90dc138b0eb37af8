"""The identity of an encoder: a digest of the files that it is loaded from, wherever they lie."""

from __future__ import annotations

import functools
import hashlib
import os
from pathlib import Path

_FILES = ("config.json", "preprocessor_config.json", "processor_config.json", "model*.safetensors*")


def checkpoint_digest(name: str | None) -> str | None:
    """Return hex digits that change with any file of a checkpoint; None if it has none on this machine.

    name: local folder or hub id, as for `load_encoder`
    A file is read once in a process, unless its size or time of change differ.
    """
    folder = None if name is None else checkpoint_folder(name)
    paths = sorted({path for pattern in _FILES for path in folder.glob(pattern)}) if folder else []
    if not paths:
        return None
    whole = hashlib.blake2b(digest_size=16)
    for path in paths:
        state = os.stat(path)
        whole.update(f"{path.name} {_digest(str(path), state.st_size, state.st_mtime_ns, state.st_ino)}\n".encode())
    return whole.hexdigest()


def checkpoint_folder(name: str) -> Path | None:
    """Return a checkpoint's folder, in Hugging Face's cache if it is of the hub; None if there is none here."""
    if os.path.isdir(name):
        return Path(name)
    from huggingface_hub import try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        path = try_to_load_from_cache(name, "config.json")
    except HFValidationError:  # neither a folder nor an id
        return None
    return Path(path).parent if isinstance(path, str) else None


@functools.cache
def _digest(path: str, size: int, time: int, inode: int) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "blake2b").hexdigest()
