"""The record of a listening test: every vote of every listener, a file a listener, written so that none is lost.

`votes/LISTENER.jsonl` has a JSON object a line, in the order in which the votes were given. Lines are only added: a
listener who goes back and votes again adds a line, and of several for the same sound and hearing the last one counts.
A vote belongs to the sound: `audio` is the waveform's key (`WaveStore.keys`), as for corrections, so that it is found
again under any name.

A vote is in the file, and the file on disk, when `add` returns. A process that is killed in the middle may leave the
beginning of a line. The next `add` moves it to `LISTENER.torn`, unless only the end of the line is missing.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from ipr_core.atomic import WriteError, locked, make_folder
from ipr_core.sentence import SentenceError

SURE = (1, 2, 3)
"""How sure a listener can be: a guess, fairly, very."""
LETTERS = 200
"""Letters of a free word that are kept."""
_KEY = re.compile("[0-9a-f]{32}")  # of `WaveStore.keys`
_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,62}[A-Za-z0-9_-])?")
_DEVICES = frozenset(("con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(10))))
_CURE = "correct or remove that line, or put the file's copy back; the votes in the other lines are not touched"


class VoteError(SentenceError, ValueError):
    """A vote, a listener's name or a file of votes that cannot be used; the message has the cure."""


@dataclass(frozen=True)
class Vote:
    """A listener's answer on one sound."""

    listener: str
    """A name, or better a pseudonym, which is also the file's; see `check_name`."""
    id: str
    """The utterance, as the corpus calls it."""
    audio: str
    """The key of its waveform: 32 hexadecimal digits."""
    emotions: tuple[str, ...] = ()
    """What was heard, each once; none with `cannot_tell`."""
    other: bool = False
    """Whether another emotion was heard, alone or beside those."""
    cannot_tell: bool = False
    word: str = ""
    """The listener's own word for it; one line."""
    sure: int | None = None
    """One of SURE, None where nothing was said."""
    seconds: float = 0.0
    """How long the sound was listened to, all replays together."""
    repeat: int = 0
    """0 at the first hearing, 1 where the clip came again to see how consistent the listener is."""
    time: str = ""
    """ISO 8601 in UTC, to the millisecond; `add` gives it where it is empty."""


COLUMNS = ("time", *(field.name for field in fields(Vote) if field.name != "time"))
"""Columns of `read`, and keys of a line."""
_DTYPES = {"other": bool, "cannot_tell": bool, "sure": "Int64", "seconds": float, "repeat": "int64"}


def check_name(listener: str) -> None:
    """Raise VoteError unless the name of a listener can be a file's on any system."""
    if not _NAME.fullmatch(listener) or listener.split(".")[0].lower() in _DEVICES:
        raise VoteError(
            f"{listener!r} cannot be the name of a listener, which is also a file's; use up to 64 of the letters a to"
            " z, digits, and - _ . inside, a pseudonym best"
        )


def add(folder: Path | str, vote: Vote) -> Vote:
    """Keep a vote: it is on disk when this returns.

    folder: of the votes, made if there is none
    returns: the vote as it was kept, with its time
    raises VoteError for an impossible vote, WriteError if it cannot be written; then the file is as it was
    """
    time = vote.time or datetime.now(UTC).isoformat(timespec="milliseconds")
    vote = replace(vote, time=time, word=" ".join(vote.word.split())[:LETTERS], emotions=tuple(vote.emotions))
    check_name(vote.listener)
    if fault := _fault(asdict(vote)):
        raise VoteError(f"this vote of {vote.listener} cannot be kept: {fault}")  # blind: no id
    folder = Path(folder)
    make_folder(folder)
    _check_spelling(folder, vote.listener)
    with locked(folder / f".{vote.listener}.lock"):
        _append(_file(folder, vote.listener), _line(vote))
    return vote


