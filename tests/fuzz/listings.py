"""Folders of audio as people have them: every audio file is labelled, or said to be left out."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pandas as pd
from numpy.random import Generator

from fuzz.sound_damage import POINTER
from fuzz.sounds import Sound
from fuzz.trials import Answer, Damage, Verdict, call, judge
from fuzz.workbench import Workbench

SUFFIXES = {
    ".wav": ("WAV", "PCM_16"), ".WAV": ("WAV", "PCM_16"), ".Wav": ("WAV", "FLOAT"), ".flac": ("FLAC", "PCM_16"),
    ".FLAC": ("FLAC", "PCM_24"), ".mp3": ("MP3", "MPEG_LAYER_III"), ".ogg": ("OGG", "VORBIS"), ".oga": ("OGG",
    "VORBIS"),
    ".opus": ("OGG", "OPUS"), ".aiff": ("AIFF", "PCM_16"), ".aif": ("AIFF", "PCM_16"), ".AIF": ("AIFF", "PCM_16"),
    ".au": ("AU", "PCM_16"), ".snd": ("AU", "ULAW"), ".caf": ("CAF", "PCM_16"), ".w64": ("W64", "PCM_16"),
    ".rf64": ("RF64", "PCM_16"), ".sph": ("NIST", "PCM_16"), ".wave": ("WAV", "PCM_16"),
}  # fmt: skip
STEMS = (
    "clip",
    "a clip",
    "Gefühl",
    "Gefu\u0308hl",
    "-dash",
    "it's",
    'quo"te',
    "comma,",
    "tab\there",
    "line\nbreak",
    "x" * 200,
    "emoji 🎤",
    "日本語",
    "trailing ",
    "dot.dot",
    "a;b",
    "%20",
    "#1",
    "$HOME",
    "latin-\udce4",
    "=1+1",
    "clip.wav",
    "null",
    "1e5",
)
USUAL = {".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".aiff", ".aif", ".au"}
PASSED_OVER = (
    "._clip.wav",
    "__MACOSX/._clip.wav",
    "__MACOSX/clip.wav",
    ".hidden/clip.wav",
    "notes.txt",
    ".DS_Store",
    "table.csv",
)
SAID = {
    "clip.m4p": ".m4p",
    "clip.shn": ".shn",
    "clip.mpg": ".mpg",
    "clip.APE": ".ape",
    "clip.ra": ".ra",
    "clip.gsm": ".gsm",
}
BROKEN: dict[str, Callable[[Path], object]] = {
    "empty.wav": Path.touch, "gone.wav": lambda path: path.symlink_to("nowhere"),
    "pointer.wav": lambda path: path.write_bytes(POINTER), "pipe.wav": os.mkfifo,
}  # fmt: skip


def trial(draw: Generator, folder: Path, workbench: Workbench) -> Verdict:
    """Label a folder, and compare the ids with the names of its audio."""
    corpus = folder / "corpus"
    corpus.mkdir()
    names = _write_clips(corpus, draw, workbench)
    strangers = list(draw.permutation([*PASSED_OVER, *SAID])[: draw.integers(0, 4)])
    for name in strangers:
        _write(corpus / name, b"\0\0\0\x20ftypM4A " + bytes(400))
    faulty = [name for name in BROKEN if draw.random() < 0.1]
    for name in faulty:
        BROKEN[name](corpus / name)
    damage = Damage(_title(names, strangers, faulty), "corpus", ("corpus",), harmless=_is_plain(names, faulty))
    (folder / "damage.txt").write_text(ascii(damage.name))
    answer = call("annotate", workbench.finished, corpus, "--segment", "none", "--out", folder / "out", folder=folder)
    suffixes = {Path(name).suffix.lower() for name in names}
    tokens = [SAID[name] for name in strangers if name in SAID]
    verdict = judge(answer, damage, lambda: _all_labelled(answer, folder, names, tokens))
    if verdict.outcome == "refused" and not _names_one(answer.text, [*faulty, *names, *suffixes]):
        return replace(verdict, outcome="refused without a name")
    return replace(verdict, outcome="silently wrong") if verdict.outcome == "warned" else verdict


def _write_clips(corpus: Path, draw: Generator, workbench: Workbench) -> list[str]:
    names = []
    for stem in draw.permutation(STEMS)[: draw.integers(1, 6)]:
        suffix = str(draw.choice([*SUFFIXES]))
        name = str(draw.choice(["", "", "sub/", "sub.wav/", "a b/c/"])) + stem + suffix
        container, subtype = SUFFIXES[suffix]
        _write(corpus / name, Sound(workbench.sound(draw)[:, None], 16_000, container, subtype).data)
        names.append(name)
    if draw.random() < 0.3:  # a folder beside it, by a link, and a link back
        _write(
            corpus.parent / "far" / "linked.wav", Sound(workbench.sound(draw)[:, None], 16_000, "WAV", "PCM_16").data
        )
        (corpus / "link").symlink_to(corpus.parent / "far")
        (corpus.parent / "far" / "back").symlink_to(corpus.parent / "far")
        names.append("link/linked.wav")
    return names


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def _is_plain(names: list[str], faulty: list[str]) -> bool:
    """Tell whether there is no reason to refuse the folder."""
    usual = any(Path(name).suffix.lower() in USUAL for name in names)
    return usual and not faulty and all(name.isprintable() and name.isascii() for name in names)


def _title(names: list[str], strangers: list[str], faulty: list[str]) -> str:
    return "a folder" + (" with a broken file" if faulty else "") + (", strangers in it" if strangers else "")


def _all_labelled(answer: Answer, folder: Path, names: list[str], tokens: list[str]) -> bool:
    """Tell whether each clip is labelled, or its kind said to be left out, and nothing else is labelled."""
    labels = pd.read_parquet(next((folder / "out").glob("*.parquet")))
    ids, text = set(labels["id"]), answer.text.lower()
    absent = [name for name in names if name not in ids and "\udce4" not in name]
    escaped = sum("\udce4" in name for name in names)
    reported = all(Path(name).suffix.lower() in text for name in absent) and all(token in text for token in tokens)
    return reported and len(labels) <= len(names) and len(names) - len(absent) - len(labels) <= escaped


def _names_one(text: str, names: list[str]) -> bool:
    """Tell whether a text has one of the names, in whatever way odd letters are escaped."""
    plain = [_squeezed(os.fsencode(Path(name).name).decode("utf-8", "backslashreplace")) for name in names]
    squeezed = _squeezed(text)
    return any(name in text for name in names) or any(name[:20] in squeezed for name in plain if len(name) > 5)


def _squeezed(text: str) -> str:
    return "".join(letter for letter in text if letter.isascii() and letter.isalnum())
