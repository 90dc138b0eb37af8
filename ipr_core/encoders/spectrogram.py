"""A convolutional network over log-mel spectrograms, for methods that bring their own encoder; not pre-trained."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import torch
import torchaudio
from torch import Tensor, nn
from torch.nn import functional as F

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import SpeechEncoder, mel_power, valid

BANDS = 64
CHANNELS = (16, 32, 48, 64)
"""Of the layers; time and frequency are halved after each but the last."""


class SpectrogramCNN(SpeechEncoder):
    """64 log-mel bands every 10 ms to maps of 64 channels, 8 frequencies every 80 ms, laid out as frames.

    The first layer has filters along time and filters along frequency side by side (Li et al., Interspeech 2018), the
    others square ones. Position f of moment m is frame 8 m + f.
    """

    def __init__(self, choice: Encoder):
        whole = choice.model_copy(update={"frozen_layers": 0, "layers": (-1,), "train_features": True})
        super().__init__(CHANNELS[-1], 0, whole)
        filters = torchaudio.functional.melscale_fbanks(201, 50.0, 8000.0, BANDS, 16_000, "slaney", "slaney")
        self.register_buffer("filters", filters, persistent=False)
        first = CHANNELS[0] // 2
        self.along_time = nn.Conv2d(1, first, (10, 2))
        self.along_frequency = nn.Conv2d(1, first, (2, 8))
        self.convolutions = nn.ModuleList(nn.Conv2d(into, out, 3, padding=1) for into, out in pairwise(CHANNELS))
        self.norms = nn.ModuleList(nn.LayerNorm(channels) for channels in CHANNELS)

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel frames, shifted and scaled by constants as the compact encoder's are."""
        power, n = mel_power(waves, lengths, self.filters)
        return ((power + 1e-6).log() + 5) * valid(n, power.shape[1])[..., None] / 4, n

    def trunk(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = x[:, None]  # (B, 1, M, BANDS)
        x = torch.cat([self.along_time(F.pad(x, (0, 1, 4, 5))), self.along_frequency(F.pad(x, (3, 4, 0, 1)))], dim=1)
        x = self._activated(x, n, 0)
        for i, convolution in enumerate(self.convolutions, start=1):
            x, n = F.max_pool2d(x, 2, ceil_mode=True), (n + 1) // 2
            x = self._activated(convolution(x), n, i)
        return x.permute(0, 2, 3, 1).flatten(1, 2), n * x.shape[3]

    def architecture(self) -> dict[str, Any]:
        return {"family": "spectrogram"}

    def _frozen_parts(self) -> list[nn.Module | nn.Parameter]:
        return []

    def _activated(self, x: Tensor, n: Tensor, layer: int) -> Tensor:
        """Normalised over the channels of each position alone, so that none depends on padding or neighbours."""
        x = F.relu(self.norms[layer](x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)
        return x * valid(n, x.shape[2])[:, None, :, None]
