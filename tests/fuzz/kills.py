"""Commands killed by SIGKILL at random moments, again and again until they are done.

What they leave must be what an undisturbed command leaves, to the bit, with nothing beside it and no process alive.

    python -m fuzz.kills [--kills 200]
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path
from time import monotonic, sleep

import numpy as np
import pandas as pd
import psutil
from numpy.random import Generator

from fuzz import pool
from fuzz.run_folders import contents
from fuzz.workbench import SETTINGS, Workbench

SHARES = {"train": 0.3, "annotate": 0.3, "corrections": 0.3, "run": 0.05, "batch": 0.05}
"""Shares of the kills; those with notebooks take twenty times as long."""
_LAST = 6  # kills in one folder, after which the command may end
_PATIENCE = 30.0  # seconds in which what a killed command started has to end
_CHANGING = {"notebooks", "report.html", "cell.json"}
"""Files with times in them, which no two runs have alike."""


@dataclass
class Count:
    """What happened to the commands of a kind."""

    kills: int = 0
    folders: int = 0
    writes: int = 0
    """Kills while a file was being written."""


def train(folder: Path, bench: Workbench) -> None:
    _ipr("train", *SETTINGS, "--runs", folder / "runs")


def annotate(folder: Path, bench: Workbench) -> None:
    _ipr("annotate", bench.finished, bench.folder / "parts.csv", "--out", folder / "out")


def run(folder: Path, bench: Workbench) -> None:
    _ipr("run", *SETTINGS, "--runs", folder / "runs")


def batch(folder: Path, bench: Workbench) -> None:
    words = ["--systems", "ipr", "baseline", "--notebooks", "02_refinement", "--jobs", "2"]
    _ipr("batch", *words, *SETTINGS, "--runs", folder / "runs")


def corrections(folder: Path, bench: Workbench) -> None:
    """Make sixteen corrections as the board does, each once, in a run opened anew."""
    from ipr_core.runs import corrections
    from ipr_core.runs.run import Run

    copy = Run(folder / "runs" / bench.finished.name)
    if not copy.exists:
        shutil.copytree(bench.finished, folder / "copying")
        copy.folder.parent.mkdir()
        (folder / "copying").rename(copy.folder)
    copy.clear_()  # as `prepare` does in a notebook
    notes = set(corrections.read(copy)["note"])
    for number, id in enumerate(copy.table["id"][:16]):
        if f"note {number}" not in notes:
            corrections.add(copy, id, "sad", "a listener", f"note {number}")


COMMANDS: dict[str, Callable[[Path, Workbench], None]] = {
    "train": train, "annotate": annotate, "corrections": corrections, "run": run, "batch": batch,
}  # fmt: skip


def results(folder: Path) -> list[list[str]]:
    """Return all that a command left in its folder, but for times."""
    files = contents(folder, ignored={"cache", *_CHANGING})
    histories = [pd.read_csv(path) for path in folder.rglob("history.csv")]
    return files + [["history.csv", table.drop(columns="when").to_csv()] for table in histories]


def rest(folder: Path) -> list[Path]:
    """Return unfinished files and folders: a killed command leaves some, and the next one clears them away."""
    names = (".writing-*", ".synthetic-*", "*.pieces", "*.tmp", "*.part")
    return sorted(path for name in names for path in folder.rglob(name))


def kill_all(kind: str, kills: int, draw: Generator, root: Path) -> Count:
    """Kill a command so many times; raises AssertionError where it leaves another result, or something beside it.

    It always works in the folder `root / kind`, since paths are part of its results.
    """
    bench, count, folder = Workbench(root / "workbench"), Count(), root / kind
    began = monotonic()
    _finish(_start(kind, folder, bench))
    seconds, reference = monotonic() - began, results(folder)
    assert not rest(folder), f"left behind without a kill: {rest(folder)}"
    while count.kills < kills:
        shutil.rmtree(folder)
        _end_after_kills(kind, min(kills, count.kills + _LAST), draw, seconds, folder, bench, count)
        assert results(folder) == reference, f"another result in {folder}: {_differences(results(folder), reference)}"
        assert not rest(folder), f"left behind: {rest(folder)}"
        count.folders += 1
    return count


def _end_after_kills(
    kind: str, last: int, draw: Generator, seconds: float, folder: Path, bench: Workbench, count: Count
) -> None:
    """Start a command again and again until it ends, and kill it until there are `last` kills."""
    while True:
        process = _start(kind, folder, bench)
        if count.kills == last or not _killed(process, draw, seconds, folder, count):
            return _finish(process)


def _differences(files: list[list[str]], reference: list[list[str]]) -> list[str]:
    return sorted({name for name, _ in {*map(tuple, files)} ^ {*map(tuple, reference)}})


def _start(kind: str, folder: Path, bench: Workbench) -> BaseProcess:
    process = pool.context().Process(target=_do, args=(kind, folder, bench))
    process.start()
    return process


def _do(kind: str, folder: Path, bench: Workbench) -> None:
    folder.mkdir(exist_ok=True)
    os.environ |= {"IPR_CACHE": str(folder / "cache"), "IPR_RUNS": str(folder / "runs"), "PYTHONWARNINGS": "ignore"}
    os.chdir(folder)
    with open(folder.parent / f"{folder.name}.txt", "ab") as stream:
        os.dup2(stream.fileno(), 1)
        os.dup2(stream.fileno(), 2)
    COMMANDS[kind](folder, bench)


def _ipr(*words: object) -> None:
    from ipr_core import cli

    if code := cli.main([str(word) for word in words]):
        sys.exit(code)


def _finish(process: BaseProcess) -> None:
    process.join()
    assert process.exitcode == 0, f"exit code {process.exitcode}, see the text file beside the folder"


def _killed(process: BaseProcess, draw: Generator, seconds: float, folder: Path, count: Count) -> bool:
    """Kill a command after a while, every other time in the middle of a write; False where it had ended before."""
    process.join(draw.uniform(0, seconds))
    if draw.random() < 0.5:
        _wait_for_a_write(folder, process, seconds)
    family = _family(process)
    process.kill()
    process.join()
    if process.exitcode == 0:
        return False
    count.kills += 1
    count.writes += bool(rest(folder))
    _, alive = psutil.wait_procs(family, _PATIENCE)
    assert not alive, f"alive after {folder}: {alive}"
    return True


def _family(process: BaseProcess) -> list[psutil.Process]:
    """Return the processes that a command has started."""
    try:
        return psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def _wait_for_a_write(folder: Path, process: BaseProcess, seconds: float) -> None:
    end = monotonic() + seconds
    while monotonic() < end and process.is_alive() and not any(folder.rglob(".writing-*")):
        sleep(0.0005)


def make_parts(bench: Workbench) -> None:
    """Write the manifest that is annotated: 540 parts of recordings that have to be decoded, in three pieces."""
    import soundfile

    folder = bench.folder / "recordings"
    folder.mkdir(exist_ok=True)
    rows = []
    for clip in bench.clips:
        samples, _ = soundfile.read(clip)
        soundfile.write(folder / f"{clip.stem}.flac", samples, 22_050)
        rows += [(f"recordings/{clip.stem}.flac", start / 100, start / 100 + 0.12) for start in range(0, 27, 3)]
    pd.DataFrame(rows, columns=["path", "start", "end"]).to_csv(bench.folder / "parts.csv", index=False)


def main(argv: list[str] | None = None) -> int:
    """Kill every command, and print how often. returns: 0 if nothing was lost and nothing left"""
    parser = argparse.ArgumentParser("kills", description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=200, help="default 200")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--root", type=Path, help="where failures stay; else a temporary folder")
    parser.add_argument("--kinds", nargs="+", default=[*SHARES], choices=[*SHARES])
    args = parser.parse_args(argv)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1"}
    root = args.root or Path(tempfile.mkdtemp(prefix="kills-"))
    make_parts(pool.make_workbench(root))
    failures = 0
    for kind, kills in _numbers(args.kinds, args.kills):
        draw, began = np.random.default_rng([args.seed, *kind.encode()]), monotonic()
        try:
            count = kill_all(kind, kills, draw, root)
            line = f"{count.kills} kills, {count.writes} in the middle of a write, {count.folders} ended alike"
        except AssertionError as failure:
            line, failures = f"FAILED: {failure}", failures + 1
        print(f"{kind:<12} {line}; {monotonic() - began:.0f} s", flush=True)
    return int(failures > 0)


def _numbers(kinds: list[str], kills: int) -> Iterator[tuple[str, int]]:
    """Share the kills among the commands, one at least each."""
    whole = sum(SHARES[kind] for kind in kinds)
    yield from ((kind, max(1, round(kills * SHARES[kind] / whole))) for kind in kinds)


if __name__ == "__main__":
    sys.exit(main())
