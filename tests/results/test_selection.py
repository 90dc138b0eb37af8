"""Selection of runs: those that are finished, and those that can be compared."""

import dataclasses
import json

import pytest

from helpers.fake_runs import fake_run
from ipr_core.atomic import write_text
from ipr_core.config import SettingsError
from ipr_core.results import over_seeds, selection


@pytest.fixture
def make(frozen, data, tmp_path):
    """System, seed and settings → a finished run."""

    def make(system="ipr", seed=0, utterances=data, **settings):
        return fake_run(tmp_path, frozen.replace(system=system, seed=seed, **settings), utterances, (0.2, 0.5))

    return make


@pytest.fixture
def campaign(make):
    return [make(system, seed) for system in ("baseline", "ipr") for seed in (0, 1)]


def test_the_finished_runs_of_a_folder_are_found(make, campaign, tmp_path, monkeypatch):
    unfinished = make("supervised")
    (unfinished.folder / "labels.csv").unlink()
    (tmp_path / "tables").mkdir()
    assert {run.folder for run in selection.finished_runs(tmp_path)} == {run.folder for run in campaign}
    monkeypatch.setenv("IPR_RUNS", str(tmp_path))
    assert len(selection.finished_runs()) == len(campaign)
    assert selection.finished_runs(tmp_path / "nowhere") == []
    assert selection.tables_folder(campaign) == selection.tables_folder([]) == tmp_path / "tables"


def test_runs_of_other_settings_are_a_group_of_their_own(make, campaign):
    run = make("supervised", seed=9)
    meta = run.meta | {"settings": run.meta["settings"] | {"gamma": 0.5}}
    write_text(run.folder / "config.json", json.dumps(meta))
    groups = selection.comparable([*campaign, run])
    assert [(title, len(runs)) for title, runs in groups] == [("gamma 0.999", len(campaign)), ("gamma 0.5", 1)]


def test_partitions_of_the_same_settings_are_one_group(make, campaign, data):
    second = dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 2))
    runs = [*campaign, make(utterances=second, data_seed=1)]
    assert [(title, len(group)) for title, group in selection.comparable(runs)] == [("", 5)]
    # a third data_seed changes nothing: its runs repeat others and count once
    assert [len(group) for _, group in selection.comparable([*runs, make(data_seed=2)])] == [5]


def test_other_utterances_of_one_data_seed_are_no_partition(make, campaign, data):
    changed = dataclasses.replace(data, table=data.table.assign(share=data.table["share"] / 2))
    run = make("supervised", utterances=changed)
    groups = selection.comparable([*campaign, run])
    digests = [runs[0].meta["corpus"] for runs in (campaign, [run])]
    assert [(title, len(group)) for title, group in groups] == [
        (f"utterances {digests[0]}", len(campaign)),
        (f"utterances {digests[1]}", 1),
    ]


def tuned(run, *settings):
    """Say of a run that it is of a tuned grid, whose systems have these settings of their own."""
    write_text(run.folder / "tuning.json", json.dumps({"settings": settings}))
    return run


def test_the_systems_of_a_tuned_grid_are_one_group(make):
    runs = [tuned(make("ipr", seed, lr=0.003, mu=0.1), "lr", "mu") for seed in range(2)]
    runs += [tuned(make("baseline", seed, lr=0.001), "lr", "mu") for seed in range(2)]
    untuned = make("supervised", lr=0.001)
    groups = selection.comparable([*runs, untuned])
    assert sorted(len(group) for _, group in groups) == [1, 4]
    assert selection.largest_group([*runs, untuned]) == runs
    assert "own choice of `lr`, `mu`, made on V1" in over_seeds.circumstances(runs)
    assert "own choice" not in over_seeds.circumstances([untuned])


def test_two_choices_of_one_system_are_not_averaged(make):
    runs = [tuned(make("ipr", 0, lr=0.003), "lr"), tuned(make("ipr", 1, lr=0.001), "lr")]
    assert [len(group) for _, group in selection.comparable(runs)] == [1, 1]


def test_the_largest_group_has_most_systems(make, campaign):
    variations = [make(seed=seed, gamma=0.5) for seed in range(9)]
    group = selection.largest_group([*variations, *campaign])
    assert [run.folder for run in group] == [run.folder for run in campaign]
    assert selection.largest_group([]) == []


def test_the_usual_stream_leaves_out_others_and_unfinished_runs(make, campaign):
    stream, unfinished = make(stream=1), make(seed=5)
    (unfinished.folder / "labels.csv").unlink()
    assert selection.usual_stream([*campaign, stream, unfinished]) == campaign


def test_a_reference_must_be_among_the_runs(campaign):
    selection.check_reference(campaign, "ipr")
    selection.check_reference(campaign, None)
    with pytest.raises(SettingsError, match="against is 'mcil'; the finished runs here are of baseline, ipr"):
        selection.check_reference(campaign, "mcil")
