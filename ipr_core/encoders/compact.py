"""The compact encoder: log-mel frames, two strided convolutions, two self-attention layers; no pre-training.

A quarter of a million parameters, small enough to learn from a few hundred utterances on two CPU cores.
"""

from __future__ import annotations

from typing import Any

import torch
import torchaudio
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import SpeechEncoder, mel_power, valid

BANDS = 64
WIDTH = 96
DEPTH = 2
HEADS = 4
DROPOUT = 0.1


class Compact(SpeechEncoder):
    """64 log-mel bands every 10 ms to frames of 96 every 40 ms."""

    def __init__(self, choice: Encoder):
        super().__init__(WIDTH, DEPTH, choice)
        filters = torchaudio.functional.melscale_fbanks(201, 50.0, 8000.0, BANDS, 16_000, "slaney", "slaney")
        self.register_buffer("filters", filters, persistent=False)
        self.convolutions = nn.ModuleList([Strided(BANDS, WIDTH), Strided(WIDTH, WIDTH)])
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
            for _ in range(DEPTH)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.freeze_()

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel frames, shifted and scaled by constants: loudness and spectral tilt stay, both tell of emotion."""
        power, n = mel_power(waves, lengths, self.filters)
        mask = valid(n, power.shape[1])[..., None]
        return ((power + 1e-6).log() + 5) * mask / 4, n  # natural logarithms of speech lie about -5, give or take 4

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        for convolution in self.convolutions:
            x, n = convolution(x), (n + 1) // 2
            x = x * valid(n, x.shape[1])[..., None]  # the next one must not see what padding became
        return x, n

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        return x

    def context(self, x: Tensor, n: Tensor) -> Tensor:
        return ~valid(n, x.shape[1])

    def layer(self, index: int, x: Tensor, context: Tensor) -> Tensor:
        return self.layers[index - 1](x, src_key_padding_mask=context)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def parts(self) -> list[list[nn.Module | nn.Parameter]]:
        return [[self.convolutions], [], *([layer] for layer in self.layers), [self.norm]]

    def architecture(self) -> dict[str, Any]:
        return {"family": "compact"}


class Strided(nn.Module):
    """A convolution over time, every second frame kept: (B, F, in) to (B, ceil(F / 2), out).

    Normalised over the channels of each frame alone, so that no frame depends on how many there are.
    """

    def __init__(self, into: int, out: int):
        super().__init__()
        self.convolution = nn.Conv1d(into, out, kernel_size=5, stride=2, padding=2)
        self.norm = nn.LayerNorm(out)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x.mT).mT
        return torch.nn.functional.gelu(self.norm(x))
