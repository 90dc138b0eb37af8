"""IEMOCAP, the official release: twelve hours of dialogues, each turn with its evaluators' tags.

Busso et al. 2008. `C-E*` lines are evaluators' tags. `C-F*` and `C-M*` lines are reports on one's own emotion. One
line may carry several tags. The label is the release's: the evaluators' majority. `xxx` says that they did not agree,
so it is no label.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import UNLABELLED, corpus_folder, vote_columns

LAYOUT = "SessionN/dialog/EmoEvaluation/*.txt and SessionN/sentences/wav/DIALOG/TURN.wav"

LABELS = {
    "ang": "angry", "hap": "happy", "exc": "excited", "sad": "sad", "neu": "neutral", "fru": "frustrated",
    "sur": "surprised", "fea": "fearful", "dis": "disgusted", "oth": "other", "xxx": UNLABELLED,
}  # fmt: skip
TAGS = {
    "neutral": "neutral", "neutral state": "neutral", "anger": "angry", "sadness": "sad", "happiness": "happy",
    "excited": "excited", "frustration": "frustrated", "surprise": "surprised", "fear": "fearful",
    "disgust": "disgusted", "other": "other",
}  # fmt: skip
TURN = re.compile(r"\[\s*([\d.]+)\s*-\s*([\d.]+)\s*\]\s+(\S+)\s+(\S+)")
TAGS_LINE = re.compile(r"C-([EFM])\w*\s*:([^(]*)", re.IGNORECASE)  # a comment follows "("


def read(data: Data, progress: bool = True) -> DataFrame:
    """Return every turn of the release, in the order of its files.

    `self_reports` and `several_tags` decide which tags are votes, and how much each counts. A tag that the release
    does not name counts as "other". Speaker: session and the letter of the turn's own part, so Ses01F_impro01_M003
    is spoken by Ses01M.
    """
    root = corpus_folder(data, ["Session*/dialog/EmoEvaluation/*.txt", "Session*/sentences/wav"], LAYOUT)
    files = sorted(root.glob("Session*/dialog/EmoEvaluation/*.txt"))
    turns = [turn for file in files if not file.name.startswith(".") for turn in _turns(file, root, data)]
    table = DataFrame(turns)
    return table.fillna(dict.fromkeys(vote_columns(table), 0.0))


def _turns(file: Path, root: Path, data: Data) -> list[dict[str, Any]]:
    turns: list[dict[str, Any]] = []
    for number, line in enumerate(file.read_text(encoding="latin-1").split("\n"), start=1):
        if turn := TURN.match(line.strip()):
            source = {"source": str(file.relative_to(root)), "row": number}
            turns.append(_turn(turn, file.parents[2]) | source)
        elif turns and (tags := TAGS_LINE.match(line.strip())):
            _count_(turns[-1], tags[1].upper(), tags[2], data)
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
        "label": LABELS.get(label.lower(), UNLABELLED),
    }


def _count_(turn: dict[str, Any], letter: str, text: str, data: Data) -> None:
    """Add the tags of one line to a turn's votes.

    letter: E for an evaluator, F or M for a self-report
    """
    if letter != "E" and not data.self_reports:
        return
    tags = [tag.strip().lower() for tag in text.split(";") if tag.strip()]
    vote = 1.0 if data.several_tags == "whole" else 1.0 / max(len(tags), 1)
    for tag in tags:
        name = f"votes_{TAGS.get(tag, 'other')}"
        turn[name] = turn.get(name, 0.0) + vote
