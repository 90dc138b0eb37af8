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

LAYOUT = "Actor_NN/03-01-….wav or .flac"
EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful", "07": "disgusted",
    "08": "surprised",
}  # fmt: skip
NAME = re.compile(r"03-01-(0[1-8])-\d\d-\d\d-\d\d-(\d\d)")


def read(data: Data, progress: bool = True) -> DataFrame:
    """Return every speech clip, wav or flac, in the order of the actors.

    All votes are zero.
    """
    root = corpus_folder(data, ["Actor_*/03-01-*"], LAYOUT)
    files = sorted(file for kind in ("wav", "flac") for file in root.glob(f"Actor_*/03-01-*.{kind}"))
    names = [(file, NAME.fullmatch(file.stem)) for file in files]
    return DataFrame([_utterance(file, name, root) for file, name in names if name])


def _utterance(file: Path, name: re.Match[str], root: Path) -> dict[str, Any]:
    emotion, actor = name.groups()
    source = {"source": str(file.relative_to(root)), "row": 0}
    utterance = {"id": file.stem, "path": str(file), **source}
    return utterance | {"speaker": f"Actor_{actor}", "label": EMOTIONS[emotion]}
