"""The utterance table, the same for every corpus: its columns, their faults, and its final form.

Columns: id, path (absolute), start and end (seconds, NaN: the whole file), speaker, session ("": none), duration
(seconds, NaN until decoded), label (an emotion, "": none), a votes_<emotion> (0 or more) for each emotion,
votes_other (the tag "other"), votes_unknown (known only to be for another emotion than the label), source and row
(file and line that a fault is reported against; row 0: the file itself). A manifest may give an utterance's part ("",
D1 or D3) and its channel (counted from 1, NaN: the average of all). A corpus may add columns of its own.
"""

from __future__ import annotations

import difflib
import os
import unicodedata
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data.corpora.paths import path_cure, path_problem
from ipr_core.data.faults import CorpusError, Fault, shortened

EMOTIONS = (
    "angry", "happy", "sad", "neutral", "frustrated", "surprised", "fearful", "disgusted", "excited", "bored", "calm",
    "contemptuous",
)  # fmt: skip
UNLABELLED = "unlabelled"
"""A reader's label for "none, on purpose": no fault, and not replaced by the votes' plurality. `tidy` makes it ""."""
NOT_EMOTIONS = ("votes_other", "votes_unknown")
DEFAULTS = {
    "id": "", "path": "", "start": np.nan, "end": np.nan, "speaker": "", "session": "", "duration": np.nan,
    "label": "", "votes_other": 0.0, "source": "", "row": 0,
}  # fmt: skip
_DECIMAL_COMMA = r"[-+]?(?:\d*,(?:\d{1,2}|\d{4,})|0,\d+)"  # 1,234 may be a thousand
TEXTS = ("id", "path", "speaker", "session", "label", "source")
GIVEN_PARTS = ("D1", "D3")
"""Parts that a manifest may give an utterance."""


def corpus_folder(data: Data, names: Iterable[str], layout: str) -> Path:
    """Return the corpus's folder, once it holds the files and folders that a reader needs.

    names: glob patterns, each of which has to match in the folder   layout: the same in words
    raises CorpusError naming every pattern that matches none
    """
    if data.corpus_path is None:
        raise CorpusError([Fault(data.corpus, None, "corpus_path is not set", f"name the folder with {layout}")])
    root = Path(data.corpus_path).expanduser().resolve()
    absent = [name for name in names if next(root.glob(name), None) is None]
    if absent:
        raise CorpusError(
            [Fault(str(root), None, f"there is no {name} in it", f"{data.corpus} needs {layout}") for name in absent]
        )
    return root


def vote_columns(table: DataFrame) -> list[str]:
    """Return the columns of votes in the table's order, `votes_other` and `votes_unknown` included."""
    return [name for name in table.columns if name.startswith("votes_")]


def emotion_columns(table: DataFrame) -> list[str]:
    """Return the columns of votes for a named emotion."""
    return [name for name in vote_columns(table) if name not in NOT_EMOTIONS]


def share_columns(table: DataFrame) -> list[str]:
    """Return the columns of votes and those of a generated corpus's true shares."""
    return [name for name in table.columns if name.startswith(("votes_", "mixture_"))]


def plurality(table: DataFrame) -> Series:
    """Return the emotion with the most votes of each utterance.

    It is "" where two tie and where nobody voted.
    """
    names = emotion_columns(table)
    if not names or table.empty:
        return Series("", index=table.index, dtype=str)
    votes = table[names].to_numpy(float)
    highest = votes.max(axis=1, keepdims=True)
    single = ((votes >= highest - 1e-9).sum(axis=1) == 1) & (highest[:, 0] > 0)
    winner = np.array([name.removeprefix("votes_") for name in names])[votes.argmax(axis=1)]
    return Series(np.where(single, winner, ""), index=table.index)


def check(table: DataFrame, data: Data, labels_needed: bool = True) -> list[Fault]:
    """Return every fault of a reader's table, in the order of its rows.

    Numbers may still be the text of a manifest's cell, so that a fault can quote it.
    labels_needed: whether an utterance with neither votes nor a label is a fault
    """
    source = data.corpus_path or data.corpus
    if table.empty:
        return [Fault(source, None, "there is no utterance in it", f"check that it is the {data.corpus} corpus")]
    absent = [name for name in ("id", "path") if name not in table]
    if absent:
        return [Fault(source, None, f"column {name!r} is missing", "add it") for name in absent]
    table = complete(table)
    faults = [
        *_double_ids(table), *_no_files(table), *_bad_times(table), *_bad_channels(table), *_bad_shares(table),
        *_unknown_labels(table, data), *_unknown_votes(table, data), *_excited_twice(data), *_bad_parts(table),
        *(_nothing_known(table) if labels_needed else []),
    ]  # fmt: skip
    return sorted(faults, key=lambda fault: (fault.source, fault.row or 0))


