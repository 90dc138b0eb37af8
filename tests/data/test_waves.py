"""The wave store: decoding, keys by content, faults, memory mapping, batches."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from helpers.corpus_files import real
from ipr_core.data import waves
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.waves import SAMPLE_RATE, WaveStore


def sine(seconds: float = 1.0, rate: int = SAMPLE_RATE, hz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def table(*paths: Path, start: float = np.nan, end: float = np.nan) -> pd.DataFrame:
    """Return one row per file; rows are counted from 2, as in a CSV with a header line."""
    rows = [(f"u{i}", str(path), start, end, "manifest.csv", i + 2) for i, path in enumerate(paths)]
    return pd.DataFrame(rows, columns=["id", "path", "start", "end", "source", "row"])


def wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, **form: str) -> Path:
    soundfile.write(path, samples, rate, **form)
    return path


def decode(path: Path, cache: Path, **part: float) -> np.ndarray:
    """Return the stored clip as float in [-1, 1]."""
    return WaveStore.build(table(path, **part), cache, progress=False)[0].astype(np.float64) / 32768


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


def test_frequencies_above_the_new_nyquist_are_removed_and_not_folded_back(tmp_path):
    wave = decode(wav(tmp_path / "a.wav", sine(rate=44_100, hz=9_000), 44_100), tmp_path)
    assert peak(wave)[1] < 0.5 * 10 ** (-70 / 20)


def test_channels_are_averaged(tmp_path):
    stereo = np.stack([sine(amplitude=0.6), sine(amplitude=0.2)], axis=1)
    mono = decode(wav(tmp_path / "a.wav", stereo, subtype="FLOAT"), tmp_path)
    assert np.abs(mono - sine(amplitude=0.4)).max() < 1 / 32768


def test_sixteen_bit_samples_pass_unchanged_and_louder_ones_are_clipped(tmp_path):
    steps = np.arange(-3200, 3200, dtype=np.int16)
    samples = WaveStore.build(table(wav(tmp_path / "a.wav", steps)), tmp_path, progress=False)[0]
    assert np.array_equal(samples, steps)
    loud = WaveStore.build(table(wav(tmp_path / "b.wav", 3 * sine(), subtype="FLOAT")), tmp_path, progress=False)[0]
    assert (loud.min(), loud.max()) == (-32768, 32767)


def test_start_and_end_give_that_part_of_the_file(tmp_path):
    ramp = np.arange(32_000, dtype=np.int16)
    path = wav(tmp_path / "a.wav", ramp)
    part = WaveStore.build(table(path, start=0.5, end=1.25), tmp_path, progress=False)[0]
    assert np.array_equal(part, ramp[8_000:20_000])
    rest = WaveStore.build(table(path, start=1.0), tmp_path, progress=False)[0]
    assert np.array_equal(rest, ramp[16_000:])


def test_a_changed_file_is_decoded_again_and_an_unchanged_one_never(tmp_path, monkeypatch):
    decoded = []
    literal = waves._decode
    monkeypatch.setattr(
        waves, "_decode", lambda file, path: decoded.append(Path(file.name).name) or literal(file, path)
    )
    paths = [wav(tmp_path / f"{hz}.wav", sine(rate=8_000, hz=hz), 8_000) for hz in (300, 400)]
    first = WaveStore.build(table(*paths), tmp_path, progress=False)
    os.utime(paths[0])  # touched, the same bytes
    assert WaveStore.build(table(*paths), tmp_path, progress=False).keys == first.keys
    assert sorted(decoded) == ["300.wav", "400.wav"]
    wav(paths[1], sine(rate=8_000, hz=500), 8_000)
    again = WaveStore.build(table(*paths), tmp_path, progress=False)
    assert decoded[2:] == ["400.wav"]
    assert again.keys[0] == first.keys[0]
    assert again.keys[1] != first.keys[1]
    assert peak(again[1] / 32768)[0] == pytest.approx(500, abs=0.5)


def stored(cache: Path) -> list[Path]:
    """Return the cache's files."""
    return [path for path in cache.rglob("*") if path.is_file()]


@pytest.mark.parametrize("rate", [16_000, 22_050])
def test_many_parts_of_a_recording_are_at_most_one_file_in_the_cache(tmp_path, rate):
    path = wav(tmp_path / "a.wav", np.random.default_rng(0).normal(0, 0.1, 10 * rate).astype(np.float32), rate)
    start = np.arange(0, 9, 0.01)
    parts = table(*[path] * len(start)).assign(start=start, end=start + 0.5)
    store = WaveStore.build(parts, tmp_path / "cache", progress=False)
    assert len(stored(tmp_path / "cache")) == (rate != 16_000)
    assert len(set(store.keys)) == len(store) == 900
    whole = decode(path, tmp_path / "cache") * 32768
    assert all(np.array_equal(store[i], whole[160 * i : 160 * i + 8000]) for i in range(0, 900, 99))


