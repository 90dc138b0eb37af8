"""Tables of a run for reading: results, soft labels against the votes, disagreements.  N utterances, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import FIELDS, Config
from ipr_core.runs.events import EpochEnd

Shares = NDArray[np.floating]


def readings(config: Config) -> DataFrame:
    """What the paper leaves open or contradicts itself on, and how this run reads it: a row a reading."""
    values = config.settings()
    rows = [
        (name, str(values[name]), field.description.removeprefix("Reading: "))
        for name, (_, field) in FIELDS.items()
        if field.description.startswith("Reading: ")
    ]
    return DataFrame(rows, columns=["reading", "value", "what it decides"]).set_index("reading")


def results(events: Sequence[EpochEnd]) -> DataFrame:
    """Scores on D3 in per cent: of the final epoch, and of the best one on D3 under a name that warns of it."""
    best = max(events, key=lambda event: event.accuracy)
    rows = {"final epoch": events[-1], "best epoch on D3 (optimistic: chosen on the test set)": best}
    shares = {
        "accuracy, %": "accuracy",
        "UAR, %": "uar",
        "macro-F1, %": "macro_f1",
        "accuracy of the prototypes, %": "accuracy_prototypes",
    }
    values = {name: [getattr(event, key) for event in rows.values()] for name, key in shares.items()}
    scores = {name: [100 * share for share in of] for name, of in values.items() if None not in of}
    return DataFrame({"epoch": [event.epoch for event in rows.values()], **scores}, index=list(rows)).round(2)


def divergences(labels: DataFrame, truth: Shares | None, classes: Sequence[str]) -> DataFrame:
    """Mean Jensen-Shannon divergence (bits; 0 the same, 1 disjoint) of soft labels to what they should be, per part.

    labels: of a run   truth: (N, C) the votes' shares or the true mixtures; utterances whose row is NaN are left out
    returns: a row for the run's soft label, the classifier's, the prototypes' and the uniform one; empty where
    nothing is known
    """
    known = np.zeros(len(labels), bool) if truth is None else np.isfinite(truth).all(axis=1)
    kinds = {"soft label": "soft", "the classifier's": "model", "the prototypes'": "prototypes"}
    soft = {name: labels[[f"{kind}_{c}" for c in classes]].to_numpy(float) for name, kind in kinds.items()}
    soft["uniform"] = np.full((len(labels), len(classes)), 1 / len(classes))
    columns = {
        part: {name: metrics.js_divergence(shares[rows], truth[rows]).mean() for name, shares in soft.items()}
        for part in ("D1", "D2", "D3")
        if (rows := known & (labels["part"] == part).to_numpy()).any()
    }
    return DataFrame(columns).round(4).rename_axis("mean JS divergence, bits")


def disagreements(labels: DataFrame, classes: Sequence[str]) -> DataFrame:
    """The utterances of D2 and D3 that classifier and prototypes name differently, the surest contradictions first.

    returns: part, label, the class and its share in per cent by each; the index is the utterance's row in `labels`
    """
    rows = labels[~labels["views_agree"] & (labels["part"] != "D1")]
    by_model = rows[[f"model_{c}" for c in classes]].set_axis(list(classes), axis=1).astype(float)
    by_prototypes = rows[[f"prototypes_{c}" for c in classes]].set_axis(list(classes), axis=1).astype(float)
    table = DataFrame(
        {
            "id": rows["id"],
            "part": rows["part"],
            "label": rows["label"],
            "classifier": _largest(by_model),
            "its share, %": 100 * by_model.max(axis=1),
            "prototypes": _largest(by_prototypes),
            "their share, %": 100 * by_prototypes.max(axis=1),
        }
    )
    sureness = table[["its share, %", "their share, %"]].min(axis=1)
    return table.loc[sureness.sort_values(ascending=False, kind="stable").index].round(1)


def _largest(shares: DataFrame) -> pd.Series:
    """(N,) the class with the largest share; also of no rows, where idxmax has none to look at."""
    return pd.Series(shares.columns.to_numpy()[shares.to_numpy().argmax(axis=1)], index=shares.index, dtype=object)
