"""The votes of listening tests, merged into those of a corpus, and written as a manifest with a votes.csv beside it.

A listener's vote belongs to the sound and not to the id: it goes to every utterance with the same key
(`WaveStore.keys`). It counts once, as it was given at the first hearing; repeats tell how consistent a listener is. Of
k emotions in one vote (and "other") each gets the weight 1/k. Who could not tell gives no vote. Where a listener's
votes are in the corpus already, as after an earlier merge, those of the listening test replace them.
"""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

import pandas as pd
from pandas import DataFrame, Series

from ipr_core.atomic import make_folder, write
from ipr_core.config import Data
from ipr_core.data import corpora, raters
from ipr_core.data.corpora.columns import PLAIN
from ipr_core.data.corpora.table import (
    EMOTIONS,
    UNLABELLED,
    complete,
    plurality,
    vote_columns,
)
from ipr_core.data.corpora.votes_table import NAME
from ipr_core.data.faults import CorpusError, Fault, enumeration, number_of
from ipr_core.data.reading import Reading
from ipr_core.data.waves import WaveStore
from ipr_core.spreadsheets import to_csv

MANIFEST = "manifest.csv"


class Merged(NamedTuple):
    """A corpus with the votes of listening tests."""

    manifest: DataFrame
    """A row per utterance, with the counts of all its votes."""
    votes: DataFrame
    """`raters.COLUMNS`: those of the corpus, then those of the listening tests."""
    sentences: list[str]
    """What was merged, and what was not."""


def merge(data: Data, record: DataFrame | None, cache: Path, progress: bool = True) -> Merged:
    """Return a corpus with the votes of its listening tests.

    record: of `votes.record.read`; None: the corpus's own votes alone, and no audio is read   cache: of decoded audio
    raises CorpusError with every fault of the corpus and of its audio, or a vote for an emotion that is not known
    """
    reading = corpora.reader(data.corpus).read(data, progress)
    as_it_is = data.model_copy(update={"merge_excited": False, "vote_weights": "equal"})
    table, faults = corpora.surveyed(reading, as_it_is, labels_needed=False)
    if faults:
        raise CorpusError(faults)
    old = raters.tidy(reading.votes, as_it_is) if reading.votes is not None else _unnamed(table)
    if record is None:
        return Merged(_manifest(reading, table, old, set(), as_it_is), old, [])
    hearings = _first_hearings(record)
    _check_emotions(hearings, data)
    keys = WaveStore.build(table, cache, progress=progress).keys
    new = _ballots(hearings, keys, table["id"])
    pairs = pd.MultiIndex.from_frame(old[["id", "annotator"]])
    is_replaced = pairs.isin(pd.MultiIndex.from_frame(new[["id", "annotator"]]))
    votes = pd.concat([old[~is_replaced], new[new["weight"] > 0]], ignore_index=True)
    manifest = _manifest(reading, table, votes, set(new["id"]), as_it_is)
    return Merged(manifest, votes, _sentences(record, hearings, keys, new, int(pairs[is_replaced].nunique())))


def save(merged: Merged, folder: Path) -> list[Path]:
    """Write manifest.csv and votes.csv into a folder, which is made if there is none.

    returns: their paths
    raises WriteError
    """
    make_folder(folder)
    paths = [folder / NAME, folder / MANIFEST]
    for path, table in zip(paths, (merged.votes, merged.manifest), strict=True):
        write(path, functools.partial(to_csv, table))
    return paths


def _unnamed(table: DataFrame) -> DataFrame:
    """Return the counts of a table as votes without a name."""
    names = vote_columns(table)
    votes = table[["id", *names]].melt("id", var_name="label", value_name="weight")
    votes = votes[votes["weight"] > 0]
    label = votes["label"].str.removeprefix("votes_")
    return votes.assign(label=label, annotator=raters.UNNAMED)[list(raters.COLUMNS)].reset_index(drop=True)


def _first_hearings(record: DataFrame) -> DataFrame:
    return record.sort_values("repeat", kind="stable").drop_duplicates(["listener", "audio"]).sort_index()