def complete(table: DataFrame) -> DataFrame:
    """Return the table with a default in every column and cell left empty."""
    missing = {name: value for name, value in DEFAULTS.items() if name not in table}
    table = table.assign(**missing)
    texts = [*TEXTS, *(["part"] if "part" in table else [])]
    return table.assign(**{name: table[name].fillna("").astype(str) for name in texts})


def tidy(table: DataFrame, data: Data) -> DataFrame:
    """Return the final form of a reader's table.

    Numbers are numbers, and excited is merged into happy if the settings say so. A label "" becomes the emotion with
    the most votes, unless two tie; `UNLABELLED` becomes "".
    """
    table = complete(table).reset_index(drop=True)
    votes = {name: counts(table[name]).fillna(0.0) for name in share_columns(table)}
    times = {name: numbers(table[name]) for name in ("start", "end", "duration")}
    channel = {"channel": numbers(table["channel"])} if "channel" in table else {}
    table = table.assign(**votes, **times, **channel)
    if data.merge_excited:
        table = _merge_excited(table)
    table = table.assign(**{f"votes_{name}": 0.0 for name in data.classes if f"votes_{name}" not in table})
    label = table["label"].mask(table["label"] == "", plurality(table)).replace(UNLABELLED, "")
    return _in_order(table.assign(label=label))


def numbers(cells: Series) -> Series:
    """Return cells as floats, NaN for those that are none."""
    return pd.to_numeric(cells, errors="coerce").astype(float)


def with_points(cells: Series) -> Series:
    """Return numbers with a decimal point where they surely have a decimal comma."""
    if cells.dtype != "str" or not cells.str.contains(",", regex=False).any():
        return cells
    commas = cells.str.strip().str.fullmatch(_DECIMAL_COMMA).fillna(False).astype(bool)
    return cells.mask(commas, cells.str.replace(",", ".", regex=False))


def counts(cells: Series) -> Series:
    """Return the same as `numbers`, faster where few values repeat many times, as votes do."""
    codes, different = pd.factorize(cells)
    return Series(np.append(numbers(Series(different)), np.nan)[codes], index=cells.index)  # code -1: an absent cell


def _in_order(table: DataFrame) -> DataFrame:
    first = ["id", "path", "start", "end", "speaker", "session", "duration", "label", *vote_columns(table)]
    last = ["source", "row"]
    extra = [name for name in table.columns if name not in (*first, *last)]
    return table[[*first, *extra, *last]]


def _merge_excited(table: DataFrame) -> DataFrame:
    table = table.assign(label=table["label"].replace("excited", "happy"))
    if "votes_excited" not in table:
        return table
    happy = table["votes_excited"] + table.get("votes_happy", 0.0)
    return table.assign(votes_happy=happy).drop(columns="votes_excited")


