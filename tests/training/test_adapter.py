"""Training with LoRA: adapters alone change and are kept, a run goes on to the bit, and its model is a plain one."""

import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from helpers.sessions import bits, ends
from helpers.small_encoders import random_model
from helpers.whole_runs import assert_same
from ipr_core.annotation import annotate
from ipr_core.config import Config, Data
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training import memory
from ipr_core.training.advance import advance, encoder_faults, prepare, train_all
from ipr_core.training.checkpoint import StateError
from ipr_core.training.loop import refine, seed_step
from ipr_core.training.model import Recogniser, build_model
from ipr_core.training.session import Session

pytest.importorskip("peft")

SOFT = ["soft_angry", "soft_happy", "soft_sad", "soft_neutral"]
CHECKPOINT = "encoder"


@pytest.fixture(scope="module")
def adapted(tiny, tmp_path_factory) -> Config:
    """A small wav2vec 2.0 whose upper layer has adapters, which learn fast."""
    folder = tmp_path_factory.mktemp("checkpoints") / CHECKPOINT
    random_model("wav2vec2-base").save_pretrained(folder)
    settings = {"encoder": str(folder), "train_features": False, "frozen_layers": 1, "adapter": "lora"}
    return tiny.replace(**settings, adapter_rank=4, embedding=16, encoder_lr=0.02, max_seconds=0.3)


@pytest.fixture(scope="module")
def run(adapted, data, tmp_path_factory) -> Run:
    return advance(prepare(adapted, tmp_path_factory.mktemp("runs"), data=data)[0], data)


def encoder_weights(session: Session) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in session.model.encoder.state_dict().items()}


def test_adapters_alone_change_in_the_encoder(adapted, data):
    session = Session(adapted, data)
    start = encoder_weights(session)
    ends(refine(session))
    changed = {name for name, value in encoder_weights(session).items() if not value.equal(start[name])}
    assert changed == {name for name in start if ".lora_" in name}
    assert len(changed) == 4
    original = build_model(adapted.replace(adapter="none")).encoder.state_dict()
    base = {name.replace(".base_layer", ""): value for name, value in start.items() if ".lora_" not in name}
    assert base.keys() == original.keys()
    assert all(value.equal(original[name]) for name, value in base.items())


def test_the_optimizer_has_them_at_the_encoders_rate_and_nothing_else_of_it(adapted, data):
    session = Session(adapted, data)
    names = {id(parameter): name for name, parameter in session.model.named_parameters()}
    slow, fast = adapted.training.encoder_lr, adapted.training.lr
    parameters = {lr: [] for lr in (slow, fast)}
    for group in session.optimizer.param_groups:
        parameters[group["lr"]] += group["params"]
    assert sum(parameter.numel() for parameter in parameters[slow]) == 2 * 4 * (32 + 32)
    assert all(names[id(parameter)].startswith("encoder.model.encoder.layers.1.") for parameter in parameters[slow])
    assert {names[id(parameter)].split(".")[0] for parameter in parameters[fast]} == {"projection", "classifier"}


def test_a_checkpoint_holds_the_adapters_alone_of_the_encoder(run, adapted):
    keys = load_file(run.folder / "checkpoint.safetensors").keys()
    weights = {key for key in keys if key.startswith("model.encoder.")}
    assert len(weights) == 4
    assert all(".lora_" in key for key in weights)
    assert {key.removeprefix("optimizer.").rpartition(".")[0] for key in keys if ".exp_avg_sq" in key} >= weights
    assert run.meta["parameters"] < 10_000


def test_a_run_that_was_stopped_is_the_one_that_was_not(run, adapted, data, tmp_path):
    def stop(event):
        if isinstance(event, EpochEnd) and event.epoch == 1:
            raise KeyboardInterrupt

    again, _ = prepare(adapted, tmp_path, data=data)
    with pytest.raises(KeyboardInterrupt):
        advance(again, data, watch=stop)
    torch.rand(3)
    assert_same(advance(again, data), run)


def test_a_state_with_adapters_is_of_another_model_than_one_without(adapted, data):
    state = bits(Session(adapted, data))
    with pytest.raises(StateError, match="of another model"):
        Session(adapted.replace(adapter="none"), data, state=state)


