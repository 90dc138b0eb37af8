"""Results of runs for the terminal and the report: scores, and differences between systems."""

from __future__ import annotations

import dataclasses
import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from pandas import DataFrame

from ipr_core.data.faults import enumeration
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import collapse, soft_labels
from ipr_core.results.comparisons import differences
from ipr_core.results.over_seeds import COLLAPSED, INTERVAL, repetitions, spread
from ipr_core.results.scores import BEFORE, DIVERGENCES, SCORES, TRAINED, run_scores, score_table
from ipr_core.results.selection import cautions, comparable
from ipr_core.results.significance import accuracy_interval
from ipr_core.results.table import Table, show
from ipr_core.runs.run import Run

NO_RUN = "no finished run"
_WIDTH = 120  # characters of a caption's line


def summary(runs: Sequence[Run], reference: str | None = None) -> str:
    """Return the tables of runs as Markdown, a group of comparable runs after another.

    reference: the system that the others are compared with, as in `comparisons.differences`
    """
    parts = []
    for title, group in comparable(runs):
        scores, *tests = tables(group, reference)
        parts += [*([f"### {title}"] if title else []), show(scores.values), *cautions(group)]
        parts += [
            part
            for test in tests
            for part in (_filled(test.caption), show(test.texts), _filled(test.conclusion))
            if part
        ]
        parts += map(_filled, soft_labels.notes([run for run in group if run.finished]))
    if unfinished := [str(run.folder) for run in runs if not run.finished]:
        parts.append(f"not trained to the end, and not counted: {enumeration(unfinished, 3)}; `ipr resume` goes on")
    return "\n\n".join(parts) or NO_RUN


def tables(runs: Sequence[Run], reference: str | None = None) -> list[Table]:
    """Return the scores of comparable runs, and the differences if two systems can be compared."""
    tests = differences(runs, reference)
    names = [name for name in tests.values if f"{name}, Holm" not in tests.values]  # p is shown corrected only
    short = dataclasses.replace(tests, values=tests.values[names])
    return [Table("results", _CAPTION, score_rows(runs)), *([short] if len(tests.values) else [])]


def score_rows(runs: Sequence[Run]) -> DataFrame:
    """Return mean and deviations of every score over the seeds and partitions: a row a system.

    runs: `selection.comparable` ones, of which the finished ones count
    returns: texts; agreement on D2 stands behind its mean at the end of the warm-up, and the divergence of calibrated
    soft labels behind that before calibration. Where soft labels can be judged, the last rows are for constant ones.
    """
    scores = score_table(runs, run_scores)
    if scores.empty:
        return scores
    ranks = {name: i for i, name in enumerate(SYSTEMS)}
    scores["run"] = [run for run in runs if run.finished]
    ordered = scores.sort_values(["stream", "system"], key=lambda c: c.map(ranks) if c.name == "system" else c)
    groups = ordered.groupby(["stream", "system"], sort=False)
    rows = [_row(system, stream, group, ordered) for (stream, system), group in groups]
    judged = [name for name in DIVERGENCES if ordered[f"{name}_uniform"].notna().any()]
    for constant, title in soft_labels.CONSTANTS.items() if judged else ():
        means = {DIVERGENCES[name]: f"{ordered[f'{name}_{constant}'].mean():.3f}" for name in judged}
        rows.append({"system": title, "seeds": 0} | means)
    frame = DataFrame(rows)
    counts = [name for name in ("partitions", "runs") if name in frame]
    frame[counts] = frame[counts].fillna(0).astype(int)
    return frame.replace("", np.nan).dropna(axis=1, how="all")


_CAPTION = (
    "Scores of the final epoch, mean ± standard deviation over the seeds of a partition; behind a slash, where there "
    "are several partitions, the deviation between their means. The interval of the accuracy is over speakers and, of "
    "several runs, over trainings jointly."
)


def _row(system: str, stream: int, scores: DataFrame, of_all: DataFrame) -> dict[str, Any]:
    title = SYSTEMS[system].title + (f", random stream {stream}" if stream else "")
    row: dict[str, Any] = {"system": title} | repetitions(scores, of_all)
    for name, heading in SCORES.items():
        warm_up = f"{scores[f'{name}_before'].mean():.1f} → " if name in BEFORE else ""
        text = _spread(scores, name, "{:.1f}")
        row[heading] = warm_up + text if text else np.nan
        if name == "accuracy":
            row[INTERVAL] = str(accuracy_interval(*scores["run"]))
    for name, heading in DIVERGENCES.items():
        raw = scores[f"{name}_uncalibrated"]
        uncalibrated = "" if raw.equals(scores[name]) else f"{raw.mean():.3f} → "
        row[heading] = uncalibrated + _spread(scores, name, "{:.3f}")
    row |= {title: _spread(scores, name, "{:.1f}") for name, title in TRAINED.items()}
    parameters = scores["parameters"].dropna()
    return row | {
        "trained parameters": f"{parameters.mean():,.0f}" if len(parameters) else np.nan,
        "training, s": f"{scores['training_seconds'].mean():.1f}",
        COLLAPSED: collapse.share(list(scores["run"])),
    }


def _spread(scores: DataFrame, name: str, form: str) -> str:
    """Return mean and deviations of a score; "" if a run has no value."""
    if scores[name].isna().any():
        return ""
    mean, over_seeds, over_partitions = spread(scores, name)
    ends = ((" ± ", over_seeds), (" / ", over_partitions))
    return form.format(mean) + "".join(sign + form.format(value) for sign, value in ends if np.isfinite(value))


def _filled(text: str) -> str:
    return textwrap.fill(text, _WIDTH, break_on_hyphens=False)
