"""A run beside the one that it follows: what new votes and corrections changed in its labels, and on D3."""

from __future__ import annotations

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.results.hits import clusters_in_words, hits
from ipr_core.results.significance import bootstrap
from ipr_core.results.soft_labels import calibrated_labels
from ipr_core.results.table import Table
from ipr_core.runs.run import Run, RunError

NOWHERE = "none"
"""The part of an utterance that is in none."""
PARTS = ("D1", "D2", "V1", "V2", "D3", NOWHERE)


def predecessor(run: Run) -> Run | None:
    """Return the run that a run follows, which lies in the same folder; None if it follows none.

    raises RunError if it is not there
    """
    name = run.config.data.after
    if name is None:
        return None
    folder = run.folder.parent / name
    if not Run(folder).exists:
        raise RunError(f"{run.folder} follows {name}, which is not beside it; put that run into {run.folder.parent}")
    return Run.open(folder)


def changes(old: Run, new: Run) -> Table:
    """Tabulate where the utterances of each part went, and how far their labels changed.

    old, new: finished runs, the second of which follows the first
    returns: a row a part of the old run, with utterances, a column for each part of the new run, the share of changed
    single labels (%), and the mean Jensen-Shannon divergence of the soft labels (bits)
    """
    sides = (" before", " after")
    pairs = pd.merge(_labels(old), _labels(new), how="outer", left_index=True, right_index=True, suffixes=sides)
    parts = pairs[["part before", "part after"]].fillna(NOWHERE)
    counts = pd.crosstab(parts["part before"], parts["part after"])
    counts = counts.reindex(index=PARTS, columns=PARTS, fill_value=0)
    counts = counts.loc[counts.sum(axis=1) > 0, counts.sum() > 0]
    complete = pairs.dropna()
    changed = complete["label before"] != complete["label after"]
    divergence = metrics.js_divergence(*(np.stack(complete[f"soft {side}"].to_list()) for side in ("before", "after")))
    by_part = DataFrame({"changed": 100 * changed, "js": divergence}).groupby(complete["part before"]).mean()
    frame = counts.add_prefix("now in ").assign(
        utterances=counts.sum(axis=1), changed=by_part["changed"], divergence=by_part["js"]
    )
    names = {"changed": "single label changed, %", "divergence": "JS of soft labels, bits"}
    frame = frame.rename(columns=names).rename_axis("part before").reset_index()
    frame = frame[
        ["part before", "utterances", *[name for name in frame if name.startswith("now in")], *names.values()]
    ]
    caption = (
        f"Utterances of {old.folder.name} by their part there, and in {new.folder.name}, which follows it: where they "
        "went, the share whose single label changed, and how far their soft labels moved. D3 stays what it was."
    )
    return Table("changes", caption, frame, decimals={names["changed"]: 1, names["divergence"]: 3})


def outcome(old: Run, new: Run) -> str:
    """Say how the accuracy on D3 changed, with a 95 % interval over its speakers, or over utterances."""
    table = hits([old, new])
    table = table.assign(run=np.repeat(["old", "new"], [len(_test(old)), len(_test(new))]))
    pairs = table.pivot(index="id", columns="run", values="right").astype(float)
    difference = pairs["new"] - pairs["old"]
    cluster = table.drop_duplicates("id").set_index("id")["cluster"].reindex(difference.index)
    low, high = (100 * end for end in bootstrap(difference, cluster))
    first, second = 100 * pairs["old"].mean(), 100 * pairs["new"].mean()
    verdict = "which may be chance" if not low > 0 and not high < 0 else "more than chance between speakers"
    units = clusters_in_words(table.drop_duplicates("id"))
    return (
        f"On the same D3 ({len(pairs)} utterances) accuracy went from {first:.1f} to {second:.1f} %: a change of "
        f"{second - first:+.1f} points, 95 % interval {low:+.1f} to {high:+.1f} over {units}, {verdict}. One training "
        "of each: another seed may differ by more."
    )


def _labels(run: Run) -> DataFrame:
    """Return part, single label and soft label (C,) of every utterance of a run, by its id."""
    labels = run.labels
    columns = {"part": labels["part"], "label": labels["single_label"], "soft": list(calibrated_labels(run))}
    return DataFrame(columns, index=None).set_index(labels["id"])


def _test(run: Run) -> DataFrame:
    table = run.table
    return table[table["part"] == "D3"]
