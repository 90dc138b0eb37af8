"""Whisper's encoder at each clip's own length.

The layers are transformers' own modules. The steps between them are written out here, because transformers' forward
pads every clip to 30 s.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import WhisperFeatureExtractor
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ipr_core.config import SAMPLE_RATE, Encoder
from ipr_core.encoders.checkpoint import plain_config
from ipr_core.encoders.encoder import Context, Parts, SpeechEncoder, valid
from ipr_core.encoders.mel import mel_power


class Whisper(SpeechEncoder):
    """Whisper's encoder (Radford et al. 2022), its log-mel front end included, without padding to 30 s."""

    filters: Tensor

    def __init__(self, model: WhisperEncoder, extractor: WhisperFeatureExtractor, choice: Encoder):
        config = model.config
        super().__init__(config.d_model, config.encoder_layers, choice, config.encoder_layerdrop)
        self.model = model
        self.dropout = nn.Dropout(config.dropout)
        filters = torch.as_tensor(extractor.mel_filters, dtype=torch.float32)
        self.register_buffer("filters", filters, persistent=False)
        self.hop = extractor.hop_length
        self.freeze_()

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return log-mel frames as WhisperFeatureExtractor does, cut 80 dB below the utterance's loudest."""
        power, n = mel_power(waves, lengths, self.filters, self.hop)
        mask = valid(n, power.shape[1])[..., None]
        x = power.clamp_min(1e-10).log10()
        loudest = x.masked_fill(~mask, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return (x.maximum(loudest - 8) + 4) / 4 * mask, n

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = F.gelu(self.model.conv1(x.mT)) * valid(n, x.shape[1])[:, None]
        x = F.gelu(self.model.conv2(x)).mT
        n = (n + 1) // 2
        return self._zeroed(x, n), n

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        return self.dropout(x + self.model.embed_positions.weight[: x.shape[1]])

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        return self.model.layers[index - 1](x, context.rows)

    def finish(self, x: Tensor) -> Tensor:
        return self.model.layer_norm(x)

    def parts(self) -> Parts:
        model = self.model
        layers = ([layer] for layer in model.layers)
        return [[model.conv1, model.conv2], [model.embed_positions, self.dropout], *layers, [model.layer_norm]]

    def architecture(self) -> dict[str, Any]:
        extractor = {"feature_size": self.filters.shape[1], "hop_length": self.hop}
        extractor["n_fft"] = 2 * (self.filters.shape[0] - 1)
        return {"family": "whisper", "config": plain_config(self.model.config), "extractor": extractor}

    def check(self, lengths: Tensor) -> None:
        super().check(lengths)
        longest = int(lengths.max()) / SAMPLE_RATE
        limit = 2 * self.model.config.max_source_positions * self.hop / SAMPLE_RATE
        if longest > limit:
            raise ValueError(
                f"a clip of {longest:.2f} s is longer than the {limit:g} s that this Whisper hears; "
                f"set max_seconds to at most {limit:g}"
            )
