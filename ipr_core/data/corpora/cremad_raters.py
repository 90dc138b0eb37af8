"""Who voted in CREMA-D: the responses of its participants, a row each.

Columns of finishedResponses.csv and finishedEmoResponses.csv as in the README of the release; the files were not at
hand. Rows of finishedResponses.csv were tabulated but for those whose first response took longer than 10 s. Both have
sessionNums, queryType and questNum, which name a response.
"""

from __future__ import annotations

import logging
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.data import tables
from ipr_core.data.corpora.table import numbers
from ipr_core.data.faults import CorpusError, Fault, Note, number_of
from ipr_core.data.reading import ROW, Choice, Reading, joined

EMOTIONS = {"A": "angry", "D": "disgusted", "F": "fearful", "H": "happy", "N": "neutral", "S": "sad"}
NAME, TIMES = "finishedResponses.csv", "finishedEmoResponses.csv"
VOICE = "1"
"""queryType of a response to the voice alone."""
SLOW = 10_000.0
"""Milliseconds; a response that took longer was not tabulated."""
_RESPONSE = ("sessionNums", "queryType", "questNum")
_COLUMNS = ("localid", "clipName", "respEmo", *_RESPONSE)
_CURE = "use the file as released, or take it out: without it the votes are counts alone"


def read(root: Path, table: DataFrame) -> Reading | None:
    """Return the voice-only votes by participant, None if finishedResponses.csv is not there.

    table: the tabulated votes, with which those of the participants are compared
    returns: `raters.COLUMNS`, with a note of how many clips have other votes than the tabulated ones
    raises CorpusError for a file without the columns
    """
    if not (root / NAME).is_file():
        return None
    responses, faults = _table(root / NAME, _COLUMNS, "clipName")
    responses = responses[responses["queryType"] == VOICE]
    wrong = ~responses["respEmo"].isin(EMOTIONS) | (responses["localid"] == "") | (responses["clipName"] == "")
    problem = "it does not say which participant heard which of A, D, F, H, N, S in which clip"
    faults += [Fault(NAME, row, problem, _CURE, "no vote in the row") for row in responses.loc[wrong, ROW]]
    responses = responses[~wrong]
    if (root / TIMES).is_file():
        times, time_faults = _table(root / TIMES, ("ttr", *_RESPONSE), "ttr")
        slow = pd.MultiIndex.from_frame(times.loc[numbers(times["ttr"]) > SLOW, list(_RESPONSE)])
        responses = responses[~pd.MultiIndex.from_frame(responses[list(_RESPONSE)]).isin(slow)]
        faults += time_faults
    responses = responses.drop_duplicates(["clipName", "localid"])
    votes = DataFrame({"id": responses["clipName"], "annotator": responses["localid"]})
    votes = votes.assign(label=responses["respEmo"].map(EMOTIONS), weight=1.0).reset_index(drop=True)
    return Reading(votes, faults, [_note(votes, table)])


def _table(file: Path, names: tuple[str, ...], key: str) -> tuple[DataFrame, list[Fault]]:
    """Return some columns as text and `row`, and the faults of rows that cannot be read."""

    def choose(header: list[str], row: int | None) -> Choice:
        if absent := [name for name in names if name not in header]:
            raise CorpusError([Fault(file.name, row, f"there is no column {', '.join(absent)}", _CURE)])
        return Choice({name: header.index(name) for name in names})

    reading = joined(tables.blocks(file, key, choose))
    cells = {name: reading.table[name].fillna("").astype(str).str.strip() for name in names}
    return DataFrame(cells | {ROW: reading.table[ROW]}), list(reading.faults)


def _note(votes: DataFrame, table: DataFrame) -> Note:
    """Return how many votes have a participant, and how many clips have other votes than the tabulated ones."""
    counts = votes.groupby(["id", "label"]).size().unstack(fill_value=0)
    labels = list(EMOTIONS.values())
    counts = counts.reindex(index=table["id"], columns=labels, fill_value=0).to_numpy()
    differing = int((np.abs(counts - table[[f"votes_{name}" for name in labels]].to_numpy()) > 0.5).any(axis=1).sum())
    text = f"{NAME}: {number_of(len(votes), 'vote')} of {number_of(votes['annotator'].nunique(), 'participant')}"
    if differing:
        text += f"; {number_of(differing, 'clip')} with other votes than the tabulated ones, which count"
    return Note(logging.WARNING if differing else logging.INFO, text)
