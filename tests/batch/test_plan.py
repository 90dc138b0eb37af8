"""Batches: what is planned, that nothing is done twice, how failures and kills end, and what is seen meanwhile."""

import concurrent.futures
import io
import itertools
import json
import multiprocessing
from dataclasses import replace
from time import monotonic, sleep

import nbformat
import nbformat.v4 as nb
import pandas as pd
import pytest
from jupyter_core.utils import ensure_event_loop

from ipr_core import cli
from ipr_core.batch import cells, watching
from ipr_core.batch import plan as batch
from ipr_core.batch.cells import Record
from ipr_core.config import SettingsError
from ipr_core.results import summary
from ipr_core.runs import provenance
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import advance, prepare, train_all

TRAIN = """\
from time import sleep
from ipr_core.config import from_notebook
from ipr_core.events import EpochEnd
from ipr_core.runner import advance, prepare
config = from_notebook(globals())
run, data = prepare(config, runs)
run = advance(run, data, watch=lambda event: sleep({pause} if isinstance(event, EpochEnd) else 0))"""


class Inline:
    """What a batch needs of a Dask client, in threads of this process."""

    def __init__(self, workers=2):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers)
        self.keys = []

    def submit(self, function, *given, key, pure):
        def call():
            try:
                return function(*given)
            finally:  # what jupyter_core opens for each thread and leaves to its end
                ensure_event_loop().close()

        self.keys.append(key)
        return self._pool.submit(call)


