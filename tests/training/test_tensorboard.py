"""TensorBoard has the numbers of the record, of each epoch once, also of a run that goes on."""

import importlib.util
import json

import pytest

from ipr_core import cli
from ipr_core.training.advance import advance, prepare, train_all
from ipr_core.training.tensorboard import FOLDER, TensorBoard

pytest.importorskip("tensorboard")


def curves(run):
    """Return what TensorBoard reads: the values by epoch of each name."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(run.folder / FOLDER)).Reload()
    points = {name: [(e.step, e.value) for e in events.Scalars(name)] for name in events.Tags()["scalars"]}
    assert all(len(dict(pairs)) == len(pairs) for pairs in points.values()), "an epoch is there twice"
    return {name: dict(pairs) for name, pairs in points.items()}


def recorded(run):
    return [json.loads(line) for line in (run.folder / "events.jsonl").read_text().splitlines()]


@pytest.fixture
def run(frozen, data, tmp_path):
    return prepare(frozen, tmp_path, data=data)[0]


def test_it_has_the_numbers_of_the_record(run, data):
    advance(run, data, watch=TensorBoard(run))
    record, values = recorded(run), curves(run)
    assert values["accuracy"] == pytest.approx({i: epoch["accuracy"] for i, epoch in enumerate(record)})
    assert values["losses/total"] == pytest.approx({i: epoch["losses"]["total"] for i, epoch in enumerate(record)})
    first = data.classes[0]
    expected = {i: epoch["labels_model"][0] for i, epoch in enumerate(record)}
    assert values[f"labels_model/{first}"] == expected
    assert "epoch" not in values
    assert not {name for name in values if name.startswith(("confusion", "cosines"))}


def test_a_run_that_goes_on_has_each_epoch_once(run, data):
    advance(run, data, goal="warm_up", watch=TensorBoard(run))
    assert list(curves(run)["beta"]) == [0]
    advance(run, data, watch=TensorBoard(run))
    assert list(curves(run)["beta"]) == [0, 1, 2]


def test_systems_trained_together_have_theirs_and_a_finished_run_too(frozen, tmp_path):
    configs = [frozen, frozen.replace(system="baseline")]
    runs = train_all(configs, tmp_path, progress=False, watcher=TensorBoard)
    assert [len(curves(run)["uar"]) for run in runs] == [3, 3]
    (again,) = train_all(configs[:1], tmp_path, progress=False, watcher=TensorBoard)
    assert len(curves(again)["uar"]) == 3


def test_resume_writes_whole_curves_too(run, data, capsys):
    advance(run, data, goal="warm_up")
    assert cli.main(["resume", str(run.folder), "--tensorboard"]) == 0
    assert list(curves(run)["beta"]) == [0, 1, 2]


@pytest.mark.parametrize("command", ["train --preset demo", "run --preset demo", "resume RUN"])
def test_without_its_package_a_sentence_says_what_to_install(command, monkeypatch, tmp_path, capsys):
    literal = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else literal(name))
    monkeypatch.setenv("IPR_RUNS", str(tmp_path))
    assert cli.main([*command.split(), "--tensorboard"]) == 2
    assert "pip install 'ipr-workbench[tensorboard]'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())
