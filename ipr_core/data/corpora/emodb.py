"""Berlin EmoDB: 535 acted sentences of ten speakers, with listeners' recognition rates.

Burkhardt et al. 2005. About 20 listeners heard each sentence. It is known how many recognised the intended emotion,
but not which emotions the others heard. The others' votes are `votes_unknown`: they count against the label in every
share, and belong to no class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError, Fault, corpus_folder

LAYOUT = "wav/03a01Fa.wav … and erkennung.txt"
LETTERS = {
    "W": "angry", "L": "bored", "N": "neutral", "F": "happy", "A": "fearful", "T": "sad", "E": "disgusted",
}  # fmt: skip
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLNFATE])[a-z]?")  # speaker, sentence, emotion, version

Rates = dict[str, tuple[int, int, int]]
"""Sentence → how many listeners recognised it, of how many, and the line of erkennung.txt."""


def read(data: Data, progress: bool = True) -> DataFrame:
    """Return every wav with a name of EmoDB's.

    A sentence without a line in erkennung.txt has a label and no votes.
    """
    root = corpus_folder(data, ["wav/*.wav", "erkennung.txt"], LAYOUT)
    rates = listeners(root / "erkennung.txt")
    names = [(file, NAME.fullmatch(file.stem)) for file in sorted((root / "wav").glob("*.wav"))]
    return DataFrame([_utterance(file, name, rates) for file, name in names if name])


def listeners(path: str | Path) -> Rates:
    """Read how many listeners recognised each sentence.

    erkennung.txt is Latin-1 with decimal commas and non-breaking spaces. Its per cents are those of 20 listeners,
    and of 21 for one sentence (b03), which shows in rates such as 95,24.
    raises CorpusError naming every line that cannot be read
    """
    rates, faults = {}, []
    for number, line in enumerate(Path(path).read_text(encoding="latin-1").split("\n")[1:], start=2):
        match line.split():
            case [_, name, rate, *_] if re.fullmatch(r"\d+(,\d+)?", rate):
                rates[name.removesuffix(".wav")] = float(rate.replace(",", ".")) / 100, number
            case [_, *_]:
                faults.append(Fault(Path(path).name, number, f"{line.strip()!r} has no rate", "use it as released"))
    if faults:
        raise CorpusError(faults)
    return _counts(rates)


def _counts(rates: dict[str, tuple[float, int]]) -> Rates:
    audience: defaultdict[str, int] = defaultdict(lambda: 20)  # by sentence
    for name, (rate, _) in rates.items():
        if abs(rate * 20 - round(rate * 20)) > 0.01:
            audience[name[2:5]] = 21
    sizes = {name: audience[name[2:5]] for name in rates}
    return {name: (round(rate * sizes[name]), sizes[name], row) for name, (rate, row) in rates.items()}


def _utterance(file: Path, name: re.Match[str], rates: Rates) -> dict[str, Any]:
    speaker, _, letter = name.groups()
    right, audience, row = rates.get(file.stem, (0, 0, 0))
    votes = {f"votes_{emotion}": 0.0 for emotion in LETTERS.values()} | {f"votes_{LETTERS[letter]}": float(right)}
    utterance = {"id": file.stem, "path": str(file), "speaker": speaker, "label": LETTERS[letter]}
    return utterance | votes | {"votes_unknown": float(audience - right), "source": "erkennung.txt", "row": row}