def notebook(path, *sources):
    """A notebook that takes parameters as those of the main job do."""
    first = nb.new_code_cell("preset = 'recommended'\nruns = None", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    made = nb.new_notebook(cells=[first, *map(nb.new_code_cell, sources)], metadata={"kernelspec": kernel})
    nbformat.write(made, path)
    return str(path)


@pytest.fixture(scope="module")
def train(tmp_path_factory):
    """A notebook that does nothing but train."""
    return notebook(tmp_path_factory.mktemp("notebooks") / "train.ipynb", TRAIN.format(pause=0))


@pytest.fixture
def asked(frozen, train):
    """What options say of a small batch: two systems, one seed."""
    settings = {name: value for name, value in frozen.settings().items() if name not in ("system", "seed")}
    settings["test_size"], settings["classes"] = 12, list(frozen.data.classes)
    return {"systems": ["ipr", "baseline"], "notebooks": [train], "settings": settings}


def planned(asked, place, **how):
    return batch.plan(None, asked, place, progress=False, **how)


def mark_done(asked, place, data, views):
    """As a batch leaves its cells, without kernels."""
    plan = planned(asked, place)
    for each in plan.todo:
        run, _ = prepare(each.cell.config, place, data=data)
        advance(run, data, views=views)
        made = {path.stem: provenance.notebook_version(path) for path in plan.grid.notebooks}
        cells.save(run, Record("done", notebooks=made, attempts=1, began=0.0, ended=9.0, seconds=9.0))
    return plan


def reasons(plan):
    return [each.why for each in plan.todo]


# The plan.


def test_what_is_done_is_not_to_be_done(asked, data, views, tmp_path):
    assert reasons(planned(asked, tmp_path)) == ["not begun", "not begun"]
    mark_done(asked, tmp_path, data, views)
    assert reasons(planned(asked, tmp_path)) == ["", ""]
    client = Inline()
    assert batch.run(planned(asked, tmp_path), client) == []
    assert client.keys == []


def test_the_plan_says_why_a_cell_is_done_again(asked, data, views, tmp_path, monkeypatch):
    ipr, baseline = (each.run for each in mark_done(asked, tmp_path, data, views).todo)
    cells.save(ipr, replace(cells.record(ipr), status="failed", error="no memory\nat all"))
    meta = baseline.meta
    (baseline.folder / "config.json").write_text(json.dumps(meta | {"corpus": "other"}))
    assert reasons(planned(asked, tmp_path)) == ["failed: no memory", "the corpus has changed since it was done"]
    (baseline.folder / "config.json").write_text(json.dumps(meta))
    cells.save(ipr, replace(cells.record(ipr), status="running"))
    (ipr.folder / "labels.csv").unlink()
    cells.save(baseline, replace(cells.record(baseline), notebooks={}))
    assert reasons(planned(asked, tmp_path)) == ["3 of 3 epochs done", "trained; to execute: train"]
    monkeypatch.setattr(provenance, "version", lambda: "newer")
    assert reasons(planned(asked, tmp_path)) == ["made by another version of the code"] * 2
    assert reasons(planned(asked, tmp_path, any_version=True)) == ["3 of 3 epochs done", "trained; to execute: train"]


def test_a_run_that_was_trained_otherwise_only_lacks_its_notebooks(asked, frozen, data, views, tmp_path):
    run, _ = prepare(frozen.replace(system="ipr", seed=0), tmp_path, data=data)
    advance(run, data, views=views)
    assert reasons(planned(asked, tmp_path)) == ["trained; to execute: train", "not begun"]


def test_faults_of_grid_corpus_and_encoder_are_named_at_once(asked, tmp_path):
    asked["settings"] |= {"gama": 1, "encoder": str(tmp_path / "none"), "corpus": "ravdess", "corpus_path": "nowhere"}
    with pytest.raises(SettingsError) as raised:
        planned(asked, tmp_path / "runs")
    for fault in ("gama is not a setting", "is no local folder", "nowhere"):
        assert fault in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_grid_is_exit_code_2_and_starts_nothing(tmp_path, capsys):
    argv = ["batch", "table3", "--gamma", "2", "--corpus", "nobody's", "--gama", "1", "--notebooks", "07"]
    assert cli.main([*argv, "--runs", str(tmp_path / "runs")]) == 2
    said = capsys.readouterr().err
    for fault in ("gamma is '2'", 'corpus is "nobody\'s"', "gama is not a setting", "07 is not a notebook"):
        assert fault in said
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("more", [["--jobs", "0"], ["--slurm", "--pbs"], ["--cross", "tau"], ["table4"], []])
def test_a_wrong_request_is_refused(more, capsys):
    assert cli.main(["batch", *more]) == 2
    assert capsys.readouterr().err != ""


def test_a_dry_run_shows_cells_reasons_workers_and_time(asked, data, views, tmp_path, train, capsys):
    mark_done(asked, tmp_path, data, views)
    given = [
        [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
        for name, value in asked["settings"].items()
        if not isinstance(value, bool) and value is not None
    ]
    argv = [
        "batch",
        "--systems",
        "ipr",
        "baseline",
        "--seeds",
        "0",
        "1",
        "--notebooks",
        train,
        "--jobs",
        "2",
        "--dry-run",
    ]
    flags = ["--no-train-features", "--test-balanced"]
    assert cli.main([*argv, *itertools.chain(*given), *flags, "--runs", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.count(": done\n") == 2
    assert said.count(": not begun\n") == 2
    assert "4 cells, 2 done, 2 to do by 2 workers on this machine, " in said
    assert "GB of memory each" in said
    assert "2 at a time, by the clocks of finished runs like these" in said
    assert len(list(tmp_path.iterdir())) == 2


def test_the_estimate_counts_a_shared_warm_up_once(asked, data, views, tmp_path):
    for run in (each.run for each in mark_done(asked, tmp_path, data, views).todo):
        lines = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
        for line in lines:
            line["clock"]["seconds"] = 100.0 if line["phase"] == "warm_up" else 10.0
        (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        cells.save(run, replace(cells.record(run), seconds=125.0))
    todo = planned(asked | {"seeds": [1]}, tmp_path).todo
    assert [each.seconds for each in todo] == [125, 25]  # 100 + 2 × 10 and 5 beside training, which was measured


# At work.


def test_a_failure_is_kept_the_others_go_on_and_only_it_is_tried_again(asked, tmp_path, frozen, data):
    cure = tmp_path / "cure"
    check = f"from pathlib import Path\nassert system == 'ipr' or Path({str(cure)!r}).exists(), 'it lacks the cure'"
    asked["notebooks"] = [notebook(tmp_path / "train.ipynb", check, TRAIN.format(pause=0))]
    place = tmp_path / "runs"
    (failure,) = batch.run(planned(asked, place), Inline())
    assert "it lacks the cure" in failure
    ipr, baseline = (each.run for each in planned(asked, place).todo)
    assert [cells.record(run).status for run in (ipr, baseline)] == ["done", "failed"]
    assert "it lacks the cure" in cells.record(baseline).error
    assert "it lacks the cure" in (baseline.folder / "notebooks" / "train.ipynb").read_text("utf-8")
    assert reasons(planned(asked, place))[0] == ""
    before = (ipr.folder / "notebooks" / "train.ipynb").stat().st_mtime_ns

    cure.touch()
    client = Inline()
    assert batch.run(planned(asked, place), client) == []
    assert [key.rpartition("-")[0] for key in client.keys] == [baseline.folder.name]
    assert [cells.record(run).attempts for run in (ipr, baseline)] == [1, 2]
    assert (ipr.folder / "notebooks" / "train.ipynb").stat().st_mtime_ns == before
    assert cells.record(baseline).warm_up_of == ipr.folder.name
    for run, alone in zip((ipr, baseline), train_all([ipr.config, baseline.config], tmp_path / "alone"), strict=True):
        assert run.labels.equals(alone.labels)  # by notebooks with a shared warm-up, and without either


def test_cells_wait_for_the_warm_up_that_they_share(asked, data, tmp_path):
    plan = planned(asked | {"systems": ["ipr", "baseline", "baseline_augmented"], "seeds": [0, 1]}, tmp_path)
    left = {each.run.folder: each for each in plan.left}
    for each in plan.left:
        batch._make_room(each, plan)
    groups = {each.run.folder: batch.warm_ups.key_of(each.run) for each in plan.left}

    def ready(at_work=()):
        names = [folder.name.split("-") for folder in batch._ready(left, at_work, groups)]
        return [f"{name[2]} {name[3]}" for name in names]

    first = ["ipr s0", "baseline_augmented s0", "ipr s1", "baseline_augmented s1"]
    assert ready() == first
    at_work = [left.pop(folder) and folder for folder in batch._ready(left, (), groups)]
    assert ready(at_work) == []
    assert ready(at_work[1:]) == ["baseline s0"]  # the first of its group has failed
    (at_work[0] / "warm_up.safetensors").touch()
    assert ready(at_work) == ["baseline s0"]
    assert ready([]) == ["baseline s0", "baseline s1"]


def test_what_another_corpus_or_code_made_is_kept_apart(asked, data, views, tmp_path, monkeypatch):
    run = mark_done(asked, tmp_path, data, views).todo[0].run
    monkeypatch.setattr(provenance, "version", lambda: "newer")
    plan = planned(asked, tmp_path)
    batch._make_room(plan.todo[0], plan)
    assert (run.meta["code"], run.epochs, cells.record(run)) == ("newer", 0, Record())
    (old,) = (tmp_path / batch.SUPERSEDED).iterdir()
    assert Run(old).finished
    assert run.folder.name in old.name
    assert len(batch.runs_of(plan.grid, tmp_path)) == 2
    with plan.todo[1].run.locked(), pytest.raises(RunError, match="is being trained by another process"):
        batch._make_room(plan.todo[1], plan)


def test_a_worker_with_other_code_or_without_the_run_folder_says_so(asked, tmp_path):
    task = cells.Task(str(tmp_path / "none"), (), {}, "other", str(tmp_path))
    with pytest.raises(cells.CellError, match="workers need the batch's run folder, at the same path"):
        cells.work(task)
    plan = planned(asked, tmp_path)
    batch._make_room(plan.todo[0], plan)
    run = plan.todo[0].run
    with pytest.raises(cells.CellError, match="has another version of the code"):
        cells.work(replace(task, folder=str(run.folder)))
    assert cells.record(run).status == "failed"


def test_a_cell_whose_workers_died_has_failed(asked, data, views, tmp_path):
    run, other = (each.run for each in mark_done(asked, tmp_path, data, views).todo)
    cells.save(run, replace(cells.record(run), status="running"))
    for each in (run, other):
        future = concurrent.futures.Future()
        future.set_exception(RuntimeError("its workers died"))
        assert "its workers died" in batch._outcome(each, future)[0]
    assert cells.record(run).status == "failed"
    assert cells.record(run).error == "its workers died"
    assert cells.record(other).status == "done"


def test_killed_three_times_it_ends_as_if_it_had_not_been(asked, tmp_path, capsys):
    """The batch by SIGKILL, its workers and kernels ending by themselves; nothing that was finished runs again."""
    slow = notebook(tmp_path / "train.ipynb", TRAIN.format(pause=0.4))
    place = tmp_path / "runs"
    asked["settings"] |= {"epochs": 8}
    file = tmp_path / "grid.toml"
    file.write_text(
        f'systems = ["ipr", "baseline"]\nnotebooks = ["{slow}"]\n[settings]\n'
        + "".join(f"{name} = {json.dumps(value)}\n" for name, value in asked["settings"].items() if value is not None)
    )
    argv = ["batch", str(file), "--runs", str(place)]
    context = multiprocessing.get_context("forkserver")  # imports once for all of them
    context.set_forkserver_preload(["ipr_core.batch.plan"])
    recorded = []
    for moment in (1, 3, 10):  # lines in the records of both: in the first cell twice, then in the second
        process = context.Process(target=cli.main, args=(argv,))
        process.start()
        begun = sum(each["attempts"] for each in records(place).values())
        wait_for(lambda begun=begun: sum(each["attempts"] for each in records(place).values()) > begun)
        wait_for(lambda moment=moment: epochs_of(place) >= moment)
        process.kill()
        process.join()
        recorded.append(records(place))
    assert cli.main(argv) == 0
    runs = batch.runs_of(planned(asked | {"notebooks": [slow]}, place).grid, place)
    alone = train_all([run.config for run in runs], tmp_path / "alone", progress=False)
    assert capsys.readouterr().out.endswith(summary.summary(alone) + "\n")
    for run, other in zip(runs, alone, strict=True):
        assert run.labels.equals(other.labels)
        finished = [each[run.folder.name] for each in recorded if each.get(run.folder.name, {}).get("status") == "done"]
        assert all(each["attempts"] == cells.record(run).attempts for each in finished)
    assert sum(cells.record(run).attempts for run in runs) == 5  # two cells and three kills


def records(place):
    return {path.parent.name: json.loads(path.read_text()) for path in place.glob("*/cell.json")}


def epochs_of(place):
    return sum(len(path.read_text().splitlines()) for path in place.glob("*/events.jsonl"))


def wait_for(what, seconds=120):
    end = monotonic() + seconds
    while not what():
        assert monotonic() < end, "it did not come so far"
        sleep(0.05)


# Watching.


@pytest.fixture
def four(asked, data, views, tmp_path):
    """A grid with one cell of each state, and its runs' folder."""
    asked["seeds"] = [0, 1]
    plan = mark_done(asked, tmp_path, data, views)
    runs = [each.run for each in plan.todo]
    cells.save(runs[1], Record("failed", error="its kernel died\nsecond line", attempts=2))
    cells.save(runs[2], Record("running", attempts=1))
    cells.save(runs[3], Record())
    lines = (runs[2].folder / "events.jsonl").read_text().splitlines()[:2]
    (runs[2].folder / "events.jsonl").write_text("".join(line + "\n" for line in lines))
    return plan.grid, runs


def test_the_status_is_read_from_the_run_folders(four, tmp_path):
    grid, runs = four
    with open(runs[2].folder / ".cell.lock", "w") as lock:
        assert cells._lock(lock)
        table = batch.status(grid, tmp_path)
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
    assert list(batch.status(grid, tmp_path)["status"]) == ["done", "failed", "waiting", "waiting"]


def shown(*states, left=float("nan")):
    return pd.DataFrame(
        [
            {
                "run": f"run-{i}",
                "status": state,
                "epoch": 2,
                "epochs": 9,
                "left": left,
                "seconds": 61.0,
                "error": "why\nelse",
            }
            for i, state in enumerate(states)
        ]
    )


def test_a_table_has_a_line_a_cell_and_their_counts():
    assert watching.lines(shown("waiting", "running", "done", "failed", left=7200)) == [
        "run-0  waiting epoch 2 of 9, 2 h 0 min left",
        "run-1  running epoch 2 of 9, 2 h 0 min left",
        "run-2  done    61 s",
        "run-3  failed  why",
        "1 waiting, 1 running, 1 done, 1 failed",
    ]


def test_a_table_that_is_too_high_shows_what_runs_and_what_failed():
    lines = watching.lines(shown(*["waiting"] * 30, "running", *["done"] * 30, "failed"), height=24)
    assert [line.split()[1] for line in lines[:-1]] == ["running", "failed"]
    assert lines[-1] == "30 waiting, 1 running, 30 done, 1 failed"


def test_a_terminal_keeps_the_table_in_its_place(monkeypatch):
    monkeypatch.setattr(watching, "_LEAST", 0)
    out = io.StringIO()
    out.isatty = lambda: True
    tables = iter([shown("running", "waiting"), shown("done", "running")])
    screen = watching.Screen(lambda: next(tables), out)
    screen(last=True)
    screen(last=True)
    first, second = out.getvalue().split("\x1b[3F\x1b[J")
    assert "run-0  running" in first
    assert "run-0  done" in second


def test_elsewhere_every_change_is_a_line():
    out = io.StringIO()
    tables = iter(
        [shown("done", "waiting"), shown("done", "running"), shown("done", "running"), shown("done", "failed")]
    )
    screen = watching.Screen(lambda: next(tables), out)
    for _ in range(4):
        screen(last=True)
    assert out.getvalue() == "run-1  running epoch 2 of 9\nrun-1  failed  why\n"


@pytest.mark.parametrize(("seconds", "words"), [(3, "3 s"), (89.4, "89 s"), (90, "2 min"), (5400, "1 h 30 min")])
def test_a_duration_in_words(seconds, words):
    assert watching.duration(seconds) == words


def test_watching_ends_with_the_batch_and_says_whether_it_failed(four, monkeypatch, tmp_path):
    grid, runs = four
    monkeypatch.setattr(watching, "_LEAST", 0)
    screen = watching.Screen(lambda: batch.status(grid, tmp_path), io.StringIO())
    for run in runs[2:]:
        cells.save(run, cells.record(runs[0]))
    assert screen.follow() == 1
    cells.save(runs[1], cells.record(runs[0]))
    assert screen.follow() == 0


# What made a result.


def test_the_version_changes_with_code_and_not_with_words(tmp_path, monkeypatch):
    def code(text):
        (tmp_path / "a.py").write_text(text, "utf-8")
        return provenance._code(tmp_path / "a.py")

    assert code('"""Doc."""\nx = 1  # why\n') == code('"""Other."""\n\n\nx = 1\n')
    assert code("x = 1") != code("x = 2")


def test_the_version_is_that_of_what_training_needs():
    needed = set(provenance._needed("ipr_core.training.advance"))
    assert {
        "ipr_core.training.loop",
        "ipr_core.method.systems.ipr",
        "ipr_core.method.systems.pico",
        "ipr_core.encoders.pretrained",
        "ipr_core.data.corpora.synthetic",
    } <= needed
    assert not needed & {
        "ipr_core.cli",
        "ipr_core.batch.plan",
        "ipr_core.results.summary",
        "ipr_core.results.report",
        "ipr_core.batch.notebooks",
    }


def test_a_package_of_another_version_is_another_version(monkeypatch):
    before = provenance.version_now()
    monkeypatch.setattr(provenance, "_installed", lambda package: "0" if package == "torch" else "1")
    assert provenance.version_now() != before
