"""RAVDESS speech: 1,440 acted clips of 24 actors and eight emotions, without votes.

Livingstone and Russo 2018. A name is MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR. The audio-only
(03) speech (01) files are read. The label is the emotion that the actor was asked for.
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import corpus_folder
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import Reading

LAYOUT = "Actor_NN/03-01-….wav or .flac"
EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful", "07": "disgusted",
    "08": "surprised",
}  # fmt: skip
NAME = re.compile(r"03-01-(0[1-8])-\d\d-\d\d-\d\d-(\d\d)")


def read(data: Data, progress: bool = True) -> Reading:
    """Return every speech clip in the order of the actors; files with other names are left out, with a note.

    All votes are zero.
    """
    root = corpus_folder(data, ["Actor_*"], LAYOUT)
    files = AudioFiles(root, sorted(folder.name for folder in root.glob("Actor_*") if folder.is_dir()), deep=False)
    clips = sorted(files.by_stem().items(), key=lambda clip: clip[1])
    names = [(path, NAME.fullmatch(stem)) for stem, path in clips]
    for path, name in names:
        if not name:
            files.leave_out(path, "whose name is none of its speech, 03-01-…")
    table = DataFrame([_utterance(root / path, name, path) for path, name in names if name])
    return Reading(table, files.faults, [files.note()])


def _utterance(file: Path, name: re.Match[str], source: str) -> dict[str, Any]:
    emotion, actor = name.groups()
    utterance = {"id": file.stem, "path": str(file), "source": source, "row": 0}
    return utterance | {"speaker": f"Actor_{actor}", "label": EMOTIONS[emotion]}
