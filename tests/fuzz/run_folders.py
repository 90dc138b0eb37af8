"""Damaged run folders and every command that opens one; the oracle is the undamaged folder's result, to the bit."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
from collections.abc import Callable, Iterable
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from safetensors import SafetensorError
from safetensors.numpy import load_file

from fuzz.trials import Answer, Damage, Verdict, call, judge
from fuzz.workbench import SETTINGS, Workbench

COMMANDS = ("resume", "annotate", "export", "table", "train", "batch", "again")
"""`again` is `resume` of the unfinished run."""
CLOCK = "training, s"
"""The column of a table that differs between runs with the same numbers."""
HISTORY = "history.csv"
"""The file of the corrections."""
_UNTRAINED = {".lock", "corrections", "widgets"}
"""Files and folders of a run that training neither reads nor writes."""


def trial(number: int, draw: Generator, folder: Path, workbench: Workbench) -> Verdict:
    """Damage one file of a copy of a run, or of the cache, and call a command."""
    command = COMMANDS[number % len(COMMANDS)]
    source = workbench.unfinished if command == "again" else workbench.finished
    run = folder / "runs" / source.name
    shutil.copytree(source, run)
    os.environ["IPR_CACHE"] = str(_cache(folder, workbench))
    file, name = _damaged(run, folder, draw)
    corrections = file.name == HISTORY and command == "annotate"  # whose lines people may change
    damage = Damage(f"{name}, {command}", file.name, (file.name, run.name), invisible=corrections)
    (folder / "damage.txt").write_text(f"{damage.name}\n{file}")
    secret = folder / "secret.txt"
    content = secret.read_bytes() if secret.exists() else b""
    words, outputs = _words(command, run, folder, workbench)
    answer = call(*words, folder=folder)
    if secret.exists() and secret.read_bytes() != content:
        return Verdict("wrote through a link", damage.name, answer.text)
    reference = _reference(command, workbench)
    return judge(
        answer,
        damage,
        lambda: _results(command, answer, outputs, workbench) == reference,
        lambda: _is_corrected(outputs, file, workbench),
    )


def _is_corrected(outputs: Path, history: Path, workbench: Workbench) -> bool:
    """Tell whether the labels of a folder are the model's, but for the corrections that a history still has of it."""
    keys = {row["id"]: row["audio"] for row in _rows(workbench.finished / "corrections" / HISTORY)}
    newest = {row["audio"]: row for row in _rows(history)}
    labels = pd.read_parquet(next(outputs.glob("*.parquet")))
    soft = labels.filter(like="soft_").rename(columns=lambda name: name.removeprefix("soft_"))
    expected = soft.idxmax(axis=1).tolist()
    for i, id in enumerate(labels["id"]):
        row = newest.get(keys.get(id.removesuffix(".wav"), ""))
        expected[i] = row["label"] if row and row["label"] != "withdrawn" else expected[i]
    return labels["single_label"].tolist() == expected


def _rows(history: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(history.read_text("utf-8-sig")))) if history.exists() else []


def _cache(folder: Path, workbench: Workbench) -> Path:
    """Return a cache of the trial's own with the runs' corpus: others shall not meet what is damaged in it."""
    for corpus in workbench.cache.glob("synthetic-80-*"):
        shutil.copytree(corpus, folder / "cache" / corpus.name)
    return folder / "cache"


def _words(command: str, run: Path, folder: Path, workbench: Workbench) -> tuple[list[object], Path]:
    """Return a command line, and the folder in which its results lie."""
    results = folder / "out"
    lines: dict[str, list[object]] = {
        "resume": ["resume", run], "again": ["resume", run], "table": ["table", run],
        "export": ["export", run, results],
        "annotate": ["annotate", run, workbench.folder / "few", "--out", results],
        "train": ["train", *SETTINGS, "--runs", run.parent],
        "batch": ["batch", "--systems", "ipr", *SETTINGS, "--runs", run.parent, "--dry-run"],
    }  # fmt: skip
    return lines[command], results if command in ("annotate", "export") else run


def _results(command: str, answer: Answer, outputs: Path, workbench: Workbench) -> object:
    """Return what a command is for, in a form that can be compared."""
    if command in ("annotate", "export"):
        return contents(outputs)
    lines = without_clock(answer.result.splitlines())
    if command in ("table", "batch"):
        return [line for line in lines if line.startswith(("|", "  synthetic-"))]
    return [lines, contents(outputs)]


def without_clock(lines: list[str]) -> list[str]:
    """Return printed lines, without the column of tables that tells how long training took."""
    rows = [line.split("|") for line in lines]
    clocks = {row.index(cell) for row in rows for cell in row if cell.strip() == CLOCK}
    return ["|".join(cell for i, cell in enumerate(row) if i not in clocks or len(row) == 1) for row in rows]


def _reference(command: str, workbench: Workbench) -> object:
    """Return the result of a command in an undamaged folder; made once for all trials."""
    record = workbench.folder / "references" / f"{command}.json"
    return json.loads(record.read_text())


def make_references(workbench: Workbench) -> None:
    """Call every command once, undamaged."""
    (workbench.folder / "few").mkdir()
    for clip in workbench.clips[:4]:
        shutil.copy(clip, workbench.folder / "few")
    (workbench.folder / "references").mkdir()
    for command in COMMANDS:
        folder = workbench.folder / "reference"
        source = workbench.unfinished if command == "again" else workbench.finished
        run = folder / "runs" / source.name
        shutil.copytree(source, run)
        words, outputs = _words(command, run, folder, workbench)
        answer = call(*words, folder=folder)
        if answer.code:
            raise RuntimeError(f"{command} fails in an undamaged folder: {answer.text}")
        result = json.dumps(_results(command, answer, outputs, workbench))
        (workbench.folder / "references" / f"{command}.json").write_text(result)
        shutil.rmtree(folder)


