"""Audio files that have not changed are not read again; whatever has changed is, and the table may fail."""

import os
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from helpers.sounds import sine, table, wav
from ipr_core.data import sources, stamps
from ipr_core.data.faults import CorpusError
from ipr_core.data.waves import WaveStore


@pytest.fixture(autouse=True)
def at_once(monkeypatch):
    """Count a file as left alone as soon as it is written."""
    monkeypatch.setattr(stamps, "SETTLED", 0.0)


@pytest.fixture
def readings(monkeypatch):
    """The names of the files that are read, in their order."""
    names: list[str] = []
    literal = sources._source
    monkeypatch.setattr(sources, "_source", lambda path, *rest: names.append(Path(path).name) or literal(path, *rest))
    return names


@pytest.fixture
def paths(tmp_path):
    """A file that is read where it lies, one that is decoded, and one with silence in it."""
    silence = np.concatenate([sine(0.5, 8_000), np.zeros(4_000, np.float32)])
    return [
        wav(tmp_path / "plain.wav", sine()),
        wav(tmp_path / "decoded.flac", sine(rate=8_000), 8_000),
        wav(tmp_path / "silence.wav", silence, 8_000),
    ]


def build(tmp_path, paths, **columns) -> WaveStore:
    return WaveStore.build(table(*paths, **columns), tmp_path / "cache", progress=False)


def file(tmp_path) -> Path:
    (path,) = (tmp_path / "cache").glob("stamps-*.sqlite")
    return path


def test_a_second_start_reads_nothing_and_knows_the_same(tmp_path, paths, readings):
    first = build(tmp_path, paths)
    assert sorted(readings) == sorted(path.name for path in paths)
    again = build(tmp_path, paths)
    assert len(readings) == 3
    assert again._sources == first._sources
    assert again.keys == first.keys
    assert again.sounds.tolist() == first.sounds.tolist()
    assert all(np.array_equal(again[i], first[i]) for i in range(3))
    with pytest.raises(CorpusError, match="is silent in this part"):
        build(tmp_path, paths[2:], start=0.6)


def test_another_name_of_the_folder_is_the_same_file(tmp_path, paths, readings, monkeypatch):
    build(tmp_path, paths)
    monkeypatch.chdir(tmp_path)
    again = build(tmp_path, [Path(path.name) for path in paths])
    assert len(readings) == 3
    assert again._sources[0].path == again._sources[0].mapped == "plain.wav"
    assert again[0].tolist() == build(tmp_path, paths)[0].tolist()


def test_a_file_that_was_touched_changed_or_taken_away_is_read_again(tmp_path, paths, readings):
    first = build(tmp_path, paths)
    os.utime(paths[0])
    wav(paths[1], sine(rate=8_000, hz=500), 8_000)
    again = build(tmp_path, paths)
    assert sorted(readings[3:]) == ["decoded.flac", "plain.wav"]
    assert again.keys[0] == first.keys[0]
    assert again.keys[1] != first.keys[1]
    paths[2].unlink()
    with pytest.raises(CorpusError, match=r"silence\.wav, which is not there"):
        build(tmp_path, paths)


def test_a_change_that_keeps_size_and_time_is_noticed(tmp_path, paths, readings):
    build(tmp_path, paths)
    times, content = os.stat(paths[0]), paths[0].read_bytes()
    paths[0].write_bytes(content[:-2] + b"\1\1")
    os.utime(paths[0], ns=(times.st_atime_ns, times.st_mtime_ns))
    build(tmp_path, paths)
    assert readings[3:] == ["plain.wav"]


def test_a_decoded_file_that_is_damaged_is_made_again(tmp_path, paths, readings):
    first = build(tmp_path, paths)
    samples = np.array(first[1])
    mapped = Path(first._sources[1].mapped)
    mapped.write_bytes(bytes(mapped.stat().st_size))
    assert np.array_equal(build(tmp_path, paths)[1], samples)
    assert readings[3:] == ["decoded.flac"]


def test_a_file_that_has_just_changed_is_not_relied_on(tmp_path, paths, readings, monkeypatch):
    monkeypatch.setattr(stamps, "SETTLED", 1000.0)
    for _ in range(2):
        build(tmp_path, paths)
    assert len(readings) == 6
    assert not list((tmp_path / "cache").glob("stamps-*"))


def test_a_file_with_a_fault_is_looked_at_again(tmp_path, readings):
    for _ in range(2):
        with pytest.raises(CorpusError, match="is silent"):
            build(tmp_path, [wav(tmp_path / "a.wav", np.zeros(16_000, np.float32))])
    assert len(readings) == 2


def test_channels_are_told_apart(tmp_path):
    stereo = np.column_stack([sine(), sine(hz=600)])
    path = wav(tmp_path / "a.wav", stereo)
    for _ in range(2):
        corpus = table(path, path, path).assign(channel=[1, 2, 0])
        store = WaveStore.build(corpus, tmp_path / "cache", progress=False)
        assert [source.channel for source in store._sources] == [1, 2, 0]
        assert len(set(store.sounds.tolist())) == 3


@pytest.mark.parametrize("damage", ["no table", "zeros", "other columns", "a folder"])
def test_a_damaged_table_costs_a_reading_and_nothing_else(tmp_path, paths, readings, damage):
    first = build(tmp_path, paths)
    path = file(tmp_path)
    if damage == "no table":
        path.write_text("this is not a table of SQLite, whatever it is called")
    elif damage == "zeros":
        path.write_bytes(path.read_bytes()[:100] + bytes(path.stat().st_size - 100))
    elif damage == "other columns":
        path.unlink()
        with sqlite3.connect(path) as other:
            other.execute("CREATE TABLE sources (path TEXT, channel INTEGER)")
        other.close()
    else:
        path.unlink()
        path.mkdir()
    assert build(tmp_path, paths)._sources == first._sources
    assert len(readings) == 6


def test_a_table_that_another_process_writes_is_done_without(tmp_path, paths, readings, monkeypatch):
    monkeypatch.setattr(stamps, "_WAIT", 0.0)
    first = build(tmp_path, paths)
    other = sqlite3.connect(file(tmp_path))
    other.execute("BEGIN EXCLUSIVE")
    assert build(tmp_path, paths)._sources == first._sources
    other.rollback()
    other.close()
    assert len(readings) == 6
    assert file(tmp_path).is_file()
    build(tmp_path, paths)
    assert len(readings) == 6
