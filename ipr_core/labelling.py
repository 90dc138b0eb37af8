"""Labels of a corpus's pieces, by whoever works at them: this process, or workers of a batch.

All that a worker needs is an order in plain values, and the piece.
"""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path

import numpy as np
from pandas import DataFrame

from ipr_core.atomic import write
from ipr_core.data.cache import default_cache
from ipr_core.data.waves import WaveStore
from ipr_core.runs.run import Run
from ipr_core.training import onnx_file
from ipr_core.training.centring import SpeakerMeans
from ipr_core.training.labels import table
from ipr_core.training.model import DESCRIPTION, WEIGHTS, Recogniser, SoftLabels
from ipr_core.training.processes import best_device
from ipr_core.training.trained import trained_model

LENGTHS = ("seconds", "heard_seconds")
"""Columns: of a recording, and of its middle, all that the model hears of a longer one."""
KEYS = "audio"
"""A piece's column of waveform keys, by which corrections are found."""

Piece = tuple[int, str, DataFrame]
"""Number, file name, utterances."""


@dataclass(frozen=True)
class Order:
    """What pieces are labelled by, in plain values: a worker may be another process, on another machine."""

    run: str
    """The run's folder."""
    weights: str
    """The digest of its model."""
    folder: str
    """Of the labels of pieces."""
    means: str = ""
    """The file of the speakers' means, of a model that is centred."""
    graph: str = ""
    """The model's file of ONNX, if onnxruntime hears the clips and not torch."""


Work = Callable[[Order, Iterable[Piece], int], Iterable[None]]
"""An order, pieces and how many they are → a None for every piece that has been labelled; see `label`."""


def in_this_process(order: Order, pieces: Iterable[Piece], count: int) -> Iterator[None]:
    """Label pieces in this process."""
    for piece in pieces:
        label(order, piece)
        yield


def label(order: Order, piece: Piece) -> None:
    """Label a piece, and write its labels into the order's folder.  raises RunError, CorpusError, WriteError"""
    recogniser = model(order.run, order.weights).to(best_device())
    labels = _labelled(recogniser, order, piece[2])
    write(Path(order.folder, piece[1]), partial(labels.to_parquet, write_page_checksum=True))


def weights(run: Run) -> str:
    """Return a digest of a run's model, of the files that are there."""
    digest = hashlib.blake2b(digest_size=16)
    for path in (run.folder / "model" / part for part in (DESCRIPTION, WEIGHTS)):
        with path.open("rb") if path.is_file() else io.BytesIO() as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.hexdigest()


@lru_cache(maxsize=1)
def model(folder: str, weights: str) -> Recogniser:
    """Load a run's model, kept for the next piece; its digest tells whether it still is the same."""
    return trained_model(Run(Path(folder)))


def _labelled(model: Recogniser, order: Order, utterances: DataFrame) -> DataFrame:
    """Return a piece's labels, the seconds of its recordings and how many were heard, and the keys of its waveforms."""
    waves = WaveStore.build(utterances, default_cache(), progress=False)
    shares = [part.numpy() for part in _shares(model, order, utterances, waves)]
    heard_seconds = np.minimum(waves.seconds, model.max_seconds)
    labels = table(utterances, model.classes, *shares)
    return labels.assign(**dict(zip(LENGTHS, (waves.seconds, heard_seconds), strict=True)), **{KEYS: waves.keys})


def _shares(model: Recogniser, order: Order, utterances: DataFrame, waves: WaveStore) -> SoftLabels:
    if order.graph:
        return onnx_file.soft_labels(order.graph, waves, model.max_seconds)
    means = SpeakerMeans.read(Path(order.means), model.centre) if order.means else None
    return model.soft_labels(waves, means.offsets(utterances["speaker"].tolist()) if means else None)
