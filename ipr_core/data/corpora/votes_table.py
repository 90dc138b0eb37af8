"""votes.csv beside a manifest: a row per vote, with the name of who gave it.

Columns: id (the utterance), annotator (empty: not known by name, the weight is then a number of votes), label (an
emotion, "other", or "unknown" for another emotion than the utterance's label) and, if votes do not count alike, weight.
"""

from __future__ import annotations

import difflib
import logging
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data import raters, tables
from ipr_core.data.corpora.columns import same_letters
from ipr_core.data.corpora.table import (
    EMOTIONS,
    counts,
    nearest,
    numbers,
    vote_columns,
    with_points,
)
from ipr_core.data.faults import FEW, CorpusError, Fault, Note, enumeration, number_of, shortened
from ipr_core.data.reading import ROW, Choice, Reading

NAME = "votes.csv"
NEEDED = ("id", "annotator", "label")
_ALIASES = {
    "id": "uttid utteranceid utterance clip clipid clipname file filename path wav",
    "annotator": "annotatorid rater raterid listener listenerid worker workerid evaluator evaluatorid judge",
    "label": "emotion emo vote votes tag class category answer response",
    "weight": "weights share count counts number",
}
_SAME = {alias: name for name, aliases in _ALIASES.items() for alias in aliases.split()}
_TOLERANCE = 0.011  # of a count in the manifest, which may be rounded
_LARGEST = 20_000  # utterances among which a similar id is looked for


def neighbour(manifest: Path) -> Path | None:
    """Return the votes.csv beside a manifest, None if there is none."""
    file = manifest.parent / NAME
    return file if file.is_file() and file != manifest else None


def attach(utterances: Reading, file: Path, data: Data) -> Reading:
    """Return a manifest's reading with the votes of a votes.csv.

    Rows with a fault are left out. Counts in the manifest have to be those of the votes.
    raises CorpusError if the file cannot be read or lacks a column
    """
    blocks = list(tables.blocks(file, "annotator", lambda names, row: _choose(names, row, file.name)))
    votes = pd.concat([block.table for block in blocks], ignore_index=True)
    faults = [*utterances.faults, *(fault for block in blocks for fault in block.faults)]
    notes = [*utterances.notes, *(note for block in blocks for note in block.notes)]
    table = utterances.table
    votes, vote_faults = checked(votes, table["id"], data, file.name)
    faults += vote_faults
    if not faults:
        faults += _other_counts(table, votes, data, file.name)
    annotators = votes["annotator"].nunique()
    text = f"{file.name}: {number_of(len(votes), 'vote')} of {number_of(annotators, 'annotator')}"
    notes.append(Note(logging.INFO, text))
    return Reading(table, faults, notes, votes)


def checked(votes: DataFrame, ids: Series, data: Data, source: str) -> tuple[DataFrame, list[Fault]]:
    """Return the votes without fault, and the faults of the others.

    votes: id, annotator, label, weight if there is one, and row, as text   ids: of the utterances
    """
    texts = {name: votes[name].fillna("").astype(str).str.strip() for name in NEEDED}
    cell = with_points(votes["weight"]) if "weight" in votes else Series("", index=votes.index)
    blank = cell.isna() | (cell.astype(str).str.strip() == "")
    weight = counts(cell)
    votes = DataFrame(texts | {"weight": weight, ROW: votes[ROW]})
    emotions = {*EMOTIONS, *data.classes, "other", "unknown"}
    twice = votes.duplicated(["id", "annotator", "label"]) & (votes["annotator"] != raters.UNNAMED)
    tests = {
        "unknown": ~votes["id"].isin(set(ids)),
        "label": ~votes["label"].isin(emotions),
        "weight": ~blank & ~(np.isfinite(weight) & (weight >= 0)),
        "twice": twice,
    }
    faults = [
        *_faults(votes, tests["unknown"], source, _unknown_id(ids)),
        *_faults(votes, tests["label"], source, lambda row: _unknown_label(row, emotions)),
        *_faults(votes.assign(cell=cell), tests["weight"], source, _no_weight),
        *_faults(votes, tests["twice"] & ~tests["unknown"], source, _doubled(votes)),
    ]
    wrong = np.logical_or.reduce([test.to_numpy(bool) for test in tests.values()])
    return votes.loc[~wrong, list(raters.COLUMNS)].reset_index(drop=True), faults


_Words = Callable[[dict], tuple[str, str, str]]
"""A row of votes → problem, cure and cause."""


