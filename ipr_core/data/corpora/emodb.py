"""Berlin EmoDB: 535 acted sentences of ten speakers, each with the share of listeners who heard what was meant.

Burkhardt et al. 2005. Of some 20 listeners it is known how many recognised the intended emotion, not what the others
heard: their votes are `votes_unknown`, which count against the label in every share and are spread over no class.
"""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError, Fault, corpus_folder

LAYOUT = "wav/03a01Fa.wav … and erkennung.txt"
LETTERS = {
    "W": "angry", "L": "bored", "N": "neutral", "F": "happy", "A": "fearful", "T": "sad", "E": "disgusted",
}  # fmt: skip
NAME = re.compile(r"(\d\d)([ab]\d\d)([WLNFATE])[a-z]?")  # speaker, sentence, emotion, version


def read(data: Data) -> DataFrame:
    """Every wav with a name of EmoDB's; one without a line in erkennung.txt has a label and no votes."""
    root = corpus_folder(data, ["wav/*.wav", "erkennung.txt"], LAYOUT)
    rates = listeners(root / "erkennung.txt")
    files = [file for file in sorted((root / "wav").glob("*.wav")) if NAME.fullmatch(file.stem)]
    return DataFrame([_utterance(file, rates) for file in files])


def listeners(path: str | Path) -> dict[str, tuple[int, int, int]]:
    """How many listeners recognised each sentence, of how many, and the line that says so.

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


def _counts(rates: dict[str, tuple[float, int]]) -> dict[str, tuple[int, int, int]]:
    asked = defaultdict(lambda: 20)
    for name, (rate, _) in rates.items():
        if abs(rate * 20 - round(rate * 20)) > 0.01:
            asked[name[2:5]] = 21
    return {name: (round(rate * asked[name[2:5]]), asked[name[2:5]], row) for name, (rate, row) in rates.items()}


def _utterance(file: Path, rates: dict[str, tuple[int, int, int]]) -> dict:
    speaker, _, letter = NAME.fullmatch(file.stem).groups()
    right, asked, row = rates.get(file.stem, (0, 0, 0))
    known = {f"votes_{emotion}": 0.0 for emotion in LETTERS.values()} | {f"votes_{LETTERS[letter]}": float(right)}
    place = {"id": file.stem, "path": str(file), "speaker": speaker, "label": LETTERS[letter]}
    return place | known | {"votes_unknown": float(asked - right), "source": "erkennung.txt", "row": row}
