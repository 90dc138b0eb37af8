"""Grids: systems, seeds and settings in a small TOML file or in options, and their cells.

about = "Two systems, five seeds, three values of gamma"
preset = "recommended"
systems = ["ipr", "supervised"]       # or ["all"]
beside = ["baseline"]                 # references, once a seed, with nothing varied
seeds = [0, 1, 2, 3, 4]
notebooks = ["02_refinement"]         # all three of the main job if absent
[settings]                            # the same for every cell
epochs = 30
[cross]                               # every combination
gamma = [0.99, 0.999]
[one_at_a_time]                       # each value alone, against the rest as it is; "preset" may be varied too
tau = [0.07, 0.5]
raw = [{ soft_label = "raw", unit_norm = false }]    # a table of settings: together, under any name
"""

from __future__ import annotations

import difflib
import itertools
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ipr_core.batch import notebooks
from ipr_core.config import FIELDS, GROUPS, Config, SettingsError, build, for_notebook
from ipr_core.runs import run

SHIPPED = Path(__file__).parent / "grids"
_KINDS: dict[str, type] = {
    "about": str, "preset": str, "systems": list, "beside": list, "seeds": list, "notebooks": list, "settings": dict,
    "cross": dict, "one_at_a_time": dict,
}  # fmt: skip
_WORDS: dict[type, str] = {str: "a text", list: "a list", dict: "a table of settings"}


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
        return run.name(self.config)

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


def shipped() -> dict[str, str]:
    """Return the grids that come with the workbench, each with its purpose."""
    return {file.stem: tomllib.loads(file.read_text("utf-8"))["about"] for file in sorted(SHIPPED.glob("*.toml"))}


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

    returns: the grid, its faults, and configurations whose corpora and encoders may have further faults
    """
    content, faults = _read_file(source) if source is not None else ({}, [])
    faults += _key_faults(content)
    entries: dict[str, Any] = {key: value for key, value in content.items() if isinstance(value, _KINDS.get(key, ()))}
    for key, value in (options or {}).items():
        entries[key] = entries.get(key, {}) | value if isinstance(value, dict) else value
    faults += _contradictions(entries)
    cells: dict[str, Cell] = {}
    partial: list[Config] = []
    for preset, settings, varied in _combinations(entries):
        try:
            cell = Cell(preset, settings, build(preset, settings), varied)
            cells.setdefault(cell.name, cell)
        except SettingsError as error:
            faults += error.faults
            partial += _without_faults(preset, settings)
    paths, notebook_faults = _notebooks(entries.get("notebooks", notebooks.MAIN_JOB))
    title = "grid" if source is None else Path(source).stem
    faults = list(dict.fromkeys([*faults, *notebook_faults]))
    if not cells and not faults:
        faults = ["the grid has no cell: a list in it is empty"]
    grid = Grid(title, entries.get("about", ""), tuple(paths), tuple(cells.values()))
    return grid, faults, [*(cell.config for cell in grid.cells), *partial]


def _without_faults(preset: str, settings: Mapping[str, Any]) -> list[Config]:
    """Return a configuration with the corpus and the encoder of a faulty combination, where those have no fault."""
    sections = ("data", "encoder")
    settings = {name: value for name, value in settings.items() if name in FIELDS and FIELDS[name][0] in sections}
    try:
        return [build(preset, settings)]
    except SettingsError:
        return []


def _read_file(source: str | Path) -> tuple[dict[str, Any], list[str]]:
    """Read a grid's file; return its content, and the fault that kept it from being read."""
    file = next((path for path in (Path(source), SHIPPED / f"{source}.toml") if path.is_file()), None)
    if file is None:
        return {}, [f"{source} is no grid; it is a TOML file, or one of {', '.join(shipped())}"]
    try:
        return tomllib.loads(file.read_text("utf-8")), []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{file} is not TOML: {error}"]


