"""Log-mel front ends, without parameters and without a trace of padding or neighbours.

B batch, T samples, F frames, M mel bands.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F
from torchaudio.functional import melscale_fbanks

from ipr_core.config import SAMPLE_RATE
from ipr_core.encoders.encoder import valid


def mel_filters(bands: int) -> Tensor:
    """Return (201, M) triangular filters from 50 Hz to 8 kHz, for windows of 25 ms."""
    return melscale_fbanks(201, 50.0, SAMPLE_RATE / 2, bands, SAMPLE_RATE, "slaney", "slaney")


def mel_power(waves: Tensor, lengths: Tensor, filters: Tensor, hop: int = 160) -> tuple[Tensor, Tensor]:
    """Return power in mel bands, in Hann windows every `hop` samples.

    The end is padded with zeros, as Whisper pads. Mirrored, it would depend on how long the batch is.

    waves: (B, T), zero beyond (B,) lengths   filters: (n_fft // 2 + 1, M)
    returns: (B, F, M), and how many frames have their middle inside the utterance (B,)
    """
    n_fft = 2 * (filters.shape[0] - 1)
    half = n_fft // 2
    padded = torch.cat([waves[:, 1 : half + 1].flip(1), F.pad(waves, (0, half))], dim=1)
    window = torch.hann_window(n_fft, device=waves.device)
    spectrum = torch.stft(padded, n_fft, hop, window=window, center=False, return_complex=True)
    frames = (waves.shape[1] + hop - 1) // hop
    power = spectrum[:, :, :frames].abs().square()  # (B, n_fft // 2 + 1, F)
    return power.mT @ filters, (lengths + hop - 1) // hop


def log_mel(waves: Tensor, lengths: Tensor, filters: Tensor) -> tuple[Tensor, Tensor]:
    """Return log-mel frames (B, F, M), zero beyond the valid ones, and these (B,).

    They are shifted and scaled by constants, so that loudness and spectral tilt stay: both tell of emotion.
    waves: (B, T), zero beyond (B,) lengths   filters: (n_fft // 2 + 1, M)
    """
    power, n = mel_power(waves, lengths, filters)
    mask = valid(n, power.shape[1])[..., None]
    return ((power + 1e-6).log() + 5) * mask / 4, n  # natural logarithms of speech lie about -5, give or take 4
