"""Sound that PyAV decodes: what phones, browsers and cameras write, whole, cut, damaged, locked, or of odd tracks."""

import struct
import subprocess
import sys

import numpy as np
import pytest

from helpers.recordings import recording, without_packets
from helpers.sounds import changed, decode, problem, sine, table, wav
from ipr_core.data.waves import SAMPLE_RATE, WaveStore

SOUND = {
    "aac.m4a": ("aac", 44_100, {}),
    "alac.m4a": ("alac", 44_100, {"form": "ipod"}),
    "film.mp4": ("aac", 48_000, {"video": "mpeg4"}),
    "mp3.mp4": ("libmp3lame", 44_100, {}),
    "parts.mp4": ("aac", 44_100, {"options": {"movflags": "frag_keyframe+empty_moov", "frag_duration": "400000"}}),
    "index_first.mp4": ("aac", 44_100, {"options": {"movflags": "faststart"}}),
    "opus.webm": ("libopus", 48_000, {}),
    "browser.webm": ("libopus", 48_000, {"options": {"live": "1"}, "video": "libvpx"}),
    "flac.mka": ("flac", 44_100, {"form": "matroska"}),
    "pcm.mkv": ("pcm_s16le", 44_100, {}),
    "ac3.mkv": ("ac3", 48_000, {}),
    "a.aac": ("aac", 44_100, {}),
    "phone.amr": ("libopencore_amrnb", 8_000, {}),
    "phone.3gp": ("libopencore_amrnb", 8_000, {}),
    "a.wma": ("wmav2", 44_100, {"bit_rate": 128_000}),
    "film.wmv": ("wmav2", 44_100, {"bit_rate": 128_000, "video": "wmv2", "form": "asf"}),
    "mp2.avi": ("mp2", 44_100, {}),
    "film.avi": ("pcm_s16le", 44_100, {"video": "mpeg4"}),
    "pcm.mov": ("pcm_s24le", 44_100, {}),
    "ulaw.mov": ("pcm_mulaw", 8_000, {}),
    "a.flv": ("libmp3lame", 44_100, {}),
    "a.wv": ("wavpack", 44_100, {}),
    "a.tta": ("tta", 44_100, {}),
    "ima.caf": ("adpcm_ima_qt", 44_100, {}),
    "mp3.wav": ("libmp3lame", 44_100, {}),
}
"""Files by name: codec, rate, and how they are written."""
LOSSLESS = {"alac.m4a", "flac.mka", "pcm.mkv", "film.avi", "pcm.mov", "a.wv", "a.tta"}
PAYLOAD_UNCHECKED = {
    "alac.m4a", "opus.webm", "browser.webm", "pcm.mkv", "a.wma", "film.wmv", "mp2.avi", "film.avi", "pcm.mov",
    "ulaw.mov", "a.flv", "ima.caf", "mp3.wav", "phone.3gp",
}  # fmt: skip
"""Nothing tells that a byte within a packet of these is another one."""


def voice(rate, seconds=2.0):
    """Return a buzz that grows louder, so that its loudness tells where one is."""
    time = np.arange(round(seconds * rate)) / rate
    buzz = sum(np.cos(2 * np.pi * 150 * k * time + k * k) / k for k in range(1, 20))
    return (buzz * (0.05 + 0.15 * time / seconds)).astype(np.float32)


def recorded_file(folder, name):
    codec, rate, form = SOUND[name]
    return recording(folder / name, voice(rate), rate, codec, **form)


def loudness(wave):
    """Return the loudness in each tenth of a second but the first and the last."""
    tenth = SAMPLE_RATE // 10
    return np.sqrt(np.mean(wave[: 20 * tenth].reshape(20, tenth)[1:-1] ** 2, axis=1))


@pytest.mark.parametrize("name", SOUND)
def test_a_recording_is_heard_as_its_wav_is(tmp_path, name, caplog):
    rate = SOUND[name][1]
    wave = decode(recorded_file(tmp_path, name), tmp_path / "cache")
    twin = decode(wav(tmp_path / "twin.wav", voice(rate), rate, subtype="FLOAT"), tmp_path / "cache")
    assert abs(len(wave) - len(twin)) < 0.05 * SAMPLE_RATE, "the codec's own frame is longer"
    if name in LOSSLESS:
        assert np.abs(wave - twin).max() < 3 / 32768
    length = min(len(wave), len(twin))
    padded = [np.pad(part[:length], (0, 2 * SAMPLE_RATE))[: 2 * SAMPLE_RATE] for part in (wave, twin)]
    first, second = (loudness(part) for part in padded)
    assert np.abs(first - second).max() < 0.1 * second.max()
    assert not caplog.records


@pytest.mark.parametrize("name", sorted(SOUND))
def test_a_recording_that_was_cut_off_is_refused(tmp_path, name):
    whole = recorded_file(tmp_path, name).read_bytes()
    for share in (0.05, 0.3, 0.605, 0.9, 0.97):
        path = tmp_path / f"{share}-{name}"
        path.write_bytes(whole[: int(share * len(whole))])
        assert problem(path, tmp_path / "cache").startswith(("is truncated", "cannot be decoded", "is damaged")), share


