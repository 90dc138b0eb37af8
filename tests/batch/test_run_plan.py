"""Batches at work: failures, kills, shared warm-ups and superseded runs."""

import concurrent.futures
import json
import multiprocessing
from dataclasses import replace
from time import monotonic, sleep

import pytest

from helpers.batches import (
    TRAIN,
    ThreadClient,
    finish,
    plan_of,
    reasons,
    records,
    without_clock,
    write_notebook,
)  # fmt: skip
from ipr_core import cli
from ipr_core.batch import cells, warm_ups
from ipr_core.batch.cells import Record
from ipr_core.batch.plan import SUPERSEDED, _failures, _make_folder, _ready, run_plan, runs_of
from ipr_core.batch.workers import Workers
from ipr_core.results import summary
from ipr_core.runs import provenance
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import train_all


def test_a_failure_is_kept_the_others_go_on_and_only_it_is_tried_again(options, tmp_path, frozen, data):
    cure = tmp_path / "cure"
    check = f"from pathlib import Path\nassert system == 'ipr' or Path({str(cure)!r}).exists(), 'it lacks the cure'"
    options["notebooks"] = [write_notebook(tmp_path / "train.ipynb", check, TRAIN.format(pause=0))]
    folder = tmp_path / "runs"
    (failure,) = run_plan(plan_of(options, folder), Workers(ThreadClient()))
    assert "it lacks the cure" in failure
    ipr, baseline = (planned.run for planned in plan_of(options, folder).cells)
    assert [cells.read_record(run).status for run in (ipr, baseline)] == ["done", "failed"]
    assert "it lacks the cure" in cells.read_record(baseline).error
    assert "it lacks the cure" in (baseline.folder / "notebooks" / "train.ipynb").read_text("utf-8")
    assert reasons(plan_of(options, folder))[0] == ""
    mtime = (ipr.folder / "notebooks" / "train.ipynb").stat().st_mtime_ns

    cure.touch()
    client = ThreadClient()
    assert run_plan(plan_of(options, folder), Workers(client)) == []
    assert [key.rpartition("-")[0] for key in client.keys] == [baseline.folder.name]
    assert [cells.read_record(run).attempts for run in (ipr, baseline)] == [1, 2]
    assert (ipr.folder / "notebooks" / "train.ipynb").stat().st_mtime_ns == mtime
    assert cells.read_record(baseline).warm_up_of == ipr.folder.name
    plain = train_all([ipr.config, baseline.config], tmp_path / "plain")
    for run, plain_run in zip((ipr, baseline), plain, strict=True):
        assert run.labels.equals(plain_run.labels)  # by notebooks with a shared warm-up, and without either


def test_cells_wait_for_the_warm_up_that_they_share(options, data, tmp_path):
    plan = plan_of(options | {"systems": ["ipr", "baseline", "baseline_augmented"], "seeds": [0, 1]}, tmp_path)
    waiting = {planned.run.folder: planned for planned in plan.unfinished}
    for planned in plan.unfinished:
        _make_folder(planned, plan)
    groups = {folder: warm_ups.run_key(Run(folder)) for folder in waiting}

    def ready(running=()):
        names = [folder.name.split("-") for folder in _ready(waiting, running, groups)]
        return [f"{name[2]} {name[3]}" for name in names]

    first = ["ipr s0", "baseline_augmented s0", "ipr s1", "baseline_augmented s1"]
    assert ready() == first
    running = [waiting.pop(folder) and folder for folder in _ready(waiting, (), groups)]
    assert ready(running) == []
    assert ready(running[1:]) == ["baseline s0"]  # the first of its group has failed
    (running[0] / "warm_up.safetensors").touch()
    assert ready(running) == ["baseline s0"]
    assert ready([]) == ["baseline s0", "baseline s1"]


