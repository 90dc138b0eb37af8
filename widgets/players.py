"""Audio players with captions, their sound inside the page: a saved notebook needs no other file."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence

import numpy as np
import soundfile
from IPython.display import HTML
from numpy.typing import NDArray

from ipr_core.data.waves import SAMPLE_RATE, WaveStore
from ipr_core.texts import SENTENCE, in_html

LONGEST = 10.0
"""Seconds of a player, from the start of a longer utterance: a page with players stays light."""


def players(waves: WaveStore, rows: Sequence[int], captions: Sequence[str]) -> HTML:
    """Return a player with a caption for each of these utterances.

    rows: of `waves`, best fewer than ten   captions: one a row, plain text
    """
    texts = [in_html(caption, SENTENCE) for caption in captions]
    lines = [
        f'<div><audio controls preload="none" aria-label="{text}" src="{data_uri(waves[row])}"></audio> {text}</div>'
        for row, text in zip(rows, texts, strict=True)
    ]
    return HTML("\n".join(lines) or "No utterance to listen to.")


def data_uri(wave: NDArray[np.int16]) -> str:
    """Return an address that holds the MP3 of (T,) samples at 16 kHz."""
    return "data:audio/mpeg;base64," + base64.b64encode(mp3(wave)).decode()


def mp3(wave: NDArray[np.int16]) -> bytes:
    """Return (T,) samples at 16 kHz as an MP3, which every browser plays."""
    file = io.BytesIO()
    soundfile.write(file, wave[: round(LONGEST * SAMPLE_RATE)], SAMPLE_RATE, format="MP3")
    return file.getvalue()


SILENCE = mp3(np.zeros(SAMPLE_RATE // 10, np.int16))
"""The sound of a player without an utterance."""