def test_a_16_bit_wav_at_16_khz_is_read_where_it_lies_and_its_change_is_noticed(tmp_path):
    path = wav(tmp_path / "a.wav", sine())
    store = WaveStore.build(table(path), tmp_path / "cache", progress=False)
    assert store[0].filename == str(path)
    os.utime(path, ns=(0, 0))
    with pytest.raises(CorpusError, match=r"a\.wav: has changed since it was read; leave audio files as they are"):
        store[0]


def test_taking_utterances_keeps_what_belongs_to_each(tmp_path):
    paths = [wav(tmp_path / f"{i}.wav", sine(0.2 + 0.1 * i)) for i in range(4)]
    store = WaveStore.build(table(*paths), tmp_path, progress=False)
    part = store.take(np.array([3, 1]))
    assert part.keys == [store.keys[3], store.keys[1]]
    assert part.lengths.tolist() == [8000, 4800]
    assert np.array_equal(part[1], store[1])


@pytest.mark.parametrize("rate", [8_000, 16_001, 44_100, 48_000])
@pytest.mark.parametrize("samples", [1, 4_999, 50_000])
def test_resampling_in_blocks_is_to_the_bit_as_if_at_once(rate, samples):
    wave = np.random.default_rng(0).normal(0, 0.1, samples).astype(np.float32)
    once = waves._resampled([wave], rate)
    pieces = waves._resampled(np.array_split(wave, 1 + samples // 700), rate)
    once, pieces = np.concatenate(list(once)), np.concatenate(list(pieces))
    assert len(once) == -(-samples * SAMPLE_RATE // rate)
    assert np.array_equal(once, pieces)


def test_a_recording_longer_than_a_block_is_stored_whole(tmp_path, monkeypatch):
    path = wav(tmp_path / "a.flac", sine(3.0, 44_100), 44_100, subtype="PCM_24")
    at_once = decode(path, tmp_path / "first")
    monkeypatch.setattr(waves, "_BLOCK", 10_000)
    assert np.array_equal(decode(path, tmp_path / "second"), at_once)
    assert len(at_once) == 3 * SAMPLE_RATE


def test_a_copy_elsewhere_shares_the_key_and_another_part_does_not(tmp_path):
    paths = [wav(tmp_path / name, sine()) for name in ("a.wav", "b.wav")]
    whole = WaveStore.build(table(*paths), tmp_path, progress=False)
    assert whole.keys[0] == whole.keys[1]
    assert WaveStore.build(table(*paths, start=0.5), tmp_path, progress=False).keys[0] != whole.keys[0]


def test_clips_are_memory_mapped_in_the_order_of_the_table(tmp_path):
    paths = [wav(tmp_path / f"{i}.wav", sine(0.2 + 0.1 * i)) for i in range(8)]
    store = WaveStore.build(table(*paths), tmp_path, workers=4, progress=False)
    assert isinstance(store[3], np.memmap)
    assert store[3].dtype == np.int16
    assert len(store) == 8
    assert store.lengths.tolist() == [3200 + 1600 * i for i in range(8)]
    assert store.seconds[1] == pytest.approx(0.3)


def test_nothing_half_written_is_left(tmp_path):
    good, bad = wav(tmp_path / "a.flac", sine()), wav(tmp_path / "b.flac", sine(2, 8_000), 8_000)
    WaveStore.survey(table(good, cut(bad)), tmp_path / "cache", progress=False)
    assert [path.suffix for path in stored(tmp_path / "cache")] == [".npy"]


def cut(path: Path, share: float = 0.5) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def faulty(folder: Path) -> dict[str, Path]:
    """Return files with a fault each, by the message about it."""
    noise = np.random.default_rng(0).normal(0, 0.1, 16_000).astype(np.float32)
    (folder / "empty.wav").touch()
    (folder / "text.wav").write_text("this is not a recording")
    return {
        r"missing.wav, which is not there; put the file there": folder / "missing.wav",
        r"is empty \(0 bytes\)": folder / "empty.wav",
        r"has no samples": wav(folder / "none.wav", sine(0)),
        r"is truncated: its header promises 16,022 bytes more": cut(wav(folder / "cut.wav", sine())),
        r"is truncated: [\d,]+ of 16,000 samples": cut(wav(folder / "cut.mp3", noise)),
        r"cut.flac, which cannot be decoded": cut(wav(folder / "cut.flac", noise)),
        r"nan.wav, which has samples that are NaN or infinite": wav(
            folder / "nan.wav", sine() * np.float32("nan"), subtype="FLOAT"
        ),
        r"inf.wav, which has samples that are NaN or infinite": wav(
            folder / "inf.wav", np.append(sine(), np.float32("inf")), subtype="FLOAT"
        ),
        r"lasts 0.02 s; the shortest allowed is 0.1 s": wav(folder / "short.wav", sine(0.02)),
        r"text.wav, which cannot be decoded": folder / "text.wav",
        rf"{folder.name}, which is not there": folder,
    }


def test_all_faults_are_listed_at_once_each_with_row_and_cure(tmp_path):
    bad = faulty(tmp_path)
    utterances = table(wav(tmp_path / "good.wav", sine()), *bad.values())
    with pytest.raises(CorpusError) as caught:
        WaveStore.build(utterances, tmp_path / "cache", progress=False)
    lines = str(caught.value).splitlines()
    assert len(lines) == len(caught.value.faults) == len(bad)
    for row, (line, problem) in enumerate(zip(lines, bad, strict=True), start=3):  # row 2 is the good one
        assert re.search(rf"manifest\.csv, row {row}: utterance 'u{row - 2}' needs the file .*{problem}", line)
    assert all(fault.cure for fault in caught.value.faults)


def test_a_survey_gives_the_same_list_without_raising(tmp_path):
    bad = faulty(tmp_path)
    faults = WaveStore.survey(table(*bad.values()), tmp_path / "cache", progress=False)[1]
    assert [fault.row for fault in faults] == list(range(2, 2 + len(bad)))
    assert WaveStore.survey(table(wav(tmp_path / "good.wav", sine())), tmp_path / "cache", progress=False)[1] == []


def test_a_survey_takes_a_table_that_is_not_checked_yet(tmp_path):
    raw = pd.DataFrame({"id": ["a"], "path": [str(wav(tmp_path / "a.wav", sine()))], "start": ["soon"], "end": ["inf"]})
    assert WaveStore.survey(raw, tmp_path / "cache", progress=False)[1] == []
    assert WaveStore.survey(raw.iloc[:0], tmp_path / "cache", progress=False)[1] == []


def test_an_end_beyond_the_file_is_a_fault_but_a_rounded_one_is_not(tmp_path):
    path = wav(tmp_path / "a.wav", sine(1.0))
    with pytest.raises(CorpusError, match=r"lasts 1.000 s, and the part asked of it ends at 1.200 s; correct the end"):
        decode(path, tmp_path, start=0.5, end=1.2)
    assert len(decode(path, tmp_path, start=0.5, end=1.005)) == 8_000


def test_a_wav_written_into_a_pipe_has_no_length_and_is_whole(tmp_path):
    path = wav(tmp_path / "a.wav", sine())
    header = bytearray(path.read_bytes())
    length = header.index(b"data") + 4
    header[length : length + 4] = b"\xff\xff\xff\xff"
    path.write_bytes(header)
    assert len(decode(path, tmp_path)) == SAMPLE_RATE


def test_a_silent_clip_is_no_fault(tmp_path):
    assert not decode(wav(tmp_path / "a.wav", np.zeros(8_000)), tmp_path).any()


def test_a_batch_is_zero_padded_and_scaled_to_one(tmp_path):
    paths = [wav(tmp_path / "a.wav", sine(0.2)), wav(tmp_path / "b.wav", sine(0.5))]
    store = WaveStore.build(table(*paths), tmp_path, progress=False)
    x, lengths = store.batch([1, 0], max_seconds=15)
    assert x.dtype == torch.float32
    assert x.shape == (2, 8_000)
    assert lengths.tolist() == [8_000, 3_200]
    assert np.array_equal(x[1, :3_200].numpy(), store[0] / np.float32(32768))
    assert not x[1, 3_200:].any()
    assert x.abs().max() == pytest.approx(0.5, abs=1e-3)


def test_of_a_clip_of_60_s_the_middle_15_s_are_heard(tmp_path):
    ramp = (np.arange(60 * SAMPLE_RATE) // 60).astype(np.int16)
    store = WaveStore.build(table(wav(tmp_path / "a.wav", ramp)), tmp_path, progress=False)
    x, lengths = store.batch([0], max_seconds=15)
    assert lengths.tolist() == [15 * SAMPLE_RATE]
    assert x[0, 0] * 32768 == ramp[round(22.5 * SAMPLE_RATE)]
    assert x[0, -1] * 32768 == ramp[round(37.5 * SAMPLE_RATE) - 1]


def test_real_speech_is_stored_sample_by_sample(tmp_path):
    paths = sorted((real("emodb") / "wav").glob("03a*.wav"))
    store = WaveStore.build(table(*paths), tmp_path, progress=False)
    assert len(store) == len(paths) > 0
    assert np.array_equal(store[0], soundfile.read(paths[0], dtype="int16")[0])
