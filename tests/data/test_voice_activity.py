"""Voice activity: what the network is given, and what it says of real speech."""

import numpy as np
import pytest
import soundfile
import torch

from helpers.corpus_files import real
from ipr_core.data import voice_activity
from ipr_core.data.voice_activity import FRAME, speech


@pytest.fixture(scope="module")
def clip():
    """Twenty seconds of a hum that comes and goes, in noise, and a last frame that is not whole."""
    t = np.arange(20 * 16_000 - 100) / 16_000
    wave = np.sin(2 * np.pi * 120 * t) * (np.sin(2 * np.pi * t) > 0) + np.random.default_rng(0).normal(0, 0.1, len(t))
    return (3_000 * wave).astype(np.int16)


def test_it_is_what_silero_says_of_the_whole_clip(clip):
    probabilities = speech([clip], 0)
    assert probabilities.dtype == np.float32
    assert len(probabilities) == -(-len(clip) // FRAME)
    np.testing.assert_array_equal(probabilities, voice_activity._network().audio_forward(clip / np.float32(32768)))


def test_some_seconds_of_a_clip_are_read_at_a_time(clip):
    class Asked(np.ndarray):
        def __getitem__(self, part):
            lengths.append(part.stop - part.start)
            return np.asarray(self)[part]

    lengths: list[int] = []
    speech([clip.view(Asked)], 0)
    assert sum(lengths) == len(clip)
    assert max(lengths) < len(clip)


def test_the_threads_of_torch_stay_as_many(clip):
    threads = torch.get_num_threads()
    torch.set_num_threads(threads + 1)
    voice_activity._network.cache_clear()
    try:
        speech([clip], 0)
        assert torch.get_num_threads() == threads + 1
    finally:
        torch.set_num_threads(threads)


def test_in_a_recording_of_real_speech_it_hears_the_pauses():
    paths = sorted((real("emodb") / "wav").glob("*.wav"))[::60]
    silence = np.zeros(32_000, np.int16)
    waves = [soundfile.read(path, dtype="int16")[0] for path in paths]
    probabilities = speech([np.concatenate([part for wave in waves for part in (silence, wave)])], 0)
    sounds = np.concatenate([np.repeat([False, True], [len(silence), len(wave)]) for wave in waves])
    frames = np.pad(sounds, (0, -len(sounds) % FRAME)).reshape(-1, FRAME).mean(axis=1)
    assert probabilities[frames == 0].mean() < 0.1
    assert probabilities[frames == 1].mean() > 0.8
