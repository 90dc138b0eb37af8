"""Pre-trained speech encoders of Hugging Face, loaded from a checkpoint or built from their description."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder

from ipr_core.config import SAMPLE_RATE, Encoder
from ipr_core.encoders.checkpoint import from_hub
from ipr_core.encoders.encoder import SpeechEncoder
from ipr_core.encoders.wav2vec2 import Wav2Vec2, WavLM
from ipr_core.encoders.whisper import Whisper

FAMILIES: dict[str, type[Wav2Vec2] | type[Whisper]] = {
    "wav2vec2": Wav2Vec2,
    "hubert": Wav2Vec2,
    "data2vec-audio": Wav2Vec2,
    "wavlm": WavLM,
    "whisper": Whisper,
}
"""transformers' model_type → the class that runs it."""
KNOWN = ", ".join(FAMILIES)


def load_pretrained(choice: Encoder) -> SpeechEncoder:
    """Load a checkpoint by hub id or local folder; see `ipr_core.encoders.load_encoder`."""
    config = from_hub(AutoConfig, choice.encoder, KNOWN)
    family = _family(config.model_type, choice.encoder)
    extractor = _extractor(config, choice.encoder)
    model = _model(config, choice.encoder)
    return family(model, extractor, choice).eval()


def build_pretrained(architecture: dict[str, Any], choice: Encoder) -> SpeechEncoder:
    """Build the network of an `architecture()`, with random weights."""
    model_type = architecture["family"]
    config: Any = AutoConfig.for_model(model_type, **architecture["config"])
    whisper = model_type == "whisper"
    model: Any = WhisperEncoder(config) if whisper else AutoModel.from_config(config, dtype=torch.float32)
    extractor: Any = (WhisperFeatureExtractor if whisper else Wav2Vec2FeatureExtractor)(**architecture["extractor"])
    return _family(model_type, choice.encoder)(model, extractor, choice).eval()


def _family(model_type: str, name: str) -> type[Wav2Vec2] | type[Whisper]:
    if model_type not in FAMILIES:
        raise ValueError(f"{name} is of type {model_type!r}; the supported families are {KNOWN}")
    return FAMILIES[model_type]


def _model(config: PreTrainedConfig, name: str) -> Any:
    """Load the encoder in float32, all its weights from the checkpoint."""
    options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    whisper = config.model_type == "whisper"
    if whisper:
        options["key_mapping"] = {r"^(model\.)?encoder\.": ""}  # the encoder's part of a whole Whisper
    # weights that are missing or of another shape would silently be random: they are refused here instead
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    model, report = from_hub(WhisperEncoder if whisper else AutoModel, name, KNOWN, **options)
    # a fine-tuned checkpoint may lack the mask's embedding, which only SpecAugment uses
    faults = [key for key in report["missing_keys"] if key != "masked_spec_embed" and not key.startswith("adapter.")]
    faults += [key for key, *_ in report["mismatched_keys"]]
    if faults:
        raise ValueError(
            f"{name} does not fill {len(faults)} weights of its encoder, for example {min(faults)}; "
            f"give a complete {config.model_type} checkpoint"
        )
    return model


def _extractor(config: PreTrainedConfig, name: str) -> Any:
    """Load the checkpoint's preprocessing, or its family's default if the checkpoint has none."""
    try:
        extractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
    except (OSError, ValueError):
        whisper = config.model_type == "whisper"
        return WhisperFeatureExtractor(config.num_mel_bins) if whisper else Wav2Vec2FeatureExtractor()
    if extractor.sampling_rate != SAMPLE_RATE:
        raise ValueError(f"{name} hears {extractor.sampling_rate} Hz; utterances are at {SAMPLE_RATE} Hz")
    return extractor
