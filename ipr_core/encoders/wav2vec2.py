"""wav2vec 2.0, HuBERT, data2vec-audio and WavLM: one architecture with variations.

The layers are transformers' own modules. The steps between them are written out here, because transformers' forward
lets padding into the first group norm and between the convolutions.
"""

from __future__ import annotations

from typing import Any, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import Wav2Vec2FeatureExtractor

from ipr_core.config import Encoder
from ipr_core.encoders.checkpoint import plain_config
from ipr_core.encoders.encoder import Context, Parts, SpeechEncoder, valid


class Wav2Vec2(SpeechEncoder):
    """wav2vec 2.0 (Baevski et al. 2020), and the families built like it: HuBERT and data2vec-audio."""

    model: Any
    """transformers' model: the parts of all families have the same names, but no type in common."""

    def __init__(self, model: Any, extractor: Wav2Vec2FeatureExtractor, choice: Encoder):
        config = model.config
        super().__init__(config.hidden_size, config.num_hidden_layers, choice, config.layerdrop)
        model.adapter = None  # it comes after the last layer, and not every family has one
        self.model = model
        self.normalise = extractor.do_normalize
        # "stable": layers norm their input instead of their output, and `finish` norms the last one's output
        self.stable = getattr(config, "do_stable_layer_norm", False)
        self.freeze_()

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """Return the waves (B, T, 1).

        Each has mean 0 and variance 1 if the checkpoint was trained so.
        """
        if self.normalise:
            mask = valid(lengths, waves.shape[1])
            waves = waves - (waves.sum(dim=1) / lengths)[:, None]
            variance = (waves * mask).square().sum(dim=1) / lengths
            waves = waves / (variance + 1e-7).sqrt()[:, None] * mask
        return waves[..., None], lengths

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = x.mT
        for block in self.model.feature_extractor.conv_layers:
            kernel, stride = block.conv.kernel_size[0], block.conv.stride[0]
            n = (n - kernel) // stride + 1
            if isinstance(getattr(block, "layer_norm", None), nn.GroupNorm):
                x = block.activation(masked_group_norm(block.conv(x), n, block.layer_norm))
            else:
                x = block(x)
        return self._zeroed(x.mT, n), n

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        model = self.model
        projected = model.feature_projection(x)
        x = projected[0] if isinstance(projected, tuple) else projected
        x = self._zeroed(self._augmented(x, n), n)
        x = x + self._positions(x, n)
        return model.encoder.dropout(x if self.stable else model.encoder.layer_norm(x))

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        return self.model.encoder.layers[index - 1](x, attention_mask=context.rows)

    def finish(self, x: Tensor) -> Tensor:
        return self.model.encoder.layer_norm(x) if self.stable else x

    def parts(self) -> Parts:
        model, encoder = self.model, self.model.encoder
        finish = [encoder.layer_norm] if self.stable else []
        embed = [model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        embed += [] if self.stable else [encoder.layer_norm]
        embed += [model.masked_spec_embed] if hasattr(model, "masked_spec_embed") else []
        return [[model.feature_extractor], embed, *([layer] for layer in encoder.layers), finish]

    def train(self, mode: bool = True) -> Self:
        """Set training mode; a batch norm keeps the checkpoint's statistics, since those of a batch have neighbours."""
        super().train(mode)
        if self._batch_norm is not None:
            self._batch_norm.eval()
        return self

    def architecture(self) -> dict[str, Any]:
        config = self.model.config
        return {
            "family": config.model_type,
            "config": plain_config(config),
            "extractor": {"do_normalize": self.normalise},
        }

    def _positions(self, x: Tensor, n: Tensor) -> Tensor:
        """Apply the positional convolutions.

        Beyond the utterance each sees zeros, as at the end of a batch. A norm before one moves them, and so does a
        convolution with a bias before the next.
        """
        embedding = self.model.encoder.pos_conv_embed
        if hasattr(embedding, "layers"):  # data2vec stacks several
            for layer in embedding.layers:
                x = self._zeroed(layer(x.mT).mT, n)
            return x
        if (norm := self._batch_norm) is not None:
            x = self._zeroed(norm(x.mT).mT, n)
        return embedding.activation(embedding.padding(embedding.conv(x.mT))).mT

    @property
    def _batch_norm(self) -> nn.BatchNorm1d | None:
        """The norm before the positional convolution, which some HuBERTs have."""
        return getattr(self.model.encoder.pos_conv_embed, "batch_norm", None)

    def _augmented(self, x: Tensor, n: Tensor) -> Tensor:
        """Apply SpecAugment (Park et al. 2019) with the checkpoint's settings, in training."""
        config = self.model.config
        if not (self.training and self.frozen == 0 and getattr(config, "apply_spec_augment", True)):
            return x
        if config.mask_time_prob > 0:
            spans = span_mask(n, x.shape[1], config.mask_time_prob, config.mask_time_length, config.mask_time_min_masks)
            x = torch.where(spans[..., None], self.model.masked_spec_embed.to(x), x)
        if config.mask_feature_prob > 0:
            whole = torch.full_like(n, x.shape[2])
            spans = span_mask(
                whole, x.shape[2], config.mask_feature_prob, config.mask_feature_length, config.mask_feature_min_masks
            )
            x = x.masked_fill(spans[:, None], 0)
        return x


class WavLM(Wav2Vec2):
    """WavLM (Chen et al. 2022): wav2vec 2.0 whose attention has a gated relative position bias."""

    def context(self, x: Tensor, n: Tensor) -> Context:
        """Return the frames (B, 1, 1, F) that attention may use, and the bias (heads, F, F) of all layers."""
        bias = self.model.encoder.layers[0].attention.compute_bias(x.shape[1], x.shape[1])
        return Context(super().context(x, n).rows, bias)

    def layer(self, index: int, x: Tensor, context: Context) -> Tensor:
        layer = self.model.encoder.layers[index - 1]
        if self.stable:
            x = x + layer.dropout(gated_attention(layer.attention, layer.layer_norm(x), *context))
            return x + layer.feed_forward(layer.final_layer_norm(x))
        x = layer.layer_norm(x + layer.dropout(gated_attention(layer.attention, x, *context)))
        return layer.final_layer_norm(x + layer.feed_forward(x))

    def _dropped(self, index: int) -> bool:
        return index > 1 and super()._dropped(index)  # the first layer is never dropped


def masked_group_norm(x: Tensor, n: Tensor, norm: nn.GroupNorm) -> Tensor:
    """Apply a group norm with a group per channel, over each utterance's valid frames alone.

    x: (B, K, F)   n: (B,) valid frames   returns: (B, K, F)
    """
    mask = valid(n, x.shape[2])[:, None]
    count = n[:, None, None]
    x = x.float()  # sums over thousands of frames
    x = x - (x * mask).sum(dim=2, keepdim=True) / count
    variance = (x * mask).square().sum(dim=2, keepdim=True) / count
    return x * (variance + norm.eps).rsqrt() * norm.weight[:, None] + norm.bias[:, None]


def gated_attention(attention: Any, x: Tensor, allowed: Tensor, bias: Tensor | None) -> Tensor:
    """Apply WavLM's self-attention: position bias times a gate of the query, then scaled dot products.

    attention: a WavLMAttention   x: (B, F, H)   allowed: (B, 1, 1, F)   bias: (heads, F, F)   returns: (B, F, H)
    """
    assert bias is not None, "WavLM's context has one"
    heads = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (B, heads, F, H / heads)
    gates = attention.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * attention.gru_rel_pos_const - 1) + 2  # (B, heads, F, 1)
    query, key, value = (
        project(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mask = (gate * bias).masked_fill(~allowed, -torch.inf).to(query)
    dropout = attention.dropout if attention.training else 0.0
    mixture = F.scaled_dot_product_attention(query, key, value, mask, dropout)
    return attention.out_proj(mixture.transpose(1, 2).flatten(2))


def span_mask(n: Tensor, size: int, share: float, length: int, min_spans: int) -> Tensor:
    """Draw random spans of `length`, about `share` of each row.

    Overlaps make it less. There are at least `min_spans` spans.
    They are drawn from torch's generator; transformers' own come from numpy's global one and fail for short rows.
    n: (B,) how much of each row there is; rows shorter than one span have none   returns: (B, size) bool
    """
    starts = (n - length + 1).clamp_min(0)
    expected = share * n / length + torch.rand(len(n), device=n.device)  # rounded up or down by chance
    count = expected.long().clamp_min(min_spans).minimum(starts)
    scores = torch.rand(len(n), size, device=n.device).masked_fill(~valid(starts, size), 2)
    started = scores.argsort(dim=1).argsort(dim=1) < count[:, None]  # the `count` smallest, so without repetition
    spans = started.cumsum(dim=1)
    spans[:, length:] -= spans[:, :-length].clone()
    return spans > 0
