"""Listeners who are killed by SIGKILL while they vote, again and again until every clip has a vote.

No vote that was acknowledged may be lost, none may stand in the file twice, and no file may be damaged. Half of the
listeners write on a disk that takes a byte at a time, so that kills strike in the middle of a line.

    python -m fuzz.votes [--kills 100]
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
from dataclasses import dataclass
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep
from types import SimpleNamespace
from typing import Any

import numpy as np
from numpy.random import Generator

from ipr_core.votes import record
from ipr_core.votes.order import shuffled

CLIPS = 40
REPEATS = 0.25
CLASSES = ("angry", "happy", "sad")
NAMES = ("ada", "bo")
"""Two listeners vote in one folder at a time; the first is killed, the second is not."""


@dataclass
class Count:
    """What happened to the listeners."""

    kills: int = 0
    folders: int = 0
    torn: int = 0
    """Kills that left the beginning of a line."""
    silent: int = 0
    """Kills after a vote was in the file and before it was acknowledged."""


def clips() -> Any:
    """Return clips without sounds, which need no corpus."""
    audio = [f"{number:032x}" for number in range(CLIPS)]
    return SimpleNamespace(ids=[f"clip {number}" for number in range(CLIPS)], audio=audio)


def vote(folder: Path, name: str, acknowledged: Connection, slow: bool) -> None:
    """Vote on every clip that has no vote yet, as the page does, and tell each vote that was acknowledged."""
    from ipr_widgets.listening import Listening

    if slow:
        _slow_down()
    sounds = clips()
    test = Listening(sounds, shuffled(sounds.audio, name, 0, REPEATS), CLASSES, name, folder)
    turns: list[dict[str, Any]] = []
    test.send = lambda content, buffers=None: turns.append(content)
    answer = dict(other=False, cannot_tell=False, word="", sure=None, seconds=1.0)
    test._on_message(None, dict(kind="begin", request="r"), [])
    while turns[-1]["kind"] == "turn":
        number = turns[-1]["number"]
        hearing = test._hearings[number]
        content = dict(kind="vote", request="r", number=number, emotions=[number % len(CLASSES)])
        test._on_message(None, content | answer, [])
        assert turns[-1]["kind"] != "fault", turns[-1]["text"]
        acknowledged.send((sounds.audio[hearing.row], hearing.repeat))


def _slow_down() -> None:
    """Let the disk take a byte at a time."""
    write = os.write

    def write_a_byte(descriptor: int, content: bytes) -> int:
        sleep(0.00005)
        return write(descriptor, content[:1])

    record.os = SimpleNamespace(**vars(os) | {"write": write_a_byte})  # of that module alone


def kill_voting(kills: int, draw: Generator, root: Path) -> Count:
    """Kill listeners so many times. raises AssertionError where a vote is lost or doubled, or a file damaged"""
    count = Count()
    while count.kills < kills:
        folder = root / f"votes-{count.folders}"
        companion, _ = _start(folder, NAMES[1], slow=False)
        _vote_to_the_end(folder, min(kills, count.kills + 20), draw, count)
        companion.join()
        assert companion.exitcode == 0, f"the other listener failed in {folder}"
        for name in NAMES:
            _check_complete(folder, name)
        count.folders += 1
    return count


def _vote_to_the_end(folder: Path, last: int, draw: Generator, count: Count) -> None:
    """Let the first listener vote on every clip; kill and start them again until there are `last` kills."""
    receipts: set[tuple[str, int]] = set()
    while True:
        slow = bool(draw.random() < 0.5)
        process, acknowledged = _start(folder, NAMES[0], slow)
        if count.kills < last:
            _kill_after_some(process, acknowledged, receipts, draw, slow)
            count.kills += process.exitcode != 0
        receipts |= _all_sent(acknowledged)
        process.join()
        _check(folder, receipts, count)
        if process.exitcode == 0:
            return
        assert process.exitcode == -9, f"exit code {process.exitcode} in {folder}"


def _context() -> ForkServerContext:
    forkserver = multiprocessing.get_context("forkserver")
    forkserver.set_forkserver_preload(["ipr_widgets.listening"])  # else each listener imports for seconds
    return forkserver


def _start(folder: Path, name: str, slow: bool) -> tuple[BaseProcess, Connection]:
    receiver, sender = _context().Pipe(duplex=False)
    process = _context().Process(target=vote, args=(folder, name, sender, slow))
    process.start()
    sender.close()
    return process, receiver


def _kill_after_some(
    process: BaseProcess, acknowledged: Connection, receipts: set[tuple[str, int]], draw: Generator, slow: bool
) -> None:
    """Kill a listener a moment after one of the next votes was acknowledged."""
    for _ in range(int(draw.integers(0, 4))):
        try:
            receipts.add(acknowledged.recv())
        except EOFError:  # every clip has a vote
            break
    sleep(draw.uniform(0, 0.05 if slow else 0.01))
    process.kill()
    process.join()


def _all_sent(acknowledged: Connection) -> set[tuple[str, int]]:
    keys = set()
    try:
        while True:
            keys.add(acknowledged.recv())
    except EOFError:
        return keys


def _check(folder: Path, receipts: set[tuple[str, int]], count: Count) -> None:
    """Assert that every acknowledged vote counts, and at most one more of each kill."""
    file = folder / f"{NAMES[0]}.jsonl"
    count.torn += file.exists() and not file.read_bytes().endswith(b"\n") and file.stat().st_size > 0
    table = record.read(folder, NAMES[0])
    votes = set(zip(table["audio"], table["repeat"].tolist(), strict=True))
    assert receipts <= votes, f"{len(receipts - votes)} acknowledged votes are lost in {folder}"
    assert len(votes - receipts) <= 1, f"{len(votes - receipts)} votes that nobody gave in {folder}"
    count.silent += len(votes - receipts)
    receipts |= votes


def _check_complete(folder: Path, name: str) -> None:
    """Assert a vote on every hearing, each in one line, and a file without damage."""
    lines = (folder / f"{name}.jsonl").read_text("utf-8").splitlines()
    votes = [json.loads(line) for line in lines]
    keys = [(vote["audio"], vote["repeat"]) for vote in votes]
    sounds = clips()
    expected = [(sounds.audio[row], repeat) for row, repeat in shuffled(sounds.audio, name, 0, REPEATS)]
    assert sorted(keys) == sorted(expected), f"{len(keys)} lines for {len(expected)} clips of {name} in {folder}"
    assert len(record.read(folder, name)) == len(expected)


def main(argv: list[str] | None = None) -> int:
    """Kill listeners, and print how often. returns: 0 if nothing was lost, doubled or damaged"""
    parser = argparse.ArgumentParser("votes", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=100, help="default 100")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, help="where failures stay; else a temporary folder")
    args = parser.parse_args(argv)
    os.environ |= {"OMP_NUM_THREADS": "1"}
    root = args.root or Path(tempfile.mkdtemp(prefix="votes-"))
    began = monotonic()
    try:
        count = kill_voting(args.kills, np.random.default_rng(args.seed), root)
    except AssertionError as failure:
        print(f"FAILED: {failure}", flush=True)
        return 1
    print(
        f"{count.kills} kills, {count.torn} left the beginning of a line, {count.silent} struck between disk and"
        f" acknowledgement; {count.folders} folders of {len(NAMES)} listeners complete, no vote lost, none doubled;"
        f" {monotonic() - began:.0f} s"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
