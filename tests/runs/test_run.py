"""The run folder: whole files, going on from anywhere, one process at a time."""

import dataclasses
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from helpers.whole_runs import all_whole, assert_same, files, unvouched
from ipr_core import atomic
from ipr_core.method.prototypes import PrototypeSchedule
from ipr_core.runs import names
from ipr_core.runs import run as runs
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run, RunError
from ipr_core.training import advance as runner
from ipr_core.training.advance import ProgressBar, advance, prepare, train_all
from ipr_core.training.loop import LossError, refine
from ipr_core.training.session import Session


class Stop(BaseException):
    """Ends a process's work as a kill would, but for cleaning up."""


@pytest.fixture(scope="module")
def begin(frozen, data, tmp_path_factory):
    """Settings → a new run in a folder of its own."""
    return lambda **settings: prepare(frozen.replace(**settings), tmp_path_factory.mktemp("runs"), data=data)[0]


@pytest.fixture(scope="module")
def undisturbed(begin, data, views):
    return advance(begin(), data, views=views)


def stop_after(epoch: int):
    def watch(event):
        if isinstance(event, EpochEnd) and event.epoch == epoch:
            raise Stop

    return watch


# What a run holds.


def test_a_finished_run(undisturbed, frozen, data):
    run = undisturbed
    assert files(run) == {
        "config.json", "corpus.parquet", "events.jsonl", "checkpoint.safetensors", "warm_up.safetensors", "labels.csv",
        "labels.parquet", "model/config.json", "model/model.safetensors", "epochs/0000.safetensors",
        "epochs/0001.safetensors", "epochs/0002.safetensors",
    }  # fmt: skip
    all_whole(run)
    assert run.finished
    assert run.warmed_up
    assert run.epochs == 3
    assert run.config == frozen
    assert torch.__version__.startswith(run.meta["versions"]["torch"])
    assert run.load_state("warm_up")["epoch"] == 1
    assert run.load_state()["epoch"] == 3
    assert len(run.history()) == 3
    pd.testing.assert_frame_equal(run.table, data.table)


def test_a_checkpoint_does_not_grow_with_the_corpus(undisturbed):
    once, each_epoch = undisturbed.load_state("warm_up"), undisturbed.load_state()
    of_the_corpus = {"embeddings", "own", "soft"}
    assert {len(once[name]) for name in of_the_corpus} == {len(undisturbed.table)}
    assert each_epoch.keys() == once.keys() - of_the_corpus
    assert {name: value.shape for name, value in each_epoch.items()}.items() <= {
        name: value.shape for name, value in once.items()
    }.items()


def test_the_record_is_what_training_yielded(undisturbed, frozen, data, views):
    live = [event for event in refine(Session(frozen, data, views)) if isinstance(event, EpochEnd)]
    record = undisturbed.events()
    assert record == live
    for a, b in zip(record, live, strict=True):
        assert a.arrays.keys() == b.arrays.keys()
        assert all((a.arrays[name] == b.arrays[name]).all() for name in a.arrays)
        assert a.arrays["soft_model"].dtype == np.float16
    assert undisturbed.history()[-1] == live[-1]


@pytest.mark.parametrize(("last", "value"), [(False, "loss precise is nan"), (True, "sum of the soft labels is nan")])
def test_no_epoch_is_kept_that_nothing_can_go_on_from(begin, undisturbed, data, views, monkeypatch, last, value):
    run, steps, sessions = begin(), [], []
    forward, after_step_ = Session.forward, PrototypeSchedule.after_step_

    def remember(session, *args):
        sessions.append(session)
        return forward(session, *args)

    def diverge(schedule, step):
        after_step_(schedule, step)
        session = sessions[-1]
        if session.epoch == 1:
            steps.append(step)
            if len(steps) == (len(session.plan(1)) if last else 1):
                next(session.model.projection.parameters()).data.fill_(torch.nan)

    with monkeypatch.context() as patch:
        patch.setattr(Session, "forward", remember)
        patch.setattr(PrototypeSchedule, "after_step_", diverge)
        with pytest.raises(LossError, match=f"epoch 1: {value}.*the epochs before it are kept.*smaller lr or encoder"):
            advance(run, data, views=views)
    assert run.epochs == run.load_state()["epoch"] == 1
    assert_same(advance(run, data, views=views), undisturbed)


