"""Decoding in processes: a file that breaks, fills or holds up the decoder is a fault, and the others go on."""

import multiprocessing
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from helpers.sounds import problem, sine, table, wav
from ipr_core.data import decoding
from ipr_core.data.waves import SAMPLE_RATE, WaveStore

ROOT = Path(__file__).parents[2]


@pytest.fixture
def fresh():
    """Let every test start its own processes."""
    decoding._end_all(decoding._processes(os.getpid()))
    decoding._processes.cache_clear()
    yield
    decoding._end_all(decoding._processes(os.getpid()))
    decoding._processes.cache_clear()


def spoilt(monkeypatch, code):
    """Let processes run this code, which knows `path`, before they decode a file."""
    start = f"""
import os, signal, time
from ipr_core.data import audio, decoding
literal = audio.decode
def decode(path, *rest):
    {code}
    literal(path, *rest)
audio.decode = decode
decoding.serve()
"""
    monkeypatch.setattr(decoding, "_START", start)


@pytest.mark.parametrize(
    ("code", "sentence"),
    [
        ("'bad' in path and os.kill(os.getpid(), signal.SIGSEGV)", "breaks the decoder, which ended by SIGSEGV"),
        ("'bad' in path and os._exit(3)", "breaks the decoder, which ended by exit code 3"),
        ("'bad' in path and time.sleep(60)", "takes too long to be decoded"),
        ("'bad' in path and bytearray(3 << 30)", "needs more than 2 GiB of memory to be decoded"),
        ("'bad' in path and 1 / 0", r"cannot be decoded (ZeroDivisionError: division by zero)"),
        ("'bad' in path and print('a library that prints')", ""),
    ],
)
def test_a_file_at_which_a_process_fails_is_a_fault_and_the_others_are_decoded(
    tmp_path, monkeypatch, fresh, code, sentence
):
    spoilt(monkeypatch, code)
    monkeypatch.setattr(decoding, "LEAST_TIME", 5)
    paths = [wav(tmp_path / f"{name}.flac", sine(hz=300 + i)) for i, name in enumerate(["a", "bad", "b", "bad2", "c"])]
    store, faults = WaveStore.survey(table(*paths), tmp_path / "cache", progress=False)
    assert store.lengths.tolist() == [16_000, 0, 16_000, 0, 16_000] if sentence else [16_000] * 5
    assert [fault.row for fault in faults] == ([3, 5] if sentence else [])
    assert all(sentence in fault.problem and fault.cure for fault in faults)


def test_a_process_that_ended_for_lack_of_work_is_replaced(tmp_path, monkeypatch, fresh):
    start = "from ipr_core.data import decoding; decoding._IDLE = 1; decoding.serve()"
    monkeypatch.setattr(decoding, "_START", start)
    for hz in (300, 301):
        assert problem(wav(tmp_path / f"{hz}.flac", sine(hz=hz)), tmp_path / "cache") == ""
        time.sleep(1.5)


def test_processes_end_with_the_one_that_started_them(tmp_path):
    wav(tmp_path / "a.flac", sine())
    code = f"""
import os, signal
from helpers.sounds import decode
from ipr_core.data import decoding
from pathlib import Path
decode(Path({str(tmp_path / "a.flac")!r}), Path({str(tmp_path / "cache")!r}))
print(*(p._process.pid for p in decoding._processes(os.getpid()).queue if p._process), flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    script = subprocess.run(
        [sys.executable], input=code, env=environment(), capture_output=True, text=True, check=False
    )
    (pid,) = map(int, script.stdout.split())
    for _ in range(100):
        if not Path(f"/proc/{pid}").exists() or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2]:
            return
        time.sleep(0.1)
    pytest.fail("the process goes on")


def environment():
    return os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "tests")])}


def seconds_decoded(path, cache, queue):
    queue.put(WaveStore.build(table(path), cache, progress=False).seconds[0])


@pytest.mark.parametrize("method", ["fork", "spawn"])
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_daemonic_process_decodes_too(tmp_path, method):
    problem(wav(tmp_path / "a.flac", sine()), tmp_path / "cache")  # this process has its decoder already
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    path = wav(tmp_path / "b.flac", sine(2))
    process = context.Process(target=seconds_decoded, args=(path, tmp_path / "cache", queue), daemon=True)
    process.start()
    assert queue.get(timeout=60) == 2
    process.join()
    assert problem(wav(tmp_path / "c.flac", sine(3)), tmp_path / "cache") == ""


def test_a_module_of_the_working_folder_is_not_imported(tmp_path, monkeypatch, fresh):
    (tmp_path / "soundfile.py").write_text("raise SystemExit('a stranger')")
    monkeypatch.chdir(tmp_path)
    assert problem(wav(tmp_path / "a.flac", sine()), tmp_path / "cache") == ""


def test_a_decoder_loads_neither_torch_nor_pandas():
    code = "import sys, ipr_core.data.decoding; assert not {'torch', 'pandas', 'pydantic'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], env=environment(), check=True)


def test_whatever_is_no_file_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "lost.wav").symlink_to(tmp_path / "absent")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(tmp_path / "socket.wav"))
        names = {"pipe.wav": "is a named pipe", "folder.wav": "is a folder", "socket.wav": "is a socket"}
        for name, sentence in (names | {"lost.wav": "is not there", "/dev/zero": "is a device"}).items():
            assert problem(tmp_path / name, tmp_path / "cache").startswith(sentence)


def test_names_that_are_not_utf_8_are_decoded(tmp_path):
    path = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.flac")
    wav(tmp_path / "a.flac", sine()).rename(path)
    decoding.decode(path, str(tmp_path / "a.npy"), SAMPLE_RATE)
    assert len(np.load(tmp_path / "a.npy", allow_pickle=False)) == SAMPLE_RATE
