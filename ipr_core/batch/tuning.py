"""The choice of every system's free settings on V1, the held-out part of D1, with the same budget for each.

A grid that is to be tuned has

[tune]
trials = 12                  # of each system; the first one is the grid's own settings
seeds = [100, 101]           # of the trials: others than those of the results
score = "accuracy"           # on V1: accuracy, uar or nll
[tune.every]                 # values that every system may have
lr = [0.0003, 0.001, 0.003]
[tune.ipr]                   # values of one system's own settings
mu = [0.05, 0.2]

A trial is a random combination of the values (Bergstra and Bengio, JMLR 2012), trained with every seed and every
combination in [cross], but for `stream`, which is for the noise of results: its score is the mean over these. D3 is
not looked at. `ipr tune` writes the grid again, with every system's choice in [own] and all trials in [tuned], for
`ipr batch`.
"""

from __future__ import annotations

import json
import math
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.batch import grid, grid_file
from ipr_core.batch.grid import Cell, Grid
from ipr_core.config import FIELDS, SYSTEMS, Config, SettingsError
from ipr_core.runs.run import Run

SCORES = {"accuracy": max, "uar": max, "nll": min}
"""Scores on V1, and which value is the best; of equal ones the lower nll decides."""
FOLDER = "tuning"
"""The folder of trials below that of the runs."""
_EVERY = "every"


@dataclass(frozen=True)
class Search:
    """The trials of a grid's systems."""

    entries: Mapping[str, Any]
    """The grid, as its file has it."""
    score: str
    trials: Mapping[str, tuple[Mapping[str, Any], ...]]
    """System → the settings of each trial beyond the grid's own."""
    cells: Mapping[tuple[str, int], tuple[Cell, ...]]
    """System and number of a trial → its cells."""
    title: str

    @property
    def grid(self) -> Grid:
        """All cells of all trials; they are trained, no more."""
        cells = {cell.name: cell for group in self.cells.values() for cell in group}
        return Grid(f"{self.title}, tuning", str(self.entries.get("about", "")), (), tuple(cells.values()))


def try_read(source: str | Path, options: Mapping[str, Any] | None = None) -> tuple[Search, list[str], list[Config]]:
    """Read a grid with [tune], and return its faults instead of raising them, as `grid.try_read` does.

    options: entries beyond the file's, which the tuned grid has not: where a corpus lies, for example
    """
    content, faults = grid_file.read(source)
    entries = grid.merged(content, options)
    tune = entries.get("tune", {})
    faults += grid.named(source, _faults(tune, entries))
    systems = dict.fromkeys(name for key in ("systems", "beside") for name in grid.systems_of(entries, key))
    trials, cells, configs = {}, {}, []
    for system in systems or ["ipr"]:
        trials[system] = tuple(_trials(tune, system)) if not faults else ({},)
        for number, settings in enumerate(trials[system]):
            part, part_faults, part_configs = grid.try_read(None, _entries(entries, system, settings))
            cells[system, number] = part.cells
            faults += grid.named(source, part_faults)
            configs += part_configs
    if any(config.partition.validation_share == 0 for config in configs):
        faults.append(f"{source}: validation_share is 0; settings are chosen on it: give 0.1, for example")
    title = Path(source).stem
    return Search(content, tune.get("score", "accuracy"), trials, cells, title), list(dict.fromkeys(faults)), configs


def curve(search: Search, runs: Path) -> DataFrame:
    """Return the scores of every trial that is trained: a row a trial.

    returns: system, trial, settings (as a text), runs, the means of accuracy, uar and nll on V1, and whether it is
    the choice
    """
    rows = []
    for (system, number), cells in search.cells.items():
        scores = DataFrame([score for cell in cells if (score := _score(Run(runs / cell.name)))])
        if len(scores):
            settings = json.dumps(search.trials[system][number])
            rows.append({"system": system, "trial": number, "settings": settings, "runs": len(scores)}
                        | scores[list(SCORES)].mean().round(6).to_dict())  # fmt: skip
    table = DataFrame(rows, columns=["system", "trial", "settings", "runs", *SCORES])
    return table.assign(chosen=table.index.isin(_best(table, search.score)))


