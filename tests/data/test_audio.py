"""Decoding one file: formats, rates, channels, blocks, full scale, bounds."""

import struct

import numpy as np
import pytest

from helpers.sounds import changed, decode, problem, sine, table, wav
from ipr_core.data import audio
from ipr_core.data.waves import SAMPLE_RATE, WaveStore


def peak(wave: np.ndarray) -> tuple[float, float]:
    """Return frequency in Hz and amplitude of the strongest sine in the clip's middle."""
    middle = wave[len(wave) // 8 : -len(wave) // 8]
    window = np.hanning(len(middle))
    spectrum = np.abs(np.fft.rfft(middle * window, 2**18))
    return spectrum.argmax() * SAMPLE_RATE / 2**18, 2 * spectrum.max() / window.sum()


@pytest.mark.parametrize(
    ("name", "rate", "form", "tolerance"),
    [
        ("a.wav", 16_000, {"subtype": "PCM_16"}, 1e-4),
        ("a.wav", 44_100, {"subtype": "PCM_16"}, 1e-3),
        ("a.wav", 8_000, {"subtype": "PCM_U8"}, 1e-2),
        ("a.wav", 48_000, {"subtype": "PCM_24"}, 1e-3),
        ("a.wav", 22_050, {"subtype": "PCM_32"}, 1e-3),
        ("a.wav", 11_025, {"subtype": "FLOAT"}, 1e-3),
        ("a.wav", 16_001, {"subtype": "PCM_16"}, 1e-3),  # shares no factor with 16,000
        ("a.flac", 44_100, {"subtype": "PCM_24"}, 1e-3),
        ("a.mp3", 44_100, {}, 2e-2),
        ("a.ogg", 32_000, {}, 2e-2),
    ],
)
def test_any_format_and_rate_keeps_duration_frequency_and_amplitude(tmp_path, name, rate, form, tolerance):
    wave = decode(wav(tmp_path / name, sine(rate=rate), rate, **form), tmp_path)
    hz, amplitude = peak(wave)
    assert len(wave) == pytest.approx(SAMPLE_RATE, abs=1)
    assert hz == pytest.approx(440, abs=0.5)
    assert amplitude == pytest.approx(0.5, abs=tolerance)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([sine(amplitude=0.6), sine(amplitude=0.2)], axis=1)
    mono = decode(wav(tmp_path / "a.wav", stereo, subtype="FLOAT"), tmp_path)
    assert np.abs(mono - sine(amplitude=0.4)).max() < 1 / 32768


def test_sixteen_bit_samples_pass_unchanged_and_louder_ones_are_clipped(tmp_path):
    steps = np.arange(-3200, 3200, dtype=np.int16)
    samples = WaveStore.build(table(wav(tmp_path / "a.wav", steps)), tmp_path, progress=False)[0]
    assert np.array_equal(samples, steps)
    hot = wav(tmp_path / "b.wav", sine(amplitude=1.05), subtype="FLOAT")
    loud = WaveStore.build(table(hot), tmp_path, progress=False)[0]
    assert (loud.min(), loud.max()) == (-32768, 32767)


def test_a_recording_longer_than_a_block_is_decoded_whole(tmp_path, monkeypatch):
    path = wav(tmp_path / "a.flac", sine(3.0, 44_100), 44_100, subtype="PCM_24")
    for name, block in (("once", 2**20), ("blocks", 10_000)):
        monkeypatch.setattr(audio, "BLOCK", block)
        audio.decode(str(path), str(tmp_path / name), SAMPLE_RATE)
    once, blocks = (np.load(tmp_path / name, allow_pickle=False) for name in ("once", "blocks"))
    assert np.array_equal(once, blocks)
    assert len(once) == 3 * SAMPLE_RATE


# Full scale


@pytest.mark.parametrize("scale", [32_768, 255, 2**23, 3])
def test_float_samples_far_beyond_full_scale_are_a_fault(tmp_path, scale):
    path = wav(tmp_path / "a.wav", scale * sine(amplitude=0.9), subtype="FLOAT")
    assert problem(path, tmp_path / "cache").startswith("goes beyond full scale: ")
    assert "samples between -1 and 1" in problem(path, tmp_path / "cache")


def test_speech_between_long_silences_is_beyond_full_scale_too(tmp_path):
    samples = np.zeros(10 * SAMPLE_RATE, np.float32)
    samples[:8_000] = 20_000 * sine(0.5)
    assert "goes beyond full scale" in problem(wav(tmp_path / "a.wav", samples, subtype="FLOAT"), tmp_path / "cache")


def test_slight_and_rare_overs_are_no_fault(tmp_path):
    samples = sine()
    samples[1_000:1_004] = 1.05, -1.05, 1.4, 900
    wave = decode(wav(tmp_path / "a.wav", samples, subtype="FLOAT"), tmp_path / "cache")
    assert np.abs(wave[2_000:] - samples[2_000:]).max() < 1e-4


# FLAC's signature


@pytest.mark.parametrize("subtype", ["PCM_S8", "PCM_16", "PCM_24"])
@pytest.mark.parametrize("channels", [1, 2])
def test_a_flac_is_compared_with_its_md5_signature(tmp_path, subtype, channels):
    samples = np.stack([sine(), sine(hz=300)][:channels], axis=1)
    path = wav(tmp_path / "a.flac", samples, subtype=subtype)
    assert problem(path, tmp_path / "cache") == ""
    assert problem(changed(path, 26, b"not the right MD5"[:16]), tmp_path / "cache").startswith(
        "is damaged: its samples"
    )
    assert problem(changed(path, 26, bytes(16)), tmp_path / "cache") == "", "zeros: there is no signature"


# Bounds


@pytest.mark.parametrize("rate", [1, 7, 999, 4_000_037, 2_147_483_647])
@pytest.mark.parametrize("kind", ["WAV", "AU", "AIFF"])
def test_a_rate_out_of_bounds_is_refused_before_anything_is_read(tmp_path, rate, kind):
    path = wav(tmp_path / "a", sine(), format=kind, subtype="PCM_16")
    if kind == "AIFF":  # a float of 80 bits
        exponent = rate.bit_length() - 1
        field = struct.pack(">HQ", 16_383 + exponent, rate << 63 - exponent)
        changed(path, path.read_bytes().index(b"COMM") + 16, field)
    else:
        changed(path, 24 if kind == "WAV" else 16, struct.pack("<I" if kind == "WAV" else ">I", rate))
    assert "samples per second; 1,000 to 768,000 are allowed" in problem(path, tmp_path / "cache")


@pytest.mark.parametrize("rate", [1_000, 95_999, 767_999])
def test_odd_rates_within_the_bounds_are_resampled_in_little_memory(tmp_path, rate):
    wave = decode(wav(tmp_path / "a.wav", sine(0.3, rate, 200), rate), tmp_path / "cache")
    assert len(wave) == pytest.approx(0.3 * SAMPLE_RATE, abs=1)
    assert np.abs(wave[800:-800] - sine(0.3, hz=200)[800 : len(wave) - 800]).max() < 2e-3


@pytest.mark.parametrize("channels", [0, 257, 1024])
def test_a_number_of_channels_out_of_bounds_is_refused(channels):
    with pytest.raises(audio.Unusable, match="channels; 1 to 256 are allowed"):
        audio.check_form(16_000, channels, 100)


def test_a_recording_of_more_than_a_day_is_refused():
    with pytest.raises(
        audio.Unusable, match=r"lasts 25.0 hours by its header; 24 are allowed; cut it|lasts 25.0 hours"
    ):
        audio.check_form(8_000, 1, 25 * 3600 * 8_000)


@pytest.mark.parametrize("kind", ["IRCAM", "VOC", "PVF", "MAT5"])
def test_kinds_that_do_not_say_whether_they_are_whole_are_refused(tmp_path, kind):
    path = wav(tmp_path / "a.wav", sine(), format=kind, subtype="PCM_16")
    assert f"is not decoded: a {kind} file does not say whether all of it is there" in problem(path, tmp_path / "cache")


@pytest.mark.parametrize("subtype", ["DWVW_16", "DWVW_24"])
def test_samples_that_no_decoder_reads_are_refused_by_their_name(tmp_path, subtype):
    path = wav(tmp_path / "a.aiff", sine(), format="AIFF", subtype=subtype)
    assert "its samples are DWVW, which no decoder here reads; convert it" in problem(path, tmp_path / "cache")


@pytest.mark.parametrize("suffix", ["raw", "au", "gsm", "vox", "wav"])
def test_no_suffix_makes_sound_of_bytes_without_a_header(tmp_path, suffix):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(np.random.default_rng(0).bytes(40_000))
    assert problem(path, tmp_path / "cache").startswith("cannot be decoded (")
