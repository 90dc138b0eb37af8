"""A convolutional network over log-mel spectrograms, without pre-training.

Methods of the comparison that bring their own encoder use it.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import SpeechEncoder, valid
from ipr_core.encoders.mel import log_mel, mel_filters

BANDS = 64
CHANNELS = (16, 32, 48, 64)
"""Of the layers; time and frequency are halved after each but the last."""


class SpectrogramCNN(SpeechEncoder):
    """64 log-mel bands every 10 ms to maps of 64 channels, laid out as frames.

    A map has 8 frequencies every 80 ms. The first layer has filters along time and filters along frequency side by
    side (Li et al., Interspeech 2018), the others square ones. Position f of moment m is frame 8 m + f.
    """

    filters: Tensor

    def __init__(self, choice: Encoder):
        whole = choice.model_copy(update={"frozen_layers": 0, "layers": (-1,), "train_features": True})
        super().__init__(CHANNELS[-1], 0, whole)
        self.register_buffer("filters", mel_filters(BANDS), persistent=False)
        first = CHANNELS[0] // 2
        self.along_time = nn.Conv2d(1, first, (10, 2))
        self.along_frequency = nn.Conv2d(1, first, (2, 8))
        self.convolutions = nn.ModuleList(
            nn.Conv2d(inputs, outputs, 3, padding=1) for inputs, outputs in pairwise(CHANNELS)
        )
        self.apply(_spread)

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        return log_mel(waves, lengths, self.filters)

    def trunk(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, None]  # (B, 1, M, BANDS)
        x = torch.cat([self.along_time(F.pad(x, (0, 1, 4, 5))), self.along_frequency(F.pad(x, (3, 4, 0, 1)))], dim=1)
        x = _activated(x, n)
        for convolution in self.convolutions:
            x, n = F.max_pool2d(x, 2, ceil_mode=True), (n + 1) // 2
            x = _activated(convolution(x), n)
        return x.permute(0, 2, 3, 1).flatten(1, 2), n * x.shape[3]

    def architecture(self) -> dict[str, Any]:
        return {"family": "spectrogram"}

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        return []


def _activated(x: Tensor, n: Tensor) -> Tensor:
    """Cut maps (B, K, M, H) at 0, and beyond the valid moments (B,).

    There is no norm: one over a position's channels takes the level away, which tells emotions apart, and one over more
    would depend on padding or on neighbours.
    """
    return F.relu(x) * valid(n, x.shape[2])[:, None, :, None]


def _spread(module: nn.Module) -> None:
    """Initialise as He does, so that maps keep their scale without a norm."""
    if isinstance(module, nn.Conv2d):
        assert module.bias is not None, "every convolution has a bias"
        nn.init.kaiming_normal_(module.weight, nonlinearity="relu")
        nn.init.zeros_(module.bias)
