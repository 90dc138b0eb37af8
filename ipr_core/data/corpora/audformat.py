"""A database in audformat, as audEERING and audb have it: its emotions by several raters, or one label an utterance.

Wagner et al., https://audeering.github.io/audformat. A column holds emotions if its scheme's labels do. The columns of
human raters are votes, where there are two or more; any other column, such as that of a gold standard, is the label.
Columns of a machine are passed over, this workbench's own among them. A word that is no known emotion is `other`.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data.corpora.columns import known_emotion
from ipr_core.data.corpora.paths import located
from ipr_core.data.corpora.table import EMOTIONS, corpus_folder
from ipr_core.data.faults import CorpusError, Fault, Note, enumeration, number_of
from ipr_core.data.reading import Reading

LAYOUT = "db.yaml, its tables db.NAME.parquet or .csv, and the audio files that they name"
LICENCE = "that of the database: `usage` and `license` in its db.yaml"
HOME = "your own, or one of audb's: https://audeering.github.io/datasets"
_SEGMENT = ["file", "start", "end"]


class _Judgements(NamedTuple):
    """A column of emotions."""

    table: str
    name: str
    """TABLE.COLUMN"""
    rater: str
    """Of a single person; "" of a gold standard."""
    words: Series
    """By segment, without those that are not there."""


def read(data: Data, progress: bool = True) -> Reading:
    """Return every segment that a table with emotions names, in the order of the tables.

    raises CorpusError if the folder holds no database, or audformat is not installed
    """
    root = corpus_folder(data, ["db.yaml"], LAYOUT)
    database = _loaded(root)
    frames = {name: _segments(database[name]) for name in database.tables}
    columns = list(_columns(database, frames, data))
    if not columns:
        cure = f"give a scheme with two or more of {', '.join(EMOTIONS)} as labels"
        raise CorpusError([Fault(str(root / "db.yaml"), None, "no column of its tables holds emotions", cure)])
    names = {column.table for column in columns}
    table = pd.concat([_utterances(frame, name, root) for name, frame in frames.items() if name in names])
    table = table[~table.index.duplicated()]
    raters = {column.rater for column in columns if column.rater}
    gold = [column for column in columns if not column.rater or len(raters) < 2]
    label, faults = _labels([_with_emotions(column, data) for column in gold], table)
    table = table.assign(label=label, speaker=_speakers(database, frames, table.index))
    votes = (
        _votes([_with_emotions(column, data) for column in columns if column.rater], table) if len(raters) > 1 else None
    )
    return Reading(table.reset_index(drop=True), faults, list(_notes(root, columns, raters, data)), votes)


def require() -> Any:
    """Import audformat; raises CorpusError with what to install if it is not there."""
    try:
        import audformat
    except ImportError:
        cure = "pip install 'ipr-workbench[audformat]'"
        raise CorpusError([Fault("audformat", None, "its package is not installed", cure)]) from None
    return audformat


def _loaded(root: Path) -> Any:
    audformat = require()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return audformat.Database.load(str(root), load_data=True)
    except Exception as error:  # of yaml, pandas, oyaml and audformat, which have no common one
        problem = (
            f"it cannot be read as a database of audformat ({type(error).__name__}: {' '.join(str(error).split())})"
        )
        raise CorpusError([Fault(str(root), None, problem, "write it again by audformat")]) from None


def _segments(table: Any) -> DataFrame:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return table.get(as_segmented=True)


def _columns(database: Any, frames: dict[str, DataFrame], data: Data) -> Iterator[_Judgements]:
    """Yield the columns whose schemes have two or more emotions among their labels."""
    for table, frame in frames.items():
        for name, column in database[table].columns.items():
            texts = _texts(database, column.scheme_id)
            emotions = {_emotion(text, data) for text in texts.values()} - {"other"}
            rater = database.raters[column.rater_id] if column.rater_id else None
            if len(emotions) > 1 and not (rater and rater.type == "machine"):
                words = frame[name].astype(object).dropna().map(texts)
                human = rater is not None and rater.type == "human"
                yield _Judgements(table, f"{table}.{name}", column.rater_id if human else "", words)


def _texts(database: Any, scheme: str | None) -> dict[Any, str]:
    """Return the labels of a scheme, and what each means in words."""
    labels = database.schemes[scheme].labels if scheme else None
    if isinstance(labels, str):  # a table of them
        labels = list(database[labels].index)
    if isinstance(labels, dict):
        return {key: text if isinstance(text, str) else str(key) for key, text in labels.items()}
    return {label: str(label) for label in labels or ()}


def _emotion(word: str, data: Data) -> str:
    emotion = word if word in data.classes else known_emotion(word)
    return emotion if emotion in {*EMOTIONS, *data.classes} else "other"


def _with_emotions(column: _Judgements, data: Data) -> _Judgements:
    """Return the column with known emotions and `other` in place of its words."""
    return column._replace(words=column.words.map(lambda word: _emotion(word, data)))


def _utterances(frame: DataFrame, name: str, root: Path) -> DataFrame:
    """Return id, path, start, end, source and row of a table's segments, by segment."""
    index = frame.index
    start, end = (pd.to_timedelta(index.get_level_values(key)).total_seconds() for key in ("start", "end"))
    files = index.get_level_values("file").astype(str)
    whole = (start == 0) & np.isnan(end)
    ids = [
        file if is_whole else f"{file}@{a:g}" + ("" if np.isnan(b) else f"-{b:g}")
        for file, a, b, is_whole in zip(files, start, end, whole, strict=True)
    ]
    paths = [located(root, file) for file in files]
    rows = {"id": ids, "path": paths, "start": np.where(whole, np.nan, start), "end": end}
    return DataFrame(rows | {"source": f"db.{name}", "row": range(1, len(frame) + 1)}, index)


