"""Pre-trained speech encoders of Hugging Face, at each clip's own length.

wav2vec 2.0, HuBERT, WavLM and data2vec-audio are one architecture with variations; Whisper's encoder is another.
Their layers are transformers' own modules; what lies between them is written out here, because transformers' forward
lets padding into the first group norm, between convolutions, and wants 30 s of Whisper.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    PreTrainedModel,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import logging

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import SpeechEncoder, mel_power, valid

SAMPLE_RATE = 16_000


def load_pretrained(choice: Encoder) -> SpeechEncoder:
    """A checkpoint by hub id or local folder; see `ipr_core.encoders.load_encoder`."""
    config = _from_hub(AutoConfig, choice.encoder)
    family = _family(config.model_type, choice.encoder)
    extractor = _extractor(config, choice.encoder)
    model = _model(config, choice.encoder)
    return family(model, extractor, choice).eval()


def build_pretrained(architecture: dict[str, Any], choice: Encoder) -> SpeechEncoder:
    """The network of an `architecture()`, with random weights."""
    model_type = architecture["family"]
    config = AutoConfig.for_model(model_type, **architecture["config"])
    whisper = model_type == "whisper"
    model = WhisperEncoder(config) if whisper else AutoModel.from_config(config, dtype=torch.float32)
    extractor = (WhisperFeatureExtractor if whisper else Wav2Vec2FeatureExtractor)(**architecture["extractor"])
    return _family(model_type, choice.encoder)(model, extractor, choice).eval()


class Whisper(SpeechEncoder):
    """Whisper's encoder (Radford et al. 2022), its log-mel front end included, without padding to 30 s."""

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
        """Log-mel frames, cut 80 dB below the utterance's loudest, as WhisperFeatureExtractor makes them."""
        power, n = mel_power(waves, lengths, self.filters, self.hop)
        inside = valid(n, power.shape[1])[..., None]
        x = power.clamp_min(1e-10).log10()
        loudest = x.masked_fill(~inside, -torch.inf).amax(dim=(1, 2), keepdim=True)
        return (x.maximum(loudest - 8) + 4) / 4 * inside, n

    def features(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        x = F.gelu(self.model.conv1(x.mT)) * valid(n, x.shape[1])[:, None]
        x = F.gelu(self.model.conv2(x)).mT
        n = (n + 1) // 2
        return self._zeroed(x, n), n

    def embed(self, x: Tensor, n: Tensor) -> Tensor:
        return self.dropout(x + self.model.embed_positions.weight[: x.shape[1]])

    def layer(self, index: int, x: Tensor, context: Tensor) -> Tensor:
        return self.model.layers[index - 1](x, context)

    def finish(self, x: Tensor) -> Tensor:
        return self.model.layer_norm(x)

    def parts(self) -> list[list[nn.Module | nn.Parameter]]:
        model = self.model
        layers = ([layer] for layer in model.layers)
        return [[model.conv1, model.conv2], [model.embed_positions, self.dropout], *layers, [model.layer_norm]]

    def architecture(self) -> dict[str, Any]:
        extractor = {"feature_size": self.filters.shape[1], "hop_length": self.hop}
        extractor["n_fft"] = 2 * (self.filters.shape[0] - 1)
        return {"family": "whisper", "config": _plain(self.model.config), "extractor": extractor}

    def check(self, lengths: Tensor) -> None:
        super().check(lengths)
        longest = int(lengths.max()) / SAMPLE_RATE
        most = 2 * self.model.config.max_source_positions * self.hop / SAMPLE_RATE
        if longest > most:
            raise ValueError(
                f"a clip of {longest:.2f} s is longer than the {most:g} s that this Whisper hears; "
                f"set max_seconds to at most {most:g}"
            )


class Wav2Vec2(SpeechEncoder):
    """wav2vec 2.0 (Baevski et al. 2020) and those built like it: HuBERT and data2vec-audio."""

    def __init__(self, model: PreTrainedModel, extractor: Wav2Vec2FeatureExtractor, choice: Encoder):
        config = model.config
        super().__init__(config.hidden_size, config.num_hidden_layers, choice, config.layerdrop)
        model.adapter = None  # it comes after the last layer, and not every family has one
        self.model = model
        self.normalise = extractor.do_normalize
        # "stable": layers norm their input instead of their output, and the last one's output is normed by `finish`
        self.stable = getattr(config, "do_stable_layer_norm", False)
        self.freeze_()

    def front(self, waves: Tensor, lengths: Tensor) -> tuple[Tensor, Tensor]:
        """The waves (B, T, 1), each to mean 0 and variance 1 if the checkpoint was trained so."""
        if self.normalise:
            inside = valid(lengths, waves.shape[1])
            waves = waves - (waves.sum(dim=1) / lengths)[:, None]
            variance = (waves * inside).square().sum(dim=1) / lengths
            waves = waves / (variance + 1e-7).sqrt()[:, None] * inside
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

    def layer(self, index: int, x: Tensor, context: Tensor) -> Tensor:
        return self.model.encoder.layers[index - 1](x, attention_mask=context)

    def finish(self, x: Tensor) -> Tensor:
        return self.model.encoder.layer_norm(x) if self.stable else x

    def parts(self) -> list[list[nn.Module | nn.Parameter]]:
        model, encoder = self.model, self.model.encoder
        finish = [encoder.layer_norm] if self.stable else []
        embed = [model.feature_projection, encoder.pos_conv_embed, encoder.dropout]
        embed += [] if self.stable else [encoder.layer_norm]
        embed += [model.masked_spec_embed] if hasattr(model, "masked_spec_embed") else []
        return [[model.feature_extractor], embed, *([layer] for layer in encoder.layers), finish]

    def architecture(self) -> dict[str, Any]:
        config = self.model.config
        return {"family": config.model_type, "config": _plain(config), "extractor": {"do_normalize": self.normalise}}

    def _positions(self, x: Tensor, n: Tensor) -> Tensor:
        """The positional convolutions; beyond the utterance each sees zeros, as at the end of a batch."""
        embedding = self.model.encoder.pos_conv_embed
        if not hasattr(embedding, "layers"):
            return embedding(x)
        for layer in embedding.layers:  # data2vec stacks several
            x = self._zeroed(layer(x.mT).mT, n)
        return x

    def _augmented(self, x: Tensor, n: Tensor) -> Tensor:
        """SpecAugment (Park et al. 2019) with the checkpoint's settings, in training."""
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

    def context(self, x: Tensor, n: Tensor) -> tuple[Tensor, Tensor]:
        """Which frames may be attended to (B, 1, 1, F), and the bias that all layers share (heads, F, F)."""
        bias = self.model.encoder.layers[0].attention.compute_bias(x.shape[1], x.shape[1])
        return super().context(x, n), bias

    def layer(self, index: int, x: Tensor, context: tuple[Tensor, Tensor]) -> Tensor:
        layer = self.model.encoder.layers[index - 1]
        if self.stable:
            x = x + layer.dropout(gated_attention(layer.attention, layer.layer_norm(x), *context))
            return x + layer.feed_forward(layer.final_layer_norm(x))
        x = layer.layer_norm(x + layer.dropout(gated_attention(layer.attention, x, *context)))
        return layer.final_layer_norm(x + layer.feed_forward(x))

    def _dropped(self, index: int) -> bool:
        return index > 1 and super()._dropped(index)  # the first layer is never dropped


FAMILIES: dict[str, type[SpeechEncoder]] = {
    "wav2vec2": Wav2Vec2,
    "hubert": Wav2Vec2,
    "data2vec-audio": Wav2Vec2,
    "wavlm": WavLM,
    "whisper": Whisper,
}
"""transformers' model_type → the class that runs it."""
KNOWN = ", ".join(FAMILIES)


def masked_group_norm(x: Tensor, n: Tensor, norm: nn.GroupNorm) -> Tensor:
    """A group norm with a group per channel, its statistics over the valid frames of each utterance alone.

    x: (B, K, F)   n: (B,) valid frames   returns: (B, K, F)
    """
    inside = valid(n, x.shape[2])[:, None]
    count = n[:, None, None]
    x = x.float()  # sums over thousands of frames
    x = x - (x * inside).sum(dim=2, keepdim=True) / count
    variance = (x * inside).square().sum(dim=2, keepdim=True) / count
    return x * (variance + norm.eps).rsqrt() * norm.weight[:, None] + norm.bias[:, None]


def gated_attention(attention: nn.Module, x: Tensor, allowed: Tensor, bias: Tensor) -> Tensor:
    """WavLM's self-attention: position bias times a gate of the query, then scaled dot products.

    attention: a WavLMAttention   x: (B, F, H)   allowed: (B, 1, 1, F)   bias: (heads, F, F)   returns: (B, F, H)
    """
    heads = x.unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)  # (B, heads, F, H / heads)
    gates = attention.gru_rel_pos_linear(heads).unflatten(-1, (2, 4)).sum(-1).sigmoid()
    gate = gates[..., :1] * (gates[..., 1:] * attention.gru_rel_pos_const - 1) + 2  # (B, heads, F, 1)
    query, key, value = (
        project(x).unflatten(-1, (attention.num_heads, -1)).transpose(1, 2)
        for project in (attention.q_proj, attention.k_proj, attention.v_proj)
    )
    mask = (gate * bias).masked_fill(~allowed, -torch.inf).to(query)
    dropout = attention.dropout if attention.training else 0.0
    out = F.scaled_dot_product_attention(query, key, value, mask, dropout)
    return attention.out_proj(out.transpose(1, 2).flatten(2))


