"""CREMA-D: 7,442 acted clips of 91 actors, each with listeners' votes over six emotions.

Cao et al. 2014. Only the voice-only votes are read, since training hears the voice alone. The label is the emotion
that most listeners heard, because the partition is by perceived emotion; if two share the first place there is none.
The emotion that the actor was asked for is in the column `intended`.
"""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.corpora.table import CorpusError, Fault, corpus_folder, plurality

LAYOUT = "AudioWAV/*.wav and processedResults/tabulatedVotes.csv"
COLUMNS = {"A": "angry", "D": "disgusted", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
INTENDED = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
VOICE_ONLY = 100_000
"""Rows 1xxxxx of the tabulated votes; 2xxxxx are the face alone and 3xxxxx both."""


def read(data: Data, progress: bool = True) -> DataFrame:
    """Return the clips in AudioWAV that have votes; the release's other clips are skipped."""
    root = corpus_folder(data, ["AudioWAV/*.wav", "processedResults/tabulatedVotes.csv"], LAYOUT)
    table = votes(root / "processedResults" / "tabulatedVotes.csv")
    clips = {file.stem: str(file) for file in (root / "AudioWAV").glob("*.wav")}
    table = table[table["id"].isin(clips)]
    return table.assign(path=table["id"].map(clips)).reset_index(drop=True)


def votes(path: str | Path) -> DataFrame:
    """Return the voice-only votes of every clip, whether its wav is at hand or not.

    path: processedResults/tabulatedVotes.csv of the release
    returns: id, speaker, label, intended, votes_<emotion>, source and row; N = 7,442 rows for the whole release
    raises CorpusError for a file without these columns
    """
    raw = pd.read_csv(path)
    absent = [name for name in (*COLUMNS, "fileName") if name not in raw]
    if absent:
        cure = "use tabulatedVotes.csv as released"
        raise CorpusError([Fault(str(path), 1, f"there is no column {', '.join(absent)}", cure)])
    raw = raw.assign(row=raw.index + 2)  # the header is row 1
    voice = raw[raw.iloc[:, 0] // VOICE_ONLY == 1]
    table = voice[list(COLUMNS)].rename(columns=lambda name: f"votes_{COLUMNS[name]}").astype(float)
    clip = voice["fileName"]
    return table.assign(
        id=clip,
        speaker=clip.str[:4],
        label=plurality(table),
        intended=clip.str.split("_").str[2].map(INTENDED),
        source=Path(path).name,
        row=voice["row"],
    ).reset_index(drop=True)
