"""Sound and silence: which stretches of a clip can be heard at all, and why a silent one is silent."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipr_core.data.unusable import Unusable

Counts = NDArray[np.integer] | int

FRAME = 160
"""Samples that are heard or not as one: 10 ms at 16 kHz."""
FAINTEST = 16
"""Steps of 65,536 from the lowest to the highest sample of a frame that is silent: 72 dB below full scale."""
FEWEST_FRAMES = 5
"""A clip with less sound than that, 0.05 s, is silent: it has a click, or what a filter leaves."""

_BEYOND = 1.1  # samples up to here are slight overs, as a lossy codec makes them
_MOST_BEYOND = 0.01  # share of the samples that may lie farther
_CANCELLED = 1e-4  # variance of the average of the channels over theirs: 40 dB less


def sounding(samples: NDArray[np.int16]) -> NDArray[np.bool_]:
    """Return (F,) whether each whole frame of (T,) samples can be heard."""
    frames = samples[: len(samples) // FRAME * FRAME].reshape(-1, FRAME)
    return frames.max(axis=1).astype(np.int32) - frames.min(axis=1) > FAINTEST


def is_silent(audible: Counts, frames: Counts) -> Any:
    """Tell which clips are silent; one of less than 0.1 s is too short to tell.

    audible: (n,) how many frames of a clip can be heard   frames: (n,) how many lie within it
    returns: (n,) whether it is silent
    """
    return (frames > 2 * FEWEST_FRAMES - 2) & (audible < FEWEST_FRAMES)


SILENCE = "is silent: it has less than 0.05 s of sound above -72 dB", "give the sound, or take the utterance out"
"""Problem and cure of a silent clip."""


class Channels:
    """Sums over the channels of a file, block by block."""

    def __init__(self, channels: int):
        self._count = self._overs = 0
        self._peak = 0.0
        self._lowest, self._highest = np.full(channels, np.inf), np.full(channels, -np.inf)
        self._sums = np.zeros((2, channels + 1))  # of values and squares, of each channel and of their average

    def update(self, samples: NDArray[np.float32], mono: NDArray[np.float32]) -> None:
        """Add a block.   samples: (T, channels) with full scale at 1   mono: (T,) their average"""
        self._count += len(samples)
        self._lowest = np.minimum(self._lowest, samples.min(axis=0))
        self._highest = np.maximum(self._highest, samples.max(axis=0))
        peak = float(max(-self._lowest.min(), self._highest.max()))
        if peak > _BEYOND:
            self._overs += int((np.abs(samples) > _BEYOND).any(axis=1).sum())
        self._peak = max(self._peak, peak)
        if samples.shape[1] > 1:
            values = np.concatenate([samples, mono[:, None]], axis=1)
            self._sums += values.sum(axis=0, dtype=float), np.einsum("tc,tc->c", values, values, dtype=float)

    def check(self) -> None:
        """Raise Unusable if many samples lie beyond full scale, or if the channels cancel each other."""
        if self._overs > _MOST_BEYOND * self._count:
            share = self._overs / self._count
            problem = (
                f"goes beyond full scale: {share:.0%} of its samples do, the largest is {self._peak:,.6g} and not 1"
            )
            raise Unusable(problem, "write it again with samples between -1 and 1, or as 16-bit numbers")
        mean, square = self._sums / max(1, self._count)
        *channels, average = square - mean**2
        if len(channels) > 1 and self._spread > FAINTEST and average < _CANCELLED * np.mean(channels):
            problem = f"is silent: its {len(channels)} channels cancel each other when they are averaged"
            raise Unusable(problem, "give the file with one of its channels")

    def refuse_silence(self, rate: int, target: int) -> None:
        """Raise Unusable for a file that is silent once it is decoded, with the reason.

        rate: samples per second of the file   target: of the decoded one
        """
        cure = SILENCE[1]
        if not self._spread:
            raise Unusable(f"is silent: every sample is {float(self._highest.max()):.3g}", cure)
        if self._spread <= FAINTEST:
            level = 20 * np.log10(self._spread / 65536)
            problem = f"is silent: its level is {level:.0f} dB, of which 16 bits hold nothing"
            raise Unusable(problem, "make it louder, or take the utterance out")
        if rate > target:
            raise Unusable(f"is silent: it has less than 0.05 s of sound below {target / 2000:g} kHz", cure)
        raise Unusable(*SILENCE)

    @property
    def _spread(self) -> float:
        """Steps of 65,536 from the lowest to the highest sample of the widest channel."""
        return float((self._highest - self._lowest).max()) * 32768
