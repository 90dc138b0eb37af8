"""Paths of a manifest that differ from the files on the disk, and the cure for each."""

import unicodedata

import pytest

from ipr_core.config import Data
from ipr_core.data import corpora

NFC, NFD = (unicodedata.normalize(form, "Gefühl") for form in ("NFC", "NFD"))


@pytest.fixture
def survey(tmp_path):
    """Return a function from the paths of a manifest to its table and the sentences of its faults."""

    def read(*paths, ids=None):
        rows = [f"{name},{path},sad" for name, path in zip(ids or paths, paths, strict=True)]
        (tmp_path / "m.csv").write_text("\n".join(["id,path,label", *rows]), encoding="utf-8")
        table, faults = corpora.survey(Data(corpus="manifest", corpus_path=str(tmp_path / "m.csv")))
        return table, [str(fault) for fault in faults]

    return read


def touch(file):
    file.parent.mkdir(parents=True, exist_ok=True)
    file.touch()


@pytest.mark.parametrize(
    ("name", "stored"),
    [
        (f"{NFC}.wav", f"{NFD}.wav"),
        (f"{NFD}.wav", f"{NFC}.wav"),
        (f"{NFC}/{NFD}.wav", f"{NFD}/{NFC}.wav"),
        (f"{NFC}/{NFC}/a.wav", f"{NFC}/{NFD}/a.wav"),
    ],
)
def test_a_name_in_another_normal_form_is_taken(survey, tmp_path, name, stored):
    touch(tmp_path / stored)
    table, faults = survey(name)
    assert not faults
    assert table["path"][0] == str(tmp_path / stored)
    assert table["id"][0] == name


@pytest.mark.parametrize(
    ("path", "cure"),
    [
        (r"clips\a.wav", "write / instead of \\"),
        (r"C:\Users\anna\a.wav", "write / instead of \\"),
        ("file:///data/a.wav", "write the path alone, without file://"),
        ("~/a.wav", "write the path in full: ~ is not replaced"),
        ("clips/my%20clip.wav", "write the name as it is, without %"),
        ("clips/A.WAV", "did you mean 'a.wav'?"),
        ("Clips/a.wav", "clips/a.wav'?"),
        ("clips/a.flac", "did you mean 'a.wav'?"),
        ("clips/my  clip.wav", "did you mean 'my clip.wav'?"),
        ("'clips/a.wav'", "write the path without quotes"),
        ("clips/b.wav", "put the file there, or take the utterance out"),
    ],
)
def test_a_path_that_differs_from_a_file_s_has_its_cure(survey, tmp_path, path, cure):
    touch(tmp_path / "clips" / "a.wav")
    touch(tmp_path / "clips" / "my clip.wav")
    _, faults = survey(path)
    assert "which does not exist; " in faults[0]
    assert cure in faults[0].partition("which does not exist; ")[2]


def test_a_file_that_was_renamed_since_is_looked_for_again(survey, tmp_path):
    touch(tmp_path / f"{NFD}.wav")
    assert not survey(f"{NFC}.wav")[1]
    (tmp_path / f"{NFD}.wav").rename(tmp_path / "x.wav")
    assert "which does not exist; put the file there" in survey(f"{NFC}.wav")[1][0]


def test_a_folder_a_pipe_and_a_broken_link_are_called_by_their_kind(survey, tmp_path):
    (tmp_path / "folder.wav").mkdir()
    (tmp_path / "link.wav").symlink_to(tmp_path / "nothing.wav")
    _, faults = survey("folder.wav", "link.wav")
    assert "which is a folder; " in faults[0]
    assert "link.wav, a link to a file that does not exist; " in faults[1]


@pytest.mark.parametrize("twin", [NFD, f"{NFC}\u200b", "a  b", "a\u00a0b"])
def test_ids_that_only_a_program_can_tell_apart_are_refused(survey, tmp_path, twin):
    touch(tmp_path / "a.wav")
    first = NFC if "e" in twin else "a b"
    _, faults = survey("a.wav", "a.wav", "a.wav", ids=[first, "other", twin])
    assert len(faults) == 1
    assert f"is spelt like {first!a} in row 2 but for spaces or the make-up of its accents" in faults[0]


def test_a_long_path_is_quoted_in_part(survey):
    _, faults = survey("x" * 20_000 + ".wav")
    assert len(faults[0]) < 600
    assert "characters)" in faults[0]
