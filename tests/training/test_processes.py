"""One run on two processes is the run of one process: gradients, prototypes, record and labels.

The processes are real ones that talk through gloo on loopback. Dropout is off wherever two are compared with one,
since each rank draws its own; shares differ in size throughout, the batches being odd.
"""

import dataclasses
import json
import multiprocessing
import os
import socket
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from ipr_core.__main__ import launched
from ipr_core.config import SettingsError, demo
from ipr_core.data.dataset import load
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, to_json
from ipr_core.runs.run import Run, comparable_lines, name
from ipr_core.training import processes
from ipr_core.training.advance import advance, prepare
from ipr_core.training.loop import refine
from ipr_core.training.minibatches import Minibatch
from ipr_core.training.processes import Process, ProcessOfSeveral, RankError, SummingAdamW
from ipr_core.training.session import Session

LOOPBACK = {"MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", "CUDA_VISIBLE_DEVICES": "", "OMP_NUM_THREADS": "1"}


def as_rank(rank: int, port: int, works) -> None:
    """What a launcher does for one of two processes."""
    os.environ |= LOOPBACK | {"MASTER_PORT": str(port), "WORLD_SIZE": "2", "RANK": str(rank), "LOCAL_RANK": str(rank)}
    torch.set_num_threads(1)
    for work, arguments in works:
        work(*arguments)
    processes.leave()