def tuned(search: Search, table: DataFrame) -> dict[str, Any]:
    """Return the entries of the tuned grid.  table: of `curve`"""
    entries = {key: value for key, value in search.entries.items() if key != "tune"}
    choices = {row.system: json.loads(row.settings) for row in table[table["chosen"]].itertuples()}
    of_systems = entries.get("own", {})
    entries["own"] = {system: of_systems.get(system, {}) | choice for system, choice in choices.items()}
    names = {name for settings in of_systems.values() for name in settings}  # one system's alone, tuned or not
    names |= {name for trials in search.trials.values() for settings in trials for name in settings}
    entries["tuned"] = {
        "score": search.score,
        "settings": sorted(names),
        "seeds": search.entries["tune"]["seeds"],
        "curve": table.to_dict("records"),
    }
    return entries


def _faults(tune: Mapping[str, Any], entries: Mapping[str, Any]) -> Iterator[str]:
    if not tune:
        yield "it has no [tune]; name there the free settings and their values"
        return
    trials, seeds, score = tune.get("trials"), tune.get("seeds"), tune.get("score", "accuracy")
    if not isinstance(trials, int) or isinstance(trials, bool) or not 1 <= trials <= 1000:
        yield f"tune.trials is {trials!r}; it must be a whole number from 1 to 1000"
    if not isinstance(seeds, list) or not seeds:
        yield f"tune.seeds is {seeds!r}; it must be a list of seeds, [100, 101] for example"
    elif set(map(str, seeds)) & set(map(str, entries.get("seeds", [0]))):
        yield "tune.seeds has a seed of the results; choose others, so that no run is both"
    if score not in SCORES:
        yield f"tune.score is {score!r}; it must be one of {', '.join(SCORES)}"
    for key in sorted(tune.keys() - {"trials", "seeds", "score", _EVERY, *SYSTEMS}):
        yield f"tune.{key} is of no system; it must be {_EVERY} or one of {', '.join(SYSTEMS)}"
    for table in (_EVERY, *SYSTEMS):
        lists = tune.get(table, {})
        if not isinstance(lists, dict):
            yield f"tune.{table} is {lists!r}; it must be a table of settings and their values"
            continue
        for name, values in lists.items():
            if name not in FIELDS or name in grid_file.RESERVED:
                yield f"tune.{table}.{name} is no free setting"
            elif not isinstance(values, list) or not values:
                yield f"tune.{table}.{name} is {values!r}; it must be a list of values"


def _trials(tune: Mapping[str, Any], system: str) -> Iterator[Mapping[str, Any]]:
    """Yield the settings of a system's trials: none beyond the grid's, then different random combinations."""
    lists = tune.get(_EVERY, {}) | tune.get(system, {})
    total = math.prod(map(len, lists.values()))
    yield {}
    for number in random.Random(system).sample(range(total), min(tune["trials"] - 1, total)) if lists else []:
        settings = {}
        for name, values in lists.items():
            number, index = divmod(number, len(values))
            settings[name] = values[index]
        yield settings


def _entries(entries: Mapping[str, Any], system: str, settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return the entries of one trial's grid."""
    common = {key: value for key, value in entries.items() if key in ("preset", "settings")}
    cross = {name: values for name, values in entries.get("cross", {}).items() if name != "stream"}
    of_system = entries.get("own", {}).get(system, {}) | settings
    return common | {
        "cross": cross, "systems": [system], "own": {system: of_system}, "notebooks": [],
        "seeds": entries.get("tune", {}).get("seeds") or [0],
    }  # fmt: skip


def _score(run: Run) -> dict[str, float] | None:
    """Return the scores on V1 after the last epoch of a finished run."""
    return run.history()[-1].validation if run.exists and run.finished else None


def _best(table: DataFrame, score: str) -> list[int]:
    """Return the row of every system's best trial."""
    ordered = table.assign(key=table[score] * (-1 if SCORES[score] is max else 1))
    ordered = ordered.sort_values(["key", "nll", "trial"])
    return ordered.drop_duplicates("system").index.tolist()


def check(search: Search, table: DataFrame) -> None:
    """Raise SettingsError where a trial has no score: it failed, or no utterance of D1 was held out."""
    missing = sorted({system for system, _ in search.cells} - set(table["system"]))
    if missing:
        raise SettingsError([
            f"no trial of {', '.join(missing)} has a score on V1: none was trained, or validation_share holds out no "
            "utterance of D1"
        ])  # fmt: skip
