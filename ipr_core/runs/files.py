"""The files of a run as they are read: every fault is a sentence with the file and what is wrong.

A file may be missing, cut off, of another kind, of another run, or have flipped bits. A JSON object and a state carry
a seal, a digest of their content; other files have their digests in one of these. What older versions wrote has none
and is read without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors
from torch import Tensor

from ipr_core.atomic import write
from ipr_core.sentence import SentenceError

SEAL = "seal"
"""The key of a digest in the file that it is of."""
DAMAGED = "its content is not what was written: it is damaged, or of another run"


class FileError(SentenceError, ValueError):
    """A file that cannot be used; the message has the file and the reason."""


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Raise every error of reading a file, whichever library has it, as FileError."""
    try:
        if not path.exists():
            raise FileError(f"{path} is missing")
        if not path.is_file():
            raise FileError(f"{path} is not a plain file")
        yield
    except (FileError, MemoryError):
        raise
    except Exception as error:  # of JSON, Parquet, safetensors, or of values that are not as they should be
        raise FileError(f"{path} cannot be read: {_reason(error)}") from error


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    if isinstance(error, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(error, KeyError):
        return f"it has no {error}"
    return (str(error).strip() or repr(error)).splitlines()[0]


def digest(content: bytes) -> str:
    """Return hex digits that change with any byte."""
    return hashlib.blake2b(content, digest_size=16).hexdigest()


# JSON.


def sealed(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return plain JSON values with a seal."""
    plain = {key: value for key, value in values.items() if key != SEAL}
    return plain | {SEAL: digest(json.dumps(plain, sort_keys=True).encode())}


def unsealed(values: Any) -> dict[str, Any]:
    """Return JSON values without their seal. raises ValueError if it is not theirs"""
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    if SEAL in values and sealed(values)[SEAL] != values[SEAL]:
        raise ValueError(DAMAGED)
    return {key: value for key, value in values.items() if key != SEAL}


def read_json(path: Path) -> dict[str, Any]:
    """Return the object of a JSON file, without its seal. raises FileError"""
    with reading(path):
        return unsealed(json.loads(path.read_text("utf-8")))


# Arrays and tensors.


def arrays_digest(arrays: Mapping[str, np.ndarray]) -> str:
    """Return hex digits that change with any name, type, shape or value of arrays."""
    return _digest(
        (f"{name} {array.dtype} {array.shape}", np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        for name, array in sorted(arrays.items())
    )


def tensors_digest(tensors: Mapping[str, Tensor]) -> str:
    """Return hex digits that change with any name, type, shape or value of tensors."""
    return _digest(
        (f"{name} {tensor.dtype} {tuple(tensor.shape)}", tensor.detach().cpu().reshape(-1).view(torch.uint8).numpy())
        for name, tensor in sorted(tensors.items())
    )


def _digest(parts: Iterable[tuple[str, np.ndarray]]) -> str:
    whole = hashlib.blake2b(digest_size=16)
    for title, values in parts:
        whole.update(f"{title}\n".encode())
        whole.update(values.data)
    return whole.hexdigest()


def read_arrays(path: Path, seal: str | None) -> dict[str, np.ndarray]:
    """Return a file's arrays.  seal: their digest, if it is known. raises FileError"""
    with reading(path):
        arrays = load_arrays(path)
        if seal is not None and arrays_digest(arrays) != seal:
            raise ValueError(DAMAGED)
        return arrays


def write_state(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors with their seal. raises WriteError"""
    plain = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in tensors.items()}
    write(path, lambda copy: save_tensors(plain, copy, {SEAL: tensors_digest(plain)}))


def read_state(path: Path) -> dict[str, Tensor]:
    """Return the tensors of `write_state`. raises FileError"""
    with reading(path):
        with safe_open(path, "pt") as file:
            seal = (file.metadata() or {}).get(SEAL)
        tensors = load_tensors(path)
        if seal is not None and tensors_digest(tensors) != seal:
            raise ValueError(DAMAGED)
        return tensors
