"""The utterance table, the same for every corpus: its columns, what may be wrong with them, and its final form.

Columns: id, path (absolute), start and end (seconds, NaN: the whole file), speaker, session ("": none), duration
(seconds, NaN until decoded), label (an emotion, "": none), a votes_<emotion> (0 or more) for each emotion,
votes_other (the tag "other"), votes_unknown (known only to be for another emotion than the label), source and row
(file and line that a fault is reported against; row 0: the file itself). A corpus may add columns of its own.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data

EMOTIONS = (
    "angry", "happy", "sad", "neutral", "frustrated", "surprised", "fearful", "disgusted", "excited", "bored", "calm",
)  # fmt: skip
UNLABELLED = "unlabelled"
"""A reader's label for "on purpose none": neither a fault nor made up from the votes; `tidy` turns it into ""."""
NOT_EMOTIONS = ("votes_other", "votes_unknown")
DEFAULTS = {
    "id": "", "path": "", "start": np.nan, "end": np.nan, "speaker": "", "session": "", "duration": np.nan,
    "label": "", "votes_other": 0.0, "source": "", "row": 0,
}  # fmt: skip
TEXTS = ("id", "path", "speaker", "session", "label", "source")


class Fault(NamedTuple):
    """One thing wrong with a corpus: where, what, and how to mend it."""

    where: str
    row: int | None
    what: str
    cure: str

    def __str__(self) -> str:
        place = self.where if self.row is None else f"{self.where}, row {self.row}"
        return f"{place}: {self.what}; {self.cure}"


class CorpusError(ValueError):
    """A corpus that cannot be used as it is; its message lists every fault, a line each."""

    def __init__(self, faults: Iterable[Fault]):
        self.faults = list(faults)
        super().__init__("\n".join(map(str, self.faults)))


def corpus_folder(data: Data, needed: Iterable[str], layout: str) -> Path:
    """The corpus's folder, once it holds what a reader needs.

    needed: glob patterns, each of which finds something in the folder   layout: the same in words
    raises CorpusError saying which of them is not there
    """
    if data.corpus_path is None:
        raise CorpusError([Fault(data.corpus, None, "corpus_path is not set", f"name the folder with {layout}")])
    root = Path(data.corpus_path).expanduser().resolve()
    absent = [pattern for pattern in needed if next(root.glob(pattern), None) is None]
    if absent:
        raise CorpusError(
            [Fault(str(root), None, f"there is no {name} in it", f"{data.corpus} needs {layout}") for name in absent]
        )
    return root


def vote_columns(table: DataFrame) -> list[str]:
    """The columns of votes, in the table's order, those for no named emotion (other, unknown) included."""
    return [name for name in table.columns if name.startswith("votes_")]


def emotion_columns(table: DataFrame) -> list[str]:
    """The columns of votes for a named emotion."""
    return [name for name in vote_columns(table) if name not in NOT_EMOTIONS]


def plurality(table: DataFrame) -> Series:
    """The emotion with the most votes of each utterance, "" where two share the first place or nobody voted."""
    names = emotion_columns(table)
    if not names or table.empty:
        return Series("", index=table.index, dtype=str)
    votes = table[names].to_numpy(float)
    most = votes.max(axis=1, keepdims=True)
    single = ((votes == most).sum(axis=1) == 1) & (most[:, 0] > 0)
    winner = np.array([name.removeprefix("votes_") for name in names])[votes.argmax(axis=1)]
    return Series(np.where(single, winner, ""), index=table.index)


def check(table: DataFrame, data: Data, labels_needed: bool = True) -> list[Fault]:
    """Everything wrong with a reader's table, in the order of its rows; no fault: `tidy` gives the final table.

    Numbers may still be the text that stood in a manifest, so that a fault can quote it.
    labels_needed: whether an utterance with neither votes nor a label is a fault
    """
    where = data.corpus_path or data.corpus
    if table.empty:
        return [Fault(where, None, "there is no utterance in it", f"check that it is the {data.corpus} corpus")]
    absent = [name for name in ("id", "path") if name not in table]
    if absent:
        return [Fault(where, None, f"column {name!r} is missing", "add it") for name in absent]
    table = complete(table)
    faults = [
        *_double_ids(table), *_no_files(table), *_bad_times(table), *_bad_votes(table), *_unknown_labels(table, data),
        *_unknown_votes(table, data), *_excited_twice(data), *(_nothing_known(table) if labels_needed else []),
    ]  # fmt: skip
    return sorted(faults, key=lambda fault: (fault.where, fault.row or 0))


def complete(table: DataFrame) -> DataFrame:
    """The table with a default in every column and cell that a reader did not fill."""
    missing = {name: value for name, value in DEFAULTS.items() if name not in table}
    table = table.assign(**missing)
    return table.assign(**{name: table[name].fillna("").astype(str) for name in TEXTS})


def tidy(table: DataFrame, data: Data) -> DataFrame:
    """The final table: numbers as numbers, excited merged, labels made from votes where none was given.

    A label that is "" becomes the emotion with the most votes, if that is one alone; `UNLABELLED` becomes "".
    """
    table = complete(table).reset_index(drop=True)
    votes = {name: counts(table[name]).fillna(0.0) for name in vote_columns(table)}
    times = {name: numbers(table[name]) for name in ("start", "end", "duration")}
    table = table.assign(**votes, **times)
    if data.merge_excited:
        table = _merge_excited(table)
    table = table.assign(**{f"votes_{name}": 0.0 for name in data.classes if f"votes_{name}" not in table})
    label = table["label"].mask(table["label"] == "", plurality(table)).replace(UNLABELLED, "")
    return _in_order(table.assign(label=label))


