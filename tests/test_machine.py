"""Cores and memory as three systems tell them, and what Linux alone does."""

import resource
import sys
from types import SimpleNamespace

import psutil
import pytest
import torch

from ipr_core import doctor, machine
from ipr_core.data import decoding
from ipr_core.training.processes import Process, best_device


def test_cores_are_those_that_the_process_may_use(monkeypatch):
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda process: [0, 2, 5], raising=False)
    assert machine.cores() == 3
    monkeypatch.delattr(psutil.Process, "cpu_affinity")
    monkeypatch.setattr(psutil, "cpu_count", lambda: 8)
    assert machine.cores() == 8
    monkeypatch.setattr(psutil, "cpu_count", lambda: None)
    assert machine.cores() == 1


@pytest.mark.parametrize(("system", "peak"), [("linux", 3 * 2**20), ("darwin", 3 * 2**10), ("win32", 7)])
def test_the_peak_of_memory_is_in_bytes(system, peak, monkeypatch):
    usage, info = SimpleNamespace(ru_maxrss=3 * 2**10), SimpleNamespace(peak_wset=7)
    monkeypatch.setattr(resource, "getrusage", lambda who: usage)
    monkeypatch.setattr(psutil, "Process", lambda: SimpleNamespace(memory_info=lambda: info))
    monkeypatch.setattr(sys, "platform", system)
    assert machine.peak_memory() == peak


def test_the_peak_is_at_least_the_memory_in_use():
    assert machine.peak_memory() >= 0.9 * psutil.Process().memory_info().rss


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Return a function that puts this process into a control group of a machine with 64 bytes, 50 of them free."""
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(total=64, available=50))
    monkeypatch.setattr(machine, "_CGROUPS", tmp_path / "groups")
    monkeypatch.setattr(machine, "_OWN_CGROUPS", tmp_path / "cgroup")

    def groups(line: str, files: dict[str, str]) -> None:
        (tmp_path / "cgroup").write_text(f"1:name=systemd:/\n{line}\n")
        for name, text in files.items():
            file = tmp_path / "groups" / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    return groups


def test_memory_outside_of_control_groups_is_the_machines(groups, monkeypatch, tmp_path):
    assert (machine.whole_memory(), machine.free_memory()) == (64, 50)  # not Linux
    groups("0::/job", {})
    assert (machine.whole_memory(), machine.free_memory()) == (64, 50)


def test_the_tightest_control_group_bounds_the_memory(groups):
    own = {"max": "max\n", "current": "30\n", "stat": "inactive_file 1\n"}
    above = {"max": "40\n", "current": "35\n", "stat": "anon 3\ninactive_file 7\n"}
    files = {f"user/job/memory.{name}": text for name, text in own.items()}
    groups("0::/user/job", files | {f"user/memory.{name}": text for name, text in above.items()})
    assert machine.whole_memory() == 40
    assert machine.free_memory() == 12  # cached files make room


def test_a_control_group_of_version_1_bounds_the_memory(groups):
    files = {"limit_in_bytes": "20", "usage_in_bytes": "25", "stat": "total_inactive_file 2"}
    groups("4:cpu,memory:/job", {f"memory/job/memory.{name}": text for name, text in files.items()})
    assert machine.whole_memory() == 20
    assert machine.free_memory() == 0


# Where to train.


@pytest.mark.parametrize(
    ("cuda", "apple", "kind"),
    [(True, False, "cuda"), (True, True, "cuda"), (False, True, "mps"), (False, False, "cpu")],
)
def test_auto_is_a_gpu_where_torch_has_one(cuda, apple, kind, monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: cuda)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: int(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: apple)
    assert best_device() == Process().device("auto") == torch.device(kind)


def test_doctor_names_apples_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert doctor.gpu().state.startswith("Apple's")


# What Linux alone does.


def test_only_linux_bounds_the_memory_of_decoding(monkeypatch):
    limits = []
    monkeypatch.setattr(resource, "setrlimit", lambda kind, limit: limits.append(kind))
    monkeypatch.setattr(decoding, "BOUNDS_MEMORY", False)
    decoding._bound_memory()
    assert not limits
    monkeypatch.setattr(decoding, "BOUNDS_MEMORY", True)
    decoding._bound_memory()
    assert limits == [resource.RLIMIT_AS, resource.RLIMIT_CORE]


@pytest.mark.parametrize(
    ("memory", "time", "sentence"),
    [
        (True, True, "at most 2 GiB of memory, 60 s for a small file"),
        (False, True, "memory without a bound, 60 s for a small file (Linux alone bounds both)"),
        (False, False, "memory without a bound, time without a bound (Linux alone bounds both)"),
    ],
)
def test_doctor_says_which_bounds_decoding_has(memory, time, sentence, monkeypatch):
    monkeypatch.setattr(decoding, "BOUNDS_MEMORY", memory)
    monkeypatch.setattr(decoding, "BOUNDS_TIME", time)
    check = doctor.bounds()
    assert check.ok
    assert sentence in str(check)
