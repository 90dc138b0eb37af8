"""Waves in memory: to the bit as from a file, and a sentence for each that cannot be heard."""

import numpy as np
import pytest
import torch

from helpers.sounds import decode, sine, wav
from ipr_core.data.clips import clips, middles


def only(wave, rate=16_000) -> np.ndarray:
    (clip,) = clips([wave], rate)
    return clip


@pytest.mark.parametrize("rate", [8_000, 16_000, 44_056, 44_100, 48_000])
@pytest.mark.parametrize("subtype", ["PCM_16", "FLOAT"])
def test_a_wave_gives_the_samples_of_a_file_with_its_values(tmp_path, rate, subtype):
    wave = np.random.default_rng(0).normal(0, 0.3, rate // 2).astype(np.float32)
    wave = np.rint(wave * 32768).clip(-32768, 32767).astype(np.float32) / 32768 if subtype == "PCM_16" else wave
    file = decode(wav(tmp_path / "a.wav", wave, rate, subtype=subtype), tmp_path)
    assert np.array_equal(only(wave, rate), file * 32768)


def test_every_form_of_a_wave_is_the_same_wave():
    whole = np.rint(sine(rate=44_100) * 32768).astype(np.int16)
    wave = (whole / 32768).astype(np.float32)
    forms = [wave, wave.astype(np.float64), wave.tolist(), torch.tensor(wave), whole, np.repeat(wave, 2)[::2], wave]
    assert all(np.array_equal(clip, only(wave, 44_100)) for clip in clips(forms, 44_100))


def test_no_wave_is_no_clip_and_clips_come_one_by_one():
    assert list(clips([], 16_000)) == []
    first = next(clips((sine(hz=hz) for hz in [300, None]), 16_000))
    assert np.array_equal(first, only(sine(hz=300)))


def test_silence_is_heard():
    assert not only(np.zeros(8_000, np.float32)).any()


@pytest.mark.parametrize(
    ("wave", "sentence"),
    [
        (np.zeros((2, 8_000)), r"waves\[1\] has 2 axes, of shape \(2, 8000\); give a 1-D array, of several channels"),
        (0.5, r"waves\[1\] has 0 axes, of shape \(\); give a list of waves, \[wave\] for one"),
        (np.full(8_000, np.nan), r"waves\[1\] has samples that are NaN or infinite; take them out"),
        (np.append(sine(), np.inf), r"waves\[1\] has samples that are NaN or infinite"),
        ([], r"waves\[1\] has no samples; give a longer clip"),
        (np.zeros(1_599), r"waves\[1\] lasts 0\.0999 s; the shortest allowed is 0\.1 s; give a longer one"),
        (np.zeros(8_000, np.int32), r"waves\[1\] has samples of type int32; give floats between -1 and 1, or int16"),
        (np.zeros(8_000, complex), r"waves\[1\] has samples of type complex128; give floats"),
        (np.array(["a", "b"]), r"waves\[1\] has samples of type <U1; give floats"),
        (20_000 * sine(), r"waves\[1\] goes beyond full scale: .* write it again with samples between -1 and 1"),
    ],
)
def test_what_cannot_be_heard_is_named_with_its_cure(wave, sentence):
    with pytest.raises(ValueError, match=sentence):
        list(clips([sine(), wave], 16_000))


@pytest.mark.parametrize("rate", [0, -16_000, 999, 768_001, 44_100.5, float("nan"), float("inf"), True, "16000", None])
def test_a_rate_out_of_bounds_is_refused(rate):
    with pytest.raises(ValueError, match=r"rate is .*; give the samples per second .* from 1,000 to 768,000"):
        list(clips([sine()], rate))


@pytest.mark.parametrize("rate", [1_000, 48_000.0, np.int64(44_100), 768_000])
def test_a_rate_within_the_bounds_is_taken(rate):
    assert len(only(sine(0.2, int(rate), 200), rate)) == 3_200


def test_one_wave_in_place_of_a_list_is_refused():
    with pytest.raises(ValueError, match=r"waves\[0\] has 0 axes"):
        list(clips(sine(), 16_000))


def test_of_long_waves_the_middle_is_heard_with_a_word(caplog):
    waves = [np.arange(16_000, dtype=np.int16), np.arange(8_000, dtype=np.int16)]
    first, second = middles(waves, 16_000, 0.5)
    assert first.tolist() == list(range(4_000, 12_000))
    assert len(second) == 8_000
    assert "of 1 of 2 waves only the middle was heard: they are longer than 0.5 s" in caplog.text
    caplog.clear()
    assert len(list(middles(waves, 16_000, 1))) == 2
    assert not caplog.text
