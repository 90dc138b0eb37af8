"""Silence: what cannot be heard is refused, with the reason; what can, is not."""

import numpy as np
import pytest

from helpers.sounds import problem, sine, table, wav
from ipr_core.data.waves import SAMPLE_RATE, WaveStore

CLICK = np.where(np.arange(SAMPLE_RATE) == 5_000, 0.9, 0.0)


@pytest.mark.parametrize(
    ("samples", "rate", "form", "reason"),
    [
        (np.zeros(16_000), 16_000, {}, "it has less than 0.05 s of sound above -72 dB"),
        (np.full(16_000, 0.3), 16_000, {}, "it has less than 0.05 s of sound above -72 dB"),
        (CLICK, 16_000, {}, "it has less than 0.05 s of sound above -72 dB"),
        (np.zeros(16_000), 16_000, {"format": "FLAC"}, "every sample is 0"),
        (np.full(44_100, -0.25), 44_100, {}, "every sample is -0.25"),
        (np.zeros(16_000), 16_000, {"format": "OGG"}, "every sample is 0"),
        (np.zeros(8_000), 8_000, {"subtype": "PCM_U8"}, "every sample is 0"),
        (np.zeros(8_000), 8_000, {"subtype": "ALAW"}, "every sample is "),
        (sine() * 1e-6, 16_000, {"subtype": "FLOAT"}, "its level is -126 dB, of which 16 bits hold nothing"),
        (sine() / 32768, 16_000, {"subtype": "FLOAT"}, "its level is -96 dB"),
        (
            np.random.default_rng(0).integers(-2, 3, 16_000) / 32768,
            16_000,
            {},
            "it has less than 0.05 s of sound above",
        ),
        (np.stack([sine(), -sine()], 1), 16_000, {}, "its 2 channels cancel each other when they are averaged"),
        (np.stack([sine(), -1.001 * sine()], 1), 44_100, {}, "its 2 channels cancel each other"),
        (np.stack([sine(), sine(hz=99), -sine(), -sine(hz=99)], 1), 16_000, {}, "its 4 channels cancel each other"),
        (sine(1, 44_100, 10_000), 44_100, {}, "it has less than 0.05 s of sound below 8 kHz"),
        (sine(1, 48_000, 19_000, 0.99), 48_000, {}, "it has less than 0.05 s of sound below 8 kHz"),
    ],
)
def test_a_file_of_silence_is_a_fault_with_its_reason(tmp_path, samples, rate, form, reason):
    text = problem(wav(tmp_path / "a.wav", samples, rate, **({"format": "WAV"} | form)), tmp_path / "cache")
    assert text.startswith(f"is silent: {reason}")
    assert text.partition("; ")[2]


@pytest.mark.parametrize(
    "samples",
    [
        sine(amplitude=0.001),  # 60 dB below full scale
        np.concatenate([np.zeros(60_000), sine(0.06)]),
        np.stack([np.zeros(16_000), sine()], 1),
        np.stack([sine(), -0.9 * sine()], 1),
        sine() + 0.4,
        sine(0.1),
    ],
)
@pytest.mark.parametrize("kind", ["WAV", "FLAC"])
def test_quiet_short_and_lopsided_sound_is_sound(tmp_path, samples, kind):
    assert problem(wav(tmp_path / "a.wav", samples, format=kind), tmp_path / "cache") == ""


@pytest.mark.parametrize("rate", [16_000, 44_100])
def test_a_silent_part_of_a_recording_is_a_fault_of_its_utterance(tmp_path, rate):
    samples = np.concatenate([sine(2, rate), np.zeros(3 * rate), sine(1, rate)])
    parts = table(*[wav(tmp_path / "a.wav", samples, rate)] * 4)
    parts = parts.assign(start=[0.0, 2.1, 1.0, 3.0], end=[2.0, 2.9, 3.0, np.nan])
    faults = WaveStore.survey(parts, tmp_path / "cache", progress=False)[1]
    assert [fault.row for fault in faults] == [3]
    assert "is silent in this part" in faults[0].problem
    assert "correct its start and end" in faults[0].cure


def test_the_same_parts_are_silent_whether_one_or_many_are_looked_at(tmp_path):
    rng = np.random.default_rng(0)
    samples = np.where(rng.random(200).repeat(800) < 0.5, rng.normal(0, 0.1, 160_000), 0)
    path = wav(tmp_path / "a.flac", samples)
    start = rng.uniform(0, 9, 300)
    parts = table(*[path] * 300).assign(start=start, end=start + rng.uniform(0.1, 0.3, 300))
    store, faults = WaveStore.survey(parts, tmp_path / "cache", progress=False)
    silent = {fault.row for fault in faults}
    assert 0 < len(silent) < 150
    for i in range(300):  # frames at the edges belong to no part or to two
        loud = np.ptp(store[i].astype(int).reshape(-1)[: len(store[i]) // 160 * 160].reshape(-1, 160), axis=1) > 16
        assert loud.sum() < 8 if i + 2 in silent else loud.sum() > 1


def test_a_note_of_many_silent_clips_is_one_line(tmp_path):
    paths = [wav(tmp_path / f"{i}.wav", np.zeros(8_000)) for i in range(9)]
    with pytest.raises(ValueError, match="9 times a file that is silent; the first: ") as caught:
        WaveStore.build(table(*paths), tmp_path / "cache", progress=False)
    assert len(str(caught.value).splitlines()) == 1
