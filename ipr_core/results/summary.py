"""Finished runs: which there are, what can be compared, each one's scores, and tables over their seeds for a console.

`seeds`, `significance` and `ablations` make the tables of the result notebooks from the same scores.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import FIELDS, SettingsError
from ipr_core.data.ambiguity import soft_votes
from ipr_core.method.systems import SYSTEMS
from ipr_core.results.table import show
from ipr_core.runs.run import Run, default_runs

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
DIVERGENCES = {"js_mixture": "JS to true mixtures, bits", "js_votes": "JS to votes, bits"}
"""Jensen-Shannon divergence of the soft labels on D2 and D3, lower is better, and the titles."""


def found(runs: Path | str | None = None, grid: Path | str | None = None) -> list[Run]:
    """The finished runs in a folder of runs, $IPR_RUNS or `runs` where none is named; with a grid, those of its cells.

    grid: a grid's file, or a shipped grid's name where the batch was given no options beside it
    raises SettingsError with every fault of the grid
    """
    folder = Path(runs or default_runs())
    if grid is not None:
        from ipr_core.batch import plan
        from ipr_core.batch.grid import read

        there = plan.runs_of(read(grid), folder)
    else:
        there = [Run(place) for place in sorted(folder.glob("*"))]
    return [run for run in there if run.exists and run.finished]


def check(score: str, system: str = "ipr") -> None:
    """raises SettingsError naming a score, or a system, that there is not"""
    asked = {"score": (score, SCORES), "system": (system, SYSTEMS)}
    faults = [
        f"{name} is {value!r}; it is one of {', '.join(known)}"
        for name, (value, known) in asked.items()
        if value not in known
    ]
    if faults:
        raise SettingsError(faults)


def cautions(runs: Sequence[Run]) -> list[str]:
    """What has to be said of some systems' results, in Markdown, a line each."""
    said = {}
    for run in runs:
        system = SYSTEMS[run.config.training.system]
        if caution := system.caution(run.config.encoder):
            said[system.title] = f"**{system.title}**: {caution}."
    return list(said.values())


def tables_folder(runs: Sequence[Run]) -> Path:
    """Where the tables of runs go if nothing else is asked for: `tables`, beside the first one."""
    return (runs[0].folder.parent if runs else default_runs()) / "tables"


def each(runs: Sequence[Run]) -> DataFrame:
    """`scores` of every finished run, a row a run; no column where there is none."""
    return DataFrame([scores(run) for run in runs if run.finished])


def scores(run: Run) -> dict[str, Any]:
    """One finished run's figures, all of the final epoch (the paper has no validation set to choose another by)."""
    history, training = run.history(), run.config.training
    warmed_up = history[max(training.warm_up - 1, 0)]
    return {
        "system": training.system,
        "seed": training.seed,
        "stream": training.stream,
        **{name: _percent(getattr(history[-1], name)) for name in SCORES},
        **{f"{name}_before": _percent(getattr(warmed_up, name)) for name in BEFORE},
        **divergences(run),
        "seconds": sum(epoch.clock["seconds"] for epoch in history),
    }


def _percent(share: float | None) -> float:
    return np.nan if share is None else 100 * share


def divergences(run: Run) -> dict[str, float]:
    """JS of a run's soft labels, and of uniform ones, to the true mixtures and to the votes where they are known.

    On D2 and D3, what the system was not told. nan where nothing is known.
    """
    table, classes = run.table, run.meta["classes"]
    asked = (table["part"] != "D1").to_numpy()
    soft = run.labels.loc[asked, [f"soft_{c}" for c in classes]].to_numpy()
    truths = {"votes": soft_votes(table[asked], classes)}
    columns = [f"mixture_{c}" for c in classes]
    if set(columns) <= set(table.columns):
        truths["mixture"] = table.loc[asked, columns].to_numpy()
    found = dict.fromkeys([*DIVERGENCES, *(f"{name}_uniform" for name in DIVERGENCES)], np.nan)
    for name, truth in truths.items():
        known = np.isfinite(truth).all(axis=1)
        if known.any() and not run.meta["simulated_annotators"]:
            uniform = np.full_like(truth[known], 1 / len(classes))
            found[f"js_{name}"] = float(metrics.js_divergence(soft[known], truth[known]).mean())
            found[f"js_{name}_uniform"] = float(metrics.js_divergence(uniform, truth[known]).mean())
    return found