def _key_faults(content: Mapping[str, Any]) -> list[str]:
    """List the keys that a grid does not have, and the values of a wrong kind."""
    faults = []
    for key, value in content.items():
        if key not in _KINDS:
            matches = difflib.get_close_matches(key, [*_KINDS], n=1)
            cure = (
                f"did you mean {matches[0]}?" if matches else f"it has {', '.join(_KINDS)}; settings lie in [settings]"
            )
            faults.append(f"{key} is not a key of a grid; {cure}")
        elif not isinstance(value, _KINDS[key]):
            faults.append(f"{key} is {value!r}; it is {_WORDS[_KINDS[key]]}")
    for table in ("cross", "one_at_a_time"):
        if isinstance(varied := content.get(table), dict):
            wrong = {name: value for name, value in varied.items() if not isinstance(value, list)}
            faults += [f"{table}.{name} is {value!r}; it is a list" for name, value in wrong.items()]
    return faults


def _contradictions(entries: Mapping[str, Any]) -> list[str]:
    """List the settings that are given in two ways, and those for which a grid has a list."""
    settings, cross, single = (entries.get(table, {}) for table in ("settings", "cross", "one_at_a_time"))
    faults = [
        f"{name} has one value in settings and several in cross; give it once" for name in settings if name in cross
    ]
    faults += [f"{name} is both in cross and in one_at_a_time; give it once" for name in single if name in cross]
    for name, key in (("system", "systems"), ("seed", "seeds"), ("preset", "preset")):
        tables = [table for table in ("settings", "cross", "one_at_a_time") if name in entries.get(table, {})]
        if name == "preset":
            tables = [table for table in tables if table != "one_at_a_time"]
        faults += [f"{name} is in {table}; a grid has {key} for it" for table in tables]
    return faults


def _combinations(entries: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Yield preset, settings and the varied ones in words for every cell; some may be alike."""
    reserved = {"system", "seed", "preset"}  # a grid has other keys for these
    base = {name: value for name, value in entries.get("settings", {}).items() if name not in reserved}
    cross = {name: values for name, values in _lists(entries, "cross") if name not in reserved}
    single = [(name, value) for name, values in _lists(entries, "one_at_a_time") for value in values]
    preset, systems = entries.get("preset", "recommended"), _systems(entries, "systems")
    for seed in dict.fromkeys(map(_hashable, entries.get("seeds", [0]))):
        for system in _systems(entries, "beside"):
            yield preset, base | {"system": system, "seed": seed}, ""
        for values in itertools.product(*cross.values()):
            crossed = dict(zip(cross, values, strict=True))
            for system in systems or ["ipr"]:
                settings = base | crossed | {"system": system, "seed": seed}
                yield preset, settings, _in_words(crossed.items())
                for name, value in single:
                    varied = dict(value) if isinstance(value, dict) else {name: value}
                    words = _in_words([*crossed.items(), *varied.items()])
                    yield varied.pop("preset", preset), settings | varied, words


def _lists(entries: Mapping[str, Any], table: str) -> Iterator[tuple[str, list[Any]]]:
    yield from ((name, values) for name, values in entries.get(table, {}).items() if isinstance(values, list))


def _systems(entries: Mapping[str, Any], key: str) -> list[Any]:
    names = [_hashable(name) for name in entries.get(key, [])]
    return list(dict.fromkeys(name for word in names for name in GROUPS.get(word, (word,))))


def _hashable(value: Any) -> Any:
    """Return a list as a text: it is no system and no seed, and the configuration refuses it."""
    return value if isinstance(value, str | int | float) else str(value)


def _in_words(varied: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {','.join(map(str, v)) if isinstance(v, list) else v}" for name, v in varied)


def _notebooks(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    try:
        paths = notebooks.find([str(name) for name in names])
    except SettingsError as error:
        return [], error.faults
    return paths, ([] if paths else ["notebooks is empty; name one at least"])
