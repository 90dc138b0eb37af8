"""Listening: audio players with captions, the sound inside the page, so that a saved notebook needs no file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from html import escape

import numpy as np
import soundfile
from IPython.display import HTML
from numpy.typing import NDArray

from ipr_core.data.waves import SAMPLE_RATE, WaveStore

LONGEST = 10.0
"""Seconds that are kept of a longer utterance, from its start: a page with players stays light."""


def players(waves: WaveStore, rows: Sequence[int], captions: Sequence[str]) -> HTML:
    """A player for each of these utterances, its caption beside it.

    rows: of `waves`, best fewer than ten   captions: one a row, plain text
    """
    lines = [
        f'<div><audio controls preload="none" aria-label="{escape(caption)}" src="{data_uri(waves[row])}"></audio> '
        f"{escape(caption)}</div>"
        for row, caption in zip(rows, captions, strict=True)
    ]
    return HTML("\n".join(lines) or "No utterance to listen to.")


def data_uri(wave: NDArray[np.int16]) -> str:
    """(T,) samples at 16 kHz as an address that holds their MP3."""
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(wave)).decode()


def mp3(wave: NDArray[np.int16]) -> bytes:
    """(T,) samples at 16 kHz as an MP3 that every browser plays, a tenth of the size of the samples themselves."""
    file = io.BytesIO()
    soundfile.write(file, wave[: round(LONGEST * SAMPLE_RATE)], SAMPLE_RATE, format="MP3")
    return file.getvalue()


SILENCE = mp3(np.zeros(SAMPLE_RATE // 10, np.int16))
"""What a player holds that has nothing to play."""