def table(runs: Sequence[Run]) -> DataFrame:
    """A row a system: how many seeds, and mean and standard deviation of every score over them.

    `runs` are `comparable` ones; only finished ones count. Agreement on D2 stands behind its mean at the end of the
    warm-up. Where soft labels can be judged, a row for uniform ones is added.
    """
    all_scores = each(runs)
    if all_scores.empty:
        return all_scores
    place = {name: i for i, name in enumerate(SYSTEMS)}
    ordered = all_scores.sort_values(["stream", "system"], key=lambda c: c.map(place) if c.name == "system" else c)
    rows = [_row(name, stream, of) for (stream, name), of in ordered.groupby(["stream", "system"], sort=False)]
    known = [name for name in DIVERGENCES if ordered[f"{name}_uniform"].notna().any()]
    if known:
        uniform = {DIVERGENCES[name]: f"{ordered[f'{name}_uniform'].mean():.3f}" for name in known}
        rows.append({"system": "uniform soft labels", "seeds": 0} | uniform)
    return DataFrame(rows).dropna(axis=1, how="all")


def differences(runs: Sequence[Run], score: str = "accuracy") -> DataFrame:
    """Every pair of systems: mean difference over the seeds they share, p of the paired t-test, and the noise.

    Noise: how much the baseline differs from itself under another random stream (`stream` 1), same seed: the mean
    difference of n seeds lies within 2 σ / √n of 0 in about 95 of 100 cases, σ the size of those differences.
    """
    all_scores = each(runs)
    if all_scores.empty:
        return all_scores
    usual = all_scores[all_scores["stream"] == 0].pivot(index="seed", columns="system", values=score)
    of_baseline = noise(all_scores, score)
    rows = []
    names = [name for name in SYSTEMS if name in usual]
    for i, a in enumerate(names):
        for b in names[i + 1 :]:
            both = usual[[a, b]].dropna()
            if len(both) < 2:
                continue
            found = metrics.paired_difference(both[b], both[a])
            band = 2 * of_baseline / np.sqrt(len(both))
            rows.append(
                {
                    "systems": f"{SYSTEMS[b].title} − {SYSTEMS[a].title}",
                    "seeds": len(both),
                    "difference": f"{found['mean']:+.2f} ± {found['deviation']:.2f}",
                    "p": f"{found['p']:.3f}",
                    "noise": "not measured" if np.isnan(band) else f"± {band:.2f}",
                    "within noise": "" if np.isnan(band) else ("yes" if abs(found["mean"]) <= band else "no"),
                }
            )
    return DataFrame(rows)


def noise(all_scores: DataFrame, score: str, system: str = "baseline") -> float:
    """How much a system differs between two random streams of the same seed; nan if unknown.

    all_scores: `each` of comparable runs
    The root mean square, not the deviation around the mean: the expected difference is known to be 0.
    """
    if all_scores.empty:
        return float("nan")
    of = all_scores[all_scores["system"] == system].pivot(index="seed", columns="stream", values=score)
    if not {0, 1} <= set(of.columns):
        return float("nan")
    return float(np.sqrt(((of[1] - of[0]) ** 2).mean()))


def summary(runs: Sequence[Run]) -> str:
    """The table of runs as Markdown, and the differences between systems where several seeds allow a test."""
    parts = []
    for title, alike in comparable(runs):
        parts += [*([f"### {title}"] if title else []), show(table(alike)), *cautions(alike)]
        pairs = differences(alike)
        if not pairs.empty:
            parts += ["Differences of accuracy on D3, in points, over the seeds that both systems have:", show(pairs)]
    return "\n\n".join(parts) or "no finished run"


def comparable(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Runs in groups that differ in system, seed and stream alone, and what sets a group apart from the others."""
    groups: dict[str, list[Run]] = {}
    settings: dict[str, dict[str, Any]] = {}
    for run in runs:
        asked = {
            name: value for name, value in run.meta["settings"].items() if name not in ("system", "seed", "stream")
        }
        key = json.dumps([asked, run.meta["corpus"]], sort_keys=True)
        groups.setdefault(key, []).append(run)
        settings[key] = asked
    varying = [name for name in FIELDS if len({json.dumps(of.get(name)) for of in settings.values()}) > 1]
    return [
        (", ".join(f"{name} {settings[key].get(name)}" for name in varying), found) for key, found in groups.items()
    ]


def _row(system: str, stream: int, of: DataFrame) -> dict[str, Any]:
    title = SYSTEMS[system].title + (f", random stream {stream}" if stream else "")
    row: dict[str, Any] = {"system": title, "seeds": len(of)}
    for name, words in SCORES.items():
        before = f"{of[f'{name}_before'].mean():.1f} → " if name in BEFORE else ""
        spread = _spread(of[name], "{:.1f}")
        row[words] = before + spread if isinstance(spread, str) else spread
    return row | {words: _spread(of[name], "{:.3f}") for name, words in DIVERGENCES.items()}


def _spread(values: pd.Series, form: str) -> str | float:
    if values.isna().any():
        return np.nan
    mean = form.format(values.mean())
    return mean if len(values) < 2 else f"{mean} ± {form.format(values.std(ddof=1))}"
