"""The wave store: keys by content, faults, memory mapping, batches."""

import os
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile
import torch

from helpers.corpus_files import real
from helpers.sounds import cut, decode, sine, table, wav
from ipr_core.data import decoding
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.waves import SAMPLE_RATE, WaveStore


def test_start_and_end_give_that_part_of_the_file(tmp_path):
    ramp = np.arange(32_000, dtype=np.int16)
    path = wav(tmp_path / "a.wav", ramp)
    part = WaveStore.build(table(path, start=0.5, end=1.25), tmp_path, progress=False)[0]
    assert np.array_equal(part, ramp[8_000:20_000])
    rest = WaveStore.build(table(path, start=1.0), tmp_path, progress=False)[0]
    assert np.array_equal(rest, ramp[16_000:])


def test_a_changed_file_is_decoded_again_and_an_unchanged_one_never(tmp_path, monkeypatch):
    decoded = []
    literal = decoding.decode
    monkeypatch.setattr(decoding, "decode", lambda path, *rest: decoded.append(Path(path).name) or literal(path, *rest))
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
    assert again[1].tolist() != first[1].tolist()


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
        r"is truncated: its first frame promises [\d,]+ bytes more": cut(wav(folder / "cut.mp3", noise)),
        r"cut.flac, which cannot be decoded": cut(wav(folder / "cut.flac", noise)),
        r"nan.wav, which has samples that are NaN or infinite": wav(
            folder / "nan.wav", sine() * np.float32("nan"), subtype="FLOAT"
        ),
        r"inf.wav, which has samples that are NaN or infinite": wav(
            folder / "inf.wav", np.append(sine(), np.float32("inf")), subtype="FLOAT"
        ),
        r"lasts 0.02 s; the shortest allowed is 0.1 s": wav(folder / "short.wav", sine(0.02)),
        r"text.wav, which is a text: it begins 'this is not a recording'": folder / "text.wav",
        rf"{folder.name}, which is a folder, not a file": folder,
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


def test_a_batch_is_zero_padded_and_scaled_to_one(tmp_path):
    paths = [wav(tmp_path / "a.wav", sine(0.2)), wav(tmp_path / "b.wav", sine(0.5))]
    store = WaveStore.build(table(*paths), tmp_path, progress=False)
    x, lengths = store.padded([1, 0], max_seconds=15)
    assert x.dtype == torch.float32
    assert x.shape == (2, 8_000)
    assert lengths.tolist() == [8_000, 3_200]
    assert np.array_equal(x[1, :3_200].numpy(), store[0] / np.float32(32768))
    assert not x[1, 3_200:].any()
    assert x.abs().max() == pytest.approx(0.5, abs=1e-3)


def test_of_a_clip_of_60_s_the_middle_15_s_are_heard(tmp_path):
    ramp = (np.arange(60 * SAMPLE_RATE) * 7 % 30_011).astype(np.int16)
    store = WaveStore.build(table(wav(tmp_path / "a.wav", ramp)), tmp_path, progress=False)
    x, lengths = store.padded([0], max_seconds=15)
    assert lengths.tolist() == [15 * SAMPLE_RATE]
    assert x[0, 0] * 32768 == ramp[round(22.5 * SAMPLE_RATE)]
    assert x[0, -1] * 32768 == ramp[round(37.5 * SAMPLE_RATE) - 1]


def test_real_speech_is_stored_sample_by_sample(tmp_path):
    paths = sorted((real("emodb") / "wav").glob("03a*.wav"))
    store = WaveStore.build(table(*paths), tmp_path, progress=False)
    assert len(store) == len(paths) > 0
    assert np.array_equal(store[0], soundfile.read(paths[0], dtype="int16")[0])