def _faults(votes: DataFrame, wrong: Series, source: str, words: _Words) -> list[Fault]:
    rows = votes[wrong].to_dict("records") if wrong.any() else []
    return [Fault(source, int(row[ROW]), *words(row)) for row in rows]


def _unknown_id(ids: Series) -> _Words:
    names = ids.tolist() if len(ids) <= _LARGEST else []
    guesses = 0

    def words(row: dict) -> tuple[str, str, str]:
        nonlocal guesses
        guesses += 1
        alike = difflib.get_close_matches(row["id"], names, 1, 0.5) if guesses <= FEW else []
        guess = f" (did you mean {shortened(alike[0])!r}?)" if alike else ""
        problem = f"a vote is for {shortened(row['id'])!r}, which is no id of the manifest's{guess}"
        return problem, "write the id as there, or take the vote out", "a vote for an utterance that is not there"

    return words


def _unknown_label(row: dict, emotions: set[str]) -> tuple[str, str, str]:
    if not row["label"]:
        cure = "take the row out: who cannot tell gives no vote, and who hears something else votes 'other'"
        return f"the vote of {shortened(row['annotator'])!r} has no label", cure, "a vote without a label"
    problem = f"the vote of {shortened(row['annotator'])!r} has the unknown label {shortened(row['label'])!r}"
    return problem, nearest(row["label"], emotions), f"the unknown label {shortened(row['label'])!r}"


def _no_weight(row: dict) -> tuple[str, str, str]:
    cure = "a weight is a number, 0 or more, with a decimal point if it has one, or left empty"
    return f"the weight of the vote is {shortened(str(row['cell']))!r}", cure, "a weight that is no number"


def _doubled(votes: DataFrame) -> _Words:
    first: dict = {}

    def words(row: dict) -> tuple[str, str, str]:
        if not first:
            rows = votes.drop_duplicates(["id", "annotator", "label"])
            first.update(zip(zip(rows["id"], rows["annotator"], rows["label"], strict=True), rows[ROW], strict=True))
        annotator, clip, label = row["annotator"], row["id"], row["label"]
        problem = f"{shortened(annotator)!r} votes twice that {shortened(clip)!r} is {label}"
        problem += f", first in row {first[clip, annotator, label]}"
        return problem, "keep one of the rows", "a vote that is there twice"

    return words


def _choose(names: list[str], row: int | None, source: str) -> Choice:
    columns = {name: names.index(name) for name in (*NEEDED, "weight") if name in names}
    absent = [name for name in NEEDED if name not in columns]
    if not absent:
        alike = [name for name in names if _SAME.get(same_letters(name)) == "weight" and "weight" not in columns]
        cure = "did you mean 'weight'? Name it so, or give it a name that says what else it is"
        return Choice(columns, [Fault(source, row, f"column {name!r} looks like 'weight'", cure) for name in alike])
    faults = []
    for name in absent:
        guesses = [column for column in names if _SAME.get(same_letters(column), same_letters(column)) == name]
        cure = f"name {guesses[0]!r} so, if it holds that" if guesses else "add it"
        cure += "; or give the file another name, if it does not hold the votes of this corpus"
        faults.append(Fault(source, row, f"it has no column {name!r}, only {enumeration(names, 20)}", cure))
    raise CorpusError(faults)


def _other_counts(table: DataFrame, votes: DataFrame, data: Data, source: str) -> list[Fault]:
    """Return the faults of counts in the manifest that are not those of the votes."""
    names = vote_columns(table)
    if not names or table.empty:
        return []
    equal = data.model_copy(update={"vote_weights": "equal"})
    totals = raters.with_votes(table.drop(columns=names), votes, equal)
    columns = list(dict.fromkeys([*names, *vote_columns(totals)]))
    in_table, in_votes = (
        np.stack([numbers(part[name]).fillna(0.0).to_numpy() if name in part else np.zeros(len(table))
                  for name in columns], axis=1)
        for part in (table, totals)
    )  # fmt: skip
    cure = f"correct one; or take the columns votes_… out, since {source} counts alone"
    faults = []
    for i, j in np.argwhere(np.abs(in_table - in_votes) > _TOLERANCE).tolist():
        row = table.iloc[i]
        problem = f"utterance {shortened(row['id'])!r} has {in_table[i, j]:g} {columns[j].replace('_', ' for ', 1)}"
        problem += f", and {source} has {in_votes[i, j]:g}"
        faults.append(Fault(row["source"], int(row["row"]) or None, problem, cure, "a count that is not the votes'"))
    return faults
