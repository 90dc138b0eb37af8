"""Soft labels of finished runs against the votes, beside constant ones, which every system has to beat.

N utterances, C classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.data.ambiguity import soft_votes
from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.run import Run
from ipr_core.training.trained import calibration

Shares = NDArray[np.floating]

PARTS = {"D2": ["D2"], "D3": ["D3"], "D2 and D3": ["D2", "D3"]}
"""The utterances on which soft labels are judged: no system is given their votes."""
BOTH = "D2 and D3"
UNIFORM, PRIOR, MEAN = "uniform soft labels", "D1's class prior", "the votes' mean (it has seen them)"
CONSTANTS = {"uniform": UNIFORM, "prior": PRIOR, "mean": MEAN}
"""Labels that are the same for every utterance, and their titles; the last one is made of the votes it is judged by."""
UNCALIBRATED = ", uncalibrated"
"""The ending of a system's title where its labels are as they were before calibration."""


def calibrated_labels(run: Run) -> Shares:
    """Return a run's soft labels (N, C), calibrated."""
    return run.labels[[f"soft_{name}" for name in run.meta["classes"]]].to_numpy(float)


def uncalibrated_labels(run: Run) -> Shares:
    """Return a run's soft labels (N, C) before their calibration."""
    kind = "prototypes" if run.system.moves_prototypes else "model"
    return run.labels[[f"{kind}_{name}" for name in run.meta["classes"]]].to_numpy(float)


def constants(run: Run, votes: Shares) -> dict[str, Shares]:
    """Return each of CONSTANTS as (M, C).  votes: (M, C) of the utterances on which they are judged"""
    classes, precise = run.meta["classes"], run.table["part"] == "D1"
    counts = run.table.loc[precise, "label"].value_counts().reindex(classes, fill_value=0).to_numpy(float)
    shares = {"uniform": np.full(len(classes), 1 / len(classes)), "prior": counts / counts.sum()}
    shares["mean"] = votes.mean(axis=0)
    return {name: np.broadcast_to(row, votes.shape) for name, row in shares.items()}


def rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield `metrics.soft_scores` on each of PARTS, of a run's labels and, if they differ, of uncalibrated ones."""
    fitted = calibration(run)
    if not fitted.utterances:
        yield from _scores(run, calibrated_labels(run))
        return
    yield from ({"temperature": fitted.temperature} | row for row in _scores(run, calibrated_labels(run)))
    title = SYSTEMS[run.config.training.system].title + UNCALIBRATED
    yield from ({"system": title} | row for row in _scores(run, uncalibrated_labels(run)))


def constant_rows(run: Run) -> Iterator[dict[str, Any]]:
    """Yield `metrics.soft_scores` on each of PARTS of CONSTANTS, by the votes of a run's table."""
    for part, (votes, _) in _judged(run, calibrated_labels(run)).items():
        for name, soft in constants(run, votes).items():
            yield {"system": CONSTANTS[name], "part": part} | metrics.soft_scores(soft, votes)


def notes(runs: Sequence[Run]) -> list[str]:
    """Return what has to be said of finished runs' soft labels, in Markdown, a sentence each.

    How they were calibrated, and which systems' are worse than D1's class prior.
    """
    return [_calibrations(runs), *_cautions(runs)] if runs else []


def _calibrations(runs: Sequence[Run]) -> str:
    fits = [calibration(run) for run in runs]
    fitted = [fit for fit in fits if fit.utterances]
    if len(fits) == 1 or not fitted:
        return f"Soft labels are {fits[0]}."
    temperatures = [fit.temperature for fit in fitted]
    count = "" if len(fitted) == len(fits) else f" of {len(fitted)} of {len(fits)} runs"
    return f"Soft labels{count} are calibrated: temperatures {min(temperatures):.2f} to {max(temperatures):.2f}."


def _cautions(runs: Sequence[Run]) -> Iterator[str]:
    """Yield a sentence for each system whose labels are worse than D1's class prior by JS or NLL."""
    by_system: dict[str, list[Run]] = {}
    for run in runs:
        by_system.setdefault(run.config.training.system, []).append(run)
    for system, group in by_system.items():
        pairs = [pair for run in group if (pair := _beside_prior(run))]
        worse = [
            (labels, prior) for labels, prior in pairs if any(labels[name] > prior[name] for name in ("js", "nll"))
        ]
        if worse:
            js, js_prior, nll, nll_prior = (
                np.mean([pair[i][name] for pair in worse]) for name in ("js", "nll") for i in (0, 1)
            )
            votes = "the votes of SIMULATED annotators" if group[0].meta["simulated_annotators"] else "the votes"
            yield (
                f"**{SYSTEMS[system].title}**: soft labels are worse than D1's class prior in {len(worse)} of "
                f"{len(pairs)} runs, by {votes} on {BOTH}: JS {js:.3f} bits, the prior's {js_prior:.3f}; NLL "
                f"{nll:.2f}, the prior's {nll_prior:.2f}."
            )


def _beside_prior(run: Run) -> tuple[dict[str, float], dict[str, float]] | None:
    """Return `metrics.soft_scores` of a run's labels and of D1's class prior; None if no votes are known."""
    judged = _judged(run, calibrated_labels(run)).get(BOTH)
    if judged is None:
        return None
    votes, soft = judged
    return metrics.soft_scores(soft, votes), metrics.soft_scores(constants(run, votes)["prior"], votes)


def _scores(run: Run, soft: Shares) -> Iterator[dict[str, Any]]:
    for part, (votes, labels) in _judged(run, soft).items():
        yield {"part": part} | metrics.soft_scores(labels, votes)


def _judged(run: Run, soft: Shares) -> dict[str, tuple[Shares, Shares]]:
    """Return votes and labels, (M, C) each, of the utterances of each part whose votes are known.  soft: (N, C)"""
    votes = soft_votes(run.table, run.meta["classes"])
    has_votes = np.isfinite(votes).all(axis=1)
    masks = {name: has_votes & run.table["part"].isin(parts).to_numpy() for name, parts in PARTS.items()}
    return {name: (votes[mask], soft[mask]) for name, mask in masks.items() if mask.any()}