def test_a_run_is_found_again(undisturbed, frozen, data):
    run, again = prepare(frozen, undisturbed.folder.parent, progress=False)
    assert run.folder == undisturbed.folder
    assert again.classes == data.classes
    assert again.waves.keys == data.waves.keys
    time = (run.folder / "labels.csv").stat().st_mtime_ns
    advance(run, again)
    assert (run.folder / "labels.csv").stat().st_mtime_ns == time  # nothing left to do


def test_a_runs_name_tells_settings_apart(frozen):
    assert names.name(frozen).startswith("synthetic-compact-ipr-s0-")
    assert names.name(frozen) != names.name(frozen.replace(gamma=0.5))
    assert names.name(frozen.replace(encoder="some/where/tiny", seed=3)).startswith("synthetic-tiny-ipr-s3-")


def test_where_runs_lie(monkeypatch, tmp_path):
    monkeypatch.setenv("IPR_RUNS", str(tmp_path))
    assert names.default_runs() == tmp_path
    monkeypatch.delenv("IPR_RUNS")
    assert names.default_runs() == Path(runs.__file__).parents[2] / "runs"


def test_a_folder_that_is_no_run(tmp_path):
    with pytest.raises(RunError, match=r"is not a run folder: it has no config\.json; `ipr run` and `ipr train` make"):
        Run.open(tmp_path)


def test_changed_audio_is_refused(begin):
    run = begin(seed=11)
    table = run.table
    table.loc[0, "path"] = table.loc[1, "path"]
    unvouched(run, "corpus.parquet")
    table.to_parquet(run.folder / "corpus.parquet")
    with pytest.raises(RunError, match="audio files have changed since this run was made; rename or remove"):
        run.dataset(progress=False)


def test_the_corpus_digest_changes_with_what_is_heard_and_said(data):
    def changed(column, value):
        table = data.table.copy()
        table.loc[3, column] = value
        return runs.digest(dataclasses.replace(data, table=table))

    plain = runs.digest(data)
    assert changed("path", "elsewhere.wav") == plain  # a corpus may be moved
    assert len({plain, changed("label", "bored"), changed("votes_sad", 9.0), changed("part", "D1x")}) == 4


# Going on.


@pytest.mark.parametrize("epoch", range(3))
def test_a_run_stopped_after_any_epoch_goes_on_to_the_bit(begin, data, views, undisturbed, epoch):
    run = begin()
    with pytest.raises(Stop):
        advance(run, data, watch=stop_after(epoch), views=views)
    assert run.epochs == epoch + 1
    assert not run.finished
    advance(run, data, views=views)
    assert_same(run, undisturbed)


def test_first_the_warm_up_then_the_rest(begin, data, views, undisturbed):
    run = begin()
    assert run.load_state("warm_up") is None
    advance(run, data, goal="warm_up", views=views)
    assert run.warmed_up
    assert run.epochs == 1
    assert not run.finished
    advance(run, data, goal="warm_up", views=views)
    assert run.epochs == 1
    assert_same(advance(run, data, views=views), undisturbed)


def test_a_run_without_a_warm_up(begin, data, views):
    run = begin(warm_up=0, epochs=1)
    assert run.warmed_up
    advance(run, data, goal="warm_up", views=views)
    assert run.epochs == 0
    advance(run, data, views=views)
    assert run.events()[0].phase == "refinement"


def test_a_trained_encoder_goes_on_to_the_bit(tiny, data, trained, tmp_path):
    run, _ = prepare(tiny, tmp_path, data=data)
    with pytest.raises(Stop):
        advance(run, data, watch=stop_after(1))
    assert_same(advance(run, data), trained)


def test_a_run_stopped_at_any_write_goes_on_to_the_bit(begin, data, views, undisturbed, monkeypatch):
    real, left = os.replace, None

    def replace(a, b):
        nonlocal left
        left -= 1
        if left < 0:
            raise Stop
        real(a, b)

    monkeypatch.setattr(os, "replace", replace)
    for writes in range(100):
        run, left = begin_unhindered(begin, monkeypatch, real, replace), writes
        try:
            advance(run, data, views=views)
        except Stop:
            all_whole(run)
            left = 100
            advance(run, data, views=views)
            assert_same(run, undisturbed)
        else:
            break
    # what is known as training starts, arrays, event and checkpoint of 3 epochs, the state after the warm-up, two files
    # each of model and labels, digests
    assert writes == 1 + 3 * 3 + 1 + 2 + 2 + 1


