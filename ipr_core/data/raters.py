"""Votes by annotator: a row each, how they become counts of an utterance, and how they are weighted.

A reader that knows who voted hands over such a table as `Reading.votes`: id, annotator ("": not known by name; the
weight is then a number of votes), label (an emotion, "other", or "unknown": another emotion than the label) and weight
(NaN: `several_tags` decides). A reader that knows counts alone hands over none.

V votes, N utterances, R annotators, C labels.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core.config import Data
from ipr_core.data.faults import Fault

COLUMNS = ("id", "annotator", "label", "weight")
UNNAMED = ""
"""The annotator of votes that are known by their number alone."""
PRIOR = 10.0
"""Votes of average agreement that every annotator is given before weighting: three votes do not make one careless."""

Floats = NDArray[np.float64]
Codes = NDArray[np.int64]


class Coded(NamedTuple):
    """A table of votes as numbers, one row for what an annotator said of an utterance with one label."""

    ids: pd.Index
    """(N,) the utterances that have a vote."""
    annotators: pd.Index
    """(R,)"""
    labels: pd.Index
    """(C,)"""
    unit: Codes
    """(V,) the number of the utterance."""
    rater: Codes
    """(V,) the number of the annotator."""
    label: Codes
    """(V,) the number of the label."""
    weight: Floats
    """(V,) above 0."""


def tidy(votes: DataFrame, data: Data) -> DataFrame:
    """Return votes with a weight each, and excited as happy if the settings say so.

    votes: COLUMNS, checked
    """
    weight = votes["weight"].astype(float)
    if weight.isna().any():
        split = data.several_tags == "split"
        tags = votes.groupby(["id", "annotator"], sort=False)["label"].transform("size") if split else 1.0
        weight = weight.fillna((1.0 / tags) if split else 1.0)
    label = votes["label"].replace("excited", "happy") if data.merge_excited else votes["label"]
    return votes.assign(weight=weight, label=label)[list(COLUMNS)]


def coded(votes: DataFrame) -> Coded:
    """Return tidy votes as numbers; those of the same annotator, utterance and label are one row, their weights added.

    Labels are in the order of the alphabet, utterances and annotators in that of the table.
    """
    votes = votes[votes["weight"] > 0]
    unit, ids = pd.factorize(votes["id"])
    rater, annotators = pd.factorize(votes["annotator"])
    label, labels = pd.factorize(votes["label"], sort=True)
    shape = (max(len(ids), 1), max(len(annotators), 1), max(len(labels), 1))
    cells, index = np.unique(np.ravel_multi_index((unit, rater, label), shape), return_inverse=True)
    unit, rater, label = np.unravel_index(cells, shape)
    weight = np.bincount(index, votes["weight"].to_numpy(float), len(cells)).astype(float)
    return Coded(pd.Index(ids), pd.Index(annotators), pd.Index(labels), unit, rater, label, weight)


def agreement(votes: Coded) -> DataFrame:
    """Return each annotator's agreement with the others, leaving the annotator's own votes out.

    Of the votes that others gave the same utterances, the share that is for the same label; an annotator's own vote
    never counts for it.
    returns: index annotator (those with a name), columns votes (their number), compared (of utterances that others
    heard too) and agreement (0 to 1, NaN where nothing is compared)
    """
    size = len(votes.annotators)
    own_cell = votes.unit * size + votes.rater
    _, ballot = np.unique(own_cell, return_inverse=True)
    own_total = np.bincount(ballot, votes.weight)[ballot] if len(ballot) else votes.weight
    cell = votes.unit * len(votes.labels) + votes.label
    alike = np.bincount(cell, votes.weight)[cell] - votes.weight if len(cell) else votes.weight
    rest = np.bincount(votes.unit, votes.weight)[votes.unit] - own_total if len(cell) else votes.weight
    comparable = rest > 1e-9
    share = np.divide(alike, rest, out=np.zeros_like(rest), where=comparable)
    total = np.bincount(votes.rater, votes.weight, size)
    compared = np.bincount(votes.rater, votes.weight * comparable, size)
    agreed = np.bincount(votes.rater, votes.weight * share, size)
    with np.errstate(invalid="ignore", divide="ignore"):
        columns = {"votes": total, "compared": compared, "agreement": agreed / compared}
    return DataFrame(columns, index=votes.annotators.rename("annotator")).drop(index=UNNAMED, errors="ignore")


def weights(votes: Coded) -> Series:
    """Return how much each annotator's vote weighs: the square of the agreement with the others.

    An annotator with few votes is taken for an average one, by PRIOR votes. Votes without a name weigh as the average.
    returns: index annotator, UNNAMED included
    """
    table = agreement(votes)
    compared, agreed = table["compared"], (table["agreement"] * table["compared"]).fillna(0.0)
    mean = agreed.sum() / compared.sum() if compared.sum() > 0 else 1.0
    square = ((agreed + PRIOR * mean) / (compared + PRIOR)) ** 2
    average = float((square * compared).sum() / compared.sum()) if compared.sum() > 0 else 1.0
    return square.reindex(votes.annotators, fill_value=average)


def with_votes(table: DataFrame, votes: DataFrame, data: Data) -> DataFrame:
    """Return a reader's table with the counts of its votes.

    Counts that the table has are kept, unless `vote_weights` is "agreement": then an utterance's votes are weighted by
    their annotators (`weights`), and add up to as many as before.
    table: (N,) utterances with id   votes: COLUMNS
    """
    weighted = data.vote_weights == "agreement"
    names = [name for name in table.columns if name.startswith("votes_")]
    if names and not weighted:
        return table
    numbers = coded(tidy(votes, data.model_copy(update={"merge_excited": False})))
    if not len(numbers.ids):
        return table
    weight = numbers.weight
    if weighted:  # by agreement on what the votes are used for: happy and excited may be one
        weight = _balanced(numbers, weights(coded(tidy(votes, data))).reindex(numbers.annotators).to_numpy())
    cell = numbers.unit * len(numbers.labels) + numbers.label
    totals = np.bincount(cell, weight, len(numbers.ids) * len(numbers.labels)).reshape(len(numbers.ids), -1)
    rows = numbers.ids.get_indexer(pd.Index(table["id"]))
    counts = np.vstack([totals, np.zeros(len(numbers.labels))])[rows]  # -1: nobody voted
    columns = {f"votes_{label}": counts[:, i] for i, label in enumerate(numbers.labels)}
    return table.drop(columns=names).assign(**columns)


def nameless(data: Data) -> Fault:
    """Return the fault of a corpus whose votes cannot be weighted: it does not say who voted."""
    problem = "vote_weights is 'agreement', and it is not known who gave the votes"
    return Fault(data.corpus_path or data.corpus, None, problem, "set vote_weights to 'equal', or give a votes.csv")


def _balanced(votes: Coded, factors: Floats) -> Floats:
    """Return (V,) weights times their annotators' factors, scaled so that each utterance has as many votes as before.

    factors: (R,)
    """
    weight = votes.weight * factors[votes.rater]
    previous, total = (np.bincount(votes.unit, values)[votes.unit] for values in (votes.weight, weight))
    return np.where(
        total > 0, weight * np.divide(previous, total, out=np.ones_like(total), where=total > 0), votes.weight
    )
