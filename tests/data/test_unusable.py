"""Files that are no sound: the sentence says what they are, and what to do."""

import gzip
import io
import tarfile
import zipfile

import numpy as np
import pytest

from helpers.sounds import problem, sine, table, wav
from ipr_core.data.waves import WaveStore

POINTER = f"version https://git-lfs.github.com/spec/v1\noid sha256:{'c' * 64}\nsize 72862\n".encode()
NOISE = np.random.default_rng(0).bytes(3_000)


def zipped():
    with zipfile.ZipFile(stream := io.BytesIO(), "w") as archive:
        archive.writestr("a.wav", NOISE)
    return stream.getvalue()


def tarred():
    with tarfile.open(fileobj=(stream := io.BytesIO()), mode="w") as archive:
        archive.addfile(tarfile.TarInfo("a.wav"))
    return stream.getvalue()


FILES = {
    "is a git-lfs pointer in place of the sound; run `git lfs pull`": POINTER,
    "is a git-annex pointer in place of the sound; run `git annex get`": b"/annex/objects/SHA256E-s72862--cc.wav\n",
    "is a DVC pointer in place of the sound; run `dvc pull`": b"outs:\n- md5: d41d8cd98f00b204e9800998ecf8427e\n",
    "is an HTML page, as a server sends it in place of a file; download": b"<!DOCTYPE html>\n<html>404</html>",
    "is an HTML page": b"\n  <html lang='de'><title>Anmelden</title></html>",
    "is an XML document": b"<?xml version='1.0'?><Error><Code>AccessDenied</Code></Error>",
    "is a JSON document": b'{"error": "rate limit"}',
    "is a text: it begins 'Not Found'": b"Not Found",
    "is a text: it begins 'Größe überschritten'": "Größe überschritten".encode(),
    "is a text: it begins 'sechzehn'": "sechzehn".encode("utf-16"),
    "is a zip archive; unpack it": zipped(),
    "is a gzip archive; unpack it": gzip.compress(NOISE),
    "is a tar archive; unpack it": tarred(),
    "is a 7z archive": b"7z\xbc\xaf\x27\x1c" + NOISE,
    "is a PDF document": b"%PDF-1.7\n" + NOISE,
    "is a picture (PNG)": b"\x89PNG\r\n\x1a\n" + NOISE,
    "is AMR of several channels; convert it to wav": b"#!AMR_MC1.0\n" + NOISE,
    "is Shorten (shn); convert it to wav": b"ajkg\2" + NOISE,
    "is a video (MPEG), which does not say": b"\0\0\1\xba" + NOISE,
    "is truncated: its header promises 1,112 bytes": b"RIFF\x18\x10\0\0AVI LIST" + NOISE,
    "begins with zero bytes only": bytes(5_000),
    "cannot be decoded (": NOISE,
}


@pytest.mark.parametrize("name", ["a.wav", "a.flac", "a.mp3", "a.raw", "a.au"])
@pytest.mark.parametrize(("sentence", "contents"), FILES.items(), ids=[name[:24] for name in FILES])
def test_a_file_that_is_no_sound_is_called_what_it_is(tmp_path, name, sentence, contents):
    (tmp_path / name).write_bytes(contents)
    assert problem(tmp_path / name, tmp_path / "cache").startswith(sentence)


def test_a_corpus_of_pointers_has_one_line(tmp_path):
    paths = [tmp_path / f"{i}.wav" for i in range(40)]
    for path in paths:
        path.write_bytes(POINTER)
    with pytest.raises(ValueError, match="40 times a file that is a git-lfs pointer") as caught:
        WaveStore.build(table(*paths, wav(tmp_path / "a.wav", sine())), tmp_path / "cache", progress=False)
    assert len(str(caught.value).splitlines()) == 1
    assert len(caught.value.faults) == 40
