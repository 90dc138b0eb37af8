"""Lengths in headers: what is cut off is refused, what a recorder left wrong is read and told."""

import logging
import struct

import numpy as np
import pytest

from helpers.sounds import changed, cut, decode, problem, sine, table, wav
from ipr_core.data.waves import SAMPLE_RATE, WaveStore

KINDS = {
    "WAV": ("PCM_16", b"data", 4, "<I"),
    "WAVEX": ("PCM_24", b"data", 4, "<I"),
    "RIFX": ("PCM_16", b"data", 4, ">I"),
    "RF64": ("PCM_16", b"ds64", 16, "<Q"),
    "W64": ("PCM_16", b"data", 16, "<Q"),
    "AIFF": ("PCM_16", b"SSND", 4, ">I"),
    "AU": ("PCM_16", b".snd", 8, ">I"),
    "CAF": ("PCM_16", b"data", 4, ">q"),
}
"""Of each kind: how samples are written, and where and how the header says how many bytes they are."""
SPEECH = sine(hz=300)


def sound(path, kind):
    """Write a second of a tone, whatever the suffix says."""
    form = {"format": "WAV", "endian": "BIG"} if kind == "RIFX" else {"format": kind}
    return wav(path, SPEECH, subtype=KINDS[kind][0], **form)


