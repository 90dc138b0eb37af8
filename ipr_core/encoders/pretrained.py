"""Pre-trained speech encoders of Hugging Face, loaded from a checkpoint or built from their description."""

from __future__ import annotations

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoFeatureExtractor,
    AutoModel,
    PreTrainedConfig,
    SequenceFeatureExtractor,
    Wav2Vec2FeatureExtractor,
    WhisperFeatureExtractor,
)
from transformers.models.whisper.modeling_whisper import WhisperEncoder
from transformers.utils import cached_file

from ipr_core.config import SAMPLE_RATE, Encoder
from ipr_core.encoders.adapter import adapt_
from ipr_core.encoders.checkpoint import check_configuration, loading
from ipr_core.encoders.encoder import EncoderError, SpeechEncoder
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
_OPTIONAL: dict[str, Any] = {
    "_raise_exceptions_for_missing_entries": False,
    "_raise_exceptions_for_connection_errors": False,
    "_raise_exceptions_for_gated_repo": False,
}


def load_pretrained(choice: Encoder) -> SpeechEncoder:
    """Load a checkpoint by hub id or local folder; see `ipr_core.encoders.load_encoder`."""
    name = choice.encoder
    with loading(name, KNOWN):
        values, _ = PreTrainedConfig.get_config_dict(name)
        check_configuration(values, name)
        _check_no_adapter(name)
        config = AutoConfig.from_pretrained(name, trust_remote_code=False)
        family = _family(config.model_type, name)
        extractor = _extractor(config, name)
        model = _model(config, name)
    encoder = family(model, extractor, choice)
    adapt_(encoder, choice)
    return encoder.eval()


def build_pretrained(architecture: dict[str, Any], choice: Encoder) -> SpeechEncoder:
    """Build the network of an `architecture()`, with random weights. raises EncoderError if it is of no family"""
    model_type = architecture["family"]
    family = _family(model_type, choice.encoder)
    check_configuration(architecture["config"], choice.encoder)
    config: Any = AutoConfig.for_model(model_type, **architecture["config"])
    whisper = model_type == "whisper"
    model: Any = WhisperEncoder(config) if whisper else AutoModel.from_config(config, dtype=torch.float32)
    extractor: Any = (WhisperFeatureExtractor if whisper else Wav2Vec2FeatureExtractor)(**architecture["extractor"])
    return family(model, extractor, choice).eval()


def _check_no_adapter(name: str) -> None:
    """Raise EncoderError for a checkpoint with an adapter: transformers would add it where peft is installed alone."""
    if cached_file(name, "adapter_config.json", **_OPTIONAL) is not None:
        raise EncoderError(
            f"{name} has an adapter of its own (adapter_config.json), which is not read; merge it into the weights "
            "by peft's merge_and_unload, save_pretrained(FOLDER), and give that FOLDER"
        )


def _family(model_type: str, name: str) -> type[Wav2Vec2] | type[Whisper]:
    if model_type not in FAMILIES:
        raise EncoderError(f"{name} is of type {model_type!r}; the supported families are {KNOWN}")
    return FAMILIES[model_type]


def _model(config: PreTrainedConfig, name: str) -> Any:
    """Load the encoder in float32, all its weights from the checkpoint."""
    options: dict[str, Any] = {"dtype": torch.float32, "use_safetensors": True}
    whisper = config.model_type == "whisper"
    if whisper:
        options["key_mapping"] = {r"^(model\.)?encoder\.": ""}  # the encoder's part of a whole Whisper
    # weights that are missing or of another shape would silently be random: they are refused here instead
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}
    loader: Any = WhisperEncoder if whisper else AutoModel
    model, report = loader.from_pretrained(name, trust_remote_code=False, **options)
    # a fine-tuned checkpoint may lack the mask's embedding, which only SpecAugment uses
    faults = [key for key in report["missing_keys"] if key != "masked_spec_embed" and not key.startswith("adapter.")]
    faults += [key for key, *_ in report["mismatched_keys"]]
    if faults:
        raise EncoderError(
            f"{name} does not fill {len(faults)} weights of its encoder, for example {min(faults)}; "
            f"give a complete {config.model_type} checkpoint"
        )
    _check_values(model, name)
    return model


def _check_values(model: Any, name: str) -> None:
    """Raise EncoderError if weights are not finite, or all of them are zero: nothing was trained there."""
    values = [parameter for parameter in model.parameters() if parameter.numel()]
    if not all(bool(value.isfinite().all()) for value in values):
        raise EncoderError(f"the weights of {name} are not all finite numbers; give a checkpoint that was saved whole")
    if not any(bool(value.any()) for value in values):
        raise EncoderError(f"the weights of {name} are all zero; give a trained checkpoint")


def _extractor(config: PreTrainedConfig, name: str) -> Any:
    """Load the checkpoint's preprocessing, or its family's default if the checkpoint has none."""
    if not _has_preprocessing(name):
        whisper = config.model_type == "whisper"
        return WhisperFeatureExtractor(config.num_mel_bins) if whisper else Wav2Vec2FeatureExtractor()
    values, _ = SequenceFeatureExtractor.get_feature_extractor_dict(name)
    check_configuration(values, name, "preprocessor_config.json")
    extractor = AutoFeatureExtractor.from_pretrained(name, trust_remote_code=False)
    kind = WhisperFeatureExtractor if config.model_type == "whisper" else Wav2Vec2FeatureExtractor
    if not isinstance(extractor, kind):
        raise EncoderError(f"{name} has the preprocessing of a {type(extractor).__name__}; it needs a {kind.__name__}")
    if extractor.sampling_rate != SAMPLE_RATE:
        raise EncoderError(f"{name} hears {extractor.sampling_rate} Hz; utterances are at {SAMPLE_RATE} Hz")
    return extractor


def _has_preprocessing(name: str) -> bool:
    """Tell whether a checkpoint says how waves are prepared; if it does, that must be read."""
    files = [cached_file(name, file, **_OPTIONAL) for file in ("preprocessor_config.json", "processor_config.json")]
    return any(file is not None for file in files)
