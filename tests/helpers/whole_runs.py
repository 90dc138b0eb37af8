"""Assertions that two runs are the same, and that a run folder is whole."""

import json

import pandas as pd
from safetensors.numpy import load_file

from ipr_core.runs.run import Run


def unvouched(run: Run, *names: str) -> None:
    """Forget the digests of files, as version 0.1 kept none, so that a test may write others."""
    digests = {name: digest for name, digest in run.meta.get("files", {}).items() if name not in names}
    run._write_meta(run.meta | {"files": digests})


def files(run: Run) -> set[str]:
    return {str(path.relative_to(run.folder)) for path in run.folder.rglob("*") if path.is_file()} - {".lock"}


def comparable_lines(run: Run) -> list[dict]:
    """Return the record without its clock: the same for a resumed run as for one that was never stopped."""
    events = map(json.loads, (run.folder / "events.jsonl").read_text("utf-8").splitlines())
    return [{key: value for key, value in event.items() if key != "clock"} for event in events]


def all_whole(run: Run) -> None:
    """Read every file to its end, except those without a final name, which a kill interrupted."""
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


def assert_same(run: Run, twin: Run) -> None:
    """Assert the same record, labels, states and model, to the bit."""
    assert files(run) == files(twin)
    assert comparable_lines(run) == comparable_lines(twin)
    pd.testing.assert_frame_equal(run.labels, twin.labels, check_exact=True)
    descriptions = [(folder / "model" / "config.json").read_text("utf-8") for folder in (run.folder, twin.folder)]
    assert descriptions[0] == descriptions[1]  # with the calibration
    for name in sorted(files(run)):
        if name.endswith(".safetensors"):
            arrays, twins = load_file(run.folder / name), load_file(twin.folder / name)
            assert arrays.keys() == twins.keys()
            assert all((arrays[key] == twins[key]).all() for key in arrays), name
