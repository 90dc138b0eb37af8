"""Waves in memory, made ready as the waves of audio files are: checked, resampled, 16 bits a sample."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ipr_core.config import SAMPLE_RATE
from ipr_core.data.audio import RATES, check_form
from ipr_core.data.loudness import Channels
from ipr_core.data.resampling import BLOCK, int16, resampled
from ipr_core.data.unusable import Unusable
from ipr_core.data.waves import MIN_SECONDS, middle

_ONE_CHANNEL = "give a 1-D array, of several channels their average"
_log = logging.getLogger(__name__)
_CAST = "give floats between -1 and 1, or int16"


def clips(waves: Iterable[ArrayLike], rate: int) -> Iterator[NDArray[np.int16]]:
    """Yield the samples at 16 kHz of waves, to the bit those of a file that holds the wave's values.

    waves: (T,) each of its own length, floats with full scale at 1, or int16   rate: their samples per second
    raises ValueError with the wave's number, the problem and the cure, for one that `WaveStore` would refuse as a file;
    but silence is heard
    """
    _check_rate(rate)
    for i, wave in enumerate(waves):
        try:
            yield _clip(np.asarray(wave), int(rate))
        except Unusable as fault:
            raise ValueError(f"waves[{i}] {fault.problem}; {fault.cure}") from None


def middles(waves: Iterable[ArrayLike], rate: int, max_seconds: float) -> Iterator[NDArray[np.int16]]:
    """Yield the clips of waves, of a longer one its middle, and log at the end of how many that was all.

    raises ValueError as `clips` does
    """
    count = longer = 0
    for clip in clips(waves, rate):
        count += 1
        longer += len(clip) > round(max_seconds * SAMPLE_RATE)
        yield middle(clip, max_seconds).copy()
    if longer:
        sentence = "of %d of %d waves only the middle was heard: they are longer than %g s; cut them into utterances"
        _log.warning(f"{sentence}, as `ipr segment` cuts files", longer, count, max_seconds)


def _check_rate(rate: Any) -> None:
    lowest, highest = RATES
    if not isinstance(rate, int | float | np.number) or not lowest <= rate <= highest or rate != int(rate):
        raise ValueError(
            f"rate is {rate!r}; give the samples per second of the waves, a whole number from {lowest:,} to {highest:,}"
        )


def _clip(wave: NDArray[Any], rate: int) -> NDArray[np.int16]:
    if wave.ndim != 1:
        cure = "give a list of waves, [wave] for one" if wave.ndim == 0 else _ONE_CHANNEL
        raise Unusable(f"has {wave.ndim} axes, of shape {wave.shape}", cure)
    if wave.size and wave.dtype != np.int16 and wave.dtype.kind != "f":
        raise Unusable(f"has samples of type {wave.dtype}", _CAST)
    check_form(rate, 1, len(wave))
    clip = np.concatenate([int16(part) for part in resampled(_blocks(wave), rate, SAMPLE_RATE)])
    if len(clip) < MIN_SECONDS * SAMPLE_RATE:
        problem = f"lasts {len(clip) / SAMPLE_RATE:.3g} s; the shortest allowed is {MIN_SECONDS} s"
        raise Unusable(problem, "give a longer one, or leave it out")
    return clip


def _blocks(wave: NDArray[Any]) -> Iterator[NDArray[np.float32]]:
    """Yield (T,) samples as float32, a block at a time; raises Unusable if they cannot be heard as they are."""
    full_scale = np.float32(32768 if wave.dtype == np.int16 else 1)
    channels = Channels(1)
    for begin in range(0, len(wave), BLOCK):
        block = wave[begin : begin + BLOCK].astype(np.float32) / full_scale
        if not np.isfinite(block).all():
            raise Unusable("has samples that are NaN or infinite", "take them out, or leave the wave out")
        channels.update(block[:, None], block)
        yield block
    channels.check()
