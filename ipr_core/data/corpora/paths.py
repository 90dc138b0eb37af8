"""Paths as tables name them, the files on this disk, and how the two may differ."""

from __future__ import annotations

import functools
import os
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote


def located(folder: Path, name: str) -> str:
    """Return the path of a file that a table in `folder` names.

    A name in another normal form than the file's (ü as one character or as two) is taken for it.
    """
    path = str(folder / name)
    if path.isascii() or os.path.exists(path):
        return path
    return _alike(path, _composed) or path


def path_problem(path: str) -> str:
    """Return what is wrong with a path that is no file."""
    if not path:
        return "has no path"
    if not os.path.lexists(path):
        return f"refers to the file {path}, which does not exist"
    if os.path.isdir(path):
        return f"refers to {path}, which is a folder"
    if os.path.exists(path):
        return f"refers to {path}, which is no file but a pipe, a socket or a device"
    return f"refers to {path}, a link to a file that does not exist"


def path_cure(path: str) -> str:
    """Return what to do about a path that does not exist."""
    if "file:/" in path:
        return "write the path alone, without file://"
    if "/~" in path:
        return "write the path in full: ~ is not replaced by the home folder here"
    if "\\" in path:
        return "write / instead of \\, and the path on this machine"
    if path.endswith(("'", '"')):
        return "write the path without quotes, or right behind the separator"
    if "%" in path and os.path.exists(unquote(path)):
        return "write the name as it is, without %"
    if neighbour := _alike(path, _loose) or _alike(path, _without_kind):
        folder, name = os.path.split(neighbour)
        return f"did you mean {name if folder == os.path.dirname(path) else neighbour!r}?"
    return "put the file there, or take the utterance out"


def _alike(path: str, key: Callable[[str], str]) -> str | None:
    """Return an existing path all of whose parts have the same keys, None if there is none."""
    folder = Path(path).anchor
    for part in Path(path).parts[1:]:
        exact = os.path.join(folder, part)
        name = part if os.path.exists(exact) else _names(folder, key, _changed(folder)).get(key(part))
        if name is None:
            return None
        folder = os.path.join(folder, name)
    return folder


@functools.lru_cache(maxsize=64)
def _names(folder: str, key: Callable[[str], str], changed: int) -> dict[str, str]:
    """Return the names in a folder by their keys.  changed: so that a changed folder is read again"""
    try:
        return {key(name): name for name in sorted(os.listdir(folder))}
    except OSError:
        return {}


def _changed(folder: str) -> int:
    return os.stat(folder).st_mtime_ns if os.path.isdir(folder) else 0


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _loose(name: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", name).casefold().split())


def _without_kind(name: str) -> str:
    return os.path.splitext(_loose(name))[0]
