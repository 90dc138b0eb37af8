"""How likely each 32 ms of a clip is speech, by the network of silero-vad (Silero Team, MIT licence).

The weights come with the package `silero-vad`, as safetensors. The network that they belong to is written here: a
short-time Fourier transform, four convolutions and an LSTM. The package itself loads TorchScript, of a later training,
which is unpickled, which torch has given up, and which hears 32 ms at a time. On EmoDB and RAVDESS the two agree on
99 % of all frames. Here a minute goes through together, and an hour takes six seconds of one core.

N frames of `FRAME` samples at 16 kHz.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from safetensors.torch import load_file
from torch import Tensor, nn

FRAME = 512
"""Samples at 16 kHz of which a probability is told: 32 ms."""
NETWORK = "silero-vad 6 safetensors, 1"
"""The weights, and the version of what is made of them here. Whatever is kept of them has it in its name."""

_CONTEXT = 64  # samples before a frame that are heard with it
_WINDOW, _HOP = 256, 128  # samples of a spectrum, and from one to the next
_STRIDES = (1, 2, 2, 1)  # of the convolutions: from the four spectra of a frame to one vector


class Hearing:
    """The network on its way through a clip: it remembers what came before."""

    def __init__(self) -> None:
        self._context = torch.zeros(_CONTEXT)
        self._state: tuple[Tensor, Tensor] | None = None

    @torch.inference_mode()
    def next(self, samples: NDArray[np.int16]) -> NDArray[np.float32]:
        """Return how likely each of the next frames is speech, (N,) from 0 to 1.

        samples: (T,) of whole frames, until the clip ends: its last frame is filled up with silence
        """
        wave = F.pad(torch.from_numpy(samples.astype(np.float32)).div_(32768), (0, -len(samples) % FRAME))
        wave = torch.cat([self._context, wave])
        self._context = wave[-_CONTEXT:]
        with _one_thread():
            network = _network()
            vectors, self._state = network.memory(network.vectors(wave), self._state)
            return network.probabilities(vectors).numpy()


class _Network(nn.Module):
    """Samples with their context (64 + N · 512,) → vectors (N, 128) → probabilities (N,)."""

    def __init__(self, weights: dict[str, Tensor]):
        super().__init__()
        self._weights = weights
        self.memory = nn.LSTM(128, 128)
        names = ("weight_ih", "weight_hh", "bias_ih", "bias_hh")
        self.memory.load_state_dict({f"{name}_l0": weights[f"lstm_cell.{name}"] for name in names})

    def vectors(self, wave: Tensor) -> Tensor:
        """Return a vector (N, 128) of each frame, heard with the samples before it and mirrored at its end."""
        frames = wave.unfold(0, _CONTEXT + FRAME, FRAME)[:, None]
        frames = F.pad(frames, (0, _WINDOW - _HOP - _CONTEXT), mode="reflect")
        spectra = F.conv1d(frames, self._weights["stft_conv.weight"], stride=_HOP)  # (N, 258, 4)
        real, imaginary = spectra.chunk(2, dim=1)
        x = (real.square() + imaginary.square()).sqrt()
        for i, stride in enumerate(_STRIDES, 1):
            weight, bias = self._weights[f"conv{i}.weight"], self._weights[f"conv{i}.bias"]
            x = F.conv1d(x, weight, bias, stride=stride, padding=1).relu()
        return x[..., 0]

    def probabilities(self, vectors: Tensor) -> Tensor:
        """Return the probabilities (N,) that the vectors (N, 128) of the memory stand for."""
        weight, bias = self._weights["final_conv.weight"], self._weights["final_conv.bias"]
        return (vectors.relu() @ weight[0, :, 0] + bias).sigmoid()


@functools.lru_cache(maxsize=1)
def _network() -> _Network:
    return _Network(load_file(_weights()))


def _weights() -> Path:
    """Return the file of the weights. The package is not imported: it would set the number of torch's threads."""
    package = find_spec("silero_vad")
    if package is None or not package.origin:
        raise ModuleNotFoundError("silero-vad is not installed; install it, or do not segment")
    return Path(package.origin).parent / "data" / "silero_vad_16k.safetensors"


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Let torch have one thread: several would wait for each other at steps this small."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