@pytest.mark.parametrize("name", sorted(SOUND.keys() - PAYLOAD_UNCHECKED))
def test_a_damaged_packet_is_refused(tmp_path, name):
    path = recorded_file(tmp_path, name)
    size = path.stat().st_size
    changed(path, size // 2, np.random.default_rng(1).bytes(200))
    assert problem(path, tmp_path / "cache").startswith(("cannot be decoded (", "is damaged", "is truncated"))


def test_an_mp4_without_its_index_says_so(tmp_path):
    path = recording(tmp_path / "a.mp4", voice(44_100), 44_100, "aac")
    whole = path.read_bytes()
    path.write_bytes(whole[: whole.index(b"moov") - 4])
    assert problem(path, tmp_path / "cache").startswith("is truncated: it has no index, as of a recording that was not")


def test_packets_that_are_missing_are_no_silence(tmp_path):
    whole = recording(tmp_path / "a.mkv", voice(48_000), 48_000, "libopus")
    path = without_packets(whole, tmp_path / "b.mkv", 40, 70)
    assert problem(path, tmp_path / "cache").startswith("lacks 0.6 s of its sound after 0.8 s, by its time stamps; ")
    assert "aresample=async=1" in problem(path, tmp_path / "cache")
    path = without_packets(whole, tmp_path / "c.mkv", 40, 42)
    assert problem(path, tmp_path / "cache") == "", "clocks tremble"


def test_of_several_tracks_one_is_read_and_told_each_time(tmp_path, caplog):
    path = recording(tmp_path / "a.mkv", voice(44_100), 44_100, "flac", tracks=2)
    for _ in range(2):
        caplog.clear()
        assert len(decode(path, tmp_path / "cache")) == 2 * SAMPLE_RATE
        assert f"{path} gives 2 tracks of sound: number 1 is read" in caplog.text


@pytest.mark.parametrize("name", ["a.mp4", "a.webm", "a.avi"])
def test_a_video_without_sound_is_refused(tmp_path, name):
    codec = "libvpx" if name == "a.webm" else "mpeg4"
    path = recording(tmp_path / name, voice(8_000), 8_000, "", video=codec)
    sentence = "is a video without sound; give the recording with its sound, or take the utterance out"
    assert problem(path, tmp_path / "cache") == sentence


def test_what_is_encrypted_is_said(tmp_path):
    path = recording(tmp_path / "a.m4a", voice(44_100), 44_100, "aac")
    whole = path.read_bytes()
    assert problem(changed(path, whole.rindex(b"mp4a"), b"enca"), tmp_path / "cache").startswith("is encrypted (DRM)")
    path = recording(tmp_path / "a.wma", voice(44_100), 44_100, "wmav2", bit_rate=128_000)
    changed(path, 30, bytes.fromhex("fbb3112223bdd211b4b700a0c955fc6e"))
    assert problem(path, tmp_path / "cache").startswith("is encrypted (DRM)")


def test_no_sound_at_all_is_no_clip(tmp_path):
    path = recording(tmp_path / "a.mka", np.zeros(44_100, np.float32), 44_100, "flac", form="matroska")
    assert problem(path, tmp_path / "cache").startswith("is silent: every sample is 0")
    path = recording(tmp_path / "b.mka", np.zeros(1, np.float32), 44_100, "flac", form="matroska")
    assert problem(path, tmp_path / "cache").startswith("lasts 6.25e-05 s; the shortest")


# AMR, by hand (RFC 4867)

_SIZES = {"#!AMR\n": (12, 13, 15, 17, 19, 20, 26, 31, 5), "#!AMR-WB\n": (17, 23, 32, 36, 40, 46, 50, 58, 60, 5)}


@pytest.mark.parametrize("magic", _SIZES)
def test_frames_of_every_mode_of_amr_and_its_pauses_last_20_ms_each(tmp_path, magic):
    frames = [bytes([mode << 3 | 4]) + bytes(size) for mode, size in enumerate(_SIZES[magic])]
    path = tmp_path / "a.amr"
    path.write_bytes(magic.encode() + 10 * b"".join(frames) + b"\x7c" * 100)
    assert len(decode(path, tmp_path / "cache")) == (10 * len(frames) + 100) * 320
    path.write_bytes(magic.encode() + b"\x7c" * 100 + frames[0][:-3])
    assert "is truncated: its header promises 3 bytes more than it has" in problem(path, tmp_path / "cache")
    path.write_bytes(magic.encode() + b"\x7c" * 100 + b"\xff" * 4)
    assert "is damaged: byte" in problem(path, tmp_path / "cache")


# SPHERE, which libsndfile reads


def sphere(path, data, coding, channels=1):
    size = 1 if coding == "ulaw" else 2
    fields = {"sample_count": len(data) // size // channels, "sample_n_bytes": size, "channel_count": channels}
    lines = [f"{name} -i {value}" for name, value in (fields | {"sample_rate": 8_000}).items()]
    lines += ["sample_byte_format -s2 01" if size == 2 else "sample_byte_format -s1 1"]
    lines += [f"sample_coding -s{len(coding)} {coding}", "end_head", ""]
    path.write_bytes(b"NIST_1A\n   1024\n" + "\n".join(lines).encode().ljust(1008) + data)
    return path


def test_sphere_of_mu_law_is_read_by_channel_and_shorten_is_refused(tmp_path):
    wav(
        tmp_path / "a.au", np.stack([sine(rate=8_000), sine(rate=8_000, hz=200)], 1), 8_000, format="AU", subtype="ULAW"
    )
    data = (tmp_path / "a.au").read_bytes()[24:]
    path = sphere(tmp_path / "a.sph", data, "ulaw", 2)
    assert np.array_equal(decode(path, tmp_path / "cache"), decode(tmp_path / "a.au", tmp_path / "cache"))
    path = sphere(tmp_path / "b.sph", data, "pcm,embedded-shorten-v2.00")
    assert problem(path, tmp_path / "cache").startswith(
        "is compressed (pcm,embedded-shorten-v2.00); convert it to wav, as `sph2pipe -f wav OLD NEW.wav` does"
    )


# Channels


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.m4a", "16.wav"])
def test_channels_of_a_call_are_utterances_of_their_own(tmp_path, name):
    rate = 16_000 if name == "16.wav" else 8_000
    sides = [sine(rate=rate, hz=300), sine(rate=rate, hz=500, amplitude=0.25)]
    stereo, path = np.stack(sides, axis=1), tmp_path / name
    path = recording(path, stereo, rate, "alac", form="ipod") if name == "a.m4a" else wav(path, stereo, rate)
    store = WaveStore.build(table(path, path, path).assign(channel=[1, 2, np.nan]), tmp_path / "cache", progress=False)
    singles = [decode(wav(tmp_path / f"{i}.wav", side, rate), tmp_path / "cache") for i, side in enumerate(sides)]
    for clip, single in zip(store, [*singles, np.mean(singles, axis=0)], strict=True):
        assert np.abs(clip / 32768 - single).max() < 3 / 32768
    assert len(set(store.keys)) == len(set(store.sounds.tolist())) == 3
    assert store.keys[2] == WaveStore.build(table(path), tmp_path / "cache", progress=False).keys[0]


@pytest.mark.parametrize(("rate", "kind"), [(16_000, "wav"), (8_000, "flac")])
def test_a_channel_that_is_not_there_is_a_fault_of_its_row(tmp_path, rate, kind):
    path = wav(tmp_path / f"a.{kind}", sine(rate=rate), rate)
    rows = table(path, path).assign(channel=[1, 2])
    store, faults = WaveStore.survey(rows, tmp_path / "cache", progress=False)
    assert store.lengths.tolist() == [SAMPLE_RATE, 0]
    assert [(fault.row, fault.problem.partition("which ")[2], fault.cure) for fault in faults] == [
        (3, "has 1 channel, and number 2 is asked of it", "correct the channel, or the path")
    ]


def test_a_channel_that_is_silent_is_refused_though_the_other_is_not(tmp_path):
    path = wav(tmp_path / "a.wav", np.stack([sine(), 0 * sine()], axis=1))
    rows = table(path, path).assign(channel=[1, 2])
    _, faults = WaveStore.survey(rows, tmp_path / "cache", progress=False)
    assert [(fault.row, "is silent: every sample is 0" in fault.problem) for fault in faults] == [(3, True)]


def test_opposite_channels_can_be_read_one_by_one(tmp_path):
    path = wav(tmp_path / "a.wav", np.stack([sine(), -sine()], axis=1))
    assert "channels cancel each other" in problem(path, tmp_path / "cache")
    assert WaveStore.survey(table(path).assign(channel=[2]), tmp_path / "cache", progress=False)[1] == []


# Bounds


def test_a_list_of_other_files_is_no_sound(tmp_path):
    wav(tmp_path / "a.wav", sine())
    (tmp_path / "list.m4a").write_text("#EXTM3U\n#EXTINF:1,\na.wav\n#EXT-X-ENDLIST\n")
    assert problem(tmp_path / "list.m4a", tmp_path / "cache").startswith("is a text: it begins '#EXTM3U")


@pytest.mark.parametrize("magic", [b"\x1aE\xdf\xa3", struct.pack(">I", 32) + b"ftypM4A ", b"FLV\1\5\0\0\0\t\0\0\0\0"])
def test_what_only_begins_like_a_recording_is_refused(tmp_path, magic):
    path = tmp_path / "a.mp4"
    path.write_bytes(magic + np.random.default_rng(0).bytes(5_000))
    assert problem(path, tmp_path / "cache").startswith(("is damaged", "is truncated", "cannot be decoded"))


def test_pyav_is_imported_for_the_files_that_need_it_alone(tmp_path):
    path = wav(tmp_path / "a.flac", sine())
    code = f"""
import sys
from ipr_core.data import audio
audio.decode({str(path)!r}, {str(tmp_path / "a.npy")!r}, 16_000)
assert "av" not in sys.modules
"""
    subprocess.run([sys.executable, "-c", code], check=True)
