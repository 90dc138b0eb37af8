"""Waves at one rate to 16-bit samples at another: the same samples for a file and for an array with its values.

Nothing here needs torch or pandas, since it runs in decoding processes too; see `decoding`.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterable, Iterator
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

BLOCK = 2**20
"""Samples that are converted at a time."""

_FINEST = 100_000  # largest denominator of a ratio of rates: the filter has 2 · _CROSSINGS values for each
_CROSSINGS = 128  # of zero, on each side of the filter's middle
_CUTOFF = 0.99  # of the lower Nyquist frequency, where the filter is 6 dB down
_BETA = 9.0  # of the Kaiser window: 90 dB


def int16(wave: NDArray[np.floating]) -> NDArray[np.int16]:
    """Round (T,) samples between -1 and 1 to 16 bits; louder ones are clipped."""
    return np.rint(wave * 32768).clip(-32768, 32767).astype("<i2")


def resampled(blocks: Iterable[NDArray[np.float32]], rate: int, target: int) -> Iterator[NDArray[np.float32]]:
    """Resample (T,) blocks from one rate to another by a polyphase filter.

    The result is to the bit as if there were one block. Every block is filtered with the samples of its neighbours
    that the filter reaches, and silence before the first.
    """
    if rate == target:
        yield from blocks
        return
    from scipy.signal import resample_poly  # takes long to import

    factor, divisor = ratio(rate, target).as_integer_ratio()
    filter = _low_pass(max(factor, divisor))
    reach = divisor * math.ceil(len(filter) / factor / divisor)  # samples; a multiple of `divisor`, for the phase
    first = reach // divisor * factor  # of the resampled samples
    buffer = np.zeros(reach, np.float32)
    for block in blocks:
        buffer = np.concatenate([buffer, block])
        ready = (len(buffer) - 2 * reach) // divisor * divisor
        if ready > 0:
            wave = resample_poly(buffer, factor, divisor, window=filter)
            yield wave[first : (reach + ready) // divisor * factor]
            buffer = buffer[ready:]
    yield resample_poly(buffer, factor, divisor, window=filter)[first:]


def ratio(rate: int, target: int) -> Fraction:
    """Return the ratio of two rates, or the nearest one that needs no filter of tens of millions of values.

    That is so for rates above 100 kHz alone, and makes less than 36 ms an hour.
    """
    return Fraction(target, rate).limit_denominator(_FINEST)


@functools.lru_cache(maxsize=4)
def _low_pass(rate: int) -> NDArray[np.float32]:
    """Return a Kaiser-windowed sinc for a lower Nyquist frequency of 1 / `rate`.

    For 16 kHz it is flat to 7.7 kHz, 3 dB down at 7.89 kHz, and 90 dB down from 8.1 kHz on. It is made a block at a
    time, since the filter of an odd rate is long.
    """
    from scipy.special import i0  # takes long to import

    reach = _CROSSINGS * rate
    half = np.empty(reach + 1, np.float32)  # from the middle on
    for begin in range(0, len(half), BLOCK):
        n = np.arange(begin, min(begin + BLOCK, len(half)))
        half[n] = np.sinc(_CUTOFF * n / rate) * i0(_BETA * np.sqrt(1 - (n / reach) ** 2))
    half /= np.float32(2 * half.sum(dtype=np.float64) - half[0])
    return np.concatenate([half[:0:-1], half])
