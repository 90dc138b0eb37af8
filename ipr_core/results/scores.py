"""Scores of finished runs.

All are of the final epoch: the paper has no validation set to choose another by.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import SettingsError
from ipr_core.data.ambiguity import soft_votes
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import soft_labels
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run

SCORES = {
    "accuracy": "Acc D3 %",
    "uar": "UAR D3 %",
    "macro_f1": "F1 D3 %",
    "agreement_model": "model right on D2 %",
    "agreement_prototypes": "prototypes right on D2 %",
}
"""Scores of the final epoch in per cent, and their titles."""
BEFORE = ("agreement_model", "agreement_prototypes")
"""Scores that are given for the end of the warm-up too."""
TRAINED = {"training_accuracy": "Acc D1 %"}
"""How well the final classifier fits what it was trained on, and the title: a network that does not is no rival yet."""
UNIT = ["partition", "seed"]
"""The columns that name a unit of repetition, within which systems are paired. A partition is known by the digest of
its utterances, votes and parts, since another `data_seed` need not change them."""
DIVERGENCES = {"js_mixture": "JS to true mixtures, bits", "js_votes": "JS to votes, bits"}
"""Jensen-Shannon divergence of the soft labels on D2 and D3, lower is better, and the titles."""


def check(score: str, system: str = "ipr") -> None:
    """Raise SettingsError if the score or the system does not exist."""
    choices: dict[str, tuple[str, Collection[str]]] = {"score": (score, SCORES), "system": (system, SYSTEMS)}
    faults = [
        f"{name} is {value!r}; it must be one of {', '.join(names)}"
        for name, (value, names) in choices.items()
        if value not in names
    ]
    if faults:
        raise SettingsError(faults)


def run_scores(run: Run) -> dict[str, Any]:
    """Return all figures of one finished run."""
    return final_scores(run) | effort(run) | divergences(run)


def final_scores(run: Run) -> dict[str, Any]:
    """Return what a finished run is, and its scores in the record."""
    history, training = run.history(), run.config.training
    warm_up_end = history[max(training.warm_up - 1, 0)]
    return {
        "system": training.system,
        "partition": run.meta["corpus"],
        "seed": training.seed,
        "stream": training.stream,
        **{name: _percent(getattr(history[-1], name)) for name in SCORES},
        **{f"{name}_before": _percent(getattr(warm_up_end, name)) for name in BEFORE},
    }


def effort(run: Run) -> dict[str, float]:
    """Return the accuracy of a finished run on D1, and its cost; version 0.1 kept no number of parameters."""
    history = run.history()
    return {
        "training_accuracy": _percent(_right(run, "D1").mean()),
        "seconds": sum(epoch.clock["seconds"] for epoch in history),
        "training_seconds": training_seconds(history),
        "parameters": run.meta.get("parameters", np.nan),
    }


def score_table(runs: Sequence[Run], measure: Callable[[Run], dict[str, Any]] = final_scores) -> DataFrame:
    """Return the figures of every finished run, a row a run; no column if there is none."""
    return DataFrame([measure(run) for run in runs if run.finished])


def training_seconds(history: Sequence[EpochEnd]) -> float:
    """Return the seconds of a record's steps, without its evaluations."""
    return sum(epoch.clock["seconds"] - epoch.clock.get("evaluation_seconds", 0.0) for epoch in history)


def divergences(run: Run) -> dict[str, float]:
    """Return the JS divergences of a run's soft labels to the truth, and those of uncalibrated and constant labels.

    The truth is the true mixtures and the annotators' votes, as far as they are known, on D2 and D3, whose votes the
    system was not given. nan if nothing is known, and for the votes of simulated annotators.
    returns: of each name in DIVERGENCES the run's, and with _uncalibrated, _uniform, _prior and _mean behind it
    """
    table, classes = run.table, run.meta["classes"]
    votes = soft_votes(table, classes)
    truths = {"js_votes": votes}
    columns = [f"mixture_{c}" for c in classes]
    if set(columns) <= set(table.columns):
        truths["js_mixture"] = table[columns].to_numpy()
    endings = ["", "_uncalibrated", *(f"_{name}" for name in soft_labels.CONSTANTS)]
    values = {name + ending: np.nan for name in DIVERGENCES for ending in endings}
    judged = table["part"].isin(soft_labels.PARTS[soft_labels.BOTH]).to_numpy()
    for name, truth in truths.items():
        rows = judged & np.isfinite(truth).all(axis=1)
        if rows.any() and not run.meta["simulated_annotators"]:
            labels = {
                "": soft_labels.calibrated_labels(run)[rows],
                "_uncalibrated": soft_labels.uncalibrated_labels(run)[rows],
            }
            labels |= {f"_{constant}": soft for constant, soft in soft_labels.constants(run, votes[rows]).items()}
            for ending, soft in labels.items():
                values[name + ending] = float(metrics.js_divergence(soft, truth[rows]).mean())
    return values


def noise(scores: DataFrame, score: str, system: str) -> float:
    """Return the difference of a system from itself under another random stream; nan if unknown.

    scores: `score_table` of comparable runs, of which those of the same seed and partition are paired
    The root mean square, not the deviation around the mean: the expected difference is known to be 0.
    """
    if scores.empty:
        return float("nan")
    streams = scores[scores["system"] == system].pivot(index=UNIT, columns="stream", values=score)
    if not {0, 1} <= set(streams.columns):
        return float("nan")
    return float(np.sqrt(((streams[1] - streams[0]) ** 2).mean()))


def correct(run: Run) -> pd.Series:
    """Return whether the classifier is right, by the id of every utterance of D3."""
    return _right(run, "D3")


def speakers(run: Run) -> pd.Series:
    """Return the speaker of every utterance of D3 by its id; "" if not known."""
    table = run.table
    return table[table["part"] == "D3"].set_index("id")["speaker"]


def _right(run: Run, part: str) -> pd.Series:
    """Return whether the classifier is right, by the id of every utterance of a part."""
    labels, classes = run.labels, run.meta["classes"]
    labels = labels[labels["part"] == part].set_index("id")
    return labels[[f"model_{name}" for name in classes]].set_axis(classes, axis=1).idxmax(axis=1) == labels["label"]


def _percent(share: float | None) -> float:
    return np.nan if share is None else 100 * share
