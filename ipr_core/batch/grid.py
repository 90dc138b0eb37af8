"""Grids: systems, seeds and settings in a small TOML file or in options, and their cells.

about = "Two systems, five seeds, three values of gamma"
preset = "recommended"
systems = ["ipr", "supervised"]       # or ["all"]
beside = ["baseline"]                 # references, once a seed and corpus, with nothing else varied
seeds = [0, 1, 2, 3, 4]
notebooks = ["02_refinement"]         # all three of the main job if absent; []: the cells are trained, no more
[settings]                            # the same for every cell
epochs = 30
[own.supervised]                      # of one system alone
lr = 3e-4
[cross]                               # every combination
gamma = [0.99, 0.999]
[one_at_a_time]                       # each value alone, against the rest as it is; "preset" may be varied too
tau = [0.07, 0.5]
raw = [{ soft_label = "raw", unit_norm = false }]    # a table of settings: together, under any name

`tuning` reads [tune], which settings are free, and writes [own] and [tuned].
"""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ipr_core.batch import grid_file, notebooks
from ipr_core.batch.grid_file import RESERVED, shipped  # noqa: F401 (for others)
from ipr_core.config import FIELDS, GROUPS, Config, SettingsError, build, for_notebook
from ipr_core.runs import names

MOST_CELLS = 10_000
"""Cells of a grid, at most."""


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    preset: str
    settings: Mapping[str, Any]
    """The settings that replace the preset's."""
    config: Config
    varied: str = ""
    """The varied settings, in words; empty where nothing is varied."""

    @property
    def name(self) -> str:
        """The name of its run folder."""
        return names.name(self.config)

    def parameters(self, runs: Path) -> dict[str, Any]:
        """Return the notebooks' parameters.

        runs: the folder of the runs
        """
        return for_notebook(self.config, self.settings, self.preset, str(runs))


@dataclass(frozen=True)
class Grid:
    """A batch's notebooks and cells."""

    title: str
    about: str
    notebooks: tuple[Path, ...]
    cells: tuple[Cell, ...]
    """In their order of work: seed by seed, so that systems can be compared early."""
    tuned: Mapping[str, Any] = field(default_factory=dict)
    """What `tuning` says of its choice of the systems' own settings; empty where nothing was tuned."""
    source: str | Path | None = None
    """Its file, or the name of a shipped grid; None for options alone."""


def read(source: str | Path | None = None, options: Mapping[str, Any] | None = None) -> Grid:
    """Read a grid without running anything.

    source: the name of a shipped grid, or a file; None for options alone
    options: entries as a file has them; tables are merged into those of the file, anything else replaces the file's
    raises SettingsError with every fault at once
    """
    grid, faults, _ = try_read(source, options)
    if faults:
        raise SettingsError(faults)
    return grid


def try_read(
    source: str | Path | None = None, options: Mapping[str, Any] | None = None
) -> tuple[Grid, list[str], list[Config]]:
    """Read a grid as far as it can be read, and return its faults instead of raising them.

    returns: the grid, its faults, which name its file, and configurations whose corpora and encoders may have more
    raises SettingsError for a file that cannot be read at all
    """
    content, form_faults = grid_file.read(source)
    entries = merged(content, options)
    faults = grid_file.contradictions(entries)
    count = _count(entries)
    if count > MOST_CELLS:
        faults.append(f"the grid has {count:,} cells; it must have {MOST_CELLS:,} at most: vary less, or make several")
    cells: dict[str, Cell] = {}
    partial: list[Config] = []
    # Of too many the first one alone, for the faults of what all have.
    for preset, settings, varied in itertools.islice(_combinations(entries), 1 if count > MOST_CELLS else None):
        try:
            cell = Cell(preset, settings, build(preset, settings), varied)
            cells.setdefault(cell.name, cell)
        except SettingsError as error:
            faults += error.faults
            partial += _without_faults(preset, settings)
    paths, notebook_faults = _notebooks(entries.get("notebooks", notebooks.MAIN_JOB))
    title = "grid" if source is None else Path(source).stem
    faults = list(dict.fromkeys([*form_faults, *named(source, [*faults, *notebook_faults])]))
    grid = Grid(title, entries.get("about", ""), tuple(paths), tuple(cells.values()), entries.get("tuned", {}), source)
    return grid, faults, [*(cell.config for cell in grid.cells), *partial]


def merged(entries: Mapping[str, Any], options: Mapping[str, Any] | None) -> dict[str, Any]:
    """Return a grid's entries with options: tables are merged, anything else is replaced."""
    merged = dict(entries)
    for key, value in (options or {}).items():
        merged[key] = merged.get(key, {}) | value if isinstance(value, dict) else value
    return merged


