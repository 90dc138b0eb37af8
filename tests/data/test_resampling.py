"""Resampling: the frequencies that pass and those that do not, odd rates, blocks, memory."""

import math
import tracemalloc
from time import perf_counter

import numpy as np
import pytest

from helpers.sounds import sine, table, wav
from ipr_core.config import SAMPLE_RATE
from ipr_core.data import resampling, sources
from ipr_core.data.resampling import int16, resampled
from ipr_core.data.waves import WaveStore

COMMON = (8_000, 11_025, 22_050, 32_000, 44_100, 48_000, 96_000, 192_000)
ODD = (16_001, 22_254, 44_056, 44_057, 48_001)


def at_once(wave: np.ndarray, rate: int) -> np.ndarray:
    return np.concatenate(list(resampled([wave], rate, SAMPLE_RATE)))


def level(rate: int, hz: float) -> float:
    """Return what is left of a sine in dB, of its root mean square in the clip's middle."""
    wave = at_once(sine(1.0, rate, hz), rate)[2_000:-2_000]
    return 20 * math.log10(math.sqrt(float(np.square(wave, dtype=float).mean())) / (0.5 / math.sqrt(2)))


@pytest.mark.parametrize("rate", [22_050, 44_056, 44_100, 48_000, 96_000])
def test_speech_passes_up_to_the_nyquist_frequency(rate):
    assert [level(rate, hz) for hz in (100, 3_000, 7_000, 7_400, 7_700)] == pytest.approx([0] * 5, abs=0.05)
    assert level(rate, 7_800) > -0.5
    assert -4 < level(rate, 7_890) < -2


@pytest.mark.parametrize("rate", [22_050, 44_056, 44_100, 48_000, 96_000])
def test_frequencies_above_the_new_nyquist_are_removed_and_not_folded_back(rate):
    frequencies = [hz for hz in (8_100, 8_500, 9_000, 10_500, 12_000, 15_950, 20_000) if hz < rate / 2]
    assert max(level(rate, hz) for hz in frequencies) < -90


@pytest.mark.parametrize("rate", [8_000, 11_025])
def test_a_lower_rate_has_no_images_of_its_spectrum(rate):
    hz = 0.96 * rate / 2
    spectrum = np.abs(np.fft.rfft(at_once(sine(1.0, rate, hz), rate)[:16_000] * np.blackman(16_000)))
    elsewhere = np.abs(np.fft.rfftfreq(16_000, 1 / SAMPLE_RATE) - hz) > 20
    assert 20 * math.log10(spectrum[elsewhere].max() / spectrum.max()) < -85


@pytest.mark.parametrize("rate", [*COMMON, *ODD])
def test_a_chirp_comes_out_as_if_it_had_been_sampled_at_the_new_rate(rate):
    highest = 0.45 * min(rate, SAMPLE_RATE)

    def chirp(sampling_rate: int) -> np.ndarray:
        seconds = np.arange(sampling_rate) / sampling_rate
        fade = np.sin(np.pi * seconds) ** 4
        return (0.5 * fade * np.sin(2 * np.pi * (highest / 2 * seconds) * seconds)).astype(np.float32)

    wave = at_once(chirp(rate), rate)
    assert len(wave) == SAMPLE_RATE
    np.testing.assert_allclose(wave, chirp(SAMPLE_RATE), atol=1e-4)


@pytest.mark.parametrize("rate", [*ODD, 48_001, 100_003, 112_001, 767_999])
def test_the_ratio_is_that_of_the_rates_up_to_100_khz_and_drifts_little_beyond(rate):
    drift = abs(resampling.ratio(rate, SAMPLE_RATE) * rate / SAMPLE_RATE - 1)
    assert drift == 0 if rate <= 100_000 else drift * 3600 < 0.036


@pytest.mark.parametrize("rate", ODD)
def test_odd_rates_take_little_time_and_memory(rate):
    noise = np.random.default_rng(0).normal(0, 0.1, 10 * rate).astype(np.float32)
    tracemalloc.start()
    began = perf_counter()
    at_once(noise, rate)
    seconds, peak = perf_counter() - began, tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert seconds < 10
    assert peak < 300 * 2**20


@pytest.mark.parametrize("rate", [8_000, 16_001, 44_100, 48_000])
@pytest.mark.parametrize("samples", [1, 4_999, 50_000])
def test_resampling_in_blocks_is_to_the_bit_as_if_at_once(rate, samples):
    wave = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    pieces = list(resampled(np.array_split(wave, 1 + samples // 700), rate, SAMPLE_RATE))
    assert len(at_once(wave, rate)) == -(-samples * SAMPLE_RATE // rate)
    assert np.array_equal(at_once(wave, rate), np.concatenate(pieces))


def test_rounding_to_16_bits_is_to_the_nearest_and_clips():
    wave = np.array([0, 1.4, -2.6, 40_000, -40_000]) / 32768
    assert int16(wave).tolist() == [0, 1, -3, 32_767, -32_768]


def test_another_decoder_decodes_again_and_leaves_the_clips_names(tmp_path, monkeypatch):
    path = table(wav(tmp_path / "a.wav", sine(rate=48_000), 48_000))
    first = WaveStore.build(path, tmp_path, progress=False)
    monkeypatch.setattr(sources, "DECODER", "0")
    second = WaveStore.build(path, tmp_path, progress=False)
    assert second[0].filename != first[0].filename
    assert second.keys == first.keys, "corrections are found by them"
