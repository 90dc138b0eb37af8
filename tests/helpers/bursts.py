"""Recordings of bursts and pauses, and a network that takes whatever is loud for speech."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ipr_core.data import voice_activity
from ipr_core.data.voice_activity import FRAME

RATE = 16_000


def record(path: Path, *frames: int, seed: int = 0) -> Path:
    """Write a recording of pauses and bursts, each so many frames long, a pause first."""
    levels = np.repeat([10.0 if i % 2 == 0 else 3_000.0 for i in range(len(frames))], frames)
    wave = np.random.default_rng(seed).normal(0, 1, len(levels) * FRAME) * np.repeat(levels, FRAME)
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, wave.astype(np.int16), RATE)
    return path


class Ears:
    """What was heard: the samples of every clip; with a limit, the clip after so many is interrupted."""

    def __init__(self) -> None:
        self.clips: list[int] = []
        self.limit: int | None = None

    def speech(self, clips, i):
        if len(self.clips) == self.limit:
            raise KeyboardInterrupt
        samples = clips[i]
        self.clips.append(len(samples))
        frames = np.pad(samples.astype(float), (0, -len(samples) % FRAME)).reshape(-1, FRAME)
        return (frames.std(axis=1) > 300).astype(np.float32)


def ears(monkeypatch: pytest.MonkeyPatch, cache: Path) -> Ears:
    """Hear loudness in place of speech from now on, with an empty cache."""
    heard = Ears()
    monkeypatch.setenv("IPR_CACHE", str(cache))
    monkeypatch.setattr(voice_activity, "speech", heard.speech)
    return heard