def tuning_of(grid: Grid, system: str) -> str:
    """Return the text of a run's `tuning.json`: how its system's settings were chosen, with all its trials."""
    rows = [row for row in grid.tuned.get("curve", []) if row.get("system") == system]
    return json.dumps(dict(grid.tuned) | {"curve": rows}, indent=1)


def named(source: str | Path | None, faults: Iterable[str]) -> list[str]:
    """Return faults of a grid's settings with its file in front of each."""
    return [fault if source is None else f"{source}: {fault}" for fault in faults]


def _without_faults(preset: str, settings: Mapping[str, Any]) -> list[Config]:
    """Return a configuration with the corpus and the encoder of a faulty combination, where those have no fault."""
    sections = ("data", "encoder")
    settings = {name: value for name, value in settings.items() if name in FIELDS and FIELDS[name][0] in sections}
    try:
        return [build(preset, settings)]
    except SettingsError:
        return []


def _count(entries: Mapping[str, Any]) -> int:
    """Count the combinations that `_combinations` yields, without making them."""
    crossed = math.prod(len(values) for values in _lists(entries, "cross").values())
    varied = 1 + sum(len(values) for values in _lists(entries, "one_at_a_time").values())
    systems = len(systems_of(entries, "systems")) or 1
    corpora = math.prod(len(values) for values in _of_corpora(_lists(entries, "cross")).values())
    return len(_seeds(entries)) * (corpora * len(systems_of(entries, "beside")) + crossed * systems * varied)


def _combinations(entries: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield preset, settings and the varied ones in words for every cell; some may be alike."""
    base = {name: value for name, value in entries.get("settings", {}).items() if name not in RESERVED}
    of_systems = entries.get("own", {})
    cross = {name: values for name, values in _lists(entries, "cross").items() if name not in RESERVED}
    single = [(name, value) for name, values in _lists(entries, "one_at_a_time").items() for value in values]
    preset, systems = entries.get("preset", "recommended"), systems_of(entries, "systems")
    for seed in _seeds(entries):
        for corpus in _products(_of_corpora(cross)):
            for system in systems_of(entries, "beside"):
                yield (
                    preset,
                    base | _of_system(of_systems, system) | corpus | {"system": system, "seed": seed},
                    _in_words(corpus.items()),
                )
        for crossed in _products(cross):
            for system in systems or ["ipr"]:
                settings = base | _of_system(of_systems, system) | crossed | {"system": system, "seed": seed}
                yield preset, settings, _in_words(crossed.items())
                for name, value in single:
                    varied = dict(value) if isinstance(value, dict) else {name: value}
                    words = _in_words([*crossed.items(), *varied.items()])
                    yield varied.pop("preset", preset), settings | varied, words


def _of_corpora(lists: Mapping[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the lists of settings that make another corpus or partition: a reference of another is none."""
    return {name: lists[name] for name in lists if name in FIELDS and FIELDS[name][0] in ("data", "partition")}


def _products(lists: Mapping[str, list[Any]]) -> Iterator[dict[str, Any]]:
    """Yield every combination of one value from each list."""
    for values in itertools.product(*lists.values()):
        yield dict(zip(lists, values, strict=True))


def _of_system(of_systems: Mapping[str, Any], system: Any) -> dict[str, Any]:
    """Return the settings of one system alone."""
    settings = of_systems.get(system, {})
    return (
        {name: value for name, value in settings.items() if name not in RESERVED} if isinstance(settings, dict) else {}
    )


def _lists(entries: Mapping[str, Any], table: str) -> dict[str, list[Any]]:
    """Return the lists of a table; an empty one is a fault of its own and hides none of the others."""
    return {name: values for name, values in entries.get(table, {}).items() if isinstance(values, list) and values}


def _seeds(entries: Mapping[str, Any]) -> list[Any]:
    return list(dict.fromkeys(map(_hashable, entries.get("seeds") or [0])))


def systems_of(entries: Mapping[str, Any], key: str) -> list[Any]:
    """Return the systems that a key of the entries names, groups as their members, each once."""
    names = [_hashable(name) for name in entries.get(key, [])]
    return list(dict.fromkeys(name for word in names for name in GROUPS.get(word, (word,))))


def _hashable(value: Any) -> Any:
    """Return what is no system and no seed as a text, which the configuration refuses; true is not 1."""
    return value if isinstance(value, str | int) and not isinstance(value, bool) else str(value)


def _in_words(varied: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {','.join(map(str, v)) if isinstance(v, list) else v}" for name, v in varied)


def _notebooks(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    try:
        paths = notebooks.find([str(name) for name in names])
    except SettingsError as error:
        return [], error.faults
    return paths, []