def _faults(
    table: DataFrame,
    wrong: Series,
    problem: Callable[[dict[str, Any]], str],
    cure: str | Callable[[dict[str, Any]], str],
    cause: str,
) -> list[Fault]:
    """Return a fault for each row that is wrong; `problem` and `cure` word it for the utterance."""
    if not wrong.any():  # taking no row of many still goes through all of them
        return []
    faults = []
    for row in table[wrong].to_dict("records"):
        short = {name: shortened(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        sentence = f"utterance {short['id']!r} {problem(short)}"
        advice = cure if isinstance(cure, str) else cure(row)
        faults.append(Fault(row["source"], int(row["row"]) or None, sentence, advice, cause))
    return faults


def _blank(cells: Series) -> Series:
    return cells.isna() | (cells.astype(str).str.strip() == "")


def _double_ids(table: DataFrame) -> list[Fault]:
    spelling = _spelling(table["id"])
    again = spelling.duplicated()
    if not again.any():
        return []
    first = table[spelling.isin(spelling[again]) & ~again]
    firsts: Mapping[str, dict[str, Any]] = dict(
        zip(spelling[first.index], first[["id", "source", "row"]].to_dict("records"), strict=True)
    )

    def problem(row: dict[str, Any]) -> str:
        earlier = firsts[_plain_spelling(row["id"])]
        position = f" in row {earlier['row']}" if earlier["row"] else ""
        position += f" of {earlier['source']}" if earlier["source"] != row["source"] else ""
        if earlier["id"] == row["id"]:
            return "occurs twice" + (f", first{position}" if position else "")
        return f"is spelt like {earlier['id']!a}{position} but for spaces or the make-up of its accents"

    return _faults(table, again, problem, "give each utterance an id of its own", "an id that occurs twice")


def _spelling(ids: Series) -> Series:
    """Return ids as people see them: accents in one form, spaces alike."""
    odd = ~ids.str.isascii() | ids.str.contains("  ", regex=False) | ids.str.contains("\t", regex=False)
    return ids.mask(odd, ids[odd].map(_plain_spelling)) if odd.any() else ids


def _plain_spelling(name: str) -> str:
    visible = (letter for letter in unicodedata.normalize("NFC", name) if unicodedata.category(letter) != "Cf")
    return " ".join("".join(visible).split())


def _no_files(table: DataFrame) -> list[Fault]:
    absent = [path for path in table["path"].unique() if not os.path.isfile(path)]
    return _faults(
        table,
        table["path"].isin(absent),
        lambda row: path_problem(row["path"]),
        lambda row: path_cure(row["path"]),
        "a file that does not exist",
    )


def _bad_times(table: DataFrame) -> list[Fault]:
    start, end, duration = (numbers(table[name]) for name in ("start", "end", "duration"))
    no_start = ~_blank(table["start"]) & ~(np.isfinite(start) & (start >= 0))
    no_end = ~_blank(table["end"]) & ~np.isfinite(end)
    no_duration = ~_blank(table["duration"]) & ~(np.isfinite(duration) & (duration > 0))
    seconds = "give seconds, such as 12.5"
    cause = "a time that cannot be"
    return [
        *_faults(table, no_start, lambda row: f"starts at {row['start']!r}", f"{seconds}, 0 or more", cause),
        *_faults(table, no_end, lambda row: f"ends at {row['end']!r}", f"{seconds}, or nothing: the file's end", cause),
        *_faults(table, no_duration, lambda row: f"lasts {row['duration']!r}", f"{seconds}, or nothing", cause),
        *_faults(
            table,
            end <= start.fillna(0),
            lambda row: f"ends at {row['end']}, not after its start at {row['start']}",
            "give start and end in seconds, the end later",
            cause,
        ),
    ]


def _bad_channels(table: DataFrame) -> list[Fault]:
    if "channel" not in table:
        return []
    channel = numbers(table["channel"])
    wrong = ~_blank(table["channel"]) & ~((channel >= 1) & (channel % 1 == 0))
    cure = "channels are counted from 1; left empty, all are averaged. Or name the column otherwise"
    return _faults(table, wrong, lambda row: f"has {row['channel']!r} as its channel", cure, "a channel that cannot be")


def _bad_shares(table: DataFrame) -> list[Fault]:
    """Return the faults of votes and mixtures."""
    return [fault for name in share_columns(table) for fault in _bad_shares_in(table, name)]


def _bad_shares_in(table: DataFrame, name: str) -> list[Fault]:
    shares = counts(table[name])
    wrong = ~_blank(table[name]) & ~(np.isfinite(shares) & (shares >= 0))
    kind = "a vote count" if name.startswith("votes_") else "a share"
    cure = f"{kind} is a number, 0 or more, with a decimal point if it has one, or left empty"
    return _faults(table, wrong, lambda row: f"has {row[name]!r} in {name}", cure, f"no number in {name}")


def _unknown_labels(table: DataFrame, data: Data) -> list[Fault]:
    labels = {*EMOTIONS, *data.classes, "other", UNLABELLED}
    faults = []
    for label in table["label"].unique():
        if label not in labels | {""}:
            cure = nearest(label, labels)
            faults += _faults(
                table,
                table["label"] == label,
                lambda row: f"has the unknown label {row['label']!r}",
                cure,
                f"the unknown label {shortened(label)!r}",
            )
    return faults


def _unknown_votes(table: DataFrame, data: Data) -> list[Fault]:
    emotions = {*EMOTIONS, *data.classes}
    source = table["source"].iloc[0]
    header = 1 if source.endswith((".csv", ".tsv", ".txt")) else None
    return [
        Fault(source, header, f"column {name!r} counts votes for an unknown emotion", nearest(name[6:], emotions))
        for name in emotion_columns(table)
        if name[6:] not in emotions
    ]


def nearest(name: str, names: set[str]) -> str:
    """Return the cure of an unknown emotion: the one that is probably meant, and all that are known."""
    alike = difflib.get_close_matches(name.lower(), sorted(names), n=1, cutoff=0.5)
    guess = f"did you mean {alike[0]!r}? It" if alike else "it"
    return f"{guess} must be one of {', '.join(sorted(names))}, or a class named in `classes`"


def _bad_parts(table: DataFrame) -> list[Fault]:
    if "part" not in table:
        return []
    wrong = ~table["part"].isin(["", *GIVEN_PARTS])
    cure = f"leave it empty, so that the votes decide, or give {' or '.join(GIVEN_PARTS)}; or name the column otherwise"
    return _faults(table, wrong, lambda row: f"has {row['part']!r} as its part", cure, "a part that cannot be given")


def _excited_twice(data: Data) -> list[Fault]:
    if not (data.merge_excited and "excited" in data.classes):
        return []
    cure = "set merge_excited to false, or leave excited out of the classes"
    return [Fault("classes", None, "excited is one of them, and merge_excited makes it happy", cure)]


def _nothing_known(table: DataFrame) -> list[Fault]:
    votes = sum((counts(table[name]).fillna(0) != 0) for name in vote_columns(table))
    empty = (table["label"] == "") & (votes == 0)
    problem = "has no votes and no label"
    return _faults(table, empty, lambda row: problem, "give it one, or mark it unlabelled", "no votes and no label")
