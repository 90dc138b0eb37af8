"""Decoding in processes whose memory and time are bounded, since a file may be made to break a decoder.

A process is started when the first file has to be decoded, decodes one file after another, and ends when it has had
nothing to do for a minute, or when whoever started it ends. It is a plain subprocess that reads a request, and writes
an answer, a line each. So it works in notebooks, in scripts without a main guard and in daemonic workers, all of which
multiprocessing does not; and if a file makes it fail, that file has a fault and another process decodes the others.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from queue import LifoQueue
from typing import Any

from ipr_core.data import audio
from ipr_core.data.unusable import Unusable

MEMORY = 2 * 2**30
"""Bytes of address space that a process may have, where the system bounds it."""
BOUNDS_MEMORY = sys.platform == "linux"
BOUNDS_TIME = sys.platform != "win32"
LEAST_TIME = 60
"""Seconds that a process may take for a small file."""
SLOWEST = 250_000
"""Bytes that it has to decode in a second of a large one: a hundredth of the usual."""
MOST_PROCESSES = 16

_IDLE = 60  # seconds
_ROOT = Path(__file__).parents[2]
_START = "from ipr_core.data.decoding import serve; serve()"


def decode(path: str, file: str, rate: int, channel: int = 0) -> str:
    """Decode a file as `audio.decode` does, in another process, and return its note.

    raises Unusable as it does, or if the file breaks the decoder, needs too much memory or takes too long;
    OSError if the samples cannot be written
    """
    with _free_process() as process:
        seconds = LEAST_TIME + os.path.getsize(path) // SLOWEST
        answer = process.answer({"path": path, "file": file, "rate": rate, "channel": channel, "seconds": seconds})
    if answer["kind"] == "OSError":
        raise OSError(answer["number"], answer["problem"])
    if answer["kind"] != "done":
        raise Unusable(answer["problem"], answer["cure"])
    return answer["note"]


class _Process:
    """A process that decodes, as seen by the one that started it."""

    def __init__(self) -> None:
        self._process: subprocess.Popen[str] | None = None

    def end(self) -> None:
        """Let the process end, if there is one."""
        if self._process and self._process.stdin and self._process.stdout:
            with contextlib.suppress(OSError):
                self._process.stdin.close()
            self._process.wait()
            self._process.stdout.close()
        self._process = None

    def answer(self, request: dict[str, str | int]) -> dict[str, str]:
        """Send a request, and return the answer; a process that ended is replaced."""
        line = json.dumps(request) + "\n"
        reply = self._reply(line)
        if not reply and self._exit_code() == 0:  # it had nothing to do for too long
            self.end()
            reply = self._reply(line)
        if reply:
            return json.loads(reply)
        problem = _end(self._exit_code())
        self.end()
        return {"kind": "Unusable", "problem": problem, "cure": "copy it again, or convert it to wav"}

    def _reply(self, line: str) -> str:
        """Return the line of the answer, "" if the process ended."""
        try:
            self._process = self._process or _started()
        except OSError as error:
            raise Unusable(
                f"cannot be decoded: no process starts ({error.strerror})", "let more processes run"
            ) from None
        assert self._process.stdin
        assert self._process.stdout
        try:
            self._process.stdin.write(line)
            self._process.stdin.flush()
            return self._process.stdout.readline()
        except BrokenPipeError:
            return ""

    def _exit_code(self) -> int:
        return self._process.wait() if self._process else 0


def _end(code: int) -> str:
    """Return the problem with a file at which a process ended with this exit code."""
    if sys.platform != "win32" and code == -signal.SIGALRM:
        return "takes too long to be decoded"
    reason = signal.Signals(-code).name if code < 0 else f"exit code {code}"
    return f"breaks the decoder, which ended by {reason}"


def _started() -> subprocess.Popen[str]:
    """Start a process; no module of the working folder can take the place of one of its own (-P)."""
    paths = [str(_ROOT), os.environ.get("PYTHONPATH", "")]
    threads = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1")
    environment = os.environ | threads | {"PYTHONPATH": os.pathsep.join(filter(None, paths))}
    return subprocess.Popen(
        [sys.executable, "-P", "-c", _START], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
        env=environment, text=True, start_new_session=True,
    )  # fmt: skip


@contextlib.contextmanager
def _free_process() -> Iterator[_Process]:
    """Wait for a process that has nothing to do, and put it back afterwards."""
    processes = _processes(os.getpid())
    process = processes.get()
    try:
        yield process
    finally:
        processes.put(process)


@functools.lru_cache(maxsize=1)
def _processes(owner: int) -> LifoQueue[_Process]:
    """Return the processes of this one, none of them started.

    owner: the number of this process; one that was forked from it has its own
    """
    processes: LifoQueue[_Process] = LifoQueue()
    for _ in range(min(MOST_PROCESSES, os.cpu_count() or 1)):
        processes.put(_Process())
    atexit.register(_end_all, processes)
    return processes


def _end_all(processes: LifoQueue[_Process]) -> None:
    for process in processes.queue:
        process.end()


def serve() -> None:
    """Decode what standard input asks for, a line per file, until it ends or nothing comes for a minute."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # a library's own words are no answer
    _bound_memory()
    while True:
        _set_alarm(_IDLE, lambda *_: sys.exit(0))
        if not (line := sys.stdin.readline()):
            return
        request = json.loads(line)
        _set_alarm(request["seconds"], signal.SIG_DFL)
        answer = _answer(request["path"], request["file"], request["rate"], request["channel"])
        print(json.dumps(answer), file=answers, flush=True)


def _answer(path: str, file: str, rate: int, channel: int) -> dict[str, str | int]:
    """Decode a file, and say how it went."""
    problem, cure = "", "copy it again, or convert it to wav"
    try:
        return {"kind": "done", "note": audio.decode(path, file, rate, channel)}
    except Unusable as error:
        return {"kind": "Unusable", "problem": error.problem, "cure": error.cure}
    except OSError as error:
        if os.fspath(error.filename or "") != path:
            return {"kind": "OSError", "number": error.errno or 0, "problem": error.strerror or str(error)}
        problem = f"cannot be read ({error.strerror})"
    except MemoryError:
        problem = f"needs more than {MEMORY >> 30} GiB of memory to be decoded"
    except Exception as error:  # of a library, about this one file
        problem = f"cannot be decoded ({type(error).__name__}: {error})"
    return {"kind": "Unusable", "problem": problem, "cure": cure}


def _bound_memory() -> None:
    if BOUNDS_MEMORY:
        import resource

        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _set_alarm(seconds: int, action: Any) -> None:
    """Let the process end, or call a function, unless the next alarm is set in so many seconds."""
    if sys.platform != "win32":
        signal.alarm(0)
        signal.signal(signal.SIGALRM, action)
        signal.alarm(seconds)
