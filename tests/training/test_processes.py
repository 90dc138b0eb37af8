"""One run on two processes is the run of one process: gradients, prototypes, record and labels.

They are real ones that talk through gloo on loopback. Dropout is off where two are compared with one, since each rank
draws its own. Shares differ in size, the batches being odd."""

import dataclasses
import json
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

from helpers.small_encoders import random_model
from helpers.two_processes import LOOPBACK, by_two
from helpers.whole_runs import comparable_lines
from ipr_core.__main__ import launched
from ipr_core.config import SettingsError, demo
from ipr_core.data.dataset import load
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd, to_json
from ipr_core.runs.names import name
from ipr_core.runs.run import Run
from ipr_core.training import processes
from ipr_core.training.advance import advance, prepare
from ipr_core.training.loop import refine
from ipr_core.training.minibatches import Minibatch
from ipr_core.training.processes import Process, ProcessOfSeveral, RankError, SummingAdamW
from ipr_core.training.session import Session


@pytest.fixture(scope="module")
def two(cache, tmp_path_factory, tiny, calm, calm_frozen, calm_adapted):
    """Work → the folder where two processes left what they did; the same two did all of it, since they start slowly."""
    folders = {work: tmp_path_factory.mktemp(work.__name__) for work in (exchange, steps_of_two, noisy, runs_of_two)}
    arguments_of = {
        steps_of_two: [calm],
        noisy: [tiny.replace(batch_size=5)],
        runs_of_two: [[calm, calm_frozen, calm_adapted]],
    }
    by_two([(work, (folder, cache, *arguments_of.get(work, []))) for work, folder in folders.items()])
    return folders


@pytest.fixture(scope="module")
def calm(tiny):
    """A trained encoder, nothing random in it, and batches of five."""
    return tiny.replace(dropout=0, encoder_noise=False, batch_size=5)


@pytest.fixture(scope="module")
def calm_frozen(calm):
    return calm.replace(train_features=False, frozen_layers=-1)


@pytest.fixture(scope="module")
def calm_adapted(calm, tmp_path_factory):
    """A pre-trained encoder with adapters, which each process draws."""
    folder = tmp_path_factory.mktemp("encoder")
    random_model("whisper").save_pretrained(folder)
    return calm.replace(encoder=str(folder), train_features=False, adapter="lora", encoder_lr=0.01)


def tensors(folder, rank):
    return load_file(folder / f"{rank}.safetensors")


def keep(folder, values) -> None:
    """What this rank found, as {name: tensor}."""
    values = {name: value.detach().contiguous().clone() for name, value in values.items()}
    save_file(values, folder / f"{processes.this_process().rank}.safetensors")


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
        was_made = (folder / "made").exists()
        (folder / "made").touch()
    values = {
        "gathered": gathered, "gradient": x.grad, "single": single, "first": weights[0].grad, "second": weights[1].grad,
        "share": torch.tensor(mine.share(list(range(5)))), "lonely": torch.tensor(single.requires_grad),
        "seen": torch.tensor(was_made), "same": torch.tensor([mine.same(2.5 + mine.rank), mine.neighbours]),
        "without": torch.tensor(weights[2].grad is None and weights[3].grad is None),
        "agreed": torch.tensor([mine.agreed(mine.main), mine.agreed(not mine.main)]),
    }  # fmt: skip
    keep(folder, values)


def test_what_ranks_exchange(two):
    x = torch.arange(10.0).reshape(5, 2)
    for rank in (0, 1):
        values = tensors(two[exchange], rank)
        assert values["share"].tolist() == [[0, 2, 4], [1, 3]][rank]
        assert values["gathered"].equal(2 * x)
        share = torch.zeros_like(x)
        share[rank::2] = 2 * x[rank::2]
        assert values["gradient"].equal(share)
        assert values["single"].equal(3 * x[4:])
        assert values["lonely"]  # so that a rank without a share has gradients too, of zero
        assert values["first"].tolist() == [1, 2]
        assert values["second"].tolist() == [3, 30]
        assert values["without"]
        assert values["agreed"].tolist() + values["same"].tolist() == [True, False, 2.5, 2]
        assert values["seen"] == bool(rank)


