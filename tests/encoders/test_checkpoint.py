"""Checkpoints that cannot be loaded: a sentence with the file, the problem and the cure, whatever is missing or cut."""

import pickle

import pytest
import transformers
from huggingface_hub import constants

from ipr_core import cli
from ipr_core.config import Encoder
from ipr_core.encoders import EncoderError, load_encoder

CONFIG = transformers.Wav2Vec2Config(
    hidden_size=32, num_hidden_layers=1, num_attention_heads=4, intermediate_size=48, conv_dim=(16,) * 7,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4,
)  # fmt: skip


class Bomb:
    def __reduce__(self):
        return pytest.fail, ("it was unpickled",)


def saved(folder, **options):
    transformers.Wav2Vec2Model(CONFIG).save_pretrained(folder, **options)
    return folder


def pickled(folder):
    CONFIG.save_pretrained(folder)
    (folder / "pytorch_model.bin").write_bytes(pickle.dumps(Bomb()))
    return folder


def cached(name, hub):
    """Return the folder of a hub id's only version in a cache."""
    folder = hub / f"models--{name.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True)
    (folder / "refs" / "main").write_text("a" * 40)
    return folder / "snapshots" / ("a" * 40)


def refusal(name) -> str:
    with pytest.raises(EncoderError) as caught:
        load_encoder(Encoder(encoder=str(name)))
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("share", [0, 1e-4, 0.02, 0.5, 0.99999])
def test_cut_off_weights_are_named_with_a_cure(tmp_path, share):
    file = saved(tmp_path) / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: int(share * len(whole))])
    sentence = refusal(tmp_path)
    assert sentence.startswith(f"{file} cannot be read: ")
    assert "it is cut off or damaged: put a copy in its place, or download it again" in sentence


def test_of_several_files_of_weights_the_damaged_one_is_named(tmp_path):
    second = sorted(saved(tmp_path, max_shard_size="20KB").glob("model-*.safetensors"))[1]
    whole = second.read_bytes()
    second.write_bytes(whole[:-10])
    assert refusal(tmp_path).startswith(f"{second} cannot be read: ")
    second.write_bytes(whole)
    (tmp_path / "model.safetensors.index.json").write_text("{")
    assert refusal(tmp_path).startswith(f"the index of the weights of {tmp_path} cannot be read: ")


def test_cut_off_weights_of_the_hub_are_named_in_the_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    file = saved(cached("some/encoder", tmp_path)) / "model.safetensors"
    load_encoder(Encoder(encoder="some/encoder"))
    file.write_bytes(file.read_bytes()[:9_000])
    assert refusal("some/encoder").startswith(f"{file} cannot be read: ")


def test_a_command_ends_with_the_sentence_alone(tmp_path, monkeypatch, capsys):
    file = saved(tmp_path / "encoder") / "model.safetensors"
    file.write_bytes(file.read_bytes()[:9_000])
    options = ["--encoder", str(tmp_path / "encoder"), "--runs", str(tmp_path / "runs"), "--synthetic-size", "64"]
    assert cli.main(["train", "--preset", "demo", "--no-train-features", *options]) != 0
    printed = capsys.readouterr()
    assert f"{file} cannot be read: " in printed.err
    assert "Traceback" not in printed.err + printed.out


def test_pickled_weights_of_a_folder_are_never_opened(tmp_path):
    sentence = refusal(pickled(tmp_path))
    assert f"has pickled weights alone (pytorch_model.bin in {tmp_path}), which may run code" in sentence
    assert "never opened; give another encoder; or, if you trust them, load it with transformers yourself" in sentence


def test_pickled_weights_of_the_hub_are_never_opened(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    folder = pickled(cached("some/encoder", tmp_path))
    sentence = refusal("some/encoder")
    assert f"'some/encoder' has pickled weights alone (pytorch_model.bin in {folder})" in sentence
    assert "set HF_HUB_OFFLINE=0 if the hub has model.safetensors of it by now, or give another encoder" in sentence


def test_without_any_weights_the_cure_is_the_download(tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    CONFIG.save_pretrained(cached("some/encoder", tmp_path))
    assert refusal("some/encoder").endswith("give a local folder, or set HF_HUB_OFFLINE=0 to download it")
