"""Plans of batches: finished cells are skipped, and every other one has its reason."""

import itertools
import json
from dataclasses import replace

import pytest

from helpers.batches import ThreadClient, finish, plan_of, reasons
from ipr_core import cli
from ipr_core.batch import cells, plan, warm_ups
from ipr_core.batch.plan import run_plan
from ipr_core.batch.workers import Workers
from ipr_core.config import SettingsError
from ipr_core.runs import files, provenance
from ipr_core.training.advance import advance, prepare


def test_finished_cells_are_skipped(options, data, views, tmp_path):
    assert reasons(plan_of(options, tmp_path)) == ["not begun", "not begun"]
    finish(options, tmp_path, data, views)
    assert reasons(plan_of(options, tmp_path)) == ["", ""]
    client = ThreadClient()
    assert run_plan(plan_of(options, tmp_path), Workers(client)) == []
    assert client.keys == []


def test_the_plan_has_a_reason_for_a_cell_that_is_run_again(options, data, views, tmp_path, monkeypatch):
    ipr, baseline = (planned.run for planned in finish(options, tmp_path, data, views).cells)
    cells.save_record(ipr, replace(cells.read_record(ipr), status="failed", error="no memory\nat all"))
    meta = baseline.meta
    (baseline.folder / "config.json").write_text(json.dumps(meta | {"corpus": "other"}))
    assert reasons(plan_of(options, tmp_path)) == ["failed: no memory", "the corpus has changed since it was done"]
    (baseline.folder / "config.json").write_text(json.dumps(meta))
    cells.save_record(ipr, replace(cells.read_record(ipr), status="running"))
    (ipr.folder / "labels.csv").unlink()
    cells.save_record(baseline, replace(cells.read_record(baseline), notebooks={}))
    assert reasons(plan_of(options, tmp_path)) == ["3 of 3 epochs done", "trained; to execute: train"]
    monkeypatch.setattr(provenance, "version", lambda: "newer")
    assert reasons(plan_of(options, tmp_path)) == ["made by another version of the code"] * 2
    assert reasons(plan_of(options, tmp_path, any_version=True)) == ["3 of 3 epochs done", "trained; to execute: train"]


def test_a_run_that_was_trained_without_a_batch_only_lacks_its_notebooks(options, frozen, data, views, tmp_path):
    run, _ = prepare(frozen.replace(system="ipr", seed=0), tmp_path, data=data)
    advance(run, data, views=views)
    assert reasons(plan_of(options, tmp_path)) == ["trained; to execute: train", "not begun"]


def test_faults_of_grid_corpus_and_encoder_are_named_at_once(options, tmp_path):
    options["settings"] |= {"gama": 1, "encoder": str(tmp_path / "none"), "corpus": "ravdess", "corpus_path": "nowhere"}
    with pytest.raises(SettingsError) as raised:
        plan_of(options, tmp_path / "runs")
    for fault in ("gama is not a setting", "is not a local folder", "nowhere"):
        assert fault in str(raised.value)
    assert not (tmp_path / "runs").exists()


def test_a_wrong_grid_is_exit_code_2_and_starts_nothing(tmp_path, capsys):
    argv = ["batch", "table3", "--gamma", "2", "--corpus", "nobody's", "--gama", "1", "--notebooks", "07"]
    assert cli.main([*argv, "--runs", str(tmp_path / "runs")]) == 2
    message = capsys.readouterr().err
    for fault in ("gamma is '2'", 'corpus is "nobody\'s"', "gama is not a setting", "07 is not a notebook"):
        assert fault in message
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize("args", [["--jobs", "0"], ["--slurm", "--pbs"], ["--cross", "tau"], ["table4"], []])
def test_a_wrong_request_is_refused(args, capsys):
    assert cli.main(["batch", *args]) == 2
    assert capsys.readouterr().err != ""


def test_a_dry_run_shows_cells_reasons_workers_and_time(options, data, views, tmp_path, notebook, capsys):
    finish(options, tmp_path, data, views)
    settings = [
        [f"--{name.replace('_', '-')}", ",".join(map(str, value)) if isinstance(value, list) else str(value)]
        for name, value in options["settings"].items()
        if not isinstance(value, bool) and value is not None
    ]
    argv = ["batch", "--systems", "ipr", "baseline", "--seeds", "0", "1", "--notebooks", notebook, "--jobs", "2"]
    flags = ["--no-train-features", "--test-balanced", "--dry-run"]
    assert cli.main([*argv, *itertools.chain(*settings), *flags, "--runs", str(tmp_path)]) == 0
    text = capsys.readouterr().out
    assert text.count(": done\n") == 2
    assert text.count(": not begun\n") == 2
    assert "4 cells, 2 done, 2 to do by 2 workers on this machine, " in text
    assert "GB of memory each" in text
    assert "2 at a time, by the clocks of finished runs like these" in text
    assert len(list(tmp_path.iterdir())) == 2


def test_the_estimate_counts_a_shared_warm_up_once(options, data, views, tmp_path):
    for run in (planned.run for planned in finish(options, tmp_path, data, views).cells):
        lines = [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]
        for line in lines:
            line["clock"]["seconds"] = 100.0 if line["phase"] == "warm_up" else 10.0
        (run.folder / "events.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        cells.save_record(run, replace(cells.read_record(run), seconds=125.0))
    plan = plan_of(options | {"seeds": [1]}, tmp_path)
    assert [cell.seconds for cell in plan.cells] == [125, 25]  # 100 + 2 × 10 and 5 besides training, which was measured


def test_an_exchanged_encoder_supersedes_a_run(options, data, views, tmp_path, monkeypatch):
    finish(options, tmp_path, data, views)
    monkeypatch.setattr(plan, "encoder_digest", lambda config: "another")
    assert reasons(plan_of(options, tmp_path)) == ["", ""]  # runs with an encoder of ours have no digest
    for path in tmp_path.glob("*/config.json"):
        meta = {key: value for key, value in json.loads(path.read_text()).items() if key != files.SEAL}
        path.write_text(json.dumps(meta | {"encoder": "one"}))
    assert reasons(plan_of(options, tmp_path)) == ["the encoder has changed since it was done"] * 2


def test_runs_with_another_encoder_share_no_warm_up(frozen):
    keys = {warm_ups.key(frozen, "corpus", "code", encoder) for encoder in (None, "one", "another")}
    assert len(keys) == 3


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"settings": {"gama": 1}}', "\ud800"])
def test_a_damaged_cell_is_a_sentence_and_the_others_go_on(options, data, views, tmp_path, damage):
    damaged, whole = (planned.run for planned in finish(options, tmp_path, data, views).cells)
    (damaged.folder / "config.json").write_bytes(damage.encode("utf-8", "surrogatepass"))
    reason, neighbour = reasons(plan_of(options, tmp_path))
    assert str(damaged.folder / "config.json") in reason
    assert neighbour == ""
    (failure,) = run_plan(plan_of(options, tmp_path), Workers(ThreadClient()))
    assert str(damaged.folder / "config.json") in failure
    assert whole.finished


@pytest.mark.parametrize("damage", ["", "{", "[]", '{"status": "done", "colour": "red"}', '{"status": '])
def test_a_damaged_record_costs_the_notebooks_alone(options, data, views, tmp_path, damage, caplog):
    run, _ = (planned.run for planned in finish(options, tmp_path, data, views).cells)
    (run.folder / "cell.json").write_text(damage)
    assert reasons(plan_of(options, tmp_path)) == ["trained; to execute: train", ""]
    assert f"{run.folder / 'cell.json'}" in caplog.text
