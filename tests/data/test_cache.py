"""The cache: its folder, and that nothing in it counts that is not as it was written."""

import os
from pathlib import Path

import numpy as np
import pytest
import torch

from helpers.sounds import changed, cut, sine, table, wav
from ipr_core.config import Data
from ipr_core.data import cache, corpora
from ipr_core.data.annotators import wave_features
from ipr_core.data.cache import default_cache, folder_sealed, seal, seal_folder, sealed
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.waves import WaveStore
from ipr_core.training.kept_views import KeptViews


def test_the_cache_is_named_by_the_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    assert default_cache() == tmp_path
    monkeypatch.delenv("IPR_CACHE")
    assert default_cache() == Path.home() / ".cache" / "ipr-workbench"


DAMAGE = {
    "emptied": lambda path: path.write_bytes(b""),
    "cut": lambda path: cut(path, 0.6),
    "cut by a byte": lambda path: path.write_bytes(path.read_bytes()[:-1]),
    "zeroed": lambda path: path.write_bytes(bytes(path.stat().st_size)),
    "a byte changed": lambda path: changed(path, path.stat().st_size // 2, b"\x55"),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"\0"),
    "without its digest": lambda path: path.write_bytes(path.read_bytes()[:-16]),
    "another array": lambda path: np.save(path, np.arange(10.0)),
    "a text": lambda path: path.write_text("not found"),
    "another length": lambda path: changed(path, path.read_bytes().index(b"(16000,)"), b"(15000,)"),
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_wave_of_the_cache_is_decoded_again(tmp_path, damage):
    utterances = table(wav(tmp_path / "a.flac", sine()))
    intact = WaveStore.build(utterances, tmp_path / "cache", progress=False)
    samples = np.array(intact[0])
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    damage(file)
    again = WaveStore.build(utterances, tmp_path / "cache", progress=False)
    assert np.array_equal(again[0], samples)
    assert again.keys == intact.keys


@pytest.mark.parametrize("kind", ["waves", "features", "second_views"])
def test_what_a_kill_left_after_a_file_was_in_its_place_is_cleared(tmp_path, kind, data):
    """The next process finds the file whole and writes nothing there."""

    def work() -> None:
        cache.clear_once.cache_clear()
        if kind == "second_views":
            KeptViews("basis", data, tmp_path / kind).read([(0, 1)], torch.device("cpu"))
        else:
            wave_features(WaveStore.build(utterances, tmp_path, progress=False), tmp_path, progress=False)

    utterances = table(wav(tmp_path / "a.flac", sine()))
    work()
    (tmp_path / kind).mkdir(exist_ok=True)
    places = {path.parent for path in (tmp_path / kind).rglob("*.npy")} or {tmp_path / kind}
    leftovers = [place / ".writing-abc" for place in places]
    for leftover in leftovers:
        leftover.mkdir()
    work()
    assert not any(leftover.exists() for leftover in leftovers)


def test_a_wave_that_is_exchanged_for_another_one_of_the_cache_is_decoded_again(tmp_path):
    paths = [wav(tmp_path / f"{hz}.flac", sine(hz=hz)) for hz in (300, 500)]
    store = WaveStore.build(table(*paths), tmp_path / "cache", progress=False)
    samples = [np.array(store[i]) for i in range(2)]
    first, second = (source.mapped for source in store._sources)
    Path(first).write_bytes(Path(second).read_bytes().replace(b"\1", b"\2", 1))
    again = WaveStore.build(table(*paths), tmp_path / "cache", progress=False)
    assert all(np.array_equal(again[i], samples[i]) for i in range(2))


def test_a_wave_damaged_while_it_is_in_use_is_noticed(tmp_path):
    store = WaveStore.build(table(wav(tmp_path / "a.flac", sine())), tmp_path / "cache", progress=False)
    file = Path(store._sources[0].mapped)
    whole = file.read_bytes()
    os.utime(file, ns=(0, 0))
    assert len(store[0]) == 16_000, "another process wrote the same samples"
    file.write_bytes(bytes(len(whole)))
    with pytest.raises(CorpusError, match=r"\.npy: has changed since it was read; "):
        store[0]


def test_an_array_is_read_only_if_kind_and_axes_are_those_expected(tmp_path):
    file = tmp_path / "a.npy"
    values = np.arange(12, dtype=np.float32).reshape(3, 4)
    np.save(file, values)
    assert sealed(file, np.float32, 2) is None, "not sealed yet"
    seal(file)
    array = sealed(file, np.float32, 2)
    assert array is not None
    assert np.array_equal(array[0], values)
    assert array[1] == cache.digest(values).hex()
    assert np.array_equal(np.load(file, allow_pickle=False), values), "numpy still reads it"
    assert sealed(file, np.float64, 2) is None
    assert sealed(file, np.float32, 1) is None
    assert sealed(tmp_path / "absent.npy", np.float32, 2) is None
    assert sealed(tmp_path, np.float32, 2) is None


def test_a_folder_of_sounds_is_as_it_was_sealed_or_not(tmp_path):
    path = wav(tmp_path / "a.wav", sine())
    assert not folder_sealed(tmp_path)
    seal_folder(tmp_path)
    assert folder_sealed(tmp_path)
    (tmp_path / ".lock").touch()
    assert folder_sealed(tmp_path)
    changed(path, 500, b"x")
    assert not folder_sealed(tmp_path)
    assert not folder_sealed(tmp_path / "absent")


def pipe(path):
    path.unlink()
    os.mkfifo(path)


def device(path):
    path.unlink()
    path.symlink_to("/dev/zero")


def folder(path):
    path.unlink()
    path.mkdir()


@pytest.mark.parametrize("change", [pipe, device, folder])
def test_what_is_no_file_in_place_of_a_decoded_one_is_not_waited_for_and_is_named(tmp_path, change):
    utterances = table(wav(tmp_path / "a.flac", sine()))
    WaveStore.build(utterances, tmp_path / "cache", progress=False)
    (file,) = (path for path in (tmp_path / "cache").rglob("*") if path.is_file())
    change(file)
    with pytest.raises(CorpusError, match=rf"{file} cannot be written: it is (not a plain file|a folder); remove it"):
        WaveStore.build(utterances, tmp_path / "cache", progress=False)


@pytest.mark.parametrize("change", [pipe, device, folder])
@pytest.mark.parametrize("name", ["synthetic-00002.wav", "checksum"])
def test_what_is_no_file_in_place_of_a_synthetic_sound_is_replaced_or_named(tmp_path, monkeypatch, change, name):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path))
    data = Data(synthetic_size=40)
    path = Path(corpora.read(data)["path"].iloc[1])
    sound = path.read_bytes()
    change(path.with_name(name))
    if name == "checksum" or change is folder:
        with pytest.raises(CorpusError, match=rf"the cache cannot be written \(.*{name}.*\)"):
            corpora.read(data)
    else:
        corpora.read(data)
        assert path.read_bytes() == sound


@pytest.mark.parametrize("folder", ["/dev/null/cache", "/proc/cache", "file/cache"])
def test_a_cache_that_cannot_be_written_is_a_sentence_that_names_its_variable(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    Path("file").touch()
    path = wav(tmp_path / "a.flac", sine())
    with pytest.raises(CorpusError, match=r"the cache cannot be written \(.+\); make room there, or set IPR_CACHE to"):
        WaveStore.build(table(path), Path(folder), progress=False)


def test_a_wav_that_needs_no_decoding_needs_no_cache(tmp_path):
    assert len(WaveStore.build(table(wav(tmp_path / "a.wav", sine())), Path("/dev/null"), progress=False)[0]) == 16_000
