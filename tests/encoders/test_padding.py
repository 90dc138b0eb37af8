"""No norm and no convolution of any variant of wav2vec 2.0 hears the padding of a batch."""

import pytest
import torch
import transformers

from helpers.padding import SMALL, assert_alone_as_padded, batch
from ipr_core.config import Encoder
from ipr_core.encoders import build_encoder
from ipr_core.encoders.checkpoint import plain_config

QUIET = {
    "hidden_dropout": 0.0, "attention_dropout": 0.0, "activation_dropout": 0.0, "feat_proj_dropout": 0.0,
    "layerdrop": 0.0, "mask_time_prob": 0.0,
}  # fmt: skip
"""No random numbers in training, so that its frames can be compared."""
VARIANTS = {
    "wav2vec2": (transformers.Wav2Vec2Config, {}),
    "hubert": (transformers.HubertConfig, {}),
    "hubert-batch-norm": (transformers.HubertConfig, {"conv_pos_batch_norm": True}),
    "hubert-plain-projection": (transformers.HubertConfig, {"feat_proj_layer_norm": False}),
    "wavlm": (transformers.WavLMConfig, {}),
    "data2vec-audio": (transformers.Data2VecAudioConfig, {"num_conv_pos_embeddings": 3, "conv_pos_kernel_size": 7}),
}


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("stable", [False, True])
@pytest.mark.parametrize("norm", ["group", "layer"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_no_norm_of_any_variant_hears_padding(variant, norm, stable, bias):
    make, settings = VARIANTS[variant]
    form = {"feat_extract_norm": norm, "do_stable_layer_norm": stable, "conv_bias": bias}
    config = make(**SMALL | QUIET | settings | form)
    architecture = {"family": config.model_type, "config": plain_config(config), "extractor": {"do_normalize": bias}}
    torch.manual_seed(0)
    encoder = build_encoder(architecture, Encoder(encoder=variant, layers=(0, 1, -1)))
    for value in [*encoder.parameters(), *(b for n, b in encoder.named_buffers() if n.endswith("running_mean"))]:
        value.data += 0.2 * torch.randn_like(value)
    random = torch.Generator().manual_seed(1)
    lengths = torch.randint(400, 24_000, (5,), generator=random).sort(descending=True).values.tolist()
    assert_alone_as_padded(encoder, *batch(tuple(lengths)))
    assert_alone_as_padded(encoder.train(), *batch(tuple(lengths)))
