"""Commands of a queueing system in shell, first on the path."""

import os
import textwrap
from pathlib import Path

SUBMITS = """
    nohup sh "$1" > "$(dirname "$0")/job.log" 2>&1 < /dev/null &
    echo $! > "$(dirname "$0")/job.$!"
    echo "Submitted batch job $!"
"""
"""An sbatch that runs each job at once, in the background."""
LISTS = """
    for file in "$(dirname "$0")"/job.[0-9]*; do
        job="${file##*.}"
        if kill -0 "$job" 2> /dev/null; then echo "$job RUNNING main"; fi
    done
"""
"""A squeue that lists the jobs that go on."""
CANCELS = 'for job in "$@"; do pkill -TERM -P "$job"; kill "$job"; done 2> /dev/null'


def put_commands(folder: Path, monkeypatch, **scripts: str) -> Path:
    """Write shell scripts by name, and put their folder first on the path; returns the folder."""
    folder.mkdir(exist_ok=True)
    for name, text in scripts.items():
        (folder / name).write_text("#!/bin/sh\n" + textwrap.dedent(text).strip() + "\n")
        (folder / name).chmod(0o755)
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")
    return folder