def begin_unhindered(begin, monkeypatch, real, hindered) -> Run:
    monkeypatch.setattr(os, "replace", real)
    run = begin()
    monkeypatch.setattr(os, "replace", hindered)
    return run


def test_an_epoch_recorded_again_takes_its_place(begin, data, views, undisturbed):
    run = begin()
    for event in undisturbed.events():
        run.record(event)
    run.record(undisturbed.events()[1])
    assert [event.epoch for event in run.events()] == [0, 1]


def test_sharing_views_changes_no_run(begin, frozen, data, views, undisturbed, tmp_path):
    systems = ("baseline_augmented", "baseline_plus_contrastive", "ipr")
    shared = train_all([frozen.replace(system=system) for system in systems], tmp_path, progress=False)
    assert [run.config.training.system for run in shared] == list(systems)
    assert_same(shared[2], undisturbed)
    separate = [advance(begin(system=system), data) for system in systems]
    for a, b in zip(shared, separate, strict=True):
        assert_same(a, b)


def test_a_configuration_done_is_not_trained_again(frozen, undisturbed, monkeypatch):
    monkeypatch.setattr(runner, "Session", None)
    assert train_all([frozen], undisturbed.folder.parent, progress=False)[0].folder == undisturbed.folder


# Writing.


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_write_that_fails_leaves_the_old_file_alone(tmp_path, error):
    path = tmp_path / "a.json"
    atomic.write_text(path, "old")

    def save(copy):
        Path(copy).write_text("half of the new o")
        raise error

    with pytest.raises(error):
        atomic.write(path, save)
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_write_is_seen_whole_or_not_at_all(tmp_path):
    path, presence = tmp_path / "a.txt", []

    def save(copy):
        Path(copy).write_text("new")
        Path(copy).with_name(".tmp8aPq").write_text("what a library leaves beside its file")
        presence.append(path.exists())

    atomic.write(path, save)
    assert list(tmp_path.iterdir()) == [path]
    assert presence == [False]
    assert path.read_text() == "new"
    assert path.stat().st_mode & 0o777 == 0o644


def test_what_a_killed_process_left_is_cleared_away(begin):
    run = begin(seed=12)
    for name in (".writing-a/config.json", "epochs/.writing-b/0000.safetensors", "model/.writing-c/.tmp8aPq"):
        (run.folder / name).parent.mkdir(parents=True)
        (run.folder / name).write_text("half")
    with run.locked():
        assert files(run) == {"config.json", "corpus.parquet"}


def test_one_process_trains_a_run(begin, data, views):
    run = begin(epochs=1, warm_up=1)
    hold = (
        "import fcntl, sys; file = open(sys.argv[1], 'w'); fcntl.flock(file, fcntl.LOCK_EX); "
        "print('held', flush=True); sys.stdin.read()"
    )
    argv = [sys.executable, "-c", hold, str(run.folder / ".lock")]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(RunError, match="is being trained by another process; wait for it, or stop it"):
            advance(run, data, views=views)
        assert run.epochs == 0
        holder.kill()
    assert advance(run, data, views=views).finished


def test_a_pipe_is_told_of_the_last_epoch_alone(frozen, undisturbed, capsys):
    bar = ProgressBar(frozen)
    for event in undisturbed.events():
        bar(event)
    accuracy = undisturbed.events()[-1].accuracy
    line = rf"Training IPR, seed 0: epoch 3, \d+ s, accuracy on D3 {accuracy:.3f}\n"
    assert re.fullmatch(line, capsys.readouterr().err)


def test_the_progress_bar_tells_epochs_and_accuracy(frozen, undisturbed, monkeypatch):
    monkeypatch.setattr(runner, "is_watched", lambda: True)
    bar = ProgressBar(frozen)
    bar._bar.delay = 0
    for event in undisturbed.events():
        bar(event)
    assert bar._bar.total == 3
    assert bar._bar.desc == f"refinement, accuracy on D3 {undisturbed.events()[-1].accuracy:.3f}: "
    assert ProgressBar(frozen, "warm_up")._bar.total == 1
