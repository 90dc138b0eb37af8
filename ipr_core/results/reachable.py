"""What refinement can reach: the gain on D3 over the share of D2's labels that are right, and a corpus's place on it.

The oracle's runs (`ipr batch reachable`) draw the curve. A corpus of a user's own has no oracle, but V2, which no
system was trained on, says how many labels of its D2 are right at the end of the warm-up.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame
from scipy.stats import binomtest

from ipr_core.config import Mark, marked
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

KINDS = {
    "correct": "wrong labels put right",
    "gate": "wrong labels left out",
    "random": "true labels, random errors",
}
"""What the oracle does to D2's labels, by the setting `oracle`."""
BREAK_EVEN = (0.87, 0.92)
"""Shares of right labels where a gain began, RAVDESS and EmoDB, frozen Whisper tiny: the first on the curve of wrong
labels put right whose mean gain over ten runs was above its standard error (RESULTS.md)."""
_FEWEST = 10  # utterances of V2, below which a share of them says nothing
_OWN = frozenset({"oracle", "oracle_share", "system"})
_NO_RUN = "No oracle is trained here, or none beside a baseline: `ipr batch reachable` makes both."


def points(runs: Sequence[Run]) -> DataFrame:
    """Return the oracle's runs beside the baseline of the same seed, partition and settings: a row a run.

    returns: kind, share (of the setting), right (share of the labels trained on that are right), gain on D3 (points),
    seed, data_seed
    """
    finished = [run for run in runs if run.finished]
    baselines = {_basis(run): run for run in finished if run.config.training.system == "baseline"}
    oracles = [run for run in finished if run.config.training.system == "oracle" and _basis(run) in baselines]
    rows = [_point(run, baselines[_basis(run)]) for run in oracles]
    return DataFrame(rows, columns=["kind", "share", "right", "gain", "seed", "data_seed"])


def reachable(runs: Sequence[Run]) -> Table:
    """Tabulate the curve of what is reachable: a row for each kind and share, over the runs that have it."""
    frame = points(runs)
    if len(frame):
        groups = frame.groupby(["kind", "share"], sort=True)
        frame = groups.agg(runs=("gain", "size"), right=("right", "mean"), gain=("gain", "mean"),
                           spread=("gain", "std")).reset_index()  # fmt: skip
        frame = DataFrame(
            {
                "labels of D2": frame["kind"].map(KINDS),
                "share": frame["share"],
                "runs": frame["runs"],
                "right, %": 100 * frame["right"],
                "gain on D3, points": frame["gain"],
                "deviation": frame["spread"],
            }
        )
    caption = (
        "The oracle: accuracy on D3 over the baseline's of the same seed and partition, by the share of D2's labels "
        "that are right. They are the classifier's at the end of the warm-up, made better by the truth, or the truth "
        "with random errors. No system that anybody could have is among them."
    )
    return Table("reachable", caption, frame, decimals={"share": 2}, lacking=_NO_RUN)


def expectation(run: Run) -> str:
    """Say whether refinement can be expected to help on a run's corpus, by the labels of V2 at the end of the warm-up.

    returns: a sentence or two; empty where the run has too few utterances in V2, or no refinement
    """
    history, warm_up = run.history(), run.config.training.warm_up
    event = history[warm_up - 1] if 0 < warm_up <= len(history) else None
    scores = event.validation if event else None
    if not scores or scores.get("utterances_ambiguous", 0) < _FEWEST or warm_up == len(history):
        return ""
    n = int(scores["utterances_ambiguous"])
    right = round(scores["accuracy_ambiguous"] * n)
    interval = binomtest(right, n).proportion_ci(method="wilson")
    low, high = 100 * interval.low, 100 * interval.high
    first, second = (100 * share for share in BREAK_EVEN)
    verdict = (
        "so refinement can be expected to help"
        if low >= second
        else "so refinement cannot be expected to help, and may harm"
        if high < first
        else "so whether refinement helps is open: compare with the baseline"
    )
    return (
        f"At the end of the warm-up {right} of {n} held-out ambiguous utterances (V2) had their label: "
        f"{100 * right / n:.0f} %, 95 % interval {low:.0f} to {high:.0f}. Labels of D2 began to help where {first:.0f} "
        f"(RAVDESS) to {second:.0f} % (EmoDB) of them were right, {verdict}."
    )


def _basis(run: Run) -> str:
    """Return a text of all that an oracle and its baseline have in common: seed, partition, settings, corpus."""
    later = marked(Mark.AFTER_WARM_UP)
    settings = {k: v for k, v in run.meta["settings"].items() if k not in _OWN and (k not in later or k == "epochs")}
    return json.dumps([settings, run.meta["corpus"]], sort_keys=True)


def _point(run: Run, baseline: Run) -> dict[str, Any]:
    method, training = run.config.method, run.config.training
    own = run.history()[max(training.warm_up - 1, 0)].agreement_model
    return {
        "kind": method.oracle,
        "share": method.oracle_share,
        "right": _right(method.oracle, method.oracle_share, np.nan if own is None else own),
        "gain": 100 * (run.history()[-1].accuracy - baseline.history()[-1].accuracy),
        "seed": training.seed,
        "data_seed": run.config.data.data_seed,
    }


def _right(kind: str, share: float, own: float) -> float:
    """Return the share of right labels among those trained on.  own: that of the classifier's"""
    if kind == "random":
        return 1 - share
    left = (1 - own) * (1 - share)
    return own / (own + left) if kind == "gate" else 1 - left