def read(folder: Path | str, listener: str | None = None) -> DataFrame:
    """Return the votes that count, of all listeners or of one, ordered by time.

    returns: COLUMNS; `time` is text, `emotions` tuples of names, `sure` integers or NA. Of several votes of a listener
    for the same audio and repeat it has the last. A line that a kill has cut off at the file's end is no vote yet.
    raises VoteError with file, line and cure if a file is damaged
    """
    names = [name for name in listeners(folder) if listener in (None, name)]
    votes = [vote for name in names for vote in _counting(_file(Path(folder), name))]
    table = DataFrame([[vote[name] for name in COLUMNS] for vote in votes], columns=list(COLUMNS)).astype(_DTYPES)
    times = pd.to_datetime(table["time"], format="ISO8601", utc=True)
    order = (
        times.groupby(table["listener"]).cummax().argsort(kind="stable")
    )  # a clock that is set back reorders nothing
    return table.iloc[order].reset_index(drop=True)


def listeners(folder: Path | str) -> list[str]:
    """Return the names of all who have votes in a folder; none if there is no such folder."""
    return sorted(path.stem for path in Path(folder).glob("*.jsonl") if _NAME.fullmatch(path.stem))


def _file(folder: Path, listener: str) -> Path:
    return folder / f"{listener}.jsonl"


def _check_spelling(folder: Path, listener: str) -> None:
    """Raise VoteError where a listener's name is another's in other letters: some systems have one file for both."""
    for name in listeners(folder):
        if name != listener and name.casefold() == listener.casefold():
            raise VoteError(f"there is a listener {name!r} already; write the name like this, or take another one")


def _line(vote: Vote) -> bytes:
    values = asdict(vote)
    text = json.dumps({name: values[name] for name in COLUMNS}, ensure_ascii=False)
    return text.encode("utf-8", "backslashreplace") + b"\n"  # a lone surrogate as its escape, which JSON has too


# Reading.


def _counting(path: Path) -> list[dict[str, Any]]:
    """Return the votes of a file that count, oldest first: the last one of every sound and hearing."""
    votes: dict[tuple[str, int], dict[str, Any]] = {}
    for values in _votes(path):
        key = values["audio"], values["repeat"]
        votes.pop(key, None)  # else it would stand where the earlier vote stood
        votes[key] = values
    return list(votes.values())


def _votes(path: Path) -> Iterator[dict[str, Any]]:
    """Yield every vote of a file, oldest first. raises VoteError"""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise VoteError(f"{path} cannot be read: {error.strerror}; put the file's copy back, or remove it") from error
    *lines, last = content.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    for number, line in enumerate(lines, 1):
        values, fault = _parsed(line, path.stem)
        if fault:
            raise VoteError(f"{path}, line {number}: {fault}; {_CURE}")
        yield values
    values, fault = _parsed(last, path.stem)
    if not fault:
        yield values


def _parsed(line: bytes, listener: str) -> tuple[dict[str, Any], str]:
    """Return the values of a line, and its problem; "" if it has none."""
    try:
        values = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return {}, "it is empty" if not line.strip() else "it is not JSON in UTF-8"
    if not isinstance(values, dict) or not set(COLUMNS) <= set(values):
        return {}, f"it should be an object with {', '.join(COLUMNS)}"
    if fault := _fault(values):
        return {}, fault
    if values["listener"] != listener:
        return {}, f"it is a vote of {values['listener']!r}, and the file is that of {listener!r}"
    return values | {"emotions": tuple(values["emotions"])}, ""