def test_a_process_alone_has_everything():
    process = processes.this_process()
    assert type(process) is Process
    assert process.main
    assert process.share([1, 2, 3]) == [1, 2, 3]
    x = torch.ones(2, requires_grad=True)
    assert process.gather(x, 2) is x
    assert not process.agreed(False)


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
    values = {}
    for step, settings in STEPS.items():
        session = Session(config.replace(gamma=0.9, **settings), data)
        session.begin_(1)
        still_(session.model)
        trained = nn.ModuleDict({"model": session.model, "beside": session.companion})
        for size, (precise, ambiguous) in SIZES.items():
            batch = Minibatch(session.d1[2 : 2 + precise], session.d2[1 : 1 + ambiguous])
            sample = session.forward(batch, 1, 0.5)
            with torch.no_grad():
                session.companion.before_step_(sample)
            loss = session.system.refinement_terms(sample)
            session.optimizer.zero_grad()
            loss.total.backward()
            if isinstance(session.optimizer, SummingAdamW):
                session.optimizer.sum_gradients_()
            session.schedule.after_step_(sample)
            gradients = {n: p.grad for n, p in trained.named_parameters() if p.grad is not None}
            rest = {
                "losses": loss.values(),
                "classes": session.schedule.classes.classifier,
                "prototypes": session.prototypes.vectors,
            }
            buffers = dict(session.companion.named_buffers("beside"))
            values |= {f"{step} {size} {n}": value.clone() for n, value in (gradients | rest | buffers).items()}
        session.companion.after_epoch_()
        values |= {f"{step} settled {n}": value.clone() for n, value in session.companion.named_buffers("beside")}
    return values


def still_(model: nn.Module) -> None:
    """Dropout that is part of a method is off too."""
    for part in model.modules():
        if isinstance(part, nn.Dropout):
            part.p = 0


def steps_of_two(folder, cache, config) -> None:
    keep(folder, steps(config, load(config, cache, progress=False)))


def test_a_step_of_two_processes_is_that_of_one(two, calm, data):
    reference = steps(calm, data)
    first, second = (tensors(two[steps_of_two], rank) for rank in (0, 1))
    assert first.keys() == reference.keys()
    assert all(first[n].equal(second[n]) for n in first)
    for n, expected in reference.items():
        difference, scale = (first[n].float() - expected.float()).abs().max(), expected.float().abs().max()
        # rounding: other sums, in another order and perhaps by other threads; all there is of a bias before a softmax
        assert difference < 5e-5 * scale + 1e-7, n


# Whole runs.


def noisy(folder, cache, config) -> None:
    session = Session(config, load(config, cache, progress=False))
    draws = []
    for event in refine(session):
        if not isinstance(event, EpochEnd):
            draws.append(torch.rand(()))
    keep(folder, session.state() | {"drawn": torch.stack(draws)})


def test_both_processes_hold_the_same_bits_while_each_draws_its_own(two):
    first, second = (tensors(two[noisy], rank) for rank in (0, 1))
    draws = first.pop("drawn"), second.pop("drawn")
    assert (draws[0] != draws[1]).all()
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


def assert_agree(run: Run, reference: Run, tolerance: float) -> None:
    """The same record, prototypes and labels but for rounding."""
    assert {p.name for p in run.folder.iterdir()} == {p.name for p in reference.folder.iterdir()}
    for event, expected_event in zip(run.events(), reference.events(), strict=True):
        a, b = (flat(to_json(dataclasses.replace(event, clock={}))) for event in (event, expected_event))
        words, numbers = ({k: v for k, v in a.items() if isinstance(v, kind)} for kind in (str | None, int | float))
        assert words.items() <= b.items()
        assert numbers == pytest.approx({k: v for k, v in b.items() if k not in words}, rel=tolerance, abs=tolerance)
        for key, rows in event.arrays.items():
            np.testing.assert_allclose(
                rows, expected_event.arrays[key], atol=max(tolerance, 1e-3 * (rows.dtype == "float16"))
            )
    numbers = run.labels.select_dtypes("number")
    np.testing.assert_allclose(numbers, reference.labels[numbers.columns], atol=10 * tolerance)
    words = run.labels.columns.difference(numbers.columns)
    pd.testing.assert_frame_equal(run.labels[words], reference.labels[words])


