"""Two runs that have to be the same to the bit, and a run folder that has to be whole."""

import json

import pandas as pd
from safetensors.numpy import load_file

from ipr_core.runs.run import Run, comparable_lines


def files(run: Run) -> set[str]:
    return {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()} - {".lock"}


def all_whole(run: Run) -> None:
    """Every file can be read to its end, but for what was being written when it was killed and has no name yet."""
    for path in run.folder.rglob("*"):
        if any(part.startswith(".writing-") for part in path.parts):
            continue
        if path.suffix == ".json":
            json.loads(path.read_text("utf-8"))
        elif path.suffix == ".jsonl":
            assert path.read_text("utf-8").endswith("\n")
            [json.loads(line) for line in path.read_text("utf-8").splitlines()]
        elif path.suffix == ".safetensors":
            load_file(path)
        elif path.suffix == ".parquet":
            pd.read_parquet(path)


def assert_same(run: Run, other: Run) -> None:
    """The same record, labels, states and model, to the bit."""
    assert files(run) == files(other)
    assert comparable_lines(run) == comparable_lines(other)
    pd.testing.assert_frame_equal(run.labels, other.labels, check_exact=True)
    for name in sorted(files(run)):
        if name.endswith(".safetensors"):
            ours, theirs = load_file(run.folder / name), load_file(other.folder / name)
            assert ours.keys() == theirs.keys()
            assert all((ours[key] == theirs[key]).all() for key in ours), name
