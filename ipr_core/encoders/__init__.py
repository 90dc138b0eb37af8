"""Speech encoders by name: `compact.py` holds our own small one, `pretrained.py` those of Hugging Face."""

from __future__ import annotations

from typing import Any

from ipr_core.config import Encoder
from ipr_core.encoders.compact import Compact
from ipr_core.encoders.encoder import SpeechEncoder, valid

__all__ = ["SpeechEncoder", "build_encoder", "load_encoder", "valid"]


def load_encoder(choice: Encoder) -> SpeechEncoder:
    """The encoder that a configuration asks for; in evaluation mode, float32, on the CPU.

    raises ValueError where it cannot be had, is of no supported family, or does not have the chosen layers
    """
    if choice.encoder == "compact":
        return Compact(choice).eval()
    from ipr_core.encoders.pretrained import load_pretrained  # transformers takes seconds to import

    return load_pretrained(choice)


def build_encoder(architecture: dict[str, Any], choice: Encoder) -> SpeechEncoder:
    """The network of `SpeechEncoder.architecture()` with random weights, from torch's generator."""
    if architecture["family"] == "compact":
        return Compact(choice).eval()
    from ipr_core.encoders.pretrained import build_pretrained

    return build_pretrained(architecture, choice)
