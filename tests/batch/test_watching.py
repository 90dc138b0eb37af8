"""A batch's progress: the status of its cells and the table in a terminal."""

import io

import pandas as pd
import pytest

from helpers.batches import finish
from ipr_core.atomic import locked
from ipr_core.batch import cells, watching
from ipr_core.batch.cells import Record
from ipr_core.batch.watching import status


@pytest.fixture
def four(options, data, views, tmp_path):
    """Return a grid with one cell of each state, and its runs."""
    options["seeds"] = [0, 1]
    plan = finish(options, tmp_path, data, views)
    runs = [planned.run for planned in plan.cells]
    cells.save_record(runs[1], Record("failed", error="its kernel died\nsecond line", attempts=2))
    cells.save_record(runs[2], Record("running", attempts=1))
    cells.save_record(runs[3], Record())
    runs[2].reopen_()
    lines = (runs[2].folder / "events.jsonl").read_text().splitlines()[:2]
    (runs[2].folder / "events.jsonl").write_text("".join(line + "\n" for line in lines))
    return plan.grid, runs


def test_the_status_is_read_from_the_run_folders(four, tmp_path):
    grid, runs = four
    with locked(runs[2].folder / ".cell.lock"):
        table = status(grid, tmp_path)
    assert list(table["run"]) == [run.folder.name for run in runs]
    assert list(table["status"]) == ["done", "failed", "running", "waiting"]
    assert list(table[["system", "seed"]].itertuples(index=False, name=None)) == [
        ("ipr", 0), ("baseline", 0), ("ipr", 1), ("baseline", 1),
    ]  # fmt: skip
    assert (table["epoch"][2], table["epochs"][2]) == (2, 3)
    clock = runs[2].history()[1].clock["seconds"]
    assert 0 <= table["left"][2] <= clock
    assert table["seconds"][0] == 9
    assert table["error"][1].startswith("its kernel died")


def test_a_cell_whose_batch_was_killed_waits_again(four, tmp_path):
    grid, _ = four
    assert list(status(grid, tmp_path)["status"]) == ["done", "failed", "waiting", "waiting"]


def table_of(*states, left=float("nan")):
    columns = {"epoch": 2, "epochs": 9, "left": left, "seconds": 61.0, "error": "why\nelse"}
    return pd.DataFrame([{"run": f"run-{i}", "status": state} | columns for i, state in enumerate(states)])


def test_a_table_has_a_line_a_cell_and_their_counts():
    assert watching.lines(table_of("waiting", "running", "done", "failed", left=7200)) == [
        "run-0  waiting epoch 2 of 9, 2 h 0 min left",
        "run-1  running epoch 2 of 9, 2 h 0 min left",
        "run-2  done    61 s",
        "run-3  failed  why",
        "1 waiting, 1 running, 1 done, 1 failed",
    ]


def test_a_table_that_is_too_high_shows_running_and_failed_cells():
    lines = watching.lines(table_of(*["waiting"] * 30, "running", *["done"] * 30, "failed"), height=24)
    assert [line.split()[1] for line in lines[:-1]] == ["running", "failed"]
    assert lines[-1] == "30 waiting, 1 running, 30 done, 1 failed"


def test_a_terminal_keeps_the_table_in_its_place(monkeypatch):
    monkeypatch.setattr(watching, "_INTERVAL", 0)
    stream = io.StringIO()
    stream.isatty = lambda: True
    tables = iter([table_of("running", "waiting"), table_of("done", "running")])
    screen = watching.Screen(lambda: next(tables), stream)
    screen(last=True)
    screen(last=True)
    first, second = stream.getvalue().split("\x1b[3F\x1b[J")
    assert "run-0  running" in first
    assert "run-0  done" in second


def test_elsewhere_every_change_is_a_line():
    stream = io.StringIO()
    tables = iter(
        [
            table_of("done", "waiting"),
            table_of("done", "running"),
            table_of("done", "running"),
            table_of("done", "failed"),
        ]
    )
    screen = watching.Screen(lambda: next(tables), stream)
    for _ in range(4):
        screen(last=True)
    assert stream.getvalue() == "run-1  running epoch 2 of 9\nrun-1  failed  why\n"


def test_watching_ends_with_the_batch_and_returns_1_after_a_failure(four, monkeypatch, tmp_path):
    grid, runs = four
    monkeypatch.setattr(watching, "_INTERVAL", 0)
    screen = watching.Screen(lambda: status(grid, tmp_path), io.StringIO())
    for run in runs[2:]:
        cells.save_record(run, cells.read_record(runs[0]))
    assert screen.follow() == 1
    cells.save_record(runs[1], cells.read_record(runs[0]))
    assert screen.follow() == 0
