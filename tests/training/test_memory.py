"""A step within a budget of memory: the same losses and gradients, and a run that keeps the budget it began with."""

from types import SimpleNamespace

import pytest
import torch

from helpers.sessions import ends, equal, trained
from helpers.small_encoders import random_model
from helpers.whole_runs import assert_same
from ipr_core import machine
from ipr_core.data.dataset import load
from ipr_core.training import advance as advancing
from ipr_core.training import memory
from ipr_core.training.advance import advance, prepare, train_all
from ipr_core.training.loop import refine, seed_step
from ipr_core.training.memory import GIB, StepMemory, budget_gb
from ipr_core.training.processes import Process
from ipr_core.training.session import Session
from ipr_core.training.views import BUDGET

CPU, GPU = torch.device("cpu"), torch.device("cuda", 0)
TIGHT = 0.5
"""GiB, less than a process takes before it trains, so that every view passes alone."""


# The budget.


@pytest.fixture
def host(monkeypatch):
    """A machine of 16 GiB, of which 10 are free beside the 2 of this process."""
    for name, gib in (("free", 10), ("present", 2), ("whole", 16)):
        monkeypatch.setattr(machine, f"{name}_memory", lambda gib=gib: gib * GIB)
    monkeypatch.delenv(machine.JOBS, raising=False)


def test_the_budget_is_as_set_or_what_is_free_less_a_tenth(tiny, host):
    assert budget_gb(tiny.replace(memory_gb=3).training, CPU) == 3
    assert budget_gb(tiny.training, CPU) == 10.8


def test_workers_and_processes_divide_the_machine(tiny, host, monkeypatch):
    monkeypatch.setattr(memory, "this_process", lambda: SimpleNamespace(neighbours=2, same=lambda number: number))
    assert budget_gb(tiny.training, CPU) == 6.3  # half of what is free, and its own 2
    monkeypatch.setenv(machine.JOBS, "4")
    assert budget_gb(tiny.training, CPU) == 1.8  # an eighth of the machine


def test_the_budget_on_a_gpu_counts_what_torch_holds_for_later(tiny, host, monkeypatch):
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda device: (5 * GIB, 8 * GIB))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda device: GIB)
    monkeypatch.setattr(memory, "this_process", lambda: SimpleNamespace(neighbours=2, same=lambda number: number))
    assert budget_gb(tiny.training, GPU) == 5.4  # a GPU each
    monkeypatch.setenv(machine.JOBS, "2")
    assert budget_gb(tiny.training, GPU) == 3.6


def test_kept_views_have_a_third_of_it_at_most(tiny, data):
    assert Session(tiny, data).views._room <= BUDGET
    views = Session(tiny.replace(memory_gb=1.5), data).views
    assert views._room == GIB / 2
    assert views.most_bytes(epochs=3) == 7 * views._store.size
    few = Session(tiny.replace(memory_gb=1e-4), data).views  # the others lie on disk
    assert few._store.size > few._room
    assert few.most_bytes(epochs=3) == few._room


# The estimate.


@pytest.fixture(scope="module")
def model(tiny, tmp_path_factory):
    """A recogniser on a small wav2vec 2.0 whose every weight is trained."""
    from ipr_core.training.model import build_model

    folder = tmp_path_factory.mktemp("encoder")
    random_model("wav2vec2-base").save_pretrained(folder)
    return build_model(tiny.replace(encoder=str(folder)))


def estimate(model, budget=1e9, samples=16_000) -> StepMemory:
    return StepMemory(model, torch.ones(1, samples, 1), torch.tensor([samples]), budget)


def test_the_estimate_of_any_length_is_what_is_counted_at_it(model):
    x, n = torch.ones(1, 11_000, 1), torch.tensor([11_000])
    step = estimate(model)
    for curve, value in zip((step._inputs, step._layer, step._draws), memory._costs(model, x, n), strict=True):
        assert value > 0
        assert curve(11_000) == pytest.approx(value, rel=0.05)  # the convolutions cut to whole frames


def test_a_clip_of_a_single_analysis_window_has_an_estimate(model):
    assert estimate(model, samples=400).need_gb(8, 400) > 0


def test_parts_are_as_large_as_the_budget_allows(model):
    needs = estimate(model)
    at_once, checkpointed, single = (needs.need_gb(24, 16_000, part) for part in (None, 24, 1))
    assert at_once > checkpointed > single
    assert estimate(model, at_once).part(24, 16_000) is None
    assert estimate(model, (at_once + checkpointed) / 2).part(24, 16_000) == 24
    parts = [estimate(model, needs.need_gb(24, 16_000, part)).part(24, 16_000) for part in (12, 5, 2)]
    assert parts == [12, 5, 2]
    assert estimate(model, single / 2).part(24, 16_000) == 1
    assert estimate(model, (at_once + checkpointed) / 2).part(24, 8_000) is None  # shorter clips take less


def test_what_is_chosen_is_said(model):
    needs = estimate(model)
    assert needs.sentence(24, 16_000) is None
    assert needs.choice(24, 16_000) == f"at once, {needs.need_gb(24, 16_000):.1f} GiB"
    fits = estimate(model, needs.need_gb(24, 16_000, 2))
    assert fits.choice(24, 16_000).startswith("2 of 24 a layer, ")
    assert "2 views at a time" in fits.sentence(24, 16_000)
    assert "too much" not in fits.sentence(24, 16_000)
    assert "that is too much: a smaller batch_size" in estimate(model, 0.01).sentence(24, 16_000)


