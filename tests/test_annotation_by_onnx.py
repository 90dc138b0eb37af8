"""Annotating by onnxruntime: the labels of torch to rounding, by one file of the model, also after a stop."""

import importlib.util
import os
from functools import partial

import numpy as np
import pandas as pd
import pytest

from helpers.corpus_files import clips_of
from ipr_core import annotation, cli
from ipr_core.config import SettingsError
from ipr_core.training import onnx_file
from ipr_core.training.model import Recogniser

annotate = partial(annotation.annotate, segment="none", progress=False)


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Pieces of eight utterances."""
    monkeypatch.setattr(annotation, "PIECE", 8)
    pytest.importorskip("onnxscript")


@pytest.fixture
def corpus(data, tmp_path):
    return clips_of(data, tmp_path)


@pytest.fixture
def exports(monkeypatch):
    """The files of ONNX that are written from now on."""
    paths, literal = [], onnx_file.save
    monkeypatch.setattr(onnx_file, "save", lambda model, path: paths.append(path) or literal(model, path))
    return paths


def test_it_gives_the_labels_of_torch_and_hears_nothing_by_it(trained, corpus, tmp_path, exports, monkeypatch):
    parquet, _ = annotate(trained, corpus, tmp_path / "torch")
    expected = pd.read_parquet(parquet)
    monkeypatch.setattr(Recogniser, "soft_labels", None)
    parquet, csv = annotate(trained, corpus, tmp_path / "onnx", onnx=True)
    labels = pd.read_parquet(parquet)
    shares = [name for name in labels if labels[name].dtype.kind == "f"]
    assert len(shares) > 3 * len(trained.config.data.classes)
    np.testing.assert_allclose(labels[shares], expected[shares], atol=1e-4)
    pd.testing.assert_frame_equal(labels.drop(columns=shares), expected.drop(columns=shares))
    assert len(exports) == 1
    assert sorted(os.listdir(tmp_path / "onnx")) == sorted([parquet.name, csv.name])  # no file of ONNX is left


def test_a_stop_costs_neither_labels_nor_another_file_and_torchs_pieces_are_others(
    trained, corpus, tmp_path, exports, monkeypatch
):
    literal, calls = onnx_file.soft_labels, []

    def breaks(*args):
        calls.append(args)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return literal(*args)

    monkeypatch.setattr(onnx_file, "soft_labels", breaks)
    with pytest.raises(KeyboardInterrupt):
        annotate(trained, corpus, tmp_path / "labels", onnx=True)
    annotate(trained, corpus, tmp_path / "labels", onnx=True)
    assert len(exports) == 1
    assert len(calls) == 1 + 4  # the one that broke off, and each of four pieces
    with monkeypatch.context() as patch:
        patch.setattr(onnx_file, "soft_labels", None)
        annotate(trained, corpus, tmp_path / "labels")


def test_what_cannot_be_written_as_onnx_is_refused_before_audio_is_read(trained, corpus, tmp_path, monkeypatch, capsys):
    with monkeypatch.context() as patch:
        patch.setattr(annotation.labelling, "model", lambda *_: _Centred())
        with pytest.raises(SettingsError, match="this run centres by speaker"):
            annotate(trained, corpus, tmp_path / "labels", onnx=True)
    literal = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "onnx" else literal(name))
    monkeypatch.setattr(annotation.segmentation, "segmented", None)
    command = ["annotate", str(trained.folder), corpus.corpus_path, "--onnx", "--out", str(tmp_path / "labels")]
    assert cli.main(command) == 2
    assert "pip install 'ipr-workbench[onnx]'" in capsys.readouterr().err


class _Centred:
    centred = True
