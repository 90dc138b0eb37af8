"""Berlin EmoDB: 535 acted sentences of ten speakers, with listeners' recognition rates.

Burkhardt et al. 2005. About 20 listeners heard each sentence. It is known how many recognised the intended emotion,
but not which emotions the others heard. The others' votes are `votes_unknown`: they count against the label in every
share, and belong to no class.
"""

from __future__ import annotations

import logging
import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import tables, text_table
from ipr_core.data.corpora.table import corpus_folder
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration, number_of, shortened
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import ROW, Reading

LAYOUT = "wav/03a01Fa.wav … and erkennung.txt"
LICENCE, HOME = "free of charge from TU Berlin", "http://emodb.bilderbar.info"
LETTERS = {
    "W": "angry", "L": "bored", "N": "neutral", "F": "happy", "A": "fearful", "T": "sad", "E": "disgusted",
}  # fmt: skip
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLNFATE])[a-z]?")  # speaker, sentence, emotion, version
_ENCODING = "latin-1"  # of the release
_RATE = re.compile(r"\d+([.,]\d+)?")  # per cent
_CURE = "use erkennung.txt as released, or saved again as UTF-8 or Latin-1 with its columns"

Rates = dict[str, tuple[int, int, int]]
"""Sentence → how many listeners recognised it, of how many, and the line of erkennung.txt."""


def read(data: Data, progress: bool = True) -> Reading:
    """Return every wav with a name of EmoDB's; other files are left out, with a note.

    A sentence without a line in erkennung.txt has a label and no votes.
    """
    root = corpus_folder(data, ["wav", "erkennung.txt"], LAYOUT)
    rates, faults = _listeners(root / "erkennung.txt")
    files = AudioFiles(root, ["wav"], deep=False)
    names = [(path, NAME.fullmatch(stem)) for stem, path in files.by_stem().items()]
    for path, name in names:
        if not name:
            files.leave_out(path, "whose name is none of its sentences")
    table = DataFrame([_utterance(root / path, name, rates) for path, name in names if name])
    return Reading(table, [*faults, *files.faults], [files.note(), *_notes(table, rates, root / "erkennung.txt")])


def listeners(path: str | Path) -> Rates:
    """Read how many listeners recognised each sentence.

    erkennung.txt is Latin-1 with decimal commas and non-breaking spaces; it is read as well when it was saved again
    as UTF-8 or UTF-16, with decimal points or with another separator. Its per cents are those of 20 listeners, and
    of 21 for one sentence (b03), which shows in rates such as 95,24.
    raises CorpusError naming every line that cannot be read
    """
    rates, faults = _listeners(Path(path))
    if faults:
        raise CorpusError(faults)
    return rates


def _listeners(path: Path) -> tuple[Rates, list[Fault]]:
    table, unread = tables.read(path, "Satz", fallback=_ENCODING)[:2]
    absent = [name for name in ("Satz", "erkannt") if name not in table]
    if absent:
        raise CorpusError([Fault(str(path), 1, f"there is no column {', '.join(absent)}", _CURE)])
    rates: dict[str, tuple[float, int]] = {}
    faults = list(unread)
    cells = table[["Satz", "erkannt"]].fillna("").astype(str)
    for name, rate, row in zip(cells["Satz"].str.strip(), cells["erkannt"].str.strip(), table[ROW], strict=True):
        share = float(rate.replace(",", ".")) / 100 if _RATE.fullmatch(rate) else -1.0
        if _fits(share, 20) or _fits(share, 21):
            rates[name.removesuffix(".wav")] = share, int(row)
        else:
            problem = f"{shortened(name)!r} has no rate of 20 or 21 listeners, but {shortened(rate)!r}"
            faults.append(Fault(path.name, int(row), problem, _CURE, "no rate of recognition"))
    return _counts(rates), faults


def _fits(share: float, audience: int) -> bool:
    return 0 <= share <= 1 and abs(share * audience - round(share * audience)) <= 0.01


def _counts(rates: dict[str, tuple[float, int]]) -> Rates:
    audience: defaultdict[str, int] = defaultdict(lambda: 20)  # by sentence
    for name, (rate, _) in rates.items():
        if not _fits(rate, 20):
            audience[name[2:5]] = 21
    sizes = {name: audience[name[2:5]] for name in rates}
    return {name: (round(rate * sizes[name]), sizes[name], row) for name, (rate, row) in rates.items()}


def _utterance(file: Path, name: re.Match[str], rates: Rates) -> dict[str, Any]:
    speaker, _, letter = name.groups()
    right, audience, row = rates.get(file.stem, (0, 0, 0))
    votes = {f"votes_{emotion}": 0.0 for emotion in LETTERS.values()} | {f"votes_{LETTERS[letter]}": float(right)}
    utterance = {"id": file.stem, "path": str(file), "speaker": speaker, "label": LETTERS[letter]}
    return utterance | votes | {"votes_unknown": float(audience - right), "source": "erkennung.txt", "row": row}


def _notes(table: DataFrame, rates: Rates, path: Path) -> list[Note]:
    """Return how erkennung.txt was read, and which lines and wavs lack each other."""
    clips = set(table["id"]) if len(table) else set()
    unheard, absent = sorted(clips - rates.keys()), sorted(rates.keys() - clips)
    encoding = text_table.encoding(path, _ENCODING)
    facts = [f"read as {encoding.upper()}, while the release is Latin-1"] if encoding != _ENCODING else []
    if unheard:
        facts.append(
            f"{number_of(len(unheard), 'clip')} without a line in it, so without votes: {enumeration(unheard, 3)}"
        )
    if absent:
        facts.append(f"{number_of(len(absent), 'sentence')} in it without a wav: {enumeration(absent, 3)}")
    level = logging.WARNING if unheard else logging.INFO
    return [Note(level, f"{path.name}: {'; '.join(facts)}")] if facts else []
