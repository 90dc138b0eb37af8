"""Tensors in memory and in a file: the same ones come back, limits hold, and nothing is left."""

import errno
import os
import subprocess
import sys
from types import SimpleNamespace

import pytest
import torch

from ipr_core.training import tensor_store
from ipr_core.training.tensor_store import TensorStore

CPU = torch.device("cpu")
TENSORS = [
    torch.arange(6.0).reshape(2, 3),
    torch.full((5,), 7, dtype=torch.int64),
    torch.tensor([[1.5, -2.0, 3.25]], dtype=torch.bfloat16),
    torch.zeros(0, 4),
    torch.arange(12.0).reshape(3, 4).T[1:],
]


def all_back(store: TensorStore) -> bool:
    """Tell whether each tensor comes back with its shape, dtype and values."""
    stored = [store.get(i, CPU) for i in range(len(TENSORS))]
    return all(a.dtype == b.dtype and a.equal(b) for a, b in zip(stored, TENSORS, strict=True))


@pytest.mark.parametrize("memory", [0, 30, 10_000])
def test_what_is_put_comes_back(tmp_path, memory):
    store: TensorStore[int] = TensorStore(memory, tmp_path / "features")
    before = store.room
    for i, tensor in enumerate(TENSORS):
        assert store.put(i, tensor)
    assert all_back(store)
    with pytest.raises(KeyError):
        store.get(99, CPU)
    assert store.size == sum(tensor.nbytes for tensor in TENSORS) == before - store.room
    assert 0 <= store.memory_left <= memory
    store.clear_()
    assert (store.size, store.memory_left) == (0, memory)
    with pytest.raises(KeyError):
        store.get(0, CPU)


def test_a_tensor_from_the_file_is_a_copy_of_its_own(tmp_path):
    store: TensorStore[str] = TensorStore(0, tmp_path)
    store.put("a", torch.ones(3))
    store.get("a", CPU).zero_()
    assert store.get("a", CPU).equal(torch.ones(3))


def test_the_file_has_no_name_and_goes_with_the_process(tmp_path):
    code = f"""
import os, torch
from pathlib import Path
from ipr_core.training.tensor_store import TensorStore
store = TensorStore(0, Path({str(tmp_path)!r}))
assert store.put(0, torch.ones(1000))
print(os.listdir({str(tmp_path)!r}), flush=True)
os.kill(os.getpid(), 9)
"""
    killed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert killed.stdout == "[]\n", killed.stderr
    assert killed.returncode == -9
    assert os.listdir(tmp_path) == []


def test_it_takes_half_of_the_disk_at_most(tmp_path, monkeypatch):
    monkeypatch.setattr(tensor_store.shutil, "disk_usage", lambda path: SimpleNamespace(free=80))
    store: TensorStore[int] = TensorStore(0, tmp_path / "not" / "there" / "yet")
    assert store.room == 40
    assert store.put(0, torch.ones(9))
    assert not store.put(1, torch.ones(2))
    assert store.put(2, torch.ones(1))
    assert store.size == 40


def test_a_disk_that_fails_keeps_nothing_more_and_loses_nothing(tmp_path, monkeypatch):
    store: TensorStore[int] = TensorStore(0, tmp_path)
    assert store.put(0, torch.ones(4))

    def full(data):
        raise OSError(errno.ENOSPC, "no space left")

    monkeypatch.setattr(store, "_file", _Broken(store._file, full))
    assert not store.put(1, torch.ones(4))
    monkeypatch.undo()
    assert store.get(0, CPU).equal(torch.ones(4))
    with pytest.raises(KeyError):
        store.get(1, CPU)
    assert store.room == 0


class _Broken:
    """A file whose writes fail."""

    def __init__(self, file, write):
        self._file, self.write = file, write

    def __getattr__(self, name):
        return getattr(self._file, name)


def test_a_folder_that_cannot_be_made_keeps_memory_alone(tmp_path):
    (tmp_path / "file").write_text("")
    store: TensorStore[int] = TensorStore(16, tmp_path / "file" / "features")
    assert store.put(0, torch.ones(4))
    assert not store.put(1, torch.ones(4))