def _fault(values: Mapping[str, Any]) -> str:
    """Return the problem of a vote's values; "" if there is none."""
    emotions = values["emotions"]
    if not isinstance(emotions, list | tuple) or not all(isinstance(name, str) and name for name in emotions):
        return f"emotions are {emotions!r}; they should be a list of names"
    answers = bool(emotions) + bool(values["other"])
    checks = {
        f"{emotions!r} names an emotion twice": len(set(emotions)) == len(emotions),
        "listener, id and word should be texts": all(isinstance(values[name], str) for name in _TEXTS),
        "other and cannot_tell should be true or false": all(isinstance(values[name], bool) for name in _BOOLS),
        "it says nothing; choose an emotion, other, or cannot tell": answers or values["cannot_tell"],
        "an emotion and cannot tell exclude each other": not (answers and values["cannot_tell"]),
        f"{values['audio']!r} is not the key of a sound": bool(_KEY.fullmatch(str(values["audio"]))),
        f"sure is {values['sure']!r}; it should be 1, 2, 3 or null": values["sure"] is None or _is_sure(values["sure"]),
        f"seconds are {values['seconds']!r}": type(values["seconds"]) in (int, float) and 0 <= values["seconds"] < 1e9,
        f"repeat is {values['repeat']!r}; it should be 0 or 1": type(values["repeat"]) is int
        and values["repeat"] in (0, 1),
        f"{values['time']!r} is not a time in ISO 8601 with its zone": _is_time(values["time"]),
    }
    return next((fault for fault, is_right in checks.items() if not is_right), "")


_TEXTS, _BOOLS = ("listener", "id", "word"), ("other", "cannot_tell")


def _is_sure(value: Any) -> bool:
    return type(value) is int and value in SURE


def _is_time(text: Any) -> bool:
    try:
        return datetime.fromisoformat(text).tzinfo is not None
    except (TypeError, ValueError):
        return False


# Writing.


def _append(path: Path, line: bytes) -> None:
    """Add a line to a file, whole or not at all, and put it on disk. raises WriteError"""
    if path.is_symlink():
        raise WriteError(path, "it is a symbolic link", "remove it")
    is_new = not path.exists()
    with _naming(path), _opened(path) as descriptor:
        end = _mend_tail(descriptor, path)
        os.lseek(descriptor, end, os.SEEK_SET)
        try:
            _write_all(descriptor, line)
        except OSError:
            os.ftruncate(descriptor, end)  # a disk that is full took a part
            raise
        os.fsync(descriptor)
        if is_new:
            _put_name_on_disk(path.parent)


@contextlib.contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Raise the errors of writing a file as WriteError."""
    try:
        yield
    except WriteError:
        raise
    except OSError as error:
        cure = "make room there or get permission to write, and vote again"
        raise WriteError(path, error.strerror or str(error), cure) from error


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a file to read and write, which is made where there is none."""
    flags = ("O_BINARY", "O_NOFOLLOW", "O_NONBLOCK", "O_CLOEXEC")
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | sum(getattr(os, flag, 0) for flag in flags), 0o644)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise WriteError(path, "it is not a plain file", "remove it")
        yield descriptor
    finally:
        os.close(descriptor)


def _mend_tail(descriptor: int, path: Path) -> int:
    """See that a file ends with a whole line. returns: its length in bytes"""
    end = os.fstat(descriptor).st_size
    tail = _tail(descriptor, end)
    if not tail:
        return end
    os.lseek(descriptor, end, os.SEEK_SET)
    if not _parsed(tail, path.stem)[1]:  # the whole vote is there
        _write_all(descriptor, b"\n")
        return end + 1
    with _opened(path.with_suffix(".torn")) as torn:
        os.lseek(torn, 0, os.SEEK_END)
        _write_all(torn, tail + b"\n")
        os.fsync(torn)
    os.ftruncate(descriptor, end - len(tail))
    return end - len(tail)


def _tail(descriptor: int, end: int) -> bytes:
    """Return the bytes after the last end of a line; none, at the cost of one byte read, where a line ends the file."""
    size = 1
    while True:
        begin = max(0, end - size)
        os.lseek(descriptor, begin, os.SEEK_SET)
        block = os.read(descriptor, end - begin)
        if b"\n" in block or begin == 0:
            return block.rpartition(b"\n")[2]
        size *= 64


def _write_all(descriptor: int, content: bytes) -> None:
    while content:
        content = content[os.write(descriptor, content) :]


def _put_name_on_disk(folder: Path) -> None:
    """Put the names in a folder on disk, where the system opens folders."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
