"""The compact encoder: a small network over log-mel frames, without pre-training.

Two strided convolutions and two self-attention layers. A quarter of a million parameters, small enough to learn from
a few hundred utterances on two CPU cores.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import Context, Parts, SpeechEncoder, valid
from ipr_core.encoders.mel import log_mel, mel_filters

BANDS = 64
WIDTH = 96
DEPTH = 2
HEADS = 4
DROPOUT = 0.1


class Compact(SpeechEncoder):
    """64 log-mel bands every 10 ms to frames of 96 every 40 ms."""

    filters: Tensor

    def __init__(self, choice: Encoder):
        super().__init__(WIDTH, DEPTH, choice)
        self.register_buffer("filters", mel_filters(BANDS), persistent=False)
        self.convolutions = nn.ModuleList([Strided(BANDS, WIDTH), Strided(WIDTH, WIDTH)])
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(WIDTH, HEADS, 2 * WIDTH, DROPOUT, "gelu", batch_first=True, norm_first=True)
            for _ in range(DEPTH)
        )
        self.norm = nn.LayerNorm(WIDTH)
        self.freeze_()

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return log_mel(waves, lengths, self.filters)

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        for convolution in self.convolutions:
            x, n = convolution(x), (n + 1) // 2
            x = x * valid(n, x.shape[1])[..., None]  # the next convolution must not see padding
        return x, n

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        return x

    def context(self, x: Tensor, n: Tensor) -> Context:
        return Context(~valid(n, x.shape[1]))

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        return self.layers[index - 1](x, src_key_padding_mask=context.rows)

    def finish(self, x: Tensor) -> Tensor:
        return self.norm(x)

    def parts(self) -> Parts:
        return [[self.convolutions], [], *([layer] for layer in self.layers), [self.norm]]

    def architecture(self) -> dict[str, Any]:
        return {"family": "compact"}


class Strided(nn.Module):
    """A convolution over time with stride 2: (B, F, inputs) to (B, ceil(F / 2), outputs).

    Normalised over the channels of each frame alone, so that no frame depends on how many there are.
    """

    def __init__(self, inputs: int, outputs: int):
        super().__init__()
        self.convolution = nn.Conv1d(inputs, outputs, kernel_size=5, stride=2, padding=2)
        self.norm = nn.LayerNorm(outputs)

    def forward(self, x: Tensor) -> Tensor:
        x = self.convolution(x.mT).mT
        return torch.nn.functional.gelu(self.norm(x))
