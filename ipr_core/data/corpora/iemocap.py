"""IEMOCAP, the official release: twelve hours of dialogues, each turn with its evaluators' tags.

Busso et al. 2008. `C-E*` lines are evaluators' tags. `C-F*` and `C-M*` lines are reports on one's own emotion. One
line may carry several tags. The label is the release's: the evaluators' majority. `xxx` says that they did not agree,
so it is no label. An annotator is called as the line is: C-E1 to C-E6, and C-F1 or C-M1 for a self-report.
"""

from __future__ import annotations

import logging
import re
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import raters, text_table
from ipr_core.data.corpora.table import UNLABELLED, corpus_folder
from ipr_core.data.faults import Fault, Note, enumeration, number_of, shortened
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import Reading

LAYOUT = "SessionN/dialog/EmoEvaluation/*.txt and SessionN/sentences/wav/DIALOG/TURN.wav"
LICENCE, HOME = "for research, after signing the release form of USC", "https://sail.usc.edu/iemocap/"

LABELS = {
    "ang": "angry", "hap": "happy", "exc": "excited", "sad": "sad", "neu": "neutral", "fru": "frustrated",
    "sur": "surprised", "fea": "fearful", "dis": "disgusted", "oth": "other", "xxx": UNLABELLED,
}  # fmt: skip
TAGS = {
    "neutral": "neutral", "neutral state": "neutral", "anger": "angry", "sadness": "sad", "happiness": "happy",
    "excited": "excited", "frustration": "frustrated", "surprise": "surprised", "fear": "fearful",
    "disgust": "disgusted", "other": "other",
}  # fmt: skip
TURN = re.compile(r"\[\s*(\d+(?:\.\d+)?)\s*-\s*(\d+(?:\.\d+)?)\s*\]\s+(Ses\w+_[FM]\w*)\s+(\w+)", re.IGNORECASE)
TAGS_LINE = re.compile(r"(C-([EFM])\w*)\s*:([^(]*)", re.IGNORECASE)  # a comment follows "("
_Vote = tuple[str, str, str, float]  # as `raters.COLUMNS`
_DIALOGUE = re.compile(r"Ses\d\d[FM]_\w+", re.IGNORECASE)  # the name of its text


def read(data: Data, progress: bool = True) -> Reading:
    """Return every turn of the release, in the order of its files.

    `self_reports` and `several_tags` decide which tags are votes, and how much each counts. A tag that the release
    does not name counts as "other". Speaker: session and the letter of the turn's own part, so Ses01F_impro01_M003
    is spoken by Ses01M. Texts that are no dialogue's and wavs without a turn are left out, with a note.
    """
    root = corpus_folder(data, ["Session*/dialog/EmoEvaluation", "Session*/sentences/wav"], LAYOUT)
    texts = sorted(root.glob("Session*/dialog/EmoEvaluation/*.[tT][xX][tT]"))
    dialogues = [file for file in texts if _DIALOGUE.fullmatch(file.stem)]
    strays = [str(file.relative_to(root)) for file in texts if file not in dialogues and file.name[0] != "."]
    faults: list[Fault] = []
    votes: list[_Vote] = []
    turns = [turn for file in dialogues for turn in _turns(file, root, data, votes, faults)]
    files = AudioFiles(root, sorted(str(folder.relative_to(root)) for folder in root.glob("Session*/sentences/wav")))
    clips = files.by_stem()
    for name in sorted(clips.keys() - {turn["id"] for turn in turns}):
        files.leave_out(clips[name], "without a turn in EmoEvaluation")
    for turn in turns:
        turn["path"] = str(root / clips[turn["id"]]) if turn["id"] in clips else turn["path"]
    notes = [files.note(), *_stray_note(strays)]
    return Reading(DataFrame(turns), [*faults, *files.faults], notes, DataFrame(votes, columns=list(raters.COLUMNS)))


def _stray_note(names: list[str]) -> list[Note]:
    if not names:
        return []
    return [
        Note(
            logging.WARNING,
            f"IEMOCAP: {number_of(len(names), 'text')} of no dialogue passed over: {enumeration(names)}",
        )
    ]


def _turns(file: Path, root: Path, data: Data, votes: list[_Vote], faults: list[Fault]) -> list[dict[str, Any]]:
    """Return the turns of a dialogue.

    votes: here the votes on them are added   faults: and here each line that begins like a turn and is none
    """
    turns: list[dict[str, Any]] = []
    source = str(file.relative_to(root))
    for number, line in enumerate(text_table.lines(file, "latin-1"), start=1):
        text = line.strip()
        if turn := TURN.match(text):
            turns.append(_turn(turn, file.parents[2]) | {"source": source, "row": number})
        elif text.startswith("["):
            problem = f"{shortened(text)!r} is no turn: [START - END] Ses…_F000 LABEL"
            faults.append(Fault(source, number, problem, "correct it, or take it out", "a line that is no turn"))
        elif turns and (tags := TAGS_LINE.match(text)):
            votes += _votes(turns[-1]["id"], tags, data)
    return turns


def _turn(match: re.Match[str], session: Path) -> dict[str, Any]:
    start, end, name, label = match.groups()
    dialog, part = name.rsplit("_", 1)
    return {
        "id": name,
        "path": str(session / "sentences" / "wav" / dialog / f"{name}.wav"),
        "speaker": f"{name[:5]}{part[0].upper()}",
        "session": name[:5],
        "duration": float(end) - float(start),
        "label": LABELS.get(label.lower(), label),
    }


def _votes(turn: str, line: re.Match[str], data: Data) -> list[_Vote]:
    """Return the votes of one line: an evaluator's (E), or a self-report (F or M)."""
    name, letter, text = line.groups()
    if letter.upper() != "E" and not data.self_reports:
        return []
    tags = [tag.strip().lower() for tag in text.split(";") if tag.strip()]
    weight = 1.0 if data.several_tags == "whole" else 1.0 / max(len(tags), 1)
    return [(turn, name.upper(), TAGS.get(tag, "other"), weight) for tag in tags]
