"""Damaged run folders: every fault is a sentence with file and cure, and training goes on from what is whole."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from helpers.whole_runs import assert_same
from ipr_core.runs import mending
from ipr_core.runs.run import Run, RunError
from ipr_core.training.advance import advance, prepare
from ipr_core.training.trained import export, faults, reopen_if_damaged_, trained_model


@pytest.fixture(scope="module")
def whole(frozen, data, views, tmp_path_factory):
    """A finished run of three epochs, the first of them the warm-up."""
    return advance(prepare(frozen, tmp_path_factory.mktemp("runs"), data=data)[0], data, views=views)


@pytest.fixture(scope="module")
def rival(frozen, data, views, tmp_path_factory):
    """Another run on the same utterances."""
    return advance(prepare(frozen.replace(seed=1), tmp_path_factory.mktemp("runs"), data=data)[0], data)


@pytest.fixture
def run(whole, tmp_path):
    """A copy of the finished run, to be damaged."""
    return Run(shutil.copytree(whole.folder, tmp_path / whole.folder.name))


def flip(path: Path, share: float = 0.9) -> None:
    content = bytearray(path.read_bytes())
    content[int(share * len(content))] ^= 4
    path.write_bytes(content)


def with_array(path: Path, change) -> None:
    """Write arrays anew, without the seal of a state."""
    arrays = load_file(path)
    save_file(change(arrays), path)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to("/nowhere/at/all")


DAMAGE = {
    "missing": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "cut off": lambda path: path.write_bytes(path.read_bytes()[:-20]),
    "flipped": flip,
    "text": lambda path: path.write_text("something else\n"),
    "link": link_to_nothing,
}
MADE = (
    "events.jsonl", "epochs/0000.safetensors", "epochs/0002.safetensors", "warm_up.safetensors",
    "checkpoint.safetensors", "model/config.json", "model/model.safetensors", "labels.parquet", "labels.csv",
)  # fmt: skip
"""Files that training makes, and makes again."""


def used(run: Run) -> None:
    """Read all that commands read of a finished run."""
    list(run.replay())
    run.row_over_epochs("soft_model", 0)
    assert len(run.labels) == len(run.table)
    trained_model(run)
    run.load_state("warm_up")
    run.check_file("labels.csv")


@pytest.mark.parametrize("name", MADE)
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_file_is_named_with_its_cure_and_made_again(run, whole, data, views, name, damage):
    DAMAGE[damage](run.folder / name)
    if name != "labels.csv" or damage != "missing":  # without it the run is not finished
        with pytest.raises(RunError, match=rf"{name}.*; `ipr resume {run.folder}` makes it again") as info:
            used(run) or _raise_for_missing_state(run)
        assert "\n" not in str(info.value)
    reopen_if_damaged_(run)
    assert not run.finished
    assert_same(advance(run, data, views=views), whole)
    assert faults(run) == []


def _raise_for_missing_state(run: Run) -> None:
    if sentences := mending.start(run).faults:
        raise RunError(f"{sentences[0]}; {run.mended}")


@pytest.mark.parametrize("name", ["config.json", "corpus.parquet"])
@pytest.mark.parametrize("damage", [*DAMAGE, "other"])
def test_what_training_does_not_make_has_another_cure(run, rival, name, damage):
    path = run.folder / name
    shutil.copy(rival.folder / name, path) if damage == "other" else DAMAGE[damage](path)
    if damage == "other" and name == "corpus.parquet":
        run.table.assign(part="D1").to_parquet(path)
    bare = name == "config.json" and damage == "missing"  # then nothing says that the folder is a run
    cure = "`ipr run` and `ipr train` make one" if bare else "put its copy back, or remove the folder and train the run"
    with pytest.raises(RunError, match=f"{name}.*; {cure}"):
        Run.open(run.folder).table  # noqa: B018


@pytest.mark.parametrize(
    ("name", "change", "reason"),
    [
        ("epochs/0001.safetensors", lambda a: a | {"map": a["map"] * np.nan}, "is damaged, or of another run"),
        ("epochs/0001.safetensors", lambda a: {k: v for k, v in a.items() if k != "map"}, "is damaged, or of"),
        ("checkpoint.safetensors", lambda a: {k: v for k, v in a.items() if k != "prototypes"}, "is not a state"),
        ("checkpoint.safetensors", lambda a: a | {"prototypes": a["prototypes"] + 1}, "is of another run"),
        ("checkpoint.safetensors", lambda a: a | {"epoch": np.array(99)}, "is of epoch 99, but only 3 epochs"),
    ],
)
def test_arrays_and_states_with_other_values_are_noticed(run, name, change, reason):
    with_array(run.folder / name, change)
    assert any(name in fault and reason in fault for fault in mending.start(run).faults)


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda a: a | {"map": a["map"] * np.nan}, "map has values that are not finite"),
        (lambda a: a | {"soft_model": a["soft_model"][:-1].copy()}, "soft_model is .* it should be"),
        (lambda a: a | {"views": np.full((len(a["soft_model"]), 2), 99, np.int16)}, "views are .* numbers of classes"),
        (lambda a: a | {"prototypes": a["prototypes"][:-1].copy()}, "prototypes are .* there should be 4 of them"),
        (lambda a: a | {"map": a["map"][:, :-1].copy()}, "map is .* its embeddings should have"),
        (lambda a: {k: v for k, v in a.items() if k != "soft_prototypes"}, "it has no soft_prototypes"),
    ],
)
def test_arrays_without_a_digest_are_checked_too(run, change, reason):
    path = run.folder / "events.jsonl"
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    old = [{key: value for key, value in line.items() if key not in ("seal", "arrays")} for line in lines]
    path.write_text("".join(json.dumps(line) + "\n" for line in old), "utf-8")
    with_array(run.folder / "epochs" / "0001.safetensors", change)
    with pytest.raises(RunError, match=f"0001.safetensors cannot be read: {reason}"):
        run.arrays(1)


@pytest.mark.parametrize(
    ("epochs", "lost", "start"),
    [
        (3, ("checkpoint",), 1),
        (3, ("checkpoint", "warm_up"), 0),
        (2, ("checkpoint",), None),
        (1, ("checkpoint",), None),
    ],
)
def test_training_says_if_it_repeats_more_than_the_epoch_that_a_kill_may_cost(run, epochs, lost, start):
    run.reopen_()
    run.cut_(epochs)
    for name in lost:
        (run.folder / f"{name}.safetensors").unlink()
    point = mending.start(run)
    assert bool(point.faults) == (start is not None)
    assert start is None or point.epoch == start


def test_a_lost_record_does_not_go_on_without_its_first_epochs(run, whole, data, views):
    (run.folder / "labels.csv").unlink()
    lines = (run.folder / "events.jsonl").read_text("utf-8").splitlines(keepends=True)
    for rest in ([], lines[1:], lines[:2], [*lines[:2], lines[2][:50]], [lines[0], lines[0]]):
        (run.folder / "events.jsonl").write_text("".join(rest), "utf-8")
        start = mending.start(run)
        assert start.epoch <= sum(a == b for a, b in zip(rest, lines, strict=False))
        assert "events.jsonl" in start.faults[0] or "only 2 epochs are recorded" in start.faults[0] or not rest
    assert_same(advance(run, data, views=views), whole)


def test_settings_of_a_newer_version_are_named(run):
    meta = run.meta
    run._write_meta(meta | {"settings": meta["settings"] | {"of_the_future": 3}})
    with pytest.raises(RunError, match=r"of_the_future is not a setting.*Version 0.1.0 made the run"):
        Run.open(run.folder)


def test_a_record_of_a_newer_version_is_named(run):
    path = run.folder / "events.jsonl"
    line = json.loads(path.read_text("utf-8").splitlines()[0])
    del line["seal"]
    path.write_text(json.dumps(line | {"of_the_future": 1}) + "\n", "utf-8")
    with pytest.raises(RunError, match=r"events.jsonl, line 1: .*of_the_future.*another version of the workbench"):
        run.event(0)


def test_a_settings_file_of_another_run_is_named(run, rival):
    shutil.copy(rival.folder / "config.json", run.folder)
    with pytest.raises(RunError, match=f"config.json is of another run, {rival.folder.name}"):
        Run.open(run.folder)


def test_a_run_is_written_in_its_own_folder_alone(run, tmp_path):
    (run.folder / "labels.csv").unlink()
    shutil.move(run.folder / "epochs", tmp_path / "precious")
    (run.folder / "epochs").symlink_to(tmp_path / "precious")
    with pytest.raises(RunError, match="epochs is a symbolic link"), run.locked():
        pass


def test_a_pipe_is_not_waited_for(run):
    for name in ("labels.parquet", "events.jsonl", "config.json"):
        (run.folder / name).unlink()
        os.mkfifo(run.folder / name)
    with pytest.raises(RunError, match=r"config.json is not a plain file"):
        Run.open(run.folder)


def test_an_export_leaves_a_folder_of_something_else(run, tmp_path):
    export(run, tmp_path / "model")
    export(run, tmp_path / "model")  # again
    with pytest.raises(OSError, match=r"it holds a config.json of something else; name a new folder"):
        export(run, run.folder)


def test_an_exchanged_encoder_is_refused(frozen, data, views, tmp_path, monkeypatch):
    digests = iter(["a", "b", "b", None, None, None])
    monkeypatch.setattr("ipr_core.training.advance.encoder_digest", lambda config: next(digests))
    run, _ = prepare(frozen.replace(epochs=1, warm_up=1), tmp_path, data=data)
    assert run.encoder == "a"
    with pytest.raises(RunError, match="the files of the encoder compact have changed since this run was made"):
        prepare(run.config, tmp_path, progress=False)
    with pytest.raises(RunError, match="put them back, or rename or remove the folder"):
        advance(run, data, views=views)
    assert prepare(run.config, tmp_path, progress=False)[0].folder == run.folder  # it is no longer here
    assert advance(run, data, views=views).finished
