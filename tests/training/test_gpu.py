"""Training on a GPU, as far as a CPU can tell: nothing mixes devices, and no step waits for the GPU.

Every system, reading and family of encoders is trained on the GPU's stand-in, see `helpers/stand_in_gpu.py`.
"""

import contextlib
import runpy
import sys
from collections.abc import Collection, Iterator
from pathlib import Path

import pytest
import torch

from helpers.readings import READINGS
from helpers.small_encoders import CONFIGS, random_model
from helpers.stand_in_gpu import GPU, OnGPU, stand_in_gpu
from ipr_core.config import SYSTEMS, Config
from ipr_core.runs.events import StepEnd
from ipr_core.training import labels
from ipr_core.training.loop import refine, warm_up
from ipr_core.training.session import Session
from ipr_core.training.transfer import on_device

pytestmark = pytest.mark.skipif(torch.cuda.is_available(), reason="a GPU is here: `make gpu` trains on it")

IN_A_STEP = {"bnm": {"bnm.nuclear_norm: _linalg_svd"}}
"""System → its waits inside of a step, each as often as there are steps: cuSOLVER's result is checked by the host."""
BETWEEN_STEPS = {
    "session.Session._build_",  # weights, labels and the rest go to the GPU
    "views.Views._keep_clean", "views.Views._find_offsets", "centring.SpeakerMeans.add",  # clean views, once
    "tensor_store.TensorStore._append",  # those that do not fit into memory, to the disk
    "kept_views.KeptViews.read", "kept_views.KeptViews.write",  # second views of an epoch, from and to the disk
    "passes.Passes.pooled", "model.Recogniser.fit_standardiser_",  # D1's statistics, once
    "prototypes.PrototypeSchedule.__init__", "prototypes.PrototypeSchedule.start_",  # the first prototypes
    "prototypes.PrototypeSchedule.before_epoch_", "prototypes.PrototypeSchedule.after_epoch_",
    "prototypes.PrototypeSchedule._refine_", "prototypes.PrototypeSchedule._compared_with_before",
    "prototypes.PrototypeSchedule._warn_of_long_embeddings", "prototypes.Prototypes.share_of_one",
    "prototypes.ViewClasses.__getitem__", "equations.class_means",  # Eq. 2 and 4 once an epoch
    "loop._epochs", "epoch_end.epoch_end",  # an epoch's losses, figures and arrays
    "checkpoint._restore_", "model.Recogniser.load_trained_state",  # going on
    "labels.calibration", "labels.of_session", "labels.of_session.<locals>.<genexpr>",  # the end of training
}  # fmt: skip
"""Where training waits for a GPU outside of its steps."""


class Waits:
    """The waits for the GPU in steps, and the places of those between steps."""

    def __init__(self, in_steps: list[str], between_steps: list[str]):
        self.in_steps, self.places = set(in_steps), {wait.partition(":")[0] for wait in between_steps}


@contextlib.contextmanager
def on_gpu(config: Config, data, views=None, state=None) -> Iterator[tuple[Session, Waits]]:
    """Train on the GPU's stand-in to the end, calibrate and label; yield the session and its waits."""
    with stand_in_gpu() as gpu:
        session = Session(config.replace(device="cuda:0", precision="fp32"), data, views, state)
        begin_, in_steps, between_steps = session.begin_, [], []

        def begin(epoch):
            plan = begin_(epoch)
            between_steps.extend(gpu.take())
            return plan

        session.begin_ = begin
        for event in refine(session):
            (in_steps if isinstance(event, StepEnd) else between_steps).extend(gpu.take())
        labels.calibration(session)
        labels.of_session(session)
        between_steps += gpu.take()
        yield session, Waits(in_steps, between_steps)


@pytest.fixture(scope="module")
def short(tiny) -> Config:
    """One step of warm-up and one of refinement, on a third of a second of each clip."""
    return tiny.replace(epochs=2, batch_size=32, max_seconds=0.3)


@pytest.fixture(scope="module")
def still(short) -> Config:
    """The same with the encoder kept as it is."""
    return short.replace(train_features=False, frozen_layers=-1)


def check(session: Session, waits: Waits, in_steps: Collection[str] = ()) -> None:
    """Check that all that training changes lies on the GPU and is finite, and that nothing else waited for it."""
    state = [value for name, value in session.state().items() if name != "epoch"]  # which the host counts
    assert all(isinstance(value, OnGPU) and value.numbers.isfinite().all() for value in state)
    assert waits.in_steps == set(in_steps)
    assert waits.places <= BETWEEN_STEPS


@pytest.mark.parametrize("system", SYSTEMS)
def test_every_system_trains_on_a_gpu_and_no_step_waits_for_it(short, data, system):
    with on_gpu(short.replace(system=system), data) as (session, waits):
        check(session, waits, IN_A_STEP.get(system, ()))


VALUES = {name: [value for other, value in READINGS if other == name] for name, _ in READINGS}


