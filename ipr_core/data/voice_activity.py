"""How likely each 32 ms of a clip is speech, by silero-vad (Silero Team, MIT licence), whose weights come with it.

N frames of `FRAME` samples at 16 kHz.
"""

from __future__ import annotations

import functools
import importlib.metadata
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ipr_core.data.waves import Clips

FRAME = 512
"""Samples at 16 kHz of which a probability is told: 32 ms."""


def speech(clips: Clips, i: int) -> NDArray[np.float32]:
    """Return how likely each frame of a clip is speech, (N,) from 0 to 1; its end is filled up with silence."""
    return _network().audio_forward(_Samples(clips, i))


def network() -> str:
    """Return the name of the network. Whatever is kept of what it heard has it in its name."""
    return f"silero-vad {importlib.metadata.version('silero-vad')}, sequence"


class _Samples:
    """A clip as the network asks for it: some seconds at a time, so that an hour costs no memory."""

    def __init__(self, clips: Clips, i: int):
        self._clips, self._i = clips, i
        self.size = len(clips[i])

    def __getitem__(self, part: slice) -> NDArray[np.float32]:
        return self._clips[self._i][part].astype(np.float32) / np.float32(32768)


@functools.cache
def _network() -> Any:
    import onnxruntime

    onnxruntime.disable_telemetry_events()
    threads = torch.get_num_threads()
    try:
        import silero_vad
    finally:
        torch.set_num_threads(threads)  # the import sets it to one
    return silero_vad.load_silero_vad(sequence=True)