def _check_emotions(hearings: DataFrame, data: Data) -> None:
    """Raise CorpusError for votes that no corpus could be read with."""
    is_replaced = {*EMOTIONS, *data.classes}
    for name in sorted({name for names in hearings["emotions"] for name in names} - is_replaced):
        cure = f"name it in --classes, which are {', '.join(data.classes)}"
        raise CorpusError([Fault("the listening tests", None, f"there are votes for {name!r}, which is unknown", cure)])


def _ballots(hearings: DataFrame, keys: list[str], ids: Series) -> DataFrame:
    """Return the votes of first hearings on the utterances of a corpus; one for nothing has the weight 0.

    keys: (N,) of the utterances' sounds   ids: (N,)
    """
    rows = [
        (row.audio, row.listener, label, 1 / len(labels) if label else 0.0)
        for row in hearings.itertuples()
        for labels in [[*row.emotions, *(["other"] if row.other else [])] or [""]]
        for label in labels
    ]
    votes = DataFrame(rows, columns=["audio", "annotator", "label", "weight"]).astype({"weight": float})
    utterances = DataFrame({"audio": keys, "id": ids.to_numpy()})
    return votes.merge(utterances, on="audio")[list(raters.COLUMNS)]


def _manifest(reading: Reading, table: DataFrame, votes: DataFrame, voted: set[str], data: Data) -> DataFrame:
    """Return the table of utterances as a manifest.

    A label that is no more than the plurality of the corpus's own votes is left to the votes, old and new. So is one
    that was missing or "unlabelled", where there is a new vote. Where votes are known in relation to the labels alone
    (EmoDB), these stay.
    table: `reading`'s, in its final form   voted: ids with a new vote
    """
    names = vote_columns(table)
    counts = raters.with_votes(table.drop(columns=names), votes, data)
    label_of_reader = complete(reading.table.reset_index(drop=True))["label"]
    is_new = table["id"].isin(voted)
    is_known = "votes_unknown" not in table or not table["votes_unknown"].any()
    by_votes = (label_of_reader == plurality(table)) & is_known
    label = label_of_reader.mask(by_votes | (is_new & (label_of_reader == UNLABELLED)), "")
    total = counts[vote_columns(counts)].sum(axis=1) if vote_columns(counts) else 0.0
    label = label.mask((label == "") & (total == 0), UNLABELLED)
    plain = [name for name in PLAIN if name not in ("duration", "label") and name in table]
    extra = [name for name in table.columns if name.startswith("mixture_")]
    filled = [name for name in plain if name in ("id", "path") or _is_filled(table[name])]
    return counts[[*filled, *extra, *vote_columns(counts)]].assign(label=label)[
        [*filled, "label", *extra, *vote_columns(counts)]
    ]


def _is_filled(cells: Series) -> bool:
    return bool((cells.notna() & (cells.astype(str) != "")).any())


def _sentences(record: DataFrame, hearings: DataFrame, keys: list[str], new: DataFrame, replaced: int) -> list[str]:
    ballots = new[new["weight"] > 0].drop_duplicates(["id", "annotator"])
    names, clips = ballots["annotator"].nunique(), ballots["id"].nunique()
    lines = [
        f"{number_of(len(ballots), 'vote')} of {number_of(names, 'listener')} on {number_of(clips, 'utterance')} merged"
    ]
    if repeats := len(record) - len(hearings):
        lines.append(f"{number_of(repeats, 'repeat')} not counted again: they tell how consistent a listener is")
    if unsure := int(hearings["cannot_tell"].sum()):
        lines.append(f"{number_of(unsure, 'answer')} that a listener cannot tell: no vote")
    if replaced:
        lines.append(f"{number_of(replaced, 'vote')} of the corpus replaced by the same listener's on the utterance")
    strange = hearings[~hearings["audio"].isin(keys)]
    if len(strange):
        sounds = strange.drop_duplicates("audio")["id"]
        cause = f"the corpus does not have their sounds, then called {enumeration(sounds, 3)}"
        lines.append(f"{number_of(len(strange), 'vote')} not merged: {cause}")
    return lines