def contents(folder: Path, ignored: Iterable[str] = ()) -> list[list[str]]:
    """Return a text for each file in a folder, which is the same where the file says the same.

    ignored: files and folders that are not looked at
    """
    names = {*_UNTRAINED, *ignored}
    files = sorted(path for path in folder.rglob("*") if path.is_file() and not names & {*path.parts})
    return [[str(path.relative_to(folder)), _content(path)] for path in files]


def _content(path: Path) -> str:
    """Return the content without what may differ between equal runs: clocks, versions and the order of a header."""
    if path.suffix == ".safetensors" and path.stat().st_size and _is_whole(path):
        return _digest(array.tobytes() for _, array in sorted(load_file(path).items()))
    if path.name == "events.jsonl":
        return _digest([re.sub(rb'"clock": \{[^}]*\}', b"", path.read_bytes())])
    if path.name == "config.json":  # where it has digests of files with clocks
        return _digest([re.sub(rb'"(events.jsonl|seal)": "[^"]*"', b"", path.read_bytes())])
    return _digest([path.read_bytes()])


def _is_whole(path: Path) -> bool:
    try:
        return bool(load_file(path))
    except SafetensorError:
        return False


def _digest(parts: Iterable[bytes]) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(part)
    return digest.hexdigest()


# Damages.


def _damaged(run: Path, folder: Path, draw: Generator) -> tuple[Path, str]:
    """Damage one file of the run, or of the cache, and return it with the damage in words."""
    files = sorted(path for path in run.rglob("*") if path.is_file())
    files += [run / ".lock", run / "corrections" / HISTORY]
    if draw.random() < 0.15:
        files = sorted(path for path in (folder / "cache").rglob("*") if path.is_file())[:20]
    file = files[draw.integers(len(files))]
    name = str(draw.choice([*DAMAGES]))
    file.parent.mkdir(exist_ok=True)
    DAMAGES[name](file, draw)
    return (
        file,
        f"{file.relative_to(folder / 'runs' / run.name) if run in file.parents else 'cache/' + file.suffix} {name}",
    )


def _bytes(file: Path) -> bytearray:
    return bytearray(file.read_bytes() if file.is_file() else b"x" * 100)


def _cut(file: Path, draw: Generator) -> None:
    data = _bytes(file)
    file.write_bytes(data[: int(draw.integers(0, max(1, len(data))))])


def _flip(file: Path, draw: Generator) -> None:
    data = _bytes(file) or bytearray(b"x")
    for i in draw.integers(0, len(data), draw.integers(1, 9)):
        data[i] ^= 1 << int(draw.integers(8))
    file.write_bytes(data)


def _zero(file: Path, draw: Generator) -> None:
    file.write_bytes(bytes(len(_bytes(file))))


def _replace(file: Path, content: bytes) -> None:
    file.unlink(missing_ok=True)
    file.write_bytes(content)


def _mix(file: Path, draw: Generator) -> None:
    """Give it the content of a file of the same kind."""
    twins = [path for path in file.parent.rglob(f"*{file.suffix}") if path != file and path.is_file()]
    _replace(file, twins[draw.integers(len(twins))].read_bytes() if twins else b"{}\n")


def _link(file: Path, target: str | Path) -> None:
    file.unlink(missing_ok=True)
    file.symlink_to(target)


def _link_to_secret(file: Path, draw: Generator) -> None:
    """Point it to a file of the user's, which no command may change."""
    secret = next(parent for parent in file.parents if parent.name.startswith("run_folders-")) / "secret.txt"
    secret.write_bytes(_bytes(file))
    _link(file, secret)


def _make_folder(file: Path, draw: Generator) -> None:
    file.unlink(missing_ok=True)
    file.mkdir()


def _change_text(file: Path, draw: Generator) -> None:
    """Change a number or a word of a text, as a hand does."""
    data = bytes(_bytes(file))
    digits = list(np.flatnonzero(np.frombuffer(data, np.uint8) == ord("1")))
    index = int(digits[draw.integers(len(digits))]) if digits else 0
    file.write_bytes(data[:index] + b"7" + data[index + 1 :])


def _shorten(file: Path, draw: Generator) -> None:
    """Remove the first or the last line."""
    lines = bytes(_bytes(file)).splitlines(keepends=True)
    file.write_bytes(b"".join(lines[1:] if draw.random() < 0.5 else lines[:-1]))


DAMAGES: dict[str, Callable[[Path, Generator], object]] = {
    "missing": lambda file, draw: file.unlink(missing_ok=True), "empty": lambda file, draw: _replace(file, b""),
    "cut": _cut, "flipped": _flip,
    "flipped bits": _flip, "zeroed": _zero, "noise": lambda file, draw: _replace(file, draw.bytes(3000)),
    "changed by hand": _change_text,
    "of another file": _mix, "a folder": _make_folder, "a line less": _shorten, "foreign text": lambda file,
    draw: _replace(file, b'{"a": [1, 2]}\n'),
    "a link to nothing": lambda file, draw: _link(file, "gone"), "a link to itself": lambda file, draw: _link(file,
    file.name),
    "a link to a secret": _link_to_secret, "endless": lambda file, draw: _link(file, "/dev/zero"),
    "a pipe": lambda file, draw: (file.unlink(missing_ok=True), os.mkfifo(file)), "deeply nested": lambda file,
    draw: _replace(file, b"[" * 100_000),
}  # fmt: skip