def test_a_run_of_another_corpus_or_code_is_moved_away(options, data, views, tmp_path, monkeypatch):
    run = finish(options, tmp_path, data, views).cells[0].run
    monkeypatch.setattr(provenance, "version", lambda: "newer")
    plan = plan_of(options, tmp_path)
    _make_folder(plan.cells[0], plan)
    assert (run.meta["code"], run.epochs, cells.read_record(run)) == ("newer", 0, Record())
    (superseded,) = (tmp_path / SUPERSEDED).iterdir()
    assert Run(superseded).finished
    assert run.folder.name in superseded.name
    assert len(runs_of(plan.grid, tmp_path)) == 2
    with plan.cells[1].run.locked(), pytest.raises(RunError, match="is being trained by another process"):
        _make_folder(plan.cells[1], plan)


def test_a_worker_with_other_code_or_without_the_run_folder_fails_with_the_cure(options, tmp_path):
    task = cells.Task(str(tmp_path / "none"), (), {}, "other", str(tmp_path))
    with pytest.raises(cells.CellError, match="workers need the batch's run folder, at the same path"):
        cells.work(task)
    plan = plan_of(options, tmp_path)
    _make_folder(plan.cells[0], plan)
    run = plan.cells[0].run
    with pytest.raises(cells.CellError, match="has another version of the code"):
        cells.work(replace(task, run_folder=str(run.folder)))
    assert cells.read_record(run).status == "failed"


def test_a_cell_whose_workers_died_has_failed(options, data, views, tmp_path):
    run, finished = (planned.run for planned in finish(options, tmp_path, data, views).cells)
    cells.save_record(run, replace(cells.read_record(run), status="running"))
    for cell_run in (run, finished):
        future = concurrent.futures.Future()
        future.set_exception(RuntimeError("its workers died"))
        assert "its workers died" in _failures(cell_run, future)[0]
    assert cells.read_record(run).status == "failed"
    assert cells.read_record(run).error == "its workers died"
    assert cells.read_record(finished).status == "done"


def test_killed_three_times_it_ends_as_if_it_had_not_been(options, tmp_path, capsys):
    """SIGKILL ends the batch, its workers and kernels end by themselves, and finished work is not repeated."""
    slow = write_notebook(tmp_path / "train.ipynb", TRAIN.format(pause=0.4))
    folder = tmp_path / "runs"
    options["settings"] |= {"epochs": 8}
    file = tmp_path / "grid.toml"
    file.write_text(
        f'systems = ["ipr", "baseline"]\nnotebooks = ["{slow}"]\n[settings]\n'
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in options["settings"].items() if value is not None)
    )
    argv = ["batch", str(file), "--runs", str(folder)]
    context = multiprocessing.get_context("forkserver")  # imports once for all of them
    context.set_forkserver_preload(["ipr_core.batch.plan"])
    history = []
    for moment in (1, 3, 10):  # lines in the records of both: in the first cell twice, then in the second
        process = context.Process(target=cli.main, args=(argv,))
        process.start()
        attempts = attempts_of(folder)
        wait_for(lambda attempts=attempts: attempts_of(folder) > attempts)
        wait_for(lambda moment=moment: epochs_of(folder) >= moment)
        process.kill()
        process.join()
        history.append(records(folder))
    assert cli.main(argv) == 0
    runs = runs_of(plan_of(options | {"notebooks": [slow]}, folder).grid, folder)
    plain = train_all([run.config for run in runs], tmp_path / "plain", progress=False)
    assert without_clock(capsys.readouterr().out).endswith(without_clock(summary.summary(plain) + "\n"))
    for run, plain_run in zip(runs, plain, strict=True):
        assert run.labels.equals(plain_run.labels)
        cell_records = [moment.get(run.folder.name, {}) for moment in history]
        finished = [record for record in cell_records if record.get("status") == "done"]
        assert all(record["attempts"] == cells.read_record(run).attempts for record in finished)
    assert sum(cells.read_record(run).attempts for run in runs) == 5  # two cells and three kills


def attempts_of(folder):
    return sum(record["attempts"] for record in records(folder).values())


def epochs_of(folder):
    return sum(len(path.read_text().splitlines()) for path in folder.glob("*/events.jsonl"))


def wait_for(condition, seconds=120):
    end = monotonic() + seconds
    while not condition():
        assert monotonic() < end, "it did not come so far"
        sleep(0.05)
