"""Checkpoints from strangers: nothing that they ask for is run, and what cannot be read is said in a sentence."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from ipr_core.config import Encoder
from ipr_core.encoders import EncoderError, build_encoder, checkpoint_digest, load_encoder

SOURCE = Path(__file__).parents[1] / "runs" / "made_by_0_1" / "encoder"


@pytest.fixture
def folder(tmp_path):
    """A small wav2vec 2.0 checkpoint, to be changed."""
    return Path(shutil.copytree(SOURCE, tmp_path / "encoder"))


def change(path, **values):
    path.write_text(json.dumps(json.loads(path.read_text("utf-8")) | values), "utf-8")


def refusal(folder) -> str:
    with pytest.raises(EncoderError) as info:
        load_encoder(Encoder(encoder=str(folder)))
    assert str(folder) in str(info.value)
    assert "\n" not in str(info.value)
    return str(info.value)


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"auto_map": {"AutoModel": "theirs.Model"}}, "code of its own"),
        ({"attn_implementation": "somebody/kernel"}, "a kernel of the hub"),
        ({"_attn_implementation": "somebody/kernel@main:name"}, "a kernel of the hub"),
        ({"_attn_implementation_internal": "kernels-community/flash-attn"}, "a kernel of the hub"),
        ({"attn_implementation": {"": "somebody/kernel"}}, "a kernel of the hub"),
        ({"attn_implementation": "flash_attention_2"}, "another package"),
        ({"use_kernels": True}, "kernels of the hub"),
        ({"quantization_config": {"quant_method": "bitsandbytes"}}, "the code of a quantizer"),
    ],
)
def test_a_checkpoint_that_asks_for_code_is_refused(folder, values, code):
    change(folder / "config.json", **values)
    assert f"asks for {code} ({next(iter(values))} is " in refusal(folder)


def test_preprocessing_that_asks_for_code_is_refused(folder):
    change(folder / "preprocessor_config.json", auto_map={"AutoFeatureExtractor": "theirs.Extractor"})
    assert "preprocessor_config.json" in refusal(folder)


def test_an_exported_model_that_asks_for_a_kernel_is_refused():
    architecture = load_encoder(Encoder(encoder=str(SOURCE))).architecture()
    architecture["config"] |= {"attn_implementation": "somebody/kernel"}
    with pytest.raises(EncoderError, match="a kernel of the hub"):
        build_encoder(architecture, Encoder(encoder="theirs"))


def test_an_adapter_of_a_checkpoint_is_not_added_by_transformers(folder):
    (folder / "adapter_config.json").write_text('{"peft_type": "LORA", "base_model_name_or_path": "theirs"}')
    assert "has an adapter of its own (adapter_config.json), which is not read; merge it" in refusal(folder)


def test_pickled_weights_are_not_read(folder):
    torch_file = folder / "pytorch_model.bin"
    shutil.move(folder / "model.safetensors", torch_file)
    assert "has pickled weights alone (pytorch_model.bin in" in refusal(folder)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (lambda path: path.read_bytes()[:3000], "cut off or damaged"),
        (lambda path: b"", "cut off or damaged"),
        (lambda path: b"version https://git-lfs.github.com/spec/v1\noid sha256:ab\nsize 7440\n", "cut off or damaged"),
    ],
)
def test_weights_that_cannot_be_read(folder, content, reason):
    path = folder / "model.safetensors"
    path.write_bytes(content(path))
    assert reason in refusal(folder)


@pytest.mark.parametrize(
    ("make", "reason"), [(torch.zeros_like, "are all zero"), (lambda v: v * torch.nan, "are not all finite")]
)
def test_weights_of_no_training_are_refused(folder, make, reason):
    path = folder / "model.safetensors"
    save_file({name: make(value) for name, value in load_file(path).items()}, path, {"format": "pt"})
    assert reason in refusal(folder)


@pytest.mark.parametrize("text", ["{", "[1]", '"wav2vec2"', "\udcff\udcfe", '{"model_type": "theirs"}'])
def test_any_configuration_ends_in_a_sentence(folder, text):
    (folder / "config.json").write_bytes(text.encode(errors="surrogateescape"))
    refusal(folder)


def test_damaged_preprocessing_is_not_taken_for_none(folder):
    (folder / "preprocessor_config.json").write_text("{")
    assert "preprocessor_config.json" in refusal(folder)
    (folder / "preprocessor_config.json").unlink()
    load_encoder(Encoder(encoder=str(folder)))


# The digest.


def test_the_digest_changes_with_every_file_that_is_loaded(folder):
    digests = [checkpoint_digest(str(folder))]
    path = folder / "model.safetensors"
    save_file({name: value * 0 for name, value in load_file(path).items()}, path, {"format": "pt"})
    digests.append(checkpoint_digest(str(folder)))
    for name in ("config.json", "preprocessor_config.json"):
        change(folder / name, layerdrop=0.5)
        digests.append(checkpoint_digest(str(folder)))
    (folder / "training_args.bin").write_bytes(b"what a trainer leaves")
    assert len(set(digests)) == 4
    assert checkpoint_digest(str(folder)) == digests[-1]


@pytest.mark.parametrize("name", [None, "compact", "nobody/nothing", "not a name!", "/nowhere/x"])
def test_without_files_there_is_no_digest(name):
    assert checkpoint_digest(name) is None