def _labels(columns: list[_Judgements], table: DataFrame) -> tuple[Series, list[Fault]]:
    """Return the label of each segment, and a fault for each that has two."""
    label, faults = Series("", table.index, dtype=object), list[Fault]()
    for column in columns:
        words = column.words[column.words.index.isin(table.index)]
        words = words[~words.index.duplicated()]
        earlier = label[words.index]
        for segment in words.index[(earlier != "") & (earlier != words)]:
            row = table.loc[[segment]].iloc[0]
            problem = (
                f"utterance {row['id']!r} has two labels, {label[segment]!r} and {words[segment]!r} in {column.name}"
            )
            cure = "take a column out, or give its rater the type human, if it is one of several"
            faults.append(Fault(row["source"], int(row["row"]), problem, cure, "two labels"))
        label[words.index] = earlier.mask(earlier == "", words)
    return label, faults


def _votes(columns: list[_Judgements], table: DataFrame) -> DataFrame:
    parts = [
        DataFrame({"id": table["id"].reindex(column.words.index).to_numpy(), "label": column.words.to_numpy()}).assign(
            annotator=column.rater
        )
        for column in columns
    ]
    votes = pd.concat(parts).drop_duplicates(["id", "annotator", "label"]).reset_index(drop=True)
    return votes.assign(weight=1.0)[["id", "annotator", "label", "weight"]]


def _speakers(database: Any, frames: dict[str, DataFrame], index: pd.Index) -> Series:
    """Return the speaker of each segment: by a table's segment, or else by its file; "" where none says."""
    speakers = Series("", index, dtype=object)
    for table, frame in frames.items():
        for name, column in database[table].columns.items():
            if "speaker" in (name, column.scheme_id):
                cells = frame[name].astype(object).dropna().astype(str)
                by_file = database[table].is_filewise
                cells = cells.groupby(level="file" if by_file else _SEGMENT, sort=False, dropna=False).first()
                keys = index.get_level_values("file") if by_file else index
                speakers = speakers.mask(speakers == "", Series(cells.reindex(keys).fillna("").to_numpy(), index))
    return speakers


def _notes(root: Path, columns: list[_Judgements], raters: set[str], data: Data) -> Iterator[Note]:
    names = enumeration((column.name for column in columns), 30)
    kinds = f"votes of {number_of(len(raters), 'rater')}" if len(raters) > 1 else "labels"
    yield Note(logging.INFO, f"{root}: {kinds} in {names}")
    words = pd.concat([column.words for column in columns]).value_counts()
    strangers = [f"{word} {count:,}" for word, count in words.items() if _emotion(str(word), data) == "other"]
    if strangers:
        yield Note(
            logging.WARNING, f"{root}: words that are no known emotion count as other: {enumeration(strangers, 10)}"
        )
