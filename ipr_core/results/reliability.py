"""Reliability of soft labels: how sure they are of the class that they name, beside the annotators' votes for it.

N utterances, C classes, B bins of confidence, K clusters of utterances (speakers, or single utterances).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.data.ambiguity import soft_votes
from ipr_core.results import soft_labels
from ipr_core.results.hits import FEWEST_SPEAKERS
from ipr_core.results.significance import RESAMPLES
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

BINS = 15
"""Equal-width bins of confidence, as many as `metrics.expected_calibration_error` has."""
FEWEST = 5
"""A bin with fewer utterances is left out of the curve, not out of the error."""
_LACKING = "The annotators' votes for each class are not known, so nothing can be said of calibration."

Shares = NDArray[np.floating]


@dataclass(frozen=True)
class CalibrationError:
    """An expected calibration error, 0 to 1, with its 95 % interval."""

    value: float
    low: float
    """nan for fewer than two clusters."""
    high: float
    units: str
    """What was resampled, such as "12 speakers"."""

    def __str__(self) -> str:
        if not np.isfinite(self.low):
            return f"{self.value:.3f} (no interval: {self.units})"
        return f"{self.value:.3f} (95 % interval {self.low:.3f} to {self.high:.3f}, over {self.units})"


def curve(soft: Shares, votes: Shares) -> DataFrame:
    """Return the reliability curve, a row a bin of confidence that holds an utterance.

    soft, votes: (N, C), rows sum to 1
    returns: confidence (mean largest share), votes (mean share of the votes for the named class), error (standard error
    of the latter; nan for one utterance) and utterances. Labels that name no class are left out.
    """
    confidence, right, bins = _of_class(soft, votes)
    frame = DataFrame({"bin": bins, "confidence": confidence, "votes": right})
    groups = frame.groupby("bin")
    table = groups[["confidence", "votes"]].mean()
    return table.assign(error=groups["votes"].sem(), utterances=groups.size()).reset_index(drop=True)


def calibration_error(soft: Shares, votes: Shares, speakers: NDArray | None = None) -> CalibrationError:
    """Return the expected calibration error with its 95 % interval.

    soft, votes: (N, C), rows sum to 1   speakers: (N,) names, "" if not known; None: utterances are drawn
    Speakers are drawn whole, `RESAMPLES` times, if all are known and there are `FEWEST_SPEAKERS`, else utterances. The
    error of a resample is too large, as it counts the noise of its bins twice; so the ends are those of the basic
    bootstrap, 2 x the error − the percentile (Davison and Hinkley 1997, section 5.2). The lower one is 0 where noise
    alone, the resamples' gaps around those of the data, gives as large an error in 2.5 of 100 cases.
    """
    confidence, right, bins = _of_class(soft, votes)
    value = metrics.expected_calibration_error(soft, votes)
    names, units = _clusters(soft, speakers)
    if names.max(initial=0) < 1:
        return CalibrationError(value, np.nan, np.nan, units)
    n_clusters = int(names.max()) + 1
    gaps, sizes = np.zeros((n_clusters, BINS)), np.zeros(n_clusters)  # (K, B), (K,)
    np.add.at(gaps, (names, bins), confidence - right)
    np.add.at(sizes, names, 1)
    draws = np.random.default_rng(0).multinomial(n_clusters, np.full(n_clusters, 1 / n_clusters), size=RESAMPLES)
    drawn_gaps, drawn_sizes = draws @ gaps, draws @ sizes  # (R, B), (R,)
    high, low = 2 * value - np.percentile(np.abs(drawn_gaps).sum(axis=1) / drawn_sizes, (2.5, 97.5))
    noise = np.abs(drawn_gaps - gaps.sum(axis=0)).sum(axis=1) / drawn_sizes
    is_noise = value <= np.percentile(noise, 97.5)
    return CalibrationError(value, 0.0 if is_noise else max(0.0, float(low)), float(max(high, value)), units)


def judged(run: Run, part: str = soft_labels.BOTH) -> tuple[Shares, Shares, NDArray] | None:
    """Return soft labels and votes, (M, C) each, and speakers (M,) of a part's utterances; None if no votes are known.

    part: one of `soft_labels.PARTS`
    """
    votes = soft_votes(run.table, run.meta["classes"])
    rows = np.isfinite(votes).all(axis=1) & run.table["part"].isin(soft_labels.PARTS[part]).to_numpy()
    if not rows.any():
        return None
    return soft_labels.calibrated_labels(run)[rows], votes[rows], run.table["speaker"].to_numpy()[rows]


def errors(run: Run) -> Table:
    """Tabulate the expected calibration error of a finished run's soft labels, calibrated and as they were before."""
    rows = []
    uncalibrated = soft_labels.uncalibrated_labels(run)
    votes = soft_votes(run.table, run.meta["classes"])
    for part, names in soft_labels.PARTS.items():
        is_judged = np.isfinite(votes).all(axis=1) & run.table["part"].isin(names).to_numpy()
        speakers = run.table["speaker"].to_numpy()[is_judged]
        for kind, soft in {"calibrated": soft_labels.calibrated_labels(run), "uncalibrated": uncalibrated}.items():
            if is_judged.any():
                error = calibration_error(soft[is_judged], votes[is_judged], speakers)
                row = {"utterances of": part, "soft labels": kind, "utterances": int(is_judged.sum())}
                rows.append(row | {"ECE": error.value, "95 % from": error.low, "to": error.high, "over": error.units})
    caption = (
        "Expected calibration error: the mean gap between a soft label's largest share and the votes' share of that "
        f"class, over {BINS} bins of equal width. The 95 % interval is a bootstrap of whole speakers, of utterances "
        f"where fewer than {FEWEST_SPEAKERS} are known."
    )
    return Table("calibration", caption, DataFrame(rows), digits=3, lacking=_LACKING)


def _of_class(soft: Shares, votes: Shares) -> tuple[Shares, Shares, NDArray[np.int64]]:
    """Return, of the labels that name a class, their confidence, the votes' share of that class, and the bin."""
    confidence = soft.max(axis=1)
    largest = soft >= confidence[:, None] - metrics.TIE
    names_one = ~largest.all(axis=1)
    right = (votes * largest).sum(axis=1) / largest.sum(axis=1)
    bins = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return confidence[names_one], right[names_one], bins[names_one]


def _clusters(soft: Shares, speakers: NDArray | None) -> tuple[NDArray[np.int64], str]:
    """Return the number of each named utterance's cluster, and the clusters in words."""
    largest = soft >= soft.max(axis=1, keepdims=True) - metrics.TIE
    names_one = ~largest.all(axis=1)
    names = np.full(len(soft), "") if speakers is None else np.asarray(speakers)
    people = np.unique(names[names_one])
    if len(people) >= FEWEST_SPEAKERS and (people != "").all():
        return np.unique(names[names_one], return_inverse=True)[1], f"{len(people)} speakers"
    return np.arange(names_one.sum()), f"{names_one.sum()} utterances"
