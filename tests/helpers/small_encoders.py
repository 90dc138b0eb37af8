"""Small encoders of every family with random weights, as transformers makes and saves them."""

from functools import cache

import torch
import transformers

from helpers.padding import SMALL

LARGE = {"feat_extract_norm": "layer", "do_stable_layer_norm": True, "conv_bias": True}
CONFIGS = {
    "wav2vec2-base": transformers.Wav2Vec2Config(**SMALL),
    "wav2vec2-large": transformers.Wav2Vec2Config(**SMALL, **LARGE),
    "hubert-base": transformers.HubertConfig(**SMALL),
    "hubert-large": transformers.HubertConfig(**SMALL, **LARGE),
    "hubert-batch-norm": transformers.HubertConfig(**SMALL, conv_pos_batch_norm=True),
    "wavlm-base": transformers.WavLMConfig(**SMALL),
    "wavlm-large": transformers.WavLMConfig(**SMALL, **LARGE),
    "data2vec-audio": transformers.Data2VecAudioConfig(
        **(SMALL | {"num_conv_pos_embeddings": 3}), conv_pos_kernel_size=7
    ),
    "whisper": transformers.WhisperConfig(
        d_model=32, encoder_layers=2, decoder_layers=1, encoder_attention_heads=4, decoder_attention_heads=4,
        encoder_ffn_dim=48, decoder_ffn_dim=48, vocab_size=60, pad_token_id=0, bos_token_id=1, eos_token_id=2,
        decoder_start_token_id=1, max_source_positions=100, suppress_tokens=None, begin_suppress_tokens=None,
        dropout=0.1, encoder_layerdrop=0.5,
    ),
}  # fmt: skip


@cache
def random_model(name: str) -> transformers.PreTrainedModel:
    """Weights far enough from their small initial values that every path, biases and position bias too, matters."""
    torch.manual_seed(0)
    model = transformers.AutoModel.from_config(CONFIGS[name]).eval()
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += 0.1 * torch.randn_like(parameter)
        elif parameter.std() < 0.05:
            parameter.data *= 4
    for name, buffer in model.named_buffers():
        if name.endswith("running_mean"):
            buffer += 0.1 * torch.randn_like(buffer)
    return model
