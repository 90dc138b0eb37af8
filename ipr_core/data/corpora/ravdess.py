"""RAVDESS speech: 1,440 acted clips of 24 actors and eight emotions, without annotators' votes.

Livingstone and Russo 2018. A name is MODALITY-CHANNEL-EMOTION-INTENSITY-STATEMENT-REPETITION-ACTOR; read are the
audio-only (03) speech (01) files. The label is what the actor was asked for.
"""

from __future__ import annotations

import re
from pathlib import Path

from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import corpus_folder

LAYOUT = "Actor_NN/03-01-….wav or .flac"
EMOTIONS = {
    "01": "neutral", "02": "calm", "03": "happy", "04": "sad", "05": "angry", "06": "fearful", "07": "disgusted",
    "08": "surprised",
}  # fmt: skip
NAME = re.compile(r"03-01-(0[1-8])-\d\d-\d\d-\d\d-(\d\d)")


def read(data: Data) -> DataFrame:
    """Every speech clip, wav or flac, in the order of the actors; all votes are zero."""
    root = corpus_folder(data, ["Actor_*/03-01-*"], LAYOUT)
    files = sorted(file for kind in ("wav", "flac") for file in root.glob(f"Actor_*/03-01-*.{kind}"))
    return DataFrame([_utterance(file, root) for file in files if NAME.fullmatch(file.stem)])


def _utterance(file: Path, root: Path) -> dict:
    emotion, actor = NAME.fullmatch(file.stem).groups()
    place = {"id": file.stem, "path": str(file), "source": str(file.relative_to(root)), "row": 0}
    return place | {"speaker": f"Actor_{actor}", "label": EMOTIONS[emotion]}