def by_two(works) -> None:
    """Functions with their arguments, one after another in each of two processes."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["ipr_core.training.advance", "accelerate"])
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    started = [context.Process(target=as_rank, args=(rank, port, works)) for rank in (0, 1)]
    for process in started:
        process.start()
    for process in started:
        process.join(200)
        process.kill()  # nothing where it has ended
    assert [process.exitcode for process in started] == [0, 0]


@pytest.fixture(scope="module")
def two(cache, tmp_path_factory, tiny, calm, calm_frozen):
    """Work → the folder where two processes left what they did; the same two did all of it, since they start slowly."""
    folders = {work: tmp_path_factory.mktemp(work.__name__) for work in (exchange, steps_of_two, noisy, runs_of_two)}
    asked = {steps_of_two: [calm], noisy: [tiny.replace(batch_size=5)], runs_of_two: [[calm, calm_frozen]]}
    by_two([(work, (folder, cache, *asked.get(work, []))) for work, folder in folders.items()])
    return folders


@pytest.fixture(scope="module")
def calm(tiny):
    """A trained encoder, nothing random in it, and batches of five."""
    return tiny.replace(dropout=0, encoder_noise=False, batch_size=5)


@pytest.fixture(scope="module")
def calm_frozen(calm):
    return calm.replace(train_features=False, frozen_layers=-1)


def tensors(folder, rank):
    return load_file(folder / f"{rank}.safetensors")


def keep(folder, found) -> None:
    """What this rank found, as {name: tensor}."""
    found = {name: value.detach().contiguous().clone() for name, value in found.items()}
    save_file(found, folder / f"{processes.this_process().rank}.safetensors")


# What ranks do with one another.


def exchange(folder, cache) -> None:
    mine = processes.this_process()
    x = torch.arange(10.0).reshape(5, 2).requires_grad_()
    gathered = mine.gather(2 * x[mine.share(list(range(5)))], 5)
    (gathered * x.detach()).sum().backward()
    single = mine.gather(3 * x[mine.share([4], least=1)], 1)
    weights = [nn.Parameter(torch.ones(2)) for _ in range(4)]
    weights[3].requires_grad_(False)
    weights[0].grad = torch.tensor([1.0, 2.0]) if mine.main else None
    weights[1].grad = torch.tensor([1.0, 10.0]) * (1 + mine.rank)
    mine.adamw([{"params": weights}], weights, 0.0).sum_gradients_()
    with mine.main_first():
        seen = (folder / "made").exists()
        (folder / "made").touch()
    found = {
        "gathered": gathered, "gradient": x.grad, "single": single, "first": weights[0].grad, "second": weights[1].grad,
        "share": torch.tensor(mine.share(list(range(5)))), "lonely": torch.tensor(single.requires_grad),
        "seen": torch.tensor(seen),
        "without": torch.tensor(weights[2].grad is None and weights[3].grad is None),
        "agreed": torch.tensor([mine.agreed(mine.main), mine.agreed(not mine.main)]),
    }  # fmt: skip
    keep(folder, found)


def test_what_ranks_exchange(two):
    x = torch.arange(10.0).reshape(5, 2)
    for rank in (0, 1):
        found = tensors(two[exchange], rank)
        assert found["share"].tolist() == [[0, 2, 4], [1, 3]][rank]
        assert found["gathered"].equal(2 * x)
        own = torch.zeros_like(x)
        own[rank::2] = 2 * x[rank::2]
        assert found["gradient"].equal(own)
        assert found["single"].equal(3 * x[4:])
        assert found["lonely"]  # so that a rank without a share has gradients too, of zero
        assert found["first"].tolist() == [1, 2]
        assert found["second"].tolist() == [3, 30]
        assert found["without"]
        assert found["agreed"].tolist() == [True, False]
        assert found["seen"] == bool(rank)


def test_a_process_alone_has_everything():
    alone = processes.this_process()
    assert type(alone) is Process
    assert alone.main
    assert alone.share([1, 2, 3]) == [1, 2, 3]
    x = torch.ones(2, requires_grad=True)
    assert alone.gather(x, 2) is x
    assert not alone.agreed(False)


def test_each_process_has_a_device_of_its_own():
    class State:
        process_index, num_processes, device = 1, 2, torch.device("cuda", 1)

    second = ProcessOfSeveral(State())
    assert not second.main
    assert second.device("auto") == second.device("cuda") == torch.device("cuda", 1)
    assert second.device("cpu") == torch.device("cpu")
    with pytest.raises(SettingsError, match='device is "cuda:0"; 2 processes need one each'):
        second.device("cuda:0")


# A step.

STEPS = {
    **{system: {"system": system} for system in SYSTEMS},
    "ipr_by_label": {"system": "ipr", "positives": "label", "augmented_target": True, "confidence": True},
    "ipr_each_step": {"system": "ipr", "compare_when": "step", "after_warm_up": "move", "update": "sequential"},
    "ipr_in_training": {"system": "ipr", "compare_when": "step", "compare_mode": "training", "gate": "none"},
}
SIZES = {"odd": (3, 5), "small": (1, 1)}
"""Utterances of D1 and D2; of the small batch the second process has none."""


def steps(config, data) -> dict[str, torch.Tensor]:
    """Every gradient, loss, flag, prototype and buffer of a first step, for every system and batch."""
    found = {}
    for step, settings in STEPS.items():
        session = Session(config.replace(gamma=0.9, **settings), data)
        session.begin_(1)
        still_(session.model)
        trained = nn.ModuleDict({"model": session.model, "beside": session.companion})
        for size, (precise, ambiguous) in SIZES.items():
            batch = Minibatch(session.d1[2 : 2 + precise], session.d2[1 : 1 + ambiguous])
            made = session.forward(batch, 1, 0.5)
            loss = session.system.refine(made)
            session.optimizer.zero_grad()
            loss.total.backward()
            if isinstance(session.optimizer, SummingAdamW):
                session.optimizer.sum_gradients_()
            session.schedule.after_step_(made)
            with torch.no_grad():
                session.companion.after_step_(made)
            gradients = {n: p.grad for n, p in trained.named_parameters() if p.grad is not None}
            rest = {
                "losses": loss.values(),
                "agreed": session.schedule.agreed,
                "prototypes": session.prototypes.vectors,
            }
            beside = dict(session.companion.named_buffers("beside"))
            found |= {f"{step} {size} {n}": value.clone() for n, value in (gradients | rest | beside).items()}
        session.companion.after_epoch_()
        found |= {f"{step} settled {n}": value.clone() for n, value in session.companion.named_buffers("beside")}
    return found


def still_(model: nn.Module) -> None:
    """Dropout that is part of a method is off too."""
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0


def steps_of_two(folder, cache, config) -> None:
    keep(folder, steps(config, load(config, cache, progress=False)))


def test_a_step_of_two_processes_is_that_of_one(two, calm, data):
    one = steps(calm, data)
    first, second = (tensors(two[steps_of_two], rank) for rank in (0, 1))
    assert first.keys() == one.keys()
    assert all(first[n].equal(second[n]) for n in first)
    for n, expected in one.items():
        away, most = (first[n] - expected).abs().max(), expected.abs().max()
        # rounding: other sums, in another order and perhaps by other threads; all there is of a bias before a softmax
        assert away < 5e-5 * most + 1e-7, n


# Whole runs.


def noisy(folder, cache, config) -> None:
    session = Session(config, load(config, cache, progress=False))
    drawn = []
    for event in refine(session):
        if not isinstance(event, EpochEnd):
            drawn.append(torch.rand(()))
    keep(folder, session.state() | {"drawn": torch.stack(drawn)})


def test_both_processes_hold_the_same_bits_while_each_draws_its_own(two):
    first, second = (tensors(two[noisy], rank) for rank in (0, 1))
    drawn = first.pop("drawn"), second.pop("drawn")
    assert (drawn[0] != drawn[1]).all()
    assert first.keys() == second.keys()
    assert all(first[n].equal(second[n]) for n in first)
    assert first["epoch"] == 3


def runs_of_two(folder, cache, configs) -> None:
    watched = []
    for config in configs:
        run, data = prepare(config, folder, cache, progress=False)
        advance(run, data, watch=watched.append)
        assert run.finished
    assert bool(watched) is processes.this_process().main


def assert_agree(run: Run, other: Run, tolerance: float) -> None:
    """The same record, prototypes and labels but for rounding."""
    assert {p.name for p in run.folder.iterdir()} == {p.name for p in other.folder.iterdir()}
    for ours, theirs in zip(run.events(), other.events(), strict=True):
        a, b = (flat(to_json(dataclasses.replace(event, clock={}))) for event in (ours, theirs))
        words, numbers = ({k: v for k, v in a.items() if isinstance(v, kind)} for kind in (str | None, int | float))
        assert words.items() <= b.items()
        assert numbers == pytest.approx({k: v for k, v in b.items() if k not in words}, rel=tolerance, abs=tolerance)
        for key, rows in ours.arrays.items():
            np.testing.assert_allclose(rows, theirs.arrays[key], atol=max(tolerance, 1e-3 * (rows.dtype == "float16")))
    numbers = run.labels.select_dtypes("number")
    np.testing.assert_allclose(numbers, other.labels[numbers.columns], atol=10 * tolerance)
    words = run.labels.columns.difference(numbers.columns)
    pd.testing.assert_frame_equal(run.labels[words], other.labels[words])


def flat(value, key="") -> dict:
    """{place: number or word} of nested JSON."""
    if not isinstance(value, dict | list):
        return {key: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {place: v for k, inner in items for place, v in flat(inner, f"{key}.{k}").items()}


@pytest.fixture(scope="module")
def alone(calm, calm_frozen, data, tmp_path_factory):
    """The same runs by one process."""
    folder = tmp_path_factory.mktemp("alone")
    for config in (calm, calm_frozen):
        advance(*prepare(config, folder, data=data))
    return folder


@pytest.mark.parametrize("config", ["calm", "calm_frozen"])
def test_a_run_of_two_processes_is_that_of_one(two, alone, config, request):
    config = request.getfixturevalue(config)
    run, other = (Run.open(folder / name(config)) for folder in (two[runs_of_two], alone))
    assert run.finished
    assert run.config == config
    assert_agree(run, other, 1e-4)
    moments = run.load_state(), other.load_state()
    assert moments[0].keys() == moments[1].keys()


# Going on, and failing.


class Stop(Exception):
    """Ends a run from within its watcher."""


def stop_in_the_second_epoch(folder, cache, config) -> None:
    def watch(event):
        if isinstance(event, EpochEnd) and event.epoch == 1:
            raise Stop

    run, data = prepare(config, folder, cache, progress=False)
    try:
        advance(run, data, watch=watch)
    except (Stop, RankError) as error:
        (folder / f"{processes.this_process().rank}.txt").write_text(f"{type(error).__name__}: {error}")
        processes.leave()


def test_one_process_goes_on_with_what_two_began_and_a_failure_ends_both(alone, calm_frozen, data, cache, tmp_path):
    by_two([(stop_in_the_second_epoch, (tmp_path, cache, calm_frozen))])
    assert (tmp_path / "0.txt").read_text() == "Stop: "
    assert (tmp_path / "1.txt").read_text().startswith("RankError: another process of this run failed or was stopped")
    run = Run.open(tmp_path / name(calm_frozen))
    assert run.epochs == 2
    assert not run.finished
    before = comparable_lines(run)
    assert advance(run, data).finished
    assert comparable_lines(run)[:2] == before
    assert_agree(run, Run.open(alone / name(calm_frozen)), 1e-4)


# The launchers.


@pytest.fixture
def environment(tmp_path, cache):
    """Runs go to tmp_path; nothing of another launch, of a GPU or of the user's own accelerate configuration."""
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return kept | LOOPBACK | {"IPR_CACHE": str(cache), "IPR_RUNS": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}


