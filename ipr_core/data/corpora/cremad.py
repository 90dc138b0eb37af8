"""CREMA-D: 7,442 acted clips of 91 actors, each with listeners' votes over six emotions.

Cao et al. 2014. Only the voice-only votes are read, since training hears the voice alone. The label is the emotion
that most listeners heard, because the partition is by perceived emotion; if two share the first place there is none.
The emotion that the actor was asked for is in the column `intended`, the sex of VideoDemographics.csv in `sex`.

Counts are those of tabulatedVotes.csv. Who voted is in finishedResponses.csv, if it is at hand: a row per response of a
participant (localid). Responses that took longer than 10 s (ttr in finishedEmoResponses.csv) were not tabulated.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data import tables
from ipr_core.data.corpora import cremad_raters
from ipr_core.data.corpora.table import corpus_folder, numbers, plurality, with_points
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration, number_of
from ipr_core.data.listing import AudioFiles
from ipr_core.data.reading import ROW, Reading

LAYOUT = "AudioWAV/*.wav and processedResults/tabulatedVotes.csv"
LICENCE, HOME = "Open Database License 1.0", "https://github.com/CheyneyComputerScience/CREMA-D"
COLUMNS = {"A": "angry", "D": "disgusted", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
INTENDED = {"ANG": "angry", "DIS": "disgusted", "FEA": "fearful", "HAP": "happy", "NEU": "neutral", "SAD": "sad"}
VOICE_ONLY = 100_000
"""Rows 1xxxxx of the tabulated votes; 2xxxxx are the face alone and 3xxxxx both."""
SILENT = "1076_MTI_SAD_XX"
"""The release's clip without sound, which is left out."""
_NUMBER = r"[123]\d{5}(?:[.,]0)?"  # of a row
_CURE = "use tabulatedVotes.csv as released"


def read(data: Data, progress: bool = True) -> Reading:
    """Return the clips in AudioWAV that have votes; other clips are left out, with a note."""
    root = corpus_folder(data, ["AudioWAV", "processedResults/tabulatedVotes.csv"], LAYOUT)
    table, faults = _votes(root / "processedResults" / "tabulatedVotes.csv")[:2]
    files = AudioFiles(root, ["AudioWAV"], deep=False)
    clips = files.by_stem()
    for name in sorted(clips.keys() - set(table["id"])):
        files.leave_out(clips[name], "whose name has no votes")
    if SILENT in clips:
        files.leave_out(clips[SILENT], "silent in the release")
    audible = table["id"].isin(clips.keys() - {SILENT})
    paths = table["id"].map({name: str(root / path) for name, path in clips.items()})
    notes = [files.note(), *_without_wav(table["id"][~audible & (table["id"] != SILENT)].tolist())]
    participants = cremad_raters.read(root, table)
    sexes, unread = _sexes(root / "VideoDemographics.csv")
    faults = [*faults, *unread]
    table = table.assign(path=paths, sex=[sexes.get(name, "") for name in table["speaker"]])[audible].reset_index(
        drop=True
    )
    if participants is None:
        return Reading(table, [*faults, *files.faults], notes)
    return Reading(
        table, [*faults, *files.faults, *participants.faults], [*notes, *participants.notes], participants.table
    )


def votes(path: str | Path) -> DataFrame:
    """Return the voice-only votes of every clip, whether its wav is at hand or not.

    path: processedResults/tabulatedVotes.csv of the release, or saved again by a spreadsheet or pandas
    returns: id, speaker, label, intended, votes_<emotion>, source and row; N = 7,442 rows for the whole release
    raises CorpusError for a file without these columns, or with every row that cannot be read
    """
    return _votes(Path(path)).checked()


def _votes(path: Path) -> Reading:
    raw, faults = tables.read(path, "fileName")[:2]
    absent = [name for name in (*COLUMNS, "fileName") if name not in raw]
    if absent:
        raise CorpusError([Fault(str(path), 1, f"there is no column {', '.join(absent)}", _CURE)])
    voice, unnumbered = _voice_only(raw, path)
    table = voice[list(COLUMNS)].rename(columns=lambda name: f"votes_{COLUMNS[name]}")
    table = table.apply(lambda cells: numbers(with_points(cells)))
    countable = (np.isfinite(table) & (table >= 0)).all(axis=1)
    uncounted = [
        Fault(path.name, row, "it has no number of votes for each emotion", _CURE, "no number of votes")
        for row in voice.loc[~countable, ROW]
    ]
    clip = voice["fileName"].fillna("").astype(str).str.strip()
    table = table.assign(
        id=clip,
        speaker=clip.str[:4],
        label=plurality(table),
        intended=clip.str.split("_").str[2].map(INTENDED),
        source=path.name,
        row=voice[ROW],
    )
    return Reading(table[countable].reset_index(drop=True), [*faults, *unnumbered, *uncounted])


def _voice_only(raw: DataFrame, path: Path) -> tuple[DataFrame, list[Fault]]:
    """Return the rows of the voice alone, and a fault for each row without a number.

    The numbers are in a column without a name, before which other programs put more such columns.
    """
    texts = {name: raw[name].fillna("").astype(str).str.strip() for name in raw if name not in (*COLUMNS, ROW)}
    numbered = {name: cells.str.fullmatch(_NUMBER) for name, cells in texts.items()}
    name = max(numbered, key=lambda name: numbered[name].mean())
    if not numbered[name].mean() > 0.5:
        raise CorpusError([Fault(str(path), 1, "there is no column with the numbers 100001 and on of the rows", _CURE)])
    voice = raw[texts[name].str.startswith(str(VOICE_ONLY)[0]) & numbered[name]]
    rows = raw.loc[~numbered[name], ROW]
    return voice, [Fault(path.name, row, "it has no number from 100001 on", _CURE, "no number") for row in rows]


def _sexes(path: Path) -> tuple[dict[str, str], Sequence[Fault]]:
    """Return the sex of each actor, and the faults of the file; nothing where it is not at hand."""
    if not path.exists():
        return {}, []
    actors, faults = tables.read(path, "ActorID")[:2]
    if "Sex" not in actors:
        return {}, [*faults, Fault(str(path), 1, "there is no column Sex", "use it as released, or take it away")]
    cells = actors[["ActorID", "Sex"]].fillna("").astype(str).apply(lambda column: column.str.strip())
    return dict(zip(cells["ActorID"], cells["Sex"].str.lower(), strict=True)), faults


def _without_wav(names: list[str]) -> list[Note]:
    if not names:
        return []
    return [
        Note(
            logging.INFO,
            f"CREMA-D: {number_of(len(names), 'clip')} with votes and without a wav: {enumeration(names, 3)}",
        )
    ]
