"""Tensors by key: in memory as far as they fit there, beyond that in a file of the cache, mapped where it is read.

The file has no name. So nothing of it is left when the process ends, however it ends.
"""

from __future__ import annotations

import math
import os
import shutil
import tempfile
import weakref
from collections.abc import Hashable
from pathlib import Path
from typing import IO, Generic, NamedTuple, TypeVar

import numpy as np
import torch
from torch import Tensor

from ipr_core.atomic import WriteError, make_folder
from ipr_core.training.transfer import on_device

Key = TypeVar("Key", bound=Hashable)
_SHARE_OF_DISK = 0.5  # of what is free there when the store is made


class _Place(NamedTuple):
    """Where a tensor lies in the file."""

    offset: int
    shape: torch.Size
    dtype: torch.dtype


class TensorStore(Generic[Key]):
    """Tensors of one device.

    memory: bytes that they may take there   folder: of the file, of whose disk they may take half of what is free
    """

    def __init__(self, memory: int, folder: Path):
        self.folder, self._memory = folder, memory
        self._file: IO[bytes] | None = None
        self.clear_()

    def clear_(self) -> None:
        """Drop all tensors, and measure anew what the disk has to spare."""
        if self._file is not None:
            self._file.close()
        self._file = None
        self._in_memory: dict[Key, Tensor] = {}
        self._on_disk: dict[Key, _Place] = {}
        self.memory_left, self._disk_left = self._memory, _spare_bytes(self.folder)
        self._end = 0  # of the file

    @property
    def room(self) -> int:
        """Bytes that it can still hold, in memory and on disk."""
        return self.memory_left + self._disk_left

    @property
    def size(self) -> int:
        """Bytes of its tensors, in memory and on disk."""
        return self._memory - self.memory_left + self._end

    def put(self, key: Key, tensor: Tensor) -> bool:
        """Keep a tensor under a new key. returns: whether it is kept; not where no room is left, or the disk fails"""
        if tensor.nbytes <= self.memory_left:
            self._in_memory[key] = tensor
            self.memory_left -= tensor.nbytes
            return True
        return tensor.nbytes <= self._disk_left and self._append(key, tensor)

    def get(self, key: Key, device: torch.device) -> Tensor:
        """Return the tensor of a key, on a device. It must not be changed. raises KeyError if it is not kept"""
        if self._file is None or key not in self._on_disk:
            return self._in_memory[key]
        offset, shape, dtype = self._on_disk[key]
        size = math.prod(shape) * dtype.itemsize
        stored = np.memmap(self._file, np.uint8, "c", offset, (size,))  # copied on write, which torch asks for
        return on_device(torch.from_numpy(stored).view(dtype).reshape(shape), device)

    def _append(self, key: Key, tensor: Tensor) -> bool:
        """Write a tensor to the end of the file: by a write, since a map on a full disk would end the process."""
        try:
            if self._file is None:
                make_folder(self.folder)
                self._file = tempfile.TemporaryFile(dir=self.folder)  # noqa: SIM115  it is open as long as the store
                weakref.finalize(self, self._file.close)
            self._file.seek(self._end)
            self._file.write(tensor.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
            self._file.flush()
        except (OSError, WriteError):
            self._disk_left = 0
            return False
        self._on_disk[key] = _Place(self._end, tensor.shape, tensor.dtype)
        self._end += tensor.nbytes
        self._disk_left -= tensor.nbytes
        return True


def _spare_bytes(folder: Path) -> int:
    """Return the bytes that a store may take of a folder's disk; the folder may not exist yet."""
    parent = next(path for path in (folder.absolute(), *folder.absolute().parents) if os.path.lexists(path))
    try:
        return int(_SHARE_OF_DISK * shutil.disk_usage(parent).free)
    except OSError:
        return 0