def flat(value, key="") -> dict:
    """{place: number or word} of nested JSON."""
    if not isinstance(value, dict | list):
        return {key: value}
    items = value.items() if isinstance(value, dict) else enumerate(value)
    return {path: v for k, inner in items for path, v in flat(inner, f"{key}.{k}").items()}


@pytest.fixture(scope="module")
def runs_of_one(calm, calm_frozen, calm_adapted, data, tmp_path_factory):
    """The same runs by one process."""
    folder = tmp_path_factory.mktemp("alone")
    for config in (calm, calm_frozen, calm_adapted):
        advance(*prepare(config, folder, data=data))
    return folder


@pytest.mark.parametrize("config", ["calm", "calm_frozen", "calm_adapted"])
def test_a_run_of_two_processes_is_that_of_one(two, runs_of_one, config, request):
    config = request.getfixturevalue(config)
    run, reference = (Run.open(folder / name(config)) for folder in (two[runs_of_two], runs_of_one))
    assert run.finished
    assert run.config == config
    assert_agree(run, reference, 1e-4)
    moments = run.load_state(), reference.load_state()
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


def test_one_process_goes_on_with_what_two_began_and_a_failure_ends_both(
    runs_of_one, calm_frozen, data, cache, tmp_path
):
    by_two([(stop_in_the_second_epoch, (tmp_path, cache, calm_frozen))])
    assert (tmp_path / "0.txt").read_text() == "Stop: "
    assert (tmp_path / "1.txt").read_text().startswith("RankError: another process of this run failed or was stopped")
    run = Run.open(tmp_path / name(calm_frozen))
    assert run.epochs == 2
    assert not run.finished
    old = comparable_lines(run)
    assert advance(run, data).finished
    assert comparable_lines(run)[:2] == old
    assert_agree(run, Run.open(runs_of_one / name(calm_frozen)), 1e-4)


# The launchers.


@pytest.fixture
def environment(tmp_path, cache):
    """Runs go to tmp_path; nothing of another launch, of a GPU or of the user's own accelerate configuration."""
    variables = {key: value for key, value in os.environ.items() if key not in ("RANK", "WORLD_SIZE", "LOCAL_RANK")}
    return variables | LOOPBACK | {"IPR_CACHE": str(cache), "IPR_RUNS": str(tmp_path), "HF_HOME": str(tmp_path / "hf")}


def changed(config) -> dict:
    """How a configuration differs from the demo."""
    usual = demo().settings()
    return {key: value for key, value in config.settings().items() if value != usual[key]}


def options(config) -> list[str]:
    settings = {key.replace("_", "-"): value for key, value in changed(config).items()}
    return [
        f"--{'' if value else 'no-'}{key}" if isinstance(value, bool) else f"--{key}={value}"
        for key, value in settings.items()
    ]


def run_by(command: list[str], environment) -> subprocess.CompletedProcess:
    return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300)


LAUNCH = [
    sys.executable, "-m", "accelerate.commands.launch", "--multi_gpu", "--num_processes=2", "--num_machines=1",
    "--mixed_precision=no", "--dynamo_backend=no", "--main_process_port=0", "-m", "ipr_core",
]  # fmt: skip
"""On CPUs too, since `--cpu` starts one process alone where there is no MPI."""


def test_accelerate_launch(calm_frozen, runs_of_one, environment, tmp_path):
    process = run_by([*LAUNCH, "train", "--preset=demo", *options(calm_frozen)], environment)
    assert process.returncode == 0, process.stderr
    run = Run.open(tmp_path / name(calm_frozen))
    assert_agree(run, Run.open(runs_of_one / name(calm_frozen)), 1e-4)
    assert process.stdout.count("| IPR") == 1, "the table is printed once"


def test_notebook_launcher(calm_frozen, runs_of_one, environment, tmp_path):
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
    process = run_by([sys.executable, "-c", code, json.dumps(changed(calm_frozen))], environment)
    assert process.returncode == 0, process.stderr
    assert_agree(Run.open(tmp_path / name(calm_frozen)), Run.open(runs_of_one / name(calm_frozen)), 1e-4)


def test_several_processes_only_train(capsys):
    assert launched(["table", "runs"]) == 2
    assert capsys.readouterr().err == "several processes can train or resume; start `ipr table` without them\n"
