"""Commands of a queueing system, which may be missing, refuse, or never end."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import tempfile
from collections.abc import Sequence
from typing import IO

TIMEOUT = 60.0
"""Seconds that a command may take."""
_LONGEST = 2000  # characters of a command's words in a message


class CommandError(RuntimeError):
    """A command that failed; the message has its own words."""


class CommandMissingError(CommandError):
    """A command that is not installed here, or cannot be run."""


def run(words: Sequence[str], timeout: float | None = None) -> str:
    """Run a command and return its output. raises CommandError

    Its output goes to a file, so that a command that leaves a process in the background is not waited for.
    """
    seconds = TIMEOUT if timeout is None else timeout
    with tempfile.TemporaryFile() as output:
        try:
            process = subprocess.Popen(
                words, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )
        except FileNotFoundError:
            raise CommandMissingError(f"{words[0]} is not installed here") from None
        except OSError as error:
            raise CommandMissingError(f"{words[0]} cannot be run: {error.strerror}") from None
        try:
            code = process.wait(seconds)
        except BaseException as error:
            _kill(process)
            if isinstance(error, subprocess.TimeoutExpired):
                raise CommandError(f"{words[0]} did not end within {seconds:.0f} s{_suffix(_text(output))}") from None
            raise
        text = _text(output)
    if code:
        raise CommandError(f"{words[0]} ended with code {code}{_suffix(text) or ' and printed nothing'}")
    return text


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _text(output: IO[bytes]) -> str:
    output.seek(0)
    text = output.read().decode("utf-8", "replace").strip()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]} …"


def _suffix(text: str) -> str:
    return f": {text}" if text else ""
