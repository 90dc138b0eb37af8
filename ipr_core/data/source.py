"""A source: an audio file that has been checked, and where its samples lie."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from ipr_core.data import cache
from ipr_core.data.loudness import FRAME, is_silent

DECODER = "2"
"""The version of decoding and resampling. Whatever is made from samples and kept has it in its name."""
INT16 = np.dtype("<i2")


class Source(NamedTuple):
    """An audio file, and the file with its samples.

    That is the audio file itself, or a decoded one in the cache.
    """

    path: str
    digest: str
    """Of the file's bytes."""
    sound: str
    """The digest of its samples: the same for a copy in another format, if nothing was lost."""
    mapped: str
    """The file that holds the samples; `path` itself where nothing had to be decoded."""
    stamp: tuple[int, int]
    """Size and time of change of `mapped` when its samples were checked."""
    offset: int
    """Bytes before the first sample in `mapped`."""
    samples: int
    frames: bytes = b""
    """A bit per 10 ms, whether it can be heard; empty if all can."""
    note: str = ""
    """What is odd about the file, for the user."""
    channel: int = 0
    """The channel whose samples these are, counted from 1; 0: the average of all."""

    def silent_parts(self, first: NDArray[np.int64], last: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Return (n,) whether parts of the file are silent.

        first, last: (n,) the first sample of each part, and the one after its last
        """
        if not self.frames:
            return np.zeros(len(first), bool)
        audible = np.unpackbits(np.frombuffer(self.frames, np.uint8), count=self.samples // FRAME)
        total = np.append(0, audible.cumsum(dtype=np.int64))
        begin, end = -(-first // FRAME), last // FRAME  # whole frames of the part
        return is_silent(total[np.maximum(begin, end)] - total[begin], end - begin)

    def unchanged(self) -> bool:
        """Tell whether the samples are still those that were checked."""
        if stamp(self.mapped) == self.stamp:
            return True
        if self.mapped == self.path:
            return False
        array = cache.sealed(self.mapped, INT16, 1)  # another process may have decoded it too
        return array is not None and array[1] == self.sound


NOTHING = Source("", "", "", "", (0, 0), 0, 0)
"""In place of a file that cannot be used."""


def stamp(path: str | Path) -> tuple[int, int]:
    """Return a file's size and time of change, (0, 0) if it does not exist."""
    try:
        status = os.stat(path)
        return status.st_size, status.st_mtime_ns
    except OSError:
        return 0, 0
