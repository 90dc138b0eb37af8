"""A recording of a microphone, and what a trained model makes of it.

C classes, D embedding, T samples at 16 kHz.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from ipr_core.data.audio import decode
from ipr_core.data.unusable import Unusable
from ipr_core.data.waves import MIN_SECONDS, SAMPLE_RATE, padded
from ipr_core.training.model import Recogniser
from ipr_widgets.utterance import Shares

_CURE = "is the right microphone chosen, and loud enough?"


class Recording(NamedTuple):
    """A recording with its labels."""

    wave: NDArray[np.int16]
    """(T,)"""
    embedding: NDArray[np.floating]
    """(D,)"""
    soft: Shares
    """(C,) the system's soft label, calibrated."""
    classifier: Shares
    """(C,) as the classifier has it."""
    prototypes: Shares
    """(C,) as the prototypes have it."""


def hear(sound: bytes, model: Recogniser) -> Recording:
    """Decode a recording, as a file of its bytes would be, and label it.

    raises Unusable if it is silent, too short or damaged
    """
    return label(_wave(sound), model)


@torch.no_grad()
def label(wave: NDArray[np.int16], model: Recogniser) -> Recording:
    """Label samples; of more than `max_seconds` the middle.

    wave: (T,)   model: in evaluation mode, on the CPU, as it is loaded
    """
    embedding, logits = model(*model.stem(*padded([wave], model.max_seconds)))
    return Recording(wave, embedding[0].numpy(), *(shares[0].numpy() for shares in model.label(embedding, logits)))


def _wave(sound: bytes) -> NDArray[np.int16]:
    with tempfile.TemporaryDirectory() as folder:
        recording, samples = Path(folder, "recording"), Path(folder, "samples.npy")
        recording.write_bytes(sound)
        try:
            decode(str(recording), str(samples), SAMPLE_RATE)
        except Unusable as fault:
            raise Unusable(fault.problem, _CURE) from None
        wave = np.load(samples, allow_pickle=False)
    if len(wave) < MIN_SECONDS * SAMPLE_RATE:
        raise Unusable(f"lasts {len(wave) / SAMPLE_RATE:.2f} s", f"speak for {MIN_SECONDS} s or more")
    return wave
