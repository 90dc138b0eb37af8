"""The choice of free settings on V1: trials, budget, scores, and the tuned grid."""

import json
from pathlib import Path

import pytest

from helpers.batches import ThreadClient, settings_of
from ipr_core import cli
from ipr_core.batch import grid, grid_file, tuning
from ipr_core.batch.plan import plan_grid, run_plan
from ipr_core.batch.workers import Workers
from ipr_core.cli import batches
from ipr_core.config import GROUPS, SettingsError
from ipr_core.runs.run import Run
from ipr_core.training.advance import train_all

GRID = """\
systems = ["ipr", "baseline"]
seeds = [0, 1]
[tune]
trials = 4
seeds = [100, 101]
[tune.every]
lr = [1e-4, 1e-3, 1e-2]
epochs = [20, 30]
[tune.ipr]
mu = [0, 0.1, 0.5]
"""


@pytest.fixture
def search(tmp_path):
    """Read a search from a grid's text."""

    def search(text=GRID):
        (tmp_path / "grid.toml").write_text(text, "utf-8")
        return tuning.try_read(tmp_path / "grid.toml")

    return search


def test_every_system_has_the_same_number_of_different_trials(search):
    trials, faults, _ = search()
    assert not faults
    for system, names in {"ipr": {"lr", "epochs", "mu"}, "baseline": {"lr", "epochs"}}.items():
        first, *others = trials.trials[system]
        assert first == {}
        assert len(others) == 3
        assert {frozenset(settings) for settings in others} == {frozenset(names)}
        assert len({json.dumps(settings) for settings in others}) == 3
    assert search()[0].trials == trials.trials  # the same ones in every process


def test_a_trial_is_trained_with_every_seed_and_partition_and_without_notebooks(search):
    trials, _, _ = search(GRID + "[cross]\ndata_seed = [0, 1, 2]")
    assert {len(cells) for cells in trials.cells.values()} == {6}
    cells = trials.cells["ipr", 1]
    assert {(cell.config.training.seed, cell.config.data.data_seed) for cell in cells} == {
        (seed, part) for seed in (100, 101) for part in (0, 1, 2)
    }
    assert {cell.config.method.mu for cell in cells} == {trials.trials["ipr"][1]["mu"]}
    assert trials.grid.notebooks == ()
    assert len(trials.grid.cells) == 4 * 2 * 6


def test_fewer_combinations_than_trials_are_all_tried(search):
    trials, _, _ = search(GRID.replace("trials = 4", "trials = 50"))
    assert len(trials.trials["baseline"]) == 1 + 6
    assert len(trials.trials["ipr"]) == 1 + 18


@pytest.mark.parametrize(
    ("before", "after", "sentence"),
    [
        ("[tune]", "[tun]", "tune.trials is None"),
        ("trials = 4", "trials = 0", "tune.trials is 0; it must be a whole number from 1 to 1000"),
        ("trials = 4", "trials = true", "tune.trials is True"),
        ("seeds = [100, 101]", "seeds = []", "tune.seeds is []"),
        ("seeds = [100, 101]", "seeds = [1, 2]", "a seed of the results"),
        ("trials = 4", 'trials = 4\nscore = "accuracy_d3"', "tune.score is 'accuracy_d3'; it must be one of accuracy"),
        ("[tune.ipr]", "[tune.iprr]", "tune.iprr is of no system"),
        ("mu = [0, 0.1, 0.5]", "muu = [0]", "tune.ipr.muu is no free setting"),
        ("mu = [0, 0.1, 0.5]", "seed = [0]", "tune.ipr.seed is no free setting"),
        ("mu = [0, 0.1, 0.5]", "mu = 0.1", "tune.ipr.mu is 0.1; it must be a list of values"),
        ("mu = [0, 0.1, 0.5]", "mu = [0, -1]", "mu is -1"),
        ("[tune]", "[settings]\nvalidation_share = 0\n[tune]", "validation_share is 0; settings are chosen on it"),
    ],
)
def test_a_fault_of_a_search_is_a_sentence(search, before, after, sentence):
    _, faults, _ = search(GRID.replace(before, after))
    assert any(sentence in fault for fault in faults), faults


@pytest.mark.parametrize(("score", "best"), [("accuracy", 1e-3), ("uar", 1e-4), ("nll", 1e-2)])
def test_the_best_mean_over_seeds_is_chosen(search, monkeypatch, tmp_path, score, best):
    text = GRID.replace("trials = 4", f'trials = 50\nscore = "{score}"').replace("epochs = [20, 30]\n", "")
    trials, _, _ = search('preset = "demo"\n' + text.replace("mu = [0, 0.1, 0.5]", "mu = [0.2]"))
    by_name = {cell.name: cell.config.training for cell in trials.grid.cells}

    def score_of(run):
        training = by_name[run.folder.name]
        noise = 0.3 if training.seed == 100 else -0.3  # which the mean takes away
        return {
            "accuracy": 0.6 + noise + 0.1 * (training.lr == 1e-3),
            "uar": 0.6 + noise + 0.1 * (training.lr == 1e-4),
            "nll": 1.0 + noise - 0.1 * (training.lr == 1e-2),
        }

    monkeypatch.setattr(tuning, "_score", score_of)
    table = tuning.curve(trials, tmp_path)
    learning_rates = {row.system: json.loads(row.settings)["lr"] for row in table[table["chosen"]].itertuples()}
    assert learning_rates == {"ipr": best, "baseline": best}
    assert set(table["runs"]) == {2}


