"""Tables of a run: results, soft labels against the votes, disagreements.  N utterances, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import FIELDS, Config
from ipr_core.results.soft_labels import PRIOR
from ipr_core.runs.events import EpochEnd
from ipr_widgets.votes import present

Shares = NDArray[np.floating]


def readings(config: Config) -> DataFrame:
    """Return this run's readings of the paper's open or contradictory points: a row a reading."""
    values = config.settings()
    descriptions = {name: field.description or "" for name, (_, field) in FIELDS.items()}
    rows = [
        (name, str(values[name]), text.removeprefix("Reading: "))
        for name, text in descriptions.items()
        if text.startswith("Reading: ")
    ]
    return DataFrame(rows, columns=["reading", "value", "what it decides"]).set_index("reading")


def results(events: Sequence[EpochEnd]) -> DataFrame:
    """Return scores on D3 in per cent: the final epoch, and the best one with a warning."""
    best = max(events, key=lambda event: event.accuracy)
    rows = {"final epoch": events[-1], "best epoch on D3 (optimistic: chosen on the test set)": best}
    shares = {
        "accuracy, %": "accuracy",
        "UAR, %": "uar",
        "macro-F1, %": "macro_f1",
        "accuracy of the prototypes, %": "accuracy_prototypes",
    }
    values = {name: [getattr(event, key) for event in rows.values()] for name, key in shares.items()}
    scores = {name: [100 * share for share in row] for name, row in values.items() if None not in row}
    return DataFrame({"epoch": [event.epoch for event in rows.values()], **scores}, index=list(rows)).round(2)


def divergences(labels: DataFrame, truth: Shares | None, classes: Sequence[str]) -> DataFrame:
    """Return the mean Jensen-Shannon divergence of soft labels to the truth, per part.

    labels: of a run   truth: (N, C) the votes' shares or the true mixtures; rows of NaN are left out
    returns: in bits, 0 for the same and 1 for disjoint labels; a row for the run's own soft label, which is calibrated,
    the classifier's and the prototypes', which are not, and for labels that are the same for every utterance: uniform,
    D1's class prior, and the truth's mean; empty if no truth is known
    """
    if truth is None:
        truth = np.full((len(labels), len(classes)), np.nan)
    has_truth = np.isfinite(truth).all(axis=1)
    kinds = {"soft label": "soft", "the classifier's": "model", "the prototypes'": "prototypes"}
    soft = {name: labels[[f"{kind}_{c}" for c in classes]].to_numpy(float) for name, kind in kinds.items()}
    precise = labels.loc[labels["part"] == "D1", "label"].value_counts().reindex(list(classes), fill_value=0)
    constants = {"uniform": np.full(len(classes), 1 / len(classes)), PRIOR: (precise / precise.sum()).to_numpy()}
    soft |= {name: np.broadcast_to(shares, truth.shape) for name, shares in constants.items()}
    columns = {}
    for part in present(labels["part"]):
        rows = has_truth & (labels["part"] == part).to_numpy()
        if rows.any():
            mean = np.broadcast_to(truth[rows].mean(axis=0), truth.shape)
            candidates = soft | {"the truth's mean (it has seen it)": mean}
            columns[part] = {
                name: metrics.js_divergence(shares[rows], truth[rows]).mean() for name, shares in candidates.items()
            }
    return DataFrame(columns).dropna(how="all").round(4).rename_axis("mean JS divergence, bits")


def disagreements(labels: DataFrame, classes: Sequence[str]) -> DataFrame:
    """Return the utterances of D2 and D3 on which classifier and prototypes differ, the surest first.

    returns: part, label, class and share in per cent by each; the index is the utterance's row in `labels`
    """
    rows = labels[~labels["classifier_and_prototypes_agree"] & labels["part"].isin(["D2", "D3"])]
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
    """Return (N,) the class with the largest share; unlike idxmax it also takes no rows."""
    return pd.Series(shares.columns.to_numpy()[shares.to_numpy().argmax(axis=1)], index=shares.index, dtype=object)
