"""LoRA's adapters: where they lie, that they alone are trained, and that merged they are the same network."""

import importlib.util
import sys

import pytest
import torch

from helpers.padding import batch
from helpers.small_encoders import CONFIGS, random_model
from ipr_core.config import Encoder, recommended
from ipr_core.encoders import EncoderError, build_encoder, load_encoder, merged_state
from ipr_core.training.model import encoder_of

pytest.importorskip("peft")

WIDTH = 32
"""Of the small encoders, which have two layers."""


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory) -> dict[str, str]:
    folders = {name: str(tmp_path_factory.mktemp(name)) for name in CONFIGS}
    for name, folder in folders.items():
        random_model(name).save_pretrained(folder)
    return folders


@pytest.fixture
def load(checkpoints):
    def load(name: str, seed=3, adapter="lora", **settings):
        torch.manual_seed(seed)
        return load_encoder(Encoder(encoder=checkpoints[name], adapter=adapter, **settings))

    return load


def trained(encoder) -> dict[str, torch.Tensor]:
    return {name: p for name, p in encoder.named_parameters() if p.requires_grad}


def taught(encoder):
    """Give adapters values, as training does; at first they add nothing."""
    for parameter in trained(encoder).values():
        torch.nn.init.normal_(parameter, std=0.2)
    return encoder


@torch.no_grad()
def frames(encoder) -> torch.Tensor:
    return encoder(*batch())[0]


@pytest.mark.parametrize("name", CONFIGS)
def test_only_adapters_of_queries_and_values_are_trained(load, name):
    encoder = load(name, adapter_rank=4)
    paths = {tuple(parameter.split(".lora_")[0].split(".")[-3:]) for parameter in trained(encoder)}
    projections = {(layer, projection) for layer, _, projection in paths}
    assert projections == {(i, p) for i in "01" for p in ("q_proj", "v_proj")}
    assert all(".lora_" in parameter for parameter in trained(encoder))
    assert sum(p.numel() for p in trained(encoder).values()) == 2 * 2 * 4 * (WIDTH + WIDTH)


def test_adapters_lie_in_the_layers_that_would_be_trained(load):
    def layers(**settings):
        return {name.split("layers.")[1][0] for name in trained(load("wavlm-base", **settings))}

    assert layers(frozen_layers=1) == {"1"}
    assert layers(frozen_layers=0, layers=(1,)) == {"0"}
    assert layers(frozen_layers=0, layers=(0, 2)) == {"0", "1"}


@pytest.mark.parametrize("name", CONFIGS)
def test_at_first_every_frame_is_the_checkpoints_own(load, name):
    assert frames(load(name)).equal(frames(load(name, adapter="none")))


@pytest.mark.parametrize("name", CONFIGS)
def test_every_adapter_is_reached_by_the_gradient(load, name):
    encoder = taught(load(name, encoder_noise=False)).train()
    encoder(*batch())[0].square().sum().backward()
    assert all(parameter.grad.any() for parameter in trained(encoder).values())
    assert {n for n, p in encoder.named_parameters() if p.grad is not None} == trained(encoder).keys()


@pytest.mark.parametrize("name", CONFIGS)
def test_merged_it_is_a_plain_network_with_the_same_frames(load, name):
    encoder, plain = taught(load(name)), load(name, adapter="none")
    original = frames(plain)
    state = merged_state(encoder)
    assert list(state) == list(plain.state_dict())
    merged = build_encoder(encoder.architecture(), Encoder(encoder=name))
    merged.load_state_dict(state)
    torch.testing.assert_close(frames(merged), frames(encoder), atol=1e-5, rtol=1e-5)
    assert (frames(encoder) - original).abs().max() > 0.01, "the adapters were felt"
    changed = {key for key, value in plain.state_dict().items() if not value.equal(state[key])}
    assert all(key.endswith(("q_proj.weight", "v_proj.weight")) for key in changed)
    assert len(changed) == 4


def test_merging_changes_nothing_of_what_goes_on_to_be_trained(load):
    encoder = taught(load("whisper"))
    copy = {name: value.clone() for name, value in encoder.state_dict().items()}
    merged_state(encoder)
    assert all(value.equal(copy[name]) for name, value in encoder.state_dict().items())


def test_a_network_without_adapters_is_its_own_merged_state(load):
    encoder = load("hubert-batch-norm", adapter="none")
    state = merged_state(encoder)
    assert list(state) == list(encoder.state_dict())
    assert all(value.equal(state[name]) for name, value in encoder.state_dict().items())


def test_new_adapters_follow_the_seed_alone(load):
    first = trained(load("wav2vec2-base"))
    torch.rand(7)
    again, reseeded = trained(load("wav2vec2-base")), trained(load("wav2vec2-base", seed=4))
    assert all(value.equal(again[name]) for name, value in first.items())
    assert not any(value.equal(reseeded[name]) for name, value in first.items() if ".lora_A." in name)
    assert not any(value.any() for name, value in first.items() if ".lora_B." in name)


@pytest.mark.parametrize("frozen", [0, 1])
def test_what_lies_below_is_the_stem_as_without(load, frozen):
    stems = [load("hubert-large", frozen_layers=frozen, adapter=a).stem(*batch())[0] for a in ("lora", "none")]
    assert stems[0].equal(stems[1])


@pytest.mark.parametrize(
    ("settings", "cure"),
    [
        ({"frozen_layers": -1}, "frozen_layers is -1 .*so that no layer is trained: set frozen_layers to less"),
        ({"frozen_layers": 2}, "frozen_layers is 2 .*so that no layer is trained"),
        ({"layers": (0,)}, "layers names 0, so that no layer is trained"),
        ({"train_features": True}, "train_features is on; .*: turn train_features off"),
    ],
)
def test_what_has_no_place_for_adapters_is_refused(load, settings, cure):
    with pytest.raises(EncoderError, match=cure):
        load("whisper", **settings)


def test_an_encoder_that_begins_from_nothing_has_none():
    with pytest.raises(EncoderError, match=r"encoder is 'compact', .*: set adapter to 'none', or give a pre-trained"):
        load_encoder(Encoder(encoder="compact", adapter="lora"))


def test_without_peft_the_cure_is_said_before_a_checkpoint_is_read(monkeypatch):
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "peft" else installed(name))
    with pytest.raises(EncoderError, match=r"adapter is 'lora', .*: pip install 'ipr-workbench\[lora\]'"):
        load_encoder(Encoder(encoder="nowhere", adapter="lora"))


def test_without_adapters_peft_is_not_needed(load, monkeypatch):
    monkeypatch.setitem(sys.modules, "peft", None)
    assert len(trained(load("whisper", adapter="none"))) > 8
    with pytest.raises(EncoderError, match="which needs a package"):
        load("whisper")


@pytest.mark.parametrize("system", ["deep_spectrum", "capsules"])
def test_a_method_with_an_encoder_of_its_own_takes_no_notice(system):
    settings = {"system": system, "encoder": "nowhere", "frozen_layers": -1}
    encoder = encoder_of(recommended(adapter="lora", **settings))
    assert not any(".lora_" in name for name in encoder.state_dict())
