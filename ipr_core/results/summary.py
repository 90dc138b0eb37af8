"""Results of runs for the terminal and the report: scores, and differences between systems."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.method.systems import SYSTEMS
from ipr_core.results.scores import BEFORE, DIVERGENCES, SCORES, score_table
from ipr_core.results.selection import cautions, comparable
from ipr_core.results.significance import accuracy_interval, differences
from ipr_core.results.table import Table, show
from ipr_core.runs.run import Run

NO_RUN = "no finished run"
INTERVAL = "95 % interval"
"""The column with the interval of the accuracy; only a system with a single run has one."""
_WIDTH = 120  # characters of a caption's line


def summary(runs: Sequence[Run], reference: str | None = None) -> str:
    """Return the tables of runs as Markdown, a group of comparable runs after another.

    reference: the system that the others are compared with, as in `significance.differences`
    """
    parts = []
    for title, group in comparable(runs):
        scores, *tests = tables(group, reference)
        parts += [*([f"### {title}"] if title else []), show(scores.values), *cautions(group)]
        parts += [
            part
            for test in tests
            for part in (textwrap.fill(test.caption, _WIDTH, break_on_hyphens=False), show(test.texts))
        ]
    return "\n\n".join(parts) or NO_RUN


def tables(runs: Sequence[Run], reference: str | None = None) -> list[Table]:
    """Return the scores of comparable runs, and the differences if two systems can be compared."""
    tests = differences(runs, reference)
    names = [name for name in tests.values if f"{name}, Holm" not in tests.values]  # p is shown corrected only
    short = Table(tests.name, tests.caption, tests.values[names], tests.digits)
    return [Table("results", _CAPTION, score_rows(runs)), *([short] if len(tests.values) else [])]


def score_rows(runs: Sequence[Run]) -> DataFrame:
    """Return mean and standard deviation of every score over the seeds: a row a system.

    runs: `selection.comparable` ones, of which the finished ones count
    returns: texts; agreement on D2 stands behind its mean at the end of the warm-up. A system with a single run has the
    interval of its accuracy beside it. Where soft labels can be judged, the last row is for uniform ones.
    """
    scores = score_table(runs)
    if scores.empty:
        return scores
    ranks = {name: i for i, name in enumerate(SYSTEMS)}
    scores["run"] = [run for run in runs if run.finished]
    ordered = scores.sort_values(["stream", "system"], key=lambda c: c.map(ranks) if c.name == "system" else c)
    groups = ordered.groupby(["stream", "system"], sort=False)
    rows = [_row(system, stream, group) for (stream, system), group in groups]
    judged = [name for name in DIVERGENCES if ordered[f"{name}_uniform"].notna().any()]
    if judged:
        uniform = {DIVERGENCES[name]: f"{ordered[f'{name}_uniform'].mean():.3f}" for name in judged}
        rows.append({"system": "uniform soft labels", "seeds": 0} | uniform)
    return DataFrame(rows).dropna(axis=1, how="all")


_CAPTION = (
    "Scores of the final epoch, mean ± standard deviation over the seeds. The interval of a single run's accuracy is "
    "about other utterances like those of D3, not about other seeds."
)


def _row(system: str, stream: int, scores: DataFrame) -> dict[str, Any]:
    title = SYSTEMS[system].title + (f", random stream {stream}" if stream else "")
    row: dict[str, Any] = {"system": title, "seeds": len(scores)}
    for name, heading in SCORES.items():
        warm_up = f"{scores[f'{name}_before'].mean():.1f} → " if name in BEFORE else ""
        spread = _spread(scores[name], "{:.1f}")
        row[heading] = warm_up + spread if isinstance(spread, str) else spread
        if name == "accuracy":
            row[INTERVAL] = str(accuracy_interval(scores["run"].iloc[0])) if len(scores) == 1 else np.nan
    return row | {heading: _spread(scores[name], "{:.3f}") for name, heading in DIVERGENCES.items()}


def _spread(values: pd.Series, form: str) -> str | float:
    if values.isna().any():
        return np.nan
    mean = form.format(values.mean())
    return mean if len(values) < 2 else f"{mean} ± {form.format(values.std(ddof=1))}"
