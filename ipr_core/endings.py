"""What a command says besides its result: notes while it works, and a sentence for every way that it can end.

An error that nobody foresaw leaves its traceback in a file. With $IPR_DEBUG set, every traceback is shown.
"""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import platform
import select
import shlex
import signal
import sys
import tempfile
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import FrameType
from typing import Any

DONE, FAILED, WRONG, UNFORESEEN = 0, 1, 2, 70
"""Exit codes: done; the work failed; the request was wrong; a fault of the workbench."""
_SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")
_KEPT = "trained epochs are kept: `ipr resume RUN` or the same command continues"
_SMALLER = "a smaller batch_size, max_seconds or encoder needs less"
_NO_MEMORY = ("can't allocate memory", "out of memory", "bad_alloc")  # in the messages of libraries
_CURES = {
    errno.ENOSPC: "make room there, and the same command goes on",
    errno.EDQUOT: "make room there, and the same command goes on",
    errno.EFBIG: "raise the limit of a file's size (ulimit -f)",
    errno.EMFILE: "raise the limit of open files (ulimit -n)",
    errno.ENOMEM: _SMALLER,
}

Codes = Callable[[], Mapping[type[Exception], int]]
"""Kinds of errors whose message is a sentence for the user → the exit code; called when there is one."""


class Interrupt(KeyboardInterrupt):
    """The end of a command by a signal."""

    def __init__(self, number: int):
        super().__init__(number)
        self.number = number


def ended(command: Callable[[], int], codes: Codes, argv: Sequence[str]) -> int:
    """Run a command, and return its exit code; an error is told in a sentence on stderr.

    returns: what the command returns; 1, 2 or 70 after an error; 128 and the signal's number after a signal
    """
    try:
        with interruptible(), notes():
            code = command()
            sys.stdout.flush()
            return code
    except SystemExit as stop:  # argparse: --help, or a request that it could not read
        return int(stop.code or DONE)
    except KeyboardInterrupt as stop:
        number = stop.number if isinstance(stop, Interrupt) else signal.SIGINT
        return _say(f"interrupted; {_KEPT}", 128 + number)
    except Exception as error:
        if os.environ.get("IPR_DEBUG"):
            traceback.print_exc()
        if isinstance(error, BrokenPipeError) and _nobody_reads():
            return 128 + getattr(signal, "SIGPIPE", 13)  # which Windows does not have
        return _say(*sentence(error, codes, argv))


def sentence(error: Exception, codes: Codes, argv: Sequence[str]) -> tuple[str, int]:
    """Return the sentence about an error, and the exit code; one that nobody foresaw is kept in a file."""
    if isinstance(error, OSError) and (error.filename is not None or error.errno in _CURES):
        return _about_file(error), FAILED
    if isinstance(error, MemoryError) or any(words in str(error) for words in _NO_MEMORY):
        return f"the memory is too small ({_first_line(error)}); {_SMALLER}", FAILED
    with contextlib.suppress(Exception):  # else what is broken is what `codes` imports
        for kind, code in codes().items():
            if isinstance(error, kind):
                return str(error), code
    return _unforeseen(error, argv), UNFORESEEN


def _about_file(error: OSError) -> str:
    prefix = f"{os.fsdecode(error.filename)}: " if error.filename is not None else ""
    cure = _CURES.get(error.errno or 0)
    return f"{prefix}{error.strerror}" + (f"; {cure}" if cure else "")


def _unforeseen(error: Exception, argv: Sequence[str]) -> str:
    """Keep an error's traceback in a file, and return the sentence that asks to report it."""
    text = "\n".join([
        f"ipr {shlex.join(argv)}",
        f"{datetime.now():%Y-%m-%d %H:%M:%S}, {platform.platform()}",
        ", ".join(f"{name} {version}" for name, version in _versions().items()),
        "", "".join(traceback.format_exception(error)),
    ])  # fmt: skip
    fault = f"this is a fault of the workbench: {type(error).__name__}: {_first_line(error)}"
    for folder in _places():
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
            path = folder / f"ipr-fault-{datetime.now():%Y%m%d-%H%M%S}-{os.getpid()}.txt"
            path.write_text(text, "utf-8", errors="backslashreplace")
            return f"{fault}; please report it with the file {path}"
    return f"{text}\n{fault}; please report it with the lines above"


def _places() -> Iterator[Path]:
    """Yield the folders in which a report can be kept, the cache first."""
    with contextlib.suppress(Exception):
        from ipr_core.data.cache import default_cache

        yield default_cache()
    with contextlib.suppress(OSError):
        yield Path(tempfile.gettempdir())


def _versions() -> Mapping[str, str | None]:
    with contextlib.suppress(Exception):
        from ipr_core.runs import provenance

        return provenance.versions()
    return {"python": platform.python_version()}


def _first_line(error: BaseException) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]


def _say(message: str, code: int) -> int:
    with contextlib.suppress(OSError, ValueError):  # the terminal is gone, after SIGHUP for example
        _close_bars()
        print(message, file=sys.stderr)
        sys.stderr.flush()
    return code


def _close_bars() -> None:
    """Take the progress bars away that an error has left, so that the sentence has a line of its own."""
    for bar in _bars():
        bar.close()


def _bars() -> list[Any]:
    """Return the progress bars that are not closed, without importing what shows them."""
    tqdm = getattr(sys.modules.get("tqdm"), "tqdm", None)
    return list(getattr(tqdm, "_instances", ()))


def _nobody_reads() -> bool:
    """Tell whether the reader of this command's output has gone: `ipr table | head`, say."""
    poll = select.poll()
    with contextlib.suppress(OSError):  # of an output without a file
        poll.register(sys.stdout.fileno(), 0)
        if any(event & select.POLLERR for _, event in poll.poll(0)):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python flushes at its end
            return True
    return False


# Signals.


@contextlib.contextmanager
def interruptible() -> Iterator[None]:
    """Raise Interrupt at the first of SIGINT, SIGTERM and SIGHUP; a second one ends the process at once."""
    handlers: dict[int, Any] = {}

    def stop(number: int, _: FrameType | None) -> None:
        for name in handlers:
            signal.signal(name, signal.SIG_DFL)
        logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # it would tell of every task that this ends
        raise Interrupt(number)

    if threading.current_thread() is threading.main_thread():
        for number in (getattr(signal, name) for name in _SIGNALS if hasattr(signal, name)):
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):  # else it is ignored: nohup
                handlers[number] = signal.signal(number, stop)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)


# Notes.


class Notes(logging.Handler):
    """Log records as plain sentences on stderr, each different sentence once."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self._sentences: set[str] = set()

    def emit(self, record: logging.LogRecord) -> None:
        """Print the record's sentence, above a progress bar if there is one."""
        text = record.getMessage()
        if text not in self._sentences:
            self._sentences.add(text)
            self._print(text)

    @staticmethod
    def _print(text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            if any(bar.last_print_t >= bar.start_t + bar.delay for bar in _bars()):  # it is displayed
                from tqdm import tqdm

                tqdm.write(text, file=sys.stderr)
            else:
                print(text, file=sys.stderr, flush=True)


@contextlib.contextmanager
def notes() -> Iterator[None]:
    """Show the notes of `ipr_core`, INFO and above, while a command works."""
    logger = logging.getLogger("ipr_core")
    handler, level = Notes(), logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)