def test_of_equal_accuracy_the_lower_nll_is_chosen(search, monkeypatch, tmp_path):
    trials, _, _ = search()
    rates = {cell.name: cell.config.training.lr for cell in trials.grid.cells}
    monkeypatch.setattr(tuning, "_score", lambda run: {"accuracy": 0.5, "uar": 0.5, "nll": rates[run.folder.name]})
    table = tuning.curve(trials, tmp_path)
    for system, rows in table.groupby("system"):
        assert rows.loc[rows["chosen"], "nll"].item() == rows["nll"].min(), system


def test_the_tuned_grid_trains_with_the_choices_and_every_run_has_its_curve(search, monkeypatch, tmp_path, frozen):
    settings = settings_of(frozen) | {"test_size": 12, "classes": list(frozen.data.classes), "validation_share": 0.3}
    text = GRID.replace("epochs = [20, 30]\n", "").replace("seeds = [0, 1]", "seeds = [0]\nnotebooks = []")
    trials, faults, configs = search(text.replace("trials = 4", "trials = 2").replace("[100, 101]", "[100]"))
    grid_file.write(tmp_path / "grid.toml", trials.entries | {"settings": settings})
    trials, faults, configs = tuning.try_read(tmp_path / "grid.toml")
    plan = plan_grid(trials.grid, faults, configs, tmp_path / "trials")
    assert run_plan(plan, Workers(ThreadClient(1))) == []
    table = tuning.curve(trials, tmp_path / "trials")
    tuning.check(trials, table)
    assert len(table) == 4
    run = Run(tmp_path / "trials" / trials.cells["ipr", 1][0].name)
    assert table.query("system == 'ipr' and trial == 1")["accuracy"].item() == pytest.approx(
        run.history()[-1].validation["accuracy"], abs=1e-6
    )

    grid_file.write(tmp_path / "tuned.toml", tuning.tuned(trials, table))
    tuned, faults, configs = grid.try_read(tmp_path / "tuned.toml")
    assert not faults
    choice = table.query("system == 'ipr' and chosen")["settings"].item()
    assert {name: tuned.cells[0].config.settings()[name] for name in json.loads(choice)} == json.loads(choice)
    assert run_plan(plan_grid(tuned, faults, configs, tmp_path / "runs"), Workers(ThreadClient(1))) == []
    record = json.loads((tmp_path / "runs" / tuned.cells[0].name / "tuning.json").read_text("utf-8"))
    assert record["score"] == "accuracy"
    assert record["curve"] == json.loads(table.query("system == 'ipr'").to_json(orient="records"))
    plain = train_all([tuned.cells[0].config], tmp_path / "plain")[0]
    assert plain.labels.equals(Run(tmp_path / "runs" / tuned.cells[0].name).labels)  # by a worker, or alone


def test_trials_without_a_score_are_refused(search, tmp_path):
    trials, _, _ = search()
    with pytest.raises(SettingsError, match="no trial of baseline, ipr has a score on V1"):
        tuning.check(trials, tuning.curve(trials, tmp_path))


def test_the_command_shows_its_plan_and_keeps_the_grid(tmp_path, capsys):
    file = tmp_path / "grid.toml"
    file.write_text('preset = "demo"\n' + GRID, "utf-8")
    assert cli.main(["tune", str(file), "--dry-run", "--runs", str(tmp_path / "runs")]) == 0
    assert "16 cells" in capsys.readouterr().out
    assert cli.main(["tune", str(file), "--out", str(file)]) == 2
    assert "which is the grid; name another file" in capsys.readouterr().err
    assert file.read_text("utf-8") == 'preset = "demo"\n' + GRID


def test_options_add_to_the_grid_s_settings(tmp_path, capsys):
    file = tmp_path / "grid.toml"
    file.write_text('preset = "demo"\n' + GRID + "[settings]\ntest_size = 100\n", "utf-8")
    command = ["tune", str(file), "--dry-run", "--runs", str(tmp_path / "runs")]
    assert cli.main([*command, "--validation-share", "0"]) == 2
    assert "validation_share is 0" in capsys.readouterr().err
    assert cli.main([*command, "--gama", "0.9"]) == 2
    assert "did you mean gamma" in capsys.readouterr().err
    search, _, _ = tuning.try_read(file, {"settings": {"test_size": 90}})
    assert search.cells["ipr", 0][0].config.partition.test_size == 90
    assert search.entries["settings"] == {"test_size": 100}  # the tuned grid is for any machine


SETTINGS = sorted((Path(__file__).parents[2] / "notebooks" / "results").glob("*.toml"))


@pytest.mark.parametrize("file", SETTINGS, ids=lambda file: file.stem)
def test_the_settings_of_the_result_page_are_read(file, tmp_path):
    options = {"settings": {"corpus_path": str(tmp_path), "encoder": "compact"}}
    entries, faults = grid_file.read(file)
    assert not faults
    assert grid.read(file, options).cells
    if "tune" in entries:
        search, faults, _ = tuning.try_read(file, options)
        assert not faults
        assert {len(trials) for trials in search.trials.values()} == {entries["tune"]["trials"]}  # the same budget
        names = ("ipr", "table2", "beyond") if "rivals" in file.stem else ("table3", "controls")
        assert set(search.trials) == {name for word in names for name in GROUPS.get(word, (word,))}


def test_no_choice_is_made_where_a_trial_failed(tmp_path, capsys, monkeypatch):
    """Else a system's trial would be judged by fewer runs than the others."""
    file = tmp_path / "grid.toml"
    file.write_text('preset = "demo"\n' + GRID, "utf-8")
    monkeypatch.setattr(batches, "_work", lambda *_: ["a cell: no memory"])
    assert cli.main(["tune", str(file), "--runs", str(tmp_path / "runs")]) == 1
    assert "1 failed; the same command tries them again\na cell: no memory" in capsys.readouterr().err
    assert not (tmp_path / "grid-tuned.toml").exists()
