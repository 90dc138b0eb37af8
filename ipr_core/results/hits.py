"""Utterances of D3, right or wrong by each run, and their sums by unit of repetition and cluster.

A **unit** of repetition is a seed in a partition. A **cluster** holds the utterances that are drawn together: those of
a speaker.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core.results.scores import UNIT, correct, speakers
from ipr_core.runs.run import Run

FEWEST_SPEAKERS = 5
"""Speakers are clusters if D3 has at least this many: fewer say nothing about how speakers differ."""


def hits(runs: Sequence[Run]) -> DataFrame:
    """Return whether the classifier is right: a row a run and utterance of D3.

    returns: columns system, partition, seed, id, right and cluster: the speaker if all are known and there are
    `FEWEST_SPEAKERS`, the utterance's own id otherwise
    """
    parts = [
        DataFrame({"right": right, "speaker": speakers(run).reindex(right.index).fillna("")})
        .rename_axis("id")
        .reset_index()
        .assign(system=run.config.training.system, partition=run.meta["corpus"], seed=run.config.training.seed)
        for run in runs
        for right in [correct(run)]
    ]
    columns = ["system", "partition", "seed", "id", "right", "speaker"]
    table = pd.concat(parts, ignore_index=True)[columns] if parts else DataFrame(columns=columns)
    clustered = bool((table["speaker"] != "").all()) and table["speaker"].nunique() >= FEWEST_SPEAKERS
    return table.assign(cluster=table["speaker"] if clustered else table["id"])


def paired(table: DataFrame, first: str, second: str) -> DataFrame:
    """Return the difference of two systems on each utterance, within the units that both have.

    table: of `hits`   returns: its columns partition, seed, id and cluster, and difference (-1, 0 or 1)
    """
    keys = [*UNIT, "id", "cluster"]
    sides = [table.loc[table["system"] == name, [*keys, "right"]] for name in (first, second)]
    pairs = sides[0].merge(sides[1], on=keys)
    return pairs[keys].assign(difference=pairs["right_x"].astype(float) - pairs["right_y"].astype(float))


def sums_by_cluster(table: DataFrame, values: Series) -> tuple[NDArray, NDArray, NDArray]:
    """Return what `significance.crossed_bootstrap` draws from.

    values: one a row of the table   returns: sums (U, K), sizes (U, K), and the partition of each unit (U,)
    """
    groups = values.astype(float).groupby([table[name] for name in (*UNIT, "cluster")])
    sums, sizes = (part.unstack("cluster", fill_value=0) for part in (groups.sum(), groups.size()))
    return sums.to_numpy(float), sizes.to_numpy(float), np.asarray(sums.index.get_level_values("partition"))


def clusters_in_words(table: DataFrame) -> str:
    """Return the number of speakers or utterances in words."""
    kind = "utterances" if table["cluster"].equals(table["id"]) else "speakers"
    return f"{table['cluster'].nunique()} {kind}"
