"""Speech encoders (Eq. 1): waveforms to frames, each utterance as if it were alone.

`compact.py`, `spectrogram.py` and `alexnet.py` hold our own networks, `wav2vec2.py` and `whisper.py` those of Hugging
Face, which `pretrained.py` loads. Only `config` is imported here: encoders know nothing of data, runs or training.
"""

from __future__ import annotations

from typing import Any

from ipr_core.config import Encoder
from ipr_core.encoders import adapter
from ipr_core.encoders.adapter import merged_state
from ipr_core.encoders.compact import Compact
from ipr_core.encoders.encoder import EncoderError, SpeechEncoder, valid
from ipr_core.encoders.identity import checkpoint_digest

__all__ = [
    "EncoderError",
    "SpeechEncoder",
    "build_encoder",
    "checkpoint_digest",
    "load_encoder",
    "merged_state",
    "valid",
]


def load_encoder(choice: Encoder) -> SpeechEncoder:
    """Return the encoder that a configuration names, in evaluation mode, float32, on the CPU.

    raises EncoderError if it cannot be loaded, is of no supported family, or does not have the chosen layers
    """
    adapter.check(choice)
    if choice.encoder == "compact":
        return Compact(choice).eval()
    from ipr_core.encoders.pretrained import load_pretrained  # transformers takes seconds to import

    return load_pretrained(choice)


def build_encoder(architecture: dict[str, Any], choice: Encoder) -> SpeechEncoder:
    """Return the network of `SpeechEncoder.architecture()` with random weights, from torch's generator.

    It has no adapters, whatever the choice says: `merged_state` fits it.
    """
    if architecture["family"] == "compact":
        return Compact(choice).eval()
    from ipr_core.encoders.pretrained import build_pretrained

    return build_pretrained(architecture, choice)