@pytest.mark.parametrize("turn", range(max(map(len, VALUES.values()))))
@pytest.mark.parametrize(
    ("system", "compare_when"), [("ipr", "epoch"), ("ipr", "step"), ("baseline_plus", "epoch"), ("oracle", "epoch")]
)
def test_every_reading_trains_on_a_gpu_and_no_step_waits_for_it(still, data, system, compare_when, turn):
    readings = {name: values[turn % len(values)] for name, values in VALUES.items()}
    with on_gpu(still.replace(**readings | {"system": system, "compare_when": compare_when}), data) as (session, waits):
        check(session, waits)


TRAINED = {
    "layers": {},
    "all": {"train_features": True},
    "upper": {"frozen_layers": 1},
    "adapters": {"adapter": "lora"},
    "nothing": {"frozen_layers": -1, "layers": (0, -1), "pooling": "mean+deviation", "centring": "speaker"},
}
"""What of an encoder is trained."""
OTHERS = [family for family in CONFIGS if family != "wav2vec2-base"]


@pytest.mark.parametrize(
    ("family", "part"),
    [("wav2vec2-base", part) for part in TRAINED]
    + [(family, "layers") for family in OTHERS]
    + [(family, "adapters") for family in ("wavlm-large", "whisper")],
)
def test_every_family_of_encoders_trains_on_a_gpu_and_no_step_waits_for_it(
    short, data, tmp_path, monkeypatch, family, part
):
    random_model(family).save_pretrained(tmp_path / "encoder")
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    settings = {"train_features": False} | TRAINED[part]
    with on_gpu(short.replace(encoder=str(tmp_path / "encoder"), **settings), data) as (session, waits):
        check(session, waits)


def test_a_step_in_parts_trains_on_a_gpu_and_does_not_wait_for_it(short, data):
    with on_gpu(short.replace(memory_gb=1e-3), data) as (session, waits):
        check(session, waits)
        assert session.passes.memory.part(*session.longest_step) == 1


@pytest.mark.parametrize("settings", [{"compare_when": "step"}, {"system": "pico"}], ids=str)
def test_the_numbers_on_a_gpu_are_those_on_a_cpu(short, data, settings):
    """To rounding: attention is another kernel there, and second views are made in larger parts."""
    cpu = Session(short.replace(**settings), data)
    list(refine(cpu))
    with on_gpu(short.replace(**settings), data) as (session, _):
        state = {name: getattr(value, "numbers", value) for name, value in session.state().items()}
    torch.testing.assert_close(state, cpu.state(), atol=1e-3, rtol=1e-3)


def test_a_state_goes_on_on_a_gpu(short, data):
    config = short.replace(system="pico")
    cpu = Session(config, data)
    list(warm_up(cpu))
    with on_gpu(config, data, state=cpu.state()) as (session, waits):
        check(session, waits)
        assert session.epoch == 2


def test_make_gpu_refuses_where_there_is_none(monkeypatch):
    file = Path(__file__).parents[1] / "benchmarks" / "gpu.py"
    monkeypatch.setattr(sys, "argv", [str(file)])
    with pytest.raises(SystemExit, match="There is no GPU here"):
        runpy.run_path(str(file), run_name="__main__")


# The stand-in itself.


@pytest.mark.parametrize(
    "mix",
    [
        lambda gpu, cpu: gpu + cpu,
        lambda gpu, cpu: cpu @ gpu,
        lambda gpu, cpu: torch.cat([gpu, cpu]),
        lambda gpu, cpu: gpu.mul_(cpu),
        lambda gpu, cpu: torch.nn.functional.linear(cpu.requires_grad_(), gpu),
    ],
)
def test_the_stand_in_refuses_tensors_of_two_devices(mix):
    with stand_in_gpu(), pytest.raises(RuntimeError, match="two devices"):
        mix(torch.ones(2, 2, device=GPU), torch.ones(2, 2))


@pytest.mark.parametrize(
    "wait",
    [
        lambda x: x.sum().item(),
        lambda x: x.tolist(),
        lambda x: bool((x > 0).all()),
        lambda x: x[x > 0],
        lambda x: x.nonzero(),
        lambda x: x[torch.tensor([0])],
        lambda x: x.cpu(),
        lambda x: torch.tensor([1.0], device=GPU),
        lambda x: torch.ones(2).to(GPU),
        lambda x: torch.ones(2).to(GPU, non_blocking=True),  # not pinned
        lambda x: torch.ones(2).pin_memory().to(GPU),
        lambda x: x.copy_(torch.ones(2)),
    ],
)
def test_the_stand_in_notes_who_waits_for_it(wait):
    with stand_in_gpu() as gpu:
        x = torch.ones(2, device=GPU)
        assert not gpu.take()
        wait(x)
        assert len(gpu.take()) == 1


def test_on_the_stand_in_work_that_nobody_reads_is_not_waited_for():
    with stand_in_gpu() as gpu:
        x = torch.ones(2, 3).pin_memory().to(GPU, non_blocking=True).requires_grad_()
        index = on_device([1, 0], GPU)
        (x[index] * 2 + torch.tensor(1.0)).exp().sum().backward()
        assert not gpu.take()
        assert x.grad.device == GPU
        torch.testing.assert_close(x.grad.numbers, torch.full((2, 3), 2 * torch.e**3))