def numbers(cells: Series) -> Series:
    """Cells as floats, NaN for those that are none."""
    return pd.to_numeric(cells, errors="coerce").astype(float)


def counts(cells: Series) -> Series:
    """What `numbers` returns, sooner for few different cells, many times, as votes are."""
    place, different = pd.factorize(cells)
    return Series(np.append(numbers(Series(different)), np.nan)[place], index=cells.index)  # place -1: an absent cell


def _in_order(table: DataFrame) -> DataFrame:
    first = ["id", "path", "start", "end", "speaker", "session", "duration", "label", *vote_columns(table)]
    last = ["source", "row"]
    own = [name for name in table.columns if name not in (*first, *last)]
    return table[[*first, *own, *last]]


def _merge_excited(table: DataFrame) -> DataFrame:
    table = table.assign(label=table["label"].replace("excited", "happy"))
    if "votes_excited" not in table:
        return table
    happy = table["votes_excited"] + table.get("votes_happy", 0.0)
    return table.assign(votes_happy=happy).drop(columns="votes_excited")


def _faults(table: DataFrame, wrong: Series, what: Callable[[dict[str, Any]], str], cure: str) -> list[Fault]:
    """A fault for each row that is wrong: `what` says it of the utterance."""
    if not wrong.any():  # taking no row of many still goes through all of them
        return []
    return [
        Fault(row["source"], int(row["row"]) or None, f"utterance {row['id']!r} {what(row)}", cure)
        for row in table[wrong].to_dict("records")
    ]


def _blank(cells: Series) -> Series:
    return cells.isna() | (cells.astype(str).str.strip() == "")


def _double_ids(table: DataFrame) -> list[Fault]:
    again = table["id"].duplicated()
    first = table[table["id"].isin(table.loc[again, "id"]) & ~again].set_index("id")["row"] if again.any() else {}
    return _faults(
        table,
        again,
        lambda row: "is there twice" + (f", first in row {first[row['id']]}" if first[row["id"]] else ""),
        "give each utterance an id of its own",
    )


def _no_files(table: DataFrame) -> list[Fault]:
    absent = [path for path in table["path"].unique() if not os.path.isfile(path)]
    return _faults(
        table,
        table["path"].isin(absent),
        lambda row: f"needs the file {row['path']}, which is not there" if row["path"] else "has no path",
        "put the file there, or take the utterance out",
    )


def _bad_times(table: DataFrame) -> list[Fault]:
    start, end = numbers(table["start"]), numbers(table["end"])
    no_start = ~_blank(table["start"]) & ~(np.isfinite(start) & (start >= 0))
    no_end = ~_blank(table["end"]) & ~np.isfinite(end)
    return [
        *_faults(table, no_start, lambda row: f"starts at {row['start']!r}", "give seconds, 0 or more"),
        *_faults(table, no_end, lambda row: f"ends at {row['end']!r}", "give seconds, or nothing for the file's end"),
        *_faults(
            table,
            end <= start.fillna(0),
            lambda row: f"ends at {row['end']}, not after its start at {row['start']}",
            "give start and end in seconds, the end later",
        ),
    ]


def _bad_votes(table: DataFrame) -> list[Fault]:
    faults = []
    for name in vote_columns(table):
        votes = counts(table[name])
        wrong = ~_blank(table[name]) & ~(np.isfinite(votes) & (votes >= 0))
        faults += _faults(
            table,
            wrong,
            lambda row, name=name: f"has {row[name]!r} in {name}",
            "a vote count is a number, 0 or more, or left empty",
        )
    return faults


def _unknown_labels(table: DataFrame, data: Data) -> list[Fault]:
    known = {*EMOTIONS, *data.classes, "other", UNLABELLED}
    faults = []
    for label in table["label"].unique():
        if label not in known | {""}:
            cure = _nearest(label, known)
            faults += _faults(
                table, table["label"] == label, lambda row: f"has the unknown label {row['label']!r}", cure
            )
    return faults


def _unknown_votes(table: DataFrame, data: Data) -> list[Fault]:
    known = {*EMOTIONS, *data.classes}
    source = table["source"].iloc[0]
    header = 1 if source.endswith(".csv") else None
    return [
        Fault(source, header, f"column {name!r} counts votes for an unknown emotion", _nearest(name[6:], known))
        for name in emotion_columns(table)
        if name[6:] not in known
    ]


def _nearest(name: str, known: set[str]) -> str:
    near = difflib.get_close_matches(name.lower(), sorted(known), n=1, cutoff=0.5)
    guess = f"did you mean {near[0]!r}? It" if near else "it"
    return f"{guess} is one of {', '.join(sorted(known))}, or a class named in `classes`"


def _excited_twice(data: Data) -> list[Fault]:
    if not (data.merge_excited and "excited" in data.classes):
        return []
    cure = "set merge_excited to false, or leave excited out of the classes"
    return [Fault("classes", None, "excited is one of them, and merge_excited makes it happy", cure)]


def _nothing_known(table: DataFrame) -> list[Fault]:
    votes = sum((counts(table[name]).fillna(0) != 0) for name in vote_columns(table))
    nothing = (table["label"] == "") & (votes == 0)
    return _faults(table, nothing, lambda row: "has no votes and no label", "give it one, or mark it unlabelled")