def test_estimating_leaves_everything_as_it_was(model):
    model.eval()
    model.encoder.layerdrop, model.encoder.part = 0.3, 7
    torch.manual_seed(0)
    expected = torch.rand(1)
    torch.manual_seed(0)
    estimate(model)
    assert torch.rand(1) == expected
    assert (model.encoder.layerdrop, model.encoder.part) == (0.3, 7)
    assert not any(module.training for module in model.modules())
    assert all(parameter.grad is None for parameter in model.parameters())
    model.encoder.layerdrop, model.encoder.part = 0.0, None


def test_a_frozen_encoder_takes_its_views_at_once(frozen, data, views):
    session = Session(frozen.replace(memory_gb=TIGHT), data, views)
    assert session.passes.memory.part(*session.longest_step) is None
    assert session.passes.memory.choice(*session.longest_step) == "at once"


# A step, and a run.


def step(session):
    """Losses and gradients of the refinement's first step."""
    minibatch = session.begin_(1)[0]
    seed_step(session, 1, 0)
    sample = session.forward(minibatch, 1)
    with torch.no_grad():
        session.companion.before_step_(sample)
    terms = session.system.refinement_terms(sample)
    terms.total.backward()
    return terms.values(), {n: p.grad for n, p in session.model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize(
    "settings", [{}, {"system": "baseline_augmented"}, {"system": "pico"}, {"compare_when": "step"}], ids=str
)
@pytest.mark.parametrize("encoder", ["compact", "wav2vec2-base"])
def test_a_step_in_parts_has_the_losses_and_gradients_of_one_at_once(tiny, data, tmp_path, encoder, settings):
    if encoder != "compact":
        random_model(encoder).save_pretrained(tmp_path)
    config = tiny.replace(encoder=encoder if encoder == "compact" else str(tmp_path), max_seconds=0.3, **settings)
    (losses, gradients), (in_parts, gradients_in_parts) = (
        step(Session(config.replace(memory_gb=gib), data)) for gib in (1000, TIGHT)
    )
    torch.testing.assert_close(in_parts, losses, atol=1e-5, rtol=1e-5)
    assert gradients_in_parts.keys() == gradients.keys()
    torch.testing.assert_close(gradients_in_parts, gradients, atol=1e-5, rtol=1e-5)


def test_where_everything_fits_nothing_is_done_in_parts(tiny, data, monkeypatch):
    session = Session(tiny, data)
    assert session.passes.memory.part(*session.longest_step) is None
    plain = trained(session)
    monkeypatch.setattr(StepMemory, "__init__", lambda *arguments: None)
    monkeypatch.setattr(StepMemory, "part", lambda *arguments: None)
    assert equal(plain, trained(Session(tiny, data)))


def test_a_step_is_never_longer_than_its_longest(tiny, data):
    session, shapes = Session(tiny, data), []
    padded = session.passes.padded
    session.passes.padded = lambda inputs: shapes.append(padded(inputs)[0].shape) or padded(inputs)
    ends(refine(session))
    views, length = session.longest_step
    assert views - 4 <= max(shape[0] for shape in shapes) <= views  # D1 and D2 are cut evenly
    assert max(shape[1] for shape in shapes) == length


@pytest.fixture
def changing(monkeypatch):
    """Budgets that differ at every look, as what is free does."""
    looks = []

    def budget(training, device):
        looks.append(device)
        return TIGHT if len(looks) == 1 else 1000.0

    for module in ("memory", "advance", "session"):
        monkeypatch.setattr(f"ipr_core.training.{module}.budget_gb", budget)
    return looks


def test_a_resumed_run_keeps_the_budget_that_it_began_with(tiny, data, tmp_path, changing, capsys):
    config = tiny.replace(max_seconds=0.3)
    data = load(config, progress=False)
    whole = advance(prepare(config, tmp_path / "whole", data=data)[0], data)
    assert (
        "memory_gb is 0.5: each layer is computed again in the backward pass, 1 views at a time"
        in capsys.readouterr().err
    )
    assert whole.meta["memory_gb"] == TIGHT
    changing.clear()
    run, _ = prepare(config, tmp_path / "resumed", data=data)
    advance(run, data, "warm_up")
    assert len(changing) == 1
    advance(run, data)
    assert len(changing) == 1
    assert_same(run, whole)


def test_neighbours_share_the_budget_of_their_views(frozen, tmp_path, changing):
    configs = [frozen.replace(system=system, epochs=2) for system in ("ipr", "baseline")]
    runs = train_all(configs, tmp_path, progress=False)
    assert [run.meta["memory_gb"] for run in runs] == [TIGHT, TIGHT]
    assert len(changing) == 1


def test_a_run_with_a_budget_of_its_own_shares_no_others_views(frozen, data, tmp_path):
    run, other = (prepare(frozen.replace(system=system), tmp_path, data=data)[0] for system in ("ipr", "baseline"))
    assert advancing._origin_of_views(run) == advancing._origin_of_views(other)
    run.keep(1, None, 1, 3.0)
    other.keep(1, None, 1)
    assert advancing._origin_of_views(run) != advancing._origin_of_views(other)


def test_a_process_alone_has_its_own_figure():
    assert Process().same(1.5) == 1.5
    assert Process().neighbours == 1