def with_length(path, kind, change):
    """Change the length in the header by a function of the right one."""
    _, mark, offset, form = KINDS[kind]
    position = path.read_bytes().index(mark) + offset
    right = struct.unpack_from(form, path.read_bytes(), position)[0]
    return changed(path, position, struct.pack(form, change(right)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("share", [0.3, 0.97])
def test_a_file_that_was_cut_off_is_refused(tmp_path, kind, share):
    path = cut(sound(tmp_path / "a.wav", kind), share)
    assert problem(path, tmp_path / "cache").startswith("is truncated: its header promises ") or share < 0.5


@pytest.mark.parametrize("kind", KINDS)
def test_a_length_of_44_bytes_too_many_is_read_and_told(tmp_path, kind, caplog):
    path = with_length(sound(tmp_path / "a.wav", kind), kind, lambda right: right + 44)
    assert np.abs(decode(path, tmp_path / "cache") - SPEECH).max() < 1e-4
    assert f"{path} gives a length some bytes beyond its end: it is read to its end" in caplog.text


@pytest.mark.parametrize("kind", KINDS)
def test_a_length_of_zero_with_the_sound_behind_it_is_read_and_told(tmp_path, kind, caplog):
    path = with_length(sound(tmp_path / "a.wav", kind), kind, lambda right: 0)
    if kind in ("WAV", "RIFX", "AIFF"):
        changed(path, 4, bytes(4))  # nor did the recorder write the file's length
    assert np.abs(decode(path, tmp_path / "cache") - SPEECH).max() < 1e-4
    assert "gives no length, as of a recording that was not ended: all that is there is read" in caplog.text


@pytest.mark.parametrize(
    ("kind", "length"),
    [(kind, n) for kind in ("WAV", "RIFX", "AIFF", "AU") for n in (0xFFFF_FFFF, 0x7FFF_FFFF, 0x8000_0000, 0x7FFF_F000)]
    + [("CAF", -1), ("W64", 2**64 - 1), ("RF64", 2**64 - 1)],
)
def test_a_length_that_stands_for_unknown_is_whole(tmp_path, kind, length, caplog):
    path = with_length(sound(tmp_path / "a.wav", kind), kind, lambda right: length)
    assert np.abs(decode(path, tmp_path / "cache") - SPEECH).max() < 1e-4
    assert not caplog.records


@pytest.mark.parametrize("kind", [*KINDS, "NIST"])
def test_bytes_that_the_length_leaves_out_are_not_read_and_told(tmp_path, kind, caplog):
    path = (
        wav(tmp_path / "a", SPEECH, format="NIST", subtype="PCM_16") if kind == "NIST" else sound(tmp_path / "a", kind)
    )
    path.write_bytes(path.read_bytes() + np.random.default_rng(0).bytes(9_001))
    assert len(decode(path, tmp_path / "cache")) == SAMPLE_RATE
    assert "gives a length that leaves out bytes behind its sound: they are not read" in caplog.text


@pytest.mark.parametrize("size", [0, 3, 200])
def test_chunks_behind_the_sound_are_no_matter(tmp_path, size, caplog):
    path = sound(tmp_path / "a.wav", "WAV")
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", size) + bytes(size + size % 2))
    assert len(decode(path, tmp_path / "cache")) == SAMPLE_RATE
    assert not caplog.records


def test_a_wav_that_has_no_samples_but_other_chunks_is_empty(tmp_path):
    path = wav(tmp_path / "a.wav", sine(0))
    path.write_bytes(path.read_bytes() + b"LIST" + struct.pack("<I", 8_000) + bytes(8_000))
    assert problem(path, tmp_path / "cache").startswith("has no samples")


def test_many_files_with_the_same_oddity_are_one_note(tmp_path, caplog):
    paths = [sound(tmp_path / f"{i}.wav", "WAV") for i in range(5)]
    for path in paths:
        with_length(path, "WAV", lambda right: right + 44)
    with caplog.at_level(logging.WARNING):
        WaveStore.build(table(*paths), tmp_path / "cache", progress=False)
    assert len(caplog.records) == 1
    assert "0.wav" in caplog.text
    assert "and 2 more" in caplog.text


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
@pytest.mark.parametrize("share", [0.4, 0.7, 0.99])
def test_an_ogg_that_was_cut_off_is_refused(tmp_path, subtype, share):
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE)
    path = cut(wav(tmp_path / "a.ogg", noise, format="OGG", subtype=subtype), share)
    assert problem(path, tmp_path / "cache").startswith("is truncated: its last page is not whole")


def pages(path):
    """Return where the pages of an Ogg file begin."""
    whole, begins = path.read_bytes(), [0]
    while (begin := whole.find(b"OggS", begins[-1] + 4)) > 0:
        begins.append(begin)
    return begins


@pytest.mark.parametrize("subtype", ["VORBIS", "OPUS"])
def test_an_ogg_without_its_last_page_or_with_a_damaged_one_is_refused(tmp_path, subtype):
    noise = np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE)
    path = wav(tmp_path / "a.ogg", noise, format="OGG", subtype=subtype)
    whole, begins = path.read_bytes(), pages(path)
    assert problem(path, tmp_path / "cache") == ""
    path.write_bytes(whole[: begins[-1]])
    assert "the last one that can be read, does not end the stream" in problem(path, tmp_path / "cache")
    path.write_bytes(whole[: begins[3]] + whole[begins[4] :])
    assert "is damaged: page 4 of its sound is not as it was written" in problem(path, tmp_path / "cache")
    path.write_bytes(whole)
    changed(path, begins[3] + 200, b"\0" * 50)
    assert "is damaged: page 3 of its sound is not as it was written" in problem(path, tmp_path / "cache")


def test_an_mp3_is_compared_with_the_length_in_its_first_frame(tmp_path, caplog):
    path = wav(tmp_path / "a.mp3", np.random.default_rng(0).normal(0, 0.1, 5 * SAMPLE_RATE))
    whole = path.read_bytes()
    path.write_bytes(whole[:-2_000])
    assert "its first frame promises 2,000 bytes more than it has" in problem(path, tmp_path / "cache")
    path.write_bytes(whole[:-20])
    assert problem(path, tmp_path / "cache") == ""
    assert "gives a length some bytes beyond its end" in caplog.text


def test_a_tag_before_the_sound_is_no_matter(tmp_path):
    path = wav(tmp_path / "a.mp3", SPEECH)
    plain, picture = decode(path, tmp_path / "cache"), b"APIC" + struct.pack(">I", 70_000) + bytes(70_002)
    size = bytes(len(picture) >> shift & 127 for shift in (21, 14, 7, 0))
    path.write_bytes(b"ID3\3\0\0" + size + picture + path.read_bytes())
    assert np.array_equal(decode(path, tmp_path / "cache"), plain)