def span_mask(n: Tensor, size: int, share: float, length: int, least: int) -> Tensor:
    """Random spans of `length`, about `share` of each row before overlaps, at least `least` spans.

    n: (B,) how much of each row there is; rows shorter than one span have none   returns: (B, size) bool

    transformers' own draws from numpy's global generator and raises on short rows; this one draws from torch's.
    """
    starts = (n - length + 1).clamp_min(0)
    wanted = share * n / length + torch.rand(len(n), device=n.device)  # rounded up or down by chance
    count = wanted.long().clamp_min(least).minimum(starts)
    scores = torch.rand(len(n), size, device=n.device).masked_fill(~valid(starts, size), 2)
    started = scores.argsort(dim=1).argsort(dim=1) < count[:, None]  # the `count` smallest, so without repetition
    spans = started.cumsum(dim=1)
    spans[:, length:] -= spans[:, :-length].clone()
    return spans > 0


def _model(config: PreTrainedConfig, name: str) -> PreTrainedModel:
    """The encoder in float32, all its weights from the checkpoint."""
    options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    loader = AutoModel
    if config.model_type == "whisper":
        loader = WhisperEncoder
        options["key_mapping"] = {r"^(model\.)?encoder\.": ""}  # the encoder's part of a whole Whisper
    # weights that are missing or of another shape would silently be random: they are looked for here instead
    model, loaded = _from_hub(loader, name, output_loading_info=True, ignore_mismatched_sizes=True, **options)
    # a fine-tuned checkpoint may lack the mask's embedding, which only SpecAugment uses
    faults = [key for key in loaded["missing_keys"] if key != "masked_spec_embed" and not key.startswith("adapter.")]
    faults += [key for key, *_ in loaded["mismatched_keys"]]
    if faults:
        raise ValueError(
            f"{name} does not fill {len(faults)} weights of its encoder, for example {min(faults)}; "
            f"give a complete {config.model_type} checkpoint"
        )
    return model


