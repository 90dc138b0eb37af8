"""Padded waves, and the check that an encoder does not hear the padding."""

from __future__ import annotations

import torch

from ipr_core.encoders import SpeechEncoder, valid

LENGTHS = (24_000, 9_000, 1_600)
SMALL = {
    "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48, "conv_dim": (16,) * 7,
    "num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 4, "layerdrop": 0.5,
}  # fmt: skip
"""Sizes of a transformers' model of wav2vec 2.0's kind."""


def batch(lengths: tuple[int, ...] = LENGTHS) -> tuple[torch.Tensor, torch.Tensor]:
    n = torch.tensor(lengths)
    waves = 0.1 * torch.randn(len(n), max(lengths), generator=torch.Generator().manual_seed(1))
    return waves * valid(n, max(lengths)), n


def assert_alone_as_padded(encoder: SpeechEncoder, waves: torch.Tensor, lengths: torch.Tensor) -> None:
    with torch.no_grad():
        padded, n = encoder(waves, lengths)
        for i, length in enumerate(lengths):
            single, m = encoder(waves[i : i + 1, :length], lengths[i : i + 1])
            assert m == n[i] == single.shape[1]
            torch.testing.assert_close(padded[i, : n[i]], single[0], atol=1e-5, rtol=1e-5)
            assert not padded[i, n[i] :].any()
