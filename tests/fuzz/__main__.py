"""`python -m fuzz` in the folder of the tests: seeded trials of every kind, and the failures among them.

python -m fuzz                       the whole of it, about fifteen minutes on two cores
python -m fuzz --only audio:17       one trial again, with what the command printed
"""

from __future__ import annotations

import argparse
import itertools
import math
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from time import monotonic

from fuzz import pool
from fuzz.pool import Task
from fuzz.trials import GOOD, Verdict

COUNTS = {"audio": 1600, "tables": 1000, "grids": 400, "run_folders": 700}
"""Trials of each kind."""


def main(argv: list[str] | None = None) -> int:
    """Do the trials and print a table. returns: 0 if all are good"""
    args = _parse(argv)
    os.environ |= {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "COLUMNS": "200"}
    root = args.root or Path(tempfile.mkdtemp(prefix="fuzz-"))
    pool.make_workbench(root)
    began, verdicts = monotonic(), {kind: Counter() for kind in COUNTS}
    peak = 0
    for task, folder, verdict in pool.results(_in_time(began + args.seconds, _tasks(args)), root, args.jobs):
        verdicts[task.kind][verdict.outcome] += 1
        peak = max(peak, verdict.mebibytes)
        if args.only or not verdict.good:
            print(_line(task, folder, verdict), flush=True)
    print(_summary(verdicts), f"{monotonic() - began:.0f} s, seed {args.seed}, at most {peak:,} MiB", sep="\n")
    return int(any(outcome not in GOOD for counter in verdicts.values() for outcome in counter))


def _parse(argv: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser("fuzz", description="Seeded trials with damaged input; see README.md.")
    parser.add_argument("--seed", type=int, default=0, help="another seed gives other damages; default 0")
    parser.add_argument("--only", metavar="KIND:NUMBER", help="one trial again")
    parser.add_argument("--seconds", type=float, default=math.inf, help="no trial begins later; default no end")
    parser.add_argument("--jobs", type=int, default=os.cpu_count(), help="trials at a time")
    parser.add_argument("--root", type=Path, help="where failures stay; else a temporary folder")
    for kind, count in COUNTS.items():
        parser.add_argument(f"--{kind.replace('_', '-')}", type=int, default=count, help=f"default {count}")
    return parser.parse_args(argv)


def _tasks(args: argparse.Namespace) -> Iterable[Task]:
    """Return the trials, those of the kinds by turns."""
    if args.only:
        kind, _, number = args.only.partition(":")
        return [Task(kind, int(number), args.seed)]
    kinds = [[Task(kind, number, args.seed) for number in range(getattr(args, kind))] for kind in COUNTS]
    return [task for turn in itertools.zip_longest(*kinds) for task in turn if task is not None]


def _in_time(end: float, tasks: Iterable[Task]) -> Iterator[Task]:
    return itertools.takewhile(lambda task: monotonic() < end, tasks)


def _line(task: Task, folder: Path, verdict: Verdict) -> str:
    text = verdict.text.strip()
    excerpt = text if len(text) < 1500 else f"{text[:500]}\n[…]\n{text[-900:]}"
    return f"{task} {verdict.outcome}: {verdict.damage}\n  {excerpt}\n  input in {folder}\n".replace("\n", "\n  ")


def _summary(verdicts: dict[str, Counter[str]]) -> str:
    outcomes = [*GOOD, *sorted({name for counter in verdicts.values() for name in counter} - {*GOOD})]
    rows = [
        ["", *outcomes],
        *([kind, *(str(counter[name]) for name in outcomes)] for kind, counter in verdicts.items()),
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) for row in rows)


if __name__ == "__main__":
    sys.exit(main())
