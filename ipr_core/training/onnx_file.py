"""The model as a file of ONNX: waves in, embedding and soft labels out, for programs without torch.

The graph is traced through `Recogniser.stem`, `forward` and `label`, which label every clip here too. So log-mel
frames, masks and the fitted calibration are part of it. A file is kept once onnxruntime and torch agree on its answers.
"""

from __future__ import annotations

import importlib.util
import json
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from ipr_core.atomic import WriteError, write
from ipr_core.config import SAMPLE_RATE, SettingsError
from ipr_core.data.waves import MIN_SECONDS, Clips, padded
from ipr_core.encoders import valid
from ipr_core.training.minibatches import PASS, by_length
from ipr_core.training.model import Recogniser, SoftLabels

FILE = "model.onnx"
"""In the folder of an exported model."""
TOLERANCE = 1e-4
"""Shares of onnxruntime and torch differ by less."""
OUTPUTS = ("embedding", *SoftLabels._fields)
_INPUTS = {"waves": {0: "batch", 1: "samples"}, "lengths": {0: "batch"}}
_LARGEST = 2**31 - 2**24  # bytes of weights: a file of ONNX holds 2 GiB, the graph too
_SECONDS = ((0.7,), (1.31, MIN_SECONDS, 0.84))  # of the clips that are compared; the last ones are traced too
_REGISTRY = logging.getLogger("torch.onnx._internal.exporter._registration")


def check(model: Recogniser, file: Path) -> None:
    """Refuse, before work starts, a model that cannot be written as ONNX.

    raises SettingsError if a package is not installed or the model centres by speaker; WriteError if it is too large
    """
    if any(importlib.util.find_spec(name) is None for name in ("onnx", "onnxscript")):
        raise SettingsError(["--onnx needs two packages: pip install 'ipr-workbench[onnx]'"])
    if model.centred:
        problem = (
            "--onnx: this run centres by speaker, which takes all of a speaker's clips, and a graph hears each alone"
        )
        raise SettingsError([f"{problem}; export it without --onnx, or train with --centring none"])
    size = sum(value.nbytes for value in model.state_dict().values())
    if size > _LARGEST:
        reason = f"the weights take {size / 2**30:.1f} GiB, and a file of ONNX holds 2 at most"
        raise WriteError(file, reason, "export it without --onnx, or train with a smaller encoder")


def save(model: Recogniser, file: Path) -> None:
    """Write a trained model as ONNX, in float32, and compare it with torch.

    Inputs: waves (B, T) float32 at 16 kHz, and lengths (B,) int64 samples; the rest of a row is not heard.
    Outputs: embedding (B, D), and the fields of `SoftLabels` (B, C).

    raises SettingsError, WriteError as `check` does; WriteError if onnxruntime's answers are others than torch's
    """
    check(model, file)
    write(file, lambda path: _save(model, path, file))


def soft_labels(file: str, clips: Clips, max_seconds: float) -> SoftLabels:
    """Return the soft labels (N, C) of clips by onnxruntime, on the CPU, in the batches of `Recogniser.soft_labels`.

    file: as `save` writes it   clips: N times (T,) int16 samples at 16 kHz; of longer ones than max_seconds the middle
    """
    session, names = _session(file, torch.get_num_threads()), SoftLabels._fields
    lengths = np.array([len(clips[i]) for i in range(len(clips))], np.int64).clip(max=round(max_seconds * SAMPLE_RATE))
    n_classes = len(json.loads(session.get_modelmeta().custom_metadata_map["classes"]))
    labels = SoftLabels(*torch.empty(len(names), len(clips), n_classes))
    for rows in by_length(lengths, PASS):
        waves, n = padded([clips[i] for i in rows.tolist()], max_seconds)
        for whole, part in zip(labels, session.run(names, {"waves": waves.numpy(), "lengths": n.numpy()}), strict=True):
            whole[rows] = torch.from_numpy(part)
    return labels


@lru_cache(maxsize=1)
def _session(file: str, threads: int) -> Any:
    """Open a file with so many threads; kept for the next piece."""
    import onnxruntime  # a large library

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    return onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])


@torch.no_grad()
def _save(model: Recogniser, path: str, file: Path) -> None:
    with _traceable(model):
        waves, lengths = _clips(_SECONDS[-1])
        program: Any = torch.onnx.export(
            _Graph(model).eval(),
            (waves, lengths),
            dynamo=True,
            verbose=False,
            dynamic_shapes=_INPUTS,
            input_names=list(_INPUTS),
            output_names=list(OUTPUTS),
        )
        program.model.metadata_props.update(_metadata(model))
        program.save(path)
        difference = max(_difference(model, path, seconds) for seconds in _SECONDS)
    if not difference < TOLERANCE:
        reason = f"onnxruntime gives shares that are {difference:.2g} from torch's"
        raise WriteError(file, reason, "export it without --onnx, and report it with your versions of torch and onnx")


class _Graph(nn.Module):
    """Waves (B, T) and lengths (B,) to the outputs."""

    def __init__(self, model: Recogniser):
        super().__init__()
        self.model = model

    def forward(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, ...]:
        embedding, logits = self.model(*self.model.stem(waves, lengths))
        return embedding, *self.model.label(embedding, logits)


@contextmanager
def _traceable(model: Recogniser) -> Iterator[None]:
    """Evaluate a model in float32 by plain operations, and silence what the exporter says of other packages."""
    training, precision, fast = model.training, model.precision, torch.backends.mha.get_fastpath_enabled()
    level = _REGISTRY.level
    model.eval()
    model.precision = "fp32"
    torch.backends.mha.set_fastpath_enabled(False)  # one fused operation, which ONNX does not have
    _REGISTRY.setLevel(logging.ERROR)  # torchvision is not installed
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "# The axis name: batch will not be used", UserWarning)  # but once
            yield
    finally:
        _REGISTRY.setLevel(level)
        torch.backends.mha.set_fastpath_enabled(fast)
        model.precision = precision
        model.train(training)


def _clips(seconds: tuple[float, ...]) -> tuple[Tensor, Tensor]:
    """Return noise of these lengths: waves (B, T), zero beyond (B,) lengths."""
    lengths = torch.tensor([round(SAMPLE_RATE * duration) for duration in seconds])
    noise = 0.1 * torch.randn(len(lengths), int(lengths.max()), generator=torch.Generator().manual_seed(0))
    return noise * valid(lengths, noise.shape[1]), lengths


@torch.no_grad()
def _difference(model: Recogniser, path: str, seconds: tuple[float, ...]) -> float:
    """Return the largest difference between the shares of a file and those of its model."""
    import onnxruntime  # a large library, which only this needs

    waves, lengths = _clips(seconds)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    answers = session.run(OUTPUTS, {"waves": waves.numpy(), "lengths": lengths.numpy()})
    pairs = list(zip(answers, _Graph(model)(waves, lengths), strict=True))[1:]
    return max(float(np.abs(shares - expected.numpy()).max()) for shares, expected in pairs)


def _metadata(model: Recogniser) -> dict[str, str]:
    """Return what a reader of the file has to know: the order of the classes, and how clips are made ready."""
    return {
        "classes": json.dumps(model.classes, ensure_ascii=False),
        "sample_rate": str(SAMPLE_RATE),
        "min_seconds": str(MIN_SECONDS),
        "max_seconds": str(model.max_seconds),
    }