def _extractor(config: PreTrainedConfig, name: str) -> Any:
    """The checkpoint's preprocessing; its family's default where the checkpoint does not say."""
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError):
        whisper = config.model_type == "whisper"
        return WhisperFeatureExtractor(config.num_mel_bins) if whisper else Wav2Vec2FeatureExtractor()
    if extractor.sampling_rate != SAMPLE_RATE:
        raise ValueError(f"{name} hears {extractor.sampling_rate} Hz; utterances are at {SAMPLE_RATE} Hz")
    return extractor


def _from_hub(loader: Any, name: str, **options: Any) -> Any:
    """`loader.from_pretrained`, its errors with their cure; never code that comes with a checkpoint."""
    try:
        with _quiet(os.path.isdir(name)):
            return loader.from_pretrained(name, trust_remote_code=False, **options)
    except OSError as error:
        if os.path.isdir(name):
            cure = "it needs config.json and model.safetensors (pickled weights are not read: save_pretrained anew)"
            raise ValueError(f"{name} is no complete checkpoint: {_first_line(error)}; {cure}") from error
        raise ValueError(
            f"encoder {name!r} is no local folder and cannot be had from the hub: {_first_line(error)}; "
            "give a local folder, or set HF_HUB_OFFLINE=0 to download it"
        ) from error
    except ValueError as error:
        raise ValueError(
            f"{name} is no speech encoder that is known here: {_first_line(error)}; the supported families are {KNOWN}"
        ) from error


@contextmanager
def _quiet(local: bool) -> Iterator[None]:
    """Without transformers' report of weights that are not the encoder's, and without bars unless it downloads."""
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    if local:
        logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def _first_line(error: Exception) -> str:
    return str(error).strip().splitlines()[0]


def _family(model_type: str, name: str) -> type[SpeechEncoder]:
    if model_type not in FAMILIES:
        raise ValueError(f"{name} is of type {model_type!r}; the supported families are {KNOWN}")
    return FAMILIES[model_type]


def _plain(config: PreTrainedConfig) -> dict[str, Any]:
    """The configuration as JSON, without the place that it came from."""
    values = config.to_diff_dict()
    return {key: value for key, value in values.items() if key not in ("_name_or_path", "model_type", "dtype")}
