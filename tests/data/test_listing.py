"""The listing of audio files: every kind, links, and what is left out with its cause."""

import logging
import os

import pytest

from ipr_core.config import Data
from ipr_core.data import corpora, listing
from ipr_core.data.faults import CorpusError
from ipr_core.data.listing import AudioFiles


def touch(folder, *names):
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


def test_suffixes_in_any_case_of_every_kind_the_decoder_reads(tmp_path):
    names = [
        "a.WAV",
        "b.Flac",
        "c.aiff",
        "d.AIF",
        "e.au",
        "f.snd",
        "g.opus",
        "h.oga",
        "i.caf",
        "j.w64",
        "k.rf64",
        "l.Mp3",
        "m.M4A",
        "n.amr",
        "o.WebM",
        "p.mp4",
        "q.mov",
        "r.wma",
    ]
    touch(tmp_path, *names)
    assert list(AudioFiles(tmp_path)) == names


def test_kinds_that_the_decoder_does_not_read_are_counted_and_named(tmp_path):
    touch(tmp_path, "a.wav", "b.wma2", "b.ra", "x/c.RA", "d.mpg", "e.shn", "notes.txt", "Thumbs.db")
    files = AudioFiles(tmp_path)
    assert list(files) == ["a.wav"]
    note = files.note()
    assert note.level == logging.WARNING
    assert note.text == (
        f"{tmp_path}: 1 audio file read; 4 left out: "
        "1 .mpg, which the decoder does not read: convert to wav (d.mpg); "
        "2 .ra, which the decoder does not read: convert to wav (b.ra, x/c.RA); "
        "1 .shn, which the decoder does not read: convert to wav (e.shn); "
        "3 other files without sound (.db, .txt, .wma2)"
    )


def test_the_companions_that_systems_leave_are_passed_over(tmp_path):
    companions = ("._a.wav", "__MACOSX/._a.wav", ".ipynb_checkpoints/a.wav", "@eaDir/a.wav", "x/.b.wav", ".git/c.wav")
    touch(tmp_path, "a.wav", "x/b.wav", ".DS_Store", *companions)
    files = AudioFiles(tmp_path)
    assert list(files) == ["a.wav", "x/b.wav"]
    assert (
        "2 hidden file (._a.wav, x/.b.wav); 4 hidden folder (.git, .ipynb_checkpoints, @eaDir, …)" in files.note().text
    )


def test_links_are_followed_and_loops_end(tmp_path):
    touch(tmp_path / "elsewhere", "far.wav", "deep/er.wav")
    folder = tmp_path / "in"
    touch(folder, "a.wav", "x/b.wav")
    (folder / "link.wav").symlink_to(tmp_path / "elsewhere" / "far.wav")
    (folder / "all").symlink_to(tmp_path / "elsewhere")
    (folder / "x" / "up").symlink_to(folder)
    (folder / "y").symlink_to(folder / "x")
    (folder / "self.wav").symlink_to(folder / "self.wav")
    (folder / "gone.wav").symlink_to(folder / "nothing.wav")
    files = AudioFiles(folder)
    assert list(files) == ["a.wav", "all/deep/er.wav", "all/far.wav", "link.wav", "x/b.wav"]
    assert "2 link to a file that does not exist (gone.wav, self.wav)" in files.note().text
    assert "2 linked to a folder that is listed already (x/up/, y/)" in files.note().text


def test_folders_that_link_to_each_other_end_soon(tmp_path):
    names = [f"f{i}" for i in range(12)]
    for name in names:
        touch(tmp_path, f"{name}/{name}.wav")
        for other_name in names:
            (tmp_path / name / f"to_{other_name}").symlink_to(tmp_path / other_name)
    assert len(list(AudioFiles(tmp_path))) == 12


def test_a_pipe_and_a_folder_called_wav_are_no_files(tmp_path):
    os.mkfifo(tmp_path / "pipe.wav")
    touch(tmp_path, "folder.wav/a.wav")
    files = AudioFiles(tmp_path)
    assert list(files) == ["folder.wav/a.wav"]
    assert "1 pipe, socket or device (pipe.wav)" in files.note().text


def test_a_folder_that_cannot_be_read_is_said(tmp_path, monkeypatch):
    touch(tmp_path, "a.wav", "closed/b.wav")
    scandir = os.scandir

    def refuse(folder):
        if str(folder).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(folder)

    monkeypatch.setattr(listing.os, "scandir", refuse)
    files = AudioFiles(tmp_path)
    assert list(files) == ["a.wav"]
    assert "1 folder that cannot be read: Permission denied (closed/)" in files.note().text


@pytest.mark.parametrize("name", [b"Gef\xfchl.wav", b"Ordner\xe4/a.wav", b"\xff\xfe.flac"])
def test_a_name_that_is_not_utf8_is_a_fault_that_names_it(tmp_path, name):
    touch(tmp_path, "a.wav")
    path = os.fsencode(tmp_path) + b"/" + name
    os.makedirs(os.path.dirname(path), exist_ok=True)
    os.close(os.open(path, os.O_CREAT))
    _, faults = corpora.survey(Data(corpus="manifest", corpus_path=str(tmp_path)), labels_needed=False)
    escaped = name.split(b"/")[0].decode("utf-8", "backslashreplace")
    assert [str(fault) for fault in faults] == [
        f"{tmp_path}: the name '{escaped}' is not UTF-8; rename it, by hand or with convmv"
    ]


def test_a_folder_without_audio_is_refused_with_what_is_in_it(tmp_path):
    touch(tmp_path, "a.shn", "b.txt")
    with pytest.raises(CorpusError, match=r"no audio file in it that can be read \(.*1 \.shn.*\.txt"):
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path)), labels_needed=False)


def test_files_of_one_name_are_utterances_of_a_folder_each_and_one_clip_of_a_corpus(tmp_path):
    touch(tmp_path, "clip.wav", "clip.WAV", "clip.flac")
    table, faults = corpora.survey(Data(corpus="manifest", corpus_path=str(tmp_path)), labels_needed=False)
    assert sorted(table["id"]) == ["clip.WAV", "clip.flac", "clip.wav"]
    assert not faults
    files = AudioFiles(tmp_path)
    assert len(files.by_stem()) == 1
    assert [fault.problem for fault in files.faults] == [
        "clip.WAV and clip.flac are both the clip 'clip'",
        "clip.WAV and clip.wav are both the clip 'clip'",
    ]


def test_a_video_beside_the_sound_of_the_same_clip_is_left_out_and_alone_it_is_read(tmp_path):
    touch(tmp_path, "a.avi", "b.MP4", "b.wav", "c.mp4", "c.mkv", "films/b.mov")
    assert list(AudioFiles(tmp_path)) == ["a.avi", "b.wav", "c.mkv", "c.mp4", "films/b.mov"]
    files = AudioFiles(tmp_path)
    assert files.by_stem() == {"b": "b.wav", "a": "a.avi", "c": "c.mkv"}
    assert "2 video whose sound is in another file (b.MP4, films/b.mov)" in files.note().text
    assert [fault.problem for fault in files.faults] == ["c.mkv and c.mp4 are both the clip 'c'"]