def test_the_model_answers_as_training_did_without_encoder_and_peft(run, adapted, data, tmp_path, monkeypatch):
    """The labels of a run are those of its last epoch, whose adapters were beside the weights."""
    monkeypatch.setitem(sys.modules, "peft", None)
    Recogniser.load(run.folder / "model").save(tmp_path / "exported")
    folder = shutil.move(adapted.encoder.encoder, tmp_path / "away")
    try:
        model = Recogniser.from_pretrained(tmp_path / "exported")
    finally:
        shutil.move(folder, adapted.encoder.encoder)
    waves = [data.waves[row] for row in range(len(data.table))]
    soft = model.predict(waves)
    np.testing.assert_allclose(soft, run.labels[SOFT], atol=1e-4)
    assert model.choice == adapted.encoder, "it says how it was trained"
    plain = model.state_dict()
    original = random_model("wav2vec2-base").state_dict()
    assert {f"encoder.model.{name}" for name in original} <= plain.keys()
    query = "encoder.layers.1.attention.q_proj.weight"
    model.load_state_dict(plain | {f"encoder.model.{query}": original[query]})
    assert (model.predict(waves) - soft).abs().max() > 1e-3, "the adapters matter"


def test_it_annotates(run, data, tmp_path):
    data.table[["id", "path"]].head(6).to_csv(tmp_path / "some.csv", index=False)
    corpus = Data(corpus="manifest", corpus_path=str(tmp_path / "some.csv"))
    labels = pd.read_parquet(annotate(run, corpus, tmp_path, progress=False, segment="none")[0])
    np.testing.assert_allclose(labels[SOFT], run.labels[SOFT].head(6), atol=1e-4)


def test_neighbours_share_views_and_are_as_alone(run, adapted, tmp_path):
    _, shared = train_all([adapted.replace(system="baseline"), adapted], tmp_path, progress=False)
    assert_same(shared, run)


@pytest.mark.parametrize("frozen", [0, 1])
def test_a_step_in_parts_has_the_losses_and_gradients_of_one_at_once(adapted, data, frozen):
    def step(gib):
        session = Session(adapted.replace(memory_gb=gib, frozen_layers=frozen), data)
        session.model.encoder.layerdrop = 0.0
        for parameter in session.model.encoder.parameters():
            if parameter.requires_grad:  # else half of them have no gradient yet
                torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
        minibatch = session.begin_(1)[0]
        seed_step(session, 1, 0)
        terms = session.system.refinement_terms(session.forward(minibatch, 1))
        terms.total.backward()
        assert (session.model.encoder.part is None) == (gib == 1000)
        return terms.values(), {n: p.grad for n, p in session.model.named_parameters() if p.grad is not None}

    (losses, gradients), (in_parts, gradients_in_parts) = step(1000), step(0.5)
    assert sum(".lora_" in name for name in gradients) == 4 * (2 - frozen)
    torch.testing.assert_close(in_parts, losses, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(gradients_in_parts, gradients, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize("adapter", ["none", "lora"])
def test_the_estimate_of_memory_is_not_below_what_is_kept(adapted, adapter):
    """Beside an adapter less is kept in the first layer, whose input has no gradient, than in those above."""
    model = build_model(adapted.replace(adapter=adapter, frozen_layers=0))
    x, n = model.stem(torch.ones(1, 16_000), torch.tensor([16_000]))
    inputs, layer, _ = memory._costs(model, x, n)
    with memory._noisy_layers(model), memory._Count() as whole:
        model.encoder.part = None
        model.scores(x, n)
    assert 1 <= (inputs + 2 * layer) / whole.kept < 1.3


def test_what_cannot_be_is_said_before_a_corpus_is_read(adapted, tmp_path):
    (fault,) = encoder_faults([adapted.replace(frozen_layers=-1)], tmp_path)
    assert fault.startswith("adapter is 'lora', frozen_layers is -1")
    assert encoder_faults([adapted.replace(system="deep_spectrum", frozen_layers=-1)], tmp_path) == []
