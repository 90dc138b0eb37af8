"""The two forms of Hugging Face: an audiofolder, and a Parquet file that `datasets` wrote."""

import io
import os
from pathlib import Path

import numpy as np
import pytest
import soundfile

from helpers.corpus_files import wav
from helpers.sounds import sine
from ipr_core.config import Data
from ipr_core.data import corpora, embedded_sounds
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.waves import WaveStore


def manifest(path):
    return Data(corpus="manifest", corpus_path=str(path))


def test_an_audiofolder_is_read_by_its_metadata_and_any_other_folder_by_its_files(tmp_path):
    for name in ("train/a.wav", "train/b.wav", "c.wav"):
        wav(tmp_path / name)
    rows = "file_name,label,votes_angry,votes_sad\ntrain/a.wav,angry,2,1\ntrain/b.wav,,0,3\n"
    (tmp_path / "metadata.csv").write_text(rows)
    table = corpora.read(manifest(tmp_path))
    assert table["id"].tolist() == ["train/a.wav", "train/b.wav"]
    assert table["path"].tolist() == [str(tmp_path / "train/a.wav"), str(tmp_path / "train/b.wav")]
    assert table["label"].tolist() == ["angry", "sad"]
    assert corpora.read(manifest(tmp_path / "metadata.csv")).equals(table)
    (tmp_path / "metadata.csv").write_text("speaker,age\nanna,30\n")
    assert len(corpora.read(manifest(tmp_path), labels_needed=False)) == 3


def test_a_table_with_a_path_and_a_file_name_has_its_path(tmp_path):
    wav(tmp_path / "a.wav")
    (tmp_path / "m.csv").write_text("path,file_name,label\na.wav,old.wav,sad\n")
    assert corpora.read(manifest(tmp_path / "m.csv"))["id"].tolist() == ["a.wav"]


def encoded(hz, rate=16_000, form="WAV"):
    stream = io.BytesIO()
    soundfile.write(stream, sine(0.3, rate, hz), rate, format=form)
    return stream.getvalue()


def dataset(path, sounds, **columns):
    """Write a Parquet file as `datasets` does."""
    datasets = pytest.importorskip("datasets")
    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict({"audio": sounds} | columns).cast_column("audio", datasets.Audio())
    if "label" in columns and not isinstance(columns["label"][0], str):
        table = table.cast_column("label", datasets.ClassLabel(names=["angry", "sad"]))
    table.to_parquet(str(path))
    return manifest(path)


def test_sounds_in_parquet_are_put_into_the_cache_once_and_heard_as_they_are(tmp_path, cache):
    sounds = [{"bytes": encoded(300), "path": "a.wav"}, {"bytes": encoded(400, 22_050, "FLAC"), "path": "b.flac"}]
    data = dataset(tmp_path / "train.parquet", sounds, label=[1, 0], speaker=["s1", "s2"], votes_sad=[3.0, None])
    table = corpora.read(data)
    assert table["id"].tolist() == ["a.wav", "b.flac"]
    assert table["label"].tolist() == ["sad", "angry"]
    assert table["speaker"].tolist() == ["s1", "s2"]
    assert [Path(path).read_bytes() for path in table["path"]] == [sound["bytes"] for sound in sounds]
    assert all(Path(path).is_relative_to(cache) for path in table["path"])
    waves = WaveStore.build(table, tmp_path / "waves", progress=False)
    assert np.abs(waves[0] / 32768 - sine(0.3, hz=300)).max() < 1e-3
    Path(table["path"][0]).write_bytes(b"damaged")
    stamp = os.stat(table["path"][1]).st_mtime_ns
    assert corpora.read(data).equals(table)
    assert Path(table["path"][0]).read_bytes() == sounds[0]["bytes"]
    assert os.stat(table["path"][1]).st_mtime_ns == stamp


def test_sounds_of_a_long_table_keep_to_their_rows(tmp_path, monkeypatch):
    monkeypatch.setattr(embedded_sounds, "_ROWS", 3)
    sounds = [{"bytes": encoded(300 + i), "path": f"{i}.wav"} for i in range(10)]
    data = dataset(tmp_path / "train.parquet", sounds, label=["sad"] * 10, session=[str(i) for i in range(10)])
    blocks = [table for table, _ in corpora.surveys(data, 4)]
    assert [len(table) for table in blocks] == [4, 4, 2]
    for table in blocks:
        for row in table.to_dict("records"):
            assert row["id"] == f"{row['session']}.wav"
            assert Path(row["path"]).read_bytes() == sounds[int(row["session"])]["bytes"]


def test_a_sound_without_a_name_is_called_by_its_row_and_one_without_bytes_by_its_path(tmp_path):
    wav(tmp_path / "there.wav")
    sounds = [{"bytes": encoded(300), "path": None}, {"bytes": None, "path": "there.wav"}]
    import pyarrow as pa
    from pyarrow.parquet import write_table

    write_table(pa.table({"audio": sounds, "label": ["sad", "sad"]}), tmp_path / "train.parquet")
    table = corpora.read(manifest(tmp_path / "train.parquet"))
    assert table["id"].tolist() == ["train-1", "there.wav"]
    assert table["path"][1] == str(tmp_path / "there.wav")


def test_a_row_without_a_sound_is_a_fault(tmp_path):
    data = dataset(tmp_path / "train.parquet", [{"bytes": encoded(300), "path": "a.wav"}, None], label=["sad", "sad"])
    with pytest.raises(CorpusError, match=r"train\.parquet, row 2: utterance 'train-2' has no path"):
        corpora.read(data)
