"""A trial: damaged input, the command that its user types, and the verdict of an oracle.

The oracle knows the result of the undamaged input, and what pandas or soundfile read from the damaged one. A command
may give the right result, refuse with a sentence, or warn by name. Everything else is a failure.
"""

from __future__ import annotations

import contextlib
import os
import re
import sys
import traceback
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psutil

MEMORY = 2048
"""MiB that a command may take at most."""
GOOD = ("right", "refused", "warned")
UNFORESEEN = 70
"""The exit code of `ipr` after an error that nobody foresaw."""


@dataclass(frozen=True)
class Answer:
    """What a command did."""

    code: int | None
    """Its exit code; None where an exception left it."""
    result: str
    """Its result, as printed on stdout."""
    notes: str = ""
    """Everything else that it printed."""
    mebibytes: int = 0
    """Its peak of memory, with that of the largest process it started."""

    @property
    def text(self) -> str:
        return self.result + self.notes


@dataclass(frozen=True)
class Damage:
    """What is wrong with an input, and so what a command may do about it."""

    name: str
    file: str
    """A refusal has to name it."""
    tokens: tuple[str, ...] = ()
    """A warning has to have one of these words, or the file's name if there is none."""
    harmless: bool = False
    """Nothing is wrong: a refusal is a failure."""
    invisible: bool = False
    """Nobody can see it: what pandas or soundfile read from the damaged input is right too."""
    grave: bool = False
    """A right result needs a word too, since the input cannot be meant."""


@dataclass(frozen=True)
class Verdict:
    """The outcome of a trial; one of GOOD, or a failure."""

    outcome: str
    damage: str
    text: str = ""
    mebibytes: int = 0

    @property
    def good(self) -> bool:
        return self.outcome in GOOD


def call(*argv: object, folder: Path) -> Answer:
    """Call `ipr` in this process, and keep what it prints in the folder."""
    from ipr_core import cli

    files = folder / "stdout.txt", folder / "stderr.txt"
    _reset_peak()
    with _printing_to(*files):
        try:
            code = cli.main([str(word) for word in argv])
        except BaseException:
            traceback.print_exc()
            code = None
    return Answer(code, *(file.read_text("utf-8", errors="replace") for file in files), _peak())


def judge(
    answer: Answer, damage: Damage, right: Callable[[], bool], plain: Callable[[], bool] = lambda: False
) -> Verdict:
    """Return the verdict on a command.

    right: whether its result is that of the undamaged input   plain: whether it is what pandas or soundfile read
    """
    return Verdict(_outcome(answer, damage, right, plain), damage.name, answer.text, answer.mebibytes)


def _outcome(answer: Answer, damage: Damage, right: Callable[[], bool], plain: Callable[[], bool]) -> str:
    if answer.code in (None, UNFORESEEN) or "Traceback (most recent call last)" in answer.text:
        return "traceback"
    if answer.mebibytes > MEMORY:
        return "memory"
    if answer.code in (1, 2):
        return _refusal(answer, damage)
    if answer.code != 0:
        return f"exit code {answer.code}"
    if right() and not damage.grave:
        return "right"
    if not damage.harmless and _has_one(_warnings(answer.text), damage.tokens or (damage.file,)):
        return "warned"
    return "right" if damage.invisible and plain() else "silently wrong"


def _refusal(answer: Answer, damage: Damage) -> str:
    if damage.harmless:
        return "refused without need"
    sentence = len(answer.text.split()) >= 5
    return "refused" if sentence and _has_one(answer.text, (damage.file, *damage.tokens)) else "refused without a name"


def _warnings(text: str) -> str:
    """Return a text without the columns that every reading of a table lists."""
    return re.sub("columns read:[^;\n]*", "", text)


def _has_one(text: str, words: tuple[str, ...]) -> bool:
    return any(word in text for word in words)


@contextlib.contextmanager
def _printing_to(*files: Path) -> Iterator[None]:
    """Let everything that this process prints, by Python or not, go to two files."""
    terminals = [os.dup(number) for number in (1, 2)]
    _flush()
    for number, file in enumerate(files, 1):
        with open(file, "wb") as stream:
            os.dup2(stream.fileno(), number)
    try:
        yield
    finally:
        _flush()
        for number, terminal in enumerate(terminals, 1):
            os.dup2(terminal, number)
            os.close(terminal)


def _flush() -> None:
    sys.stdout.flush()
    sys.stderr.flush()


def _reset_peak() -> None:
    for process in _family():
        with contextlib.suppress(OSError):
            Path(f"/proc/{process.pid}/clear_refs").write_text("5")


def _peak() -> int:
    """Return the MiB that this process and those that it started have had in memory at most."""
    return sum(_memory(process.pid) for process in _family()) // 1024


def _family() -> list[psutil.Process]:
    process = psutil.Process()
    return [process, *process.children(recursive=True)]


def _memory(pid: int) -> int:
    with contextlib.suppress(OSError, StopIteration):
        status = Path(f"/proc/{pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in status if line.startswith("VmHWM"))
    return 0
