"""Players of utterances."""

import base64
import io
import re

import numpy as np
import pytest
import soundfile

from ipr_widgets import players


def test_players_hold_the_sound_and_escape_their_captions():
    tone = (8000 * np.sin(2 * np.pi * 440 * np.arange(16_000) / 16_000)).astype(np.int16)
    page = players.players([tone, np.tile(tone, 12)], [1, 0], ["<b>", "second"]).data
    clips = [base64.b64decode(text) for text in re.findall('base64,([^"]+)', page)]
    sounds = [soundfile.read(io.BytesIO(clip)) for clip in clips]
    assert [round(len(samples) / rate) for samples, rate in sounds] == [10, 1]
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    spectrum = np.abs(np.fft.rfft(sounds[1][0]))
    assert spectrum.argmax() * 16_000 / len(sounds[1][0]) == pytest.approx(440, abs=2)


def test_no_sound_has_a_note():
    assert "No utterance" in players.players([], [], []).data
