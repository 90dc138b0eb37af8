"""What cannot be written as ONNX is refused before work starts; that answers are equal: tests/test_one_answer.py."""

import importlib.util
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from ipr_core.atomic import WriteError
from ipr_core.config import Encoder, SettingsError
from ipr_core.encoders import load_encoder
from ipr_core.runs.run import Run
from ipr_core.training import onnx_file, trained
from ipr_core.training.model import Recogniser


@pytest.fixture
def model():
    return recogniser()


def recogniser(**choice) -> Recogniser:
    settings = Encoder(encoder="compact", **choice)
    return Recogniser(load_encoder(settings), ("a", "b"), settings)


@pytest.mark.parametrize("package", ["onnx", "onnxscript"])
def test_a_missing_package_is_named_before_anything_is_written(model, tmp_path, monkeypatch, package):
    installed = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == package else installed(name))
    monkeypatch.setattr(trained, "trained_model", lambda run: model)
    with pytest.raises(SettingsError, match=r"pip install 'ipr-workbench\[onnx\]'"):
        trained.export(Run(tmp_path / "run"), tmp_path / "model", onnx=True)
    assert not list(tmp_path.iterdir())


def test_a_model_that_is_centred_by_speaker_is_refused(tmp_path):
    with pytest.raises(SettingsError, match=r"--onnx: this run centres by speaker, .+; export it without --onnx"):
        onnx_file.save(recogniser(centring="speaker", frozen_layers=-1), tmp_path / "model.onnx")


def test_a_model_that_one_file_cannot_hold_is_refused(model, tmp_path):
    model.projection = torch.nn.Linear(25_000, 22_000, device="meta")
    with pytest.raises(WriteError, match=r"model\.onnx cannot be written: the weights take 2\.1 GiB"):
        onnx_file.save(model, tmp_path / "model.onnx")


@pytest.mark.parametrize("difference", [0.02, float("nan")])
def test_a_file_with_other_answers_is_not_kept(model, tmp_path, monkeypatch, difference):
    saved = SimpleNamespace(model=SimpleNamespace(metadata_props={}), save=lambda path: Path(path).write_text("graph"))
    monkeypatch.setattr(torch.onnx, "export", lambda *_, **__: saved)
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: 0.0)
    onnx_file.save(model, tmp_path / "same.onnx")
    monkeypatch.setattr(onnx_file, "_difference", lambda *_: difference)
    with pytest.raises(WriteError, match=f"onnxruntime gives shares that are {difference} from torch's"):
        onnx_file.save(model, tmp_path / "other.onnx")
    assert [path.name for path in tmp_path.iterdir()] == ["same.onnx"]


def test_the_model_and_torch_are_left_as_they_were(model, tmp_path, monkeypatch):
    def fail(*_, **__):
        assert not model.training
        assert model.precision == "fp32"
        assert not torch.backends.mha.get_fastpath_enabled()
        raise OSError("stopped")

    model.train().precision = "bf16"
    monkeypatch.setattr(torch.onnx, "export", fail)
    with pytest.raises((OSError, WriteError)):
        onnx_file.save(model, tmp_path / "model.onnx")
    assert (model.training, model.precision, torch.backends.mha.get_fastpath_enabled()) == (True, "bf16", True)
