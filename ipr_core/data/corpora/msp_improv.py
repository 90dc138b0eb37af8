"""MSP-IMPROV: improvised and read turns of twelve actors, with the votes of each evaluator, by name.

Busso et al. 2017. In Evaluation.txt (spelt Evalution.txt too) a line per turn has its consensus, and a line per
evaluator follows, up to a blank one:

    UTD-IMPROV-S01A-F01-P-FM01.avi; N; A:3.1; V:3.0; D:2.9 ; N:4.2;
    WORKER00000001; Neutral; Neutral,Sad; A:3.000000; V:3.000000; D:3.000000; N:4.000000;

The label is the consensus; X, no agreement, is no label. A vote is the evaluator's first emotion; the list behind it
is not counted. The same evaluator twice on a turn is counted once. The corpus was not at hand: the layout is that of
public loaders, see data/README.md.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import text_table
from ipr_core.data.corpora.msp_podcast import LETTERS, primary, without_copies
from ipr_core.data.corpora.table import corpus_folder
from ipr_core.data.faults import Fault, Note, enumeration, number_of, shortened
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import Reading

LAYOUT = "Evaluation.txt and sessionN/S01A/P/MSP-IMPROV-S01A-F01-P-FM01.wav"
LICENCE = "for research, after signing an agreement with UT Dallas"
HOME = "https://ecs.utdallas.edu/research/researchlabs/msp-lab/MSP-Improv.html"
TURN = re.compile(r"UTD-IMPROV-([A-Z0-9-]+)\.avi\s*;\s*([A-Z])\s*;", re.IGNORECASE)
VOTE = re.compile(r"([^;\s][^;]*?)\s*;\s*([^;:\s][^;:]*?)\s*;.*;\s*A:", re.IGNORECASE)
NAME = re.compile(r"S\d\d([AHSN])-(([MF])(\d\d))-([PRST])-[MF]{2}\d+", re.IGNORECASE)
"""A turn: sentence and intended emotion, speaker, scenario, who speaks to whom, and the turn's number."""
_CURE = "correct it, or take it out"


def read(data: Data, progress: bool = True) -> Reading:
    """Return every turn of Evaluation.txt with the votes of its evaluators, in the order of the file.

    Speaker: M01 to F06; session: the pair's number. Columns intended (the emotion of the sentence), gender and
    scenario (P, R, S or T, as in the names) are the release's. Wavs without a turn are left out, with a note.
    """
    root = corpus_folder(data, ["Eval*tion.txt"], LAYOUT)
    turns, votes, faults = _evaluations(next(iter(sorted(root.glob("Eval*tion.txt")))))
    files = AudioFiles(root)
    clips = files.by_stem()
    for name in sorted(clips.keys() - {turn["id"] for turn in turns}):
        files.leave_out(clips[name], "without a line in Evaluation.txt")
    for turn in turns:
        turn["path"] = str(root / clips[turn["id"]]) if turn["id"] in clips else str(root / f"{turn['id']}.wav")
    label, odd = primary(votes["word"])
    votes, copies = without_copies(votes.assign(label=label, weight=1.0)[["id", "annotator", "label", "weight"]])
    return Reading(DataFrame(turns), [*faults, *files.faults], [files.note(), *_notes(odd, copies)], votes)


def _evaluations(file: Path) -> tuple[list[dict[str, Any]], DataFrame, list[Fault]]:
    """Return the turns, the votes (id, annotator, word), and a fault for each line that is neither."""
    turns: list[dict[str, Any]] = []
    votes: list[tuple[str, str, str]] = []
    faults: list[Fault] = []
    for number, line in enumerate(text_table.lines(file, "latin-1"), start=1):
        text = line.strip()
        if turn := TURN.match(text):
            turns.append(_turn(turn[1], turn[2].upper()) | {"source": file.name, "row": number})
            if turn[2].upper() not in LETTERS:
                faults.append(_fault(file, number, f"the class {turn[2]!r} is none of {', '.join(LETTERS)}"))
        elif (vote := VOTE.match(text)) and turns and not text.upper().startswith("UTD-IMPROV"):
            votes.append((turns[-1]["id"], vote[1], vote[2]))
        elif text:
            faults.append(_fault(file, number, f"{shortened(text)!r} is neither a turn nor an evaluator's vote"))
    return turns, DataFrame(votes, columns=["id", "annotator", "word"], dtype=str), faults


def _turn(name: str, letter: str) -> dict[str, Any]:
    turn: dict[str, Any] = {"id": f"MSP-IMPROV-{name}", "label": LETTERS.get(letter, "")}
    if match := NAME.fullmatch(name):
        emotion, speaker, gender, session, scenario = (part.upper() for part in match.groups())
        turn |= {"speaker": speaker, "session": session, "intended": LETTERS[emotion]}
        turn |= {"gender": {"F": "Female", "M": "Male"}[gender], "scenario": scenario}
    return turn


def _fault(file: Path, line: int, problem: str) -> Fault:
    return Fault(file.name, line, problem, _CURE, "a line that cannot be read")


def _notes(odd: list[str], copies: int) -> list[Note]:
    notes = []
    if odd:
        words = enumeration(map(shortened, odd), 3)
        text = f"MSP-IMPROV: {number_of(len(odd), 'word')} that the release does not name count as other: {words}"
        notes.append(Note(logging.INFO, text))
    if copies:
        text = f"MSP-IMPROV: {number_of(copies, 'vote')} of an evaluator on a turn that is there already passed over"
        notes.append(Note(logging.WARNING, text))
    return notes