def changed(config) -> dict:
    """How a configuration differs from the demo."""
    usual = demo().settings()
    return {key: value for key, value in config.settings().items() if value != usual[key]}


def options(config) -> list[str]:
    given = {key.replace("_", "-"): value for key, value in changed(config).items()}
    return [
        f"--{'' if value else 'no-'}{key}" if isinstance(value, bool) else f"--{key}={value}"
        for key, value in given.items()
    ]


def run_by(command: list[str], environment) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1",
    "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", "-m", "ipr_core",
]  # fmt: skip
"""On CPUs too, since `--cpu` starts one process alone where there is no MPI."""


def test_accelerate_launch(calm_frozen, alone, environment, tmp_path):
    done = run_by([*LAUNCH, "train", "--preset=demo", *options(calm_frozen)], environment)
    assert done.returncode == 0, done.stderr
    run = Run.open(tmp_path / name(calm_frozen))
    assert_agree(run, Run.open(alone / name(calm_frozen)), 1e-4)
    assert done.stdout.count("IPR") == 1, "the table is printed once"


def test_notebook_launcher(calm_frozen, alone, environment, tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    code = f"""
import json, sys
from ipr_core.config import demo
from ipr_core.training.advance import train_all
assert "accelerate" not in sys.modules  # a process alone does without
from accelerate import notebook_launcher
config = demo(**json.loads(sys.argv[1]))
notebook_launcher(train_all, ([config], None, None, False), num_processes=2, use_port="{port}")
"""
    done = run_by([sys.executable, "-c", code, json.dumps(changed(calm_frozen))], environment)
    assert done.returncode == 0, done.stderr
    assert_agree(Run.open(tmp_path / name(calm_frozen)), Run.open(alone / name(calm_frozen)), 1e-4)


def test_several_processes_only_train(capsys):
    assert launched(["table", "runs"]) == 2
    assert capsys.readouterr().err == "several processes can train or resume; start `ipr table` without them\n"
