"""Grids: systems, seeds and settings, stated once in a small TOML file or by options, and the cells they make.

about = "Two systems, five seeds, three values of gamma"
preset = "recommended"
systems = ["ipr", "supervised"]       # or ["all"]
beside = ["baseline"]                 # once a seed, with nothing varied: what the others are compared with
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
_KINDS = {
    "about": str, "preset": str, "systems": list, "beside": list, "seeds": list, "notebooks": list, "settings": dict,
    "cross": dict, "one_at_a_time": dict,
}  # fmt: skip
_WORDS = {str: "a text", list: "a list", dict: "a table of settings"}


@dataclass(frozen=True)
class Cell:
    """One run of a grid."""

    preset: str
    given: Mapping[str, Any]
    """The settings above the preset."""
    config: Config
    varied: str = ""
    """What is not as in the grid's base, in words; empty where nothing is varied."""

    @property
    def name(self) -> str:
        """Its run folder's name."""
        return run.name(self.config)

    def parameters(self, place: Path) -> dict[str, Any]:
        """Return the notebooks' parameters.

        place: the folder of the runs
        """
        return for_notebook(self.config, self.given, self.preset, str(place))


@dataclass(frozen=True)
class Grid:
    """What a batch does."""

    title: str
    about: str
    notebooks: tuple[Path, ...]
    cells: tuple[Cell, ...]
    """In the order in which they begin: seed by seed, so that systems can be compared early."""


def shipped() -> dict[str, str]:
    """The grids that come with the workbench, and what each is for."""
    return {file.stem: tomllib.loads(file.read_text("utf-8"))["about"] for file in sorted(SHIPPED.glob("*.toml"))}


def read(where: str | Path | None = None, asked: Mapping[str, Any] | None = None) -> Grid:
    """A grid by the name of a shipped one, by its file, or by what is asked alone, without running anything.

    asked: what a file says, given by options: tables are merged into those of the file, anything else replaces it
    raises SettingsError with every fault at once
    """
    grid, faults, _ = attempt(where, asked)
    if faults:
        raise SettingsError(faults)
    return grid


def attempt(
    where: str | Path | None = None, asked: Mapping[str, Any] | None = None
) -> tuple[Grid, list[str], list[Config]]:
    """What could be made of a grid, all its faults, and configurations by whose corpora and encoders to look for more.

    `read` is this with the faults raised.
    """
    stated, faults = ({}, []) if where is None else _stated(where)
    faults += _misfits(stated)
    said = {name: value for name, value in stated.items() if isinstance(value, _KINDS.get(name, ()))}
    for key, value in (asked or {}).items():
        said[key] = said.get(key, {}) | value if isinstance(value, dict) else value
    faults += _contradictions(said)
    cells: dict[str, Cell] = {}
    others: list[Config] = []
    for preset, given, varied in _combinations(said):
        try:
            cell = Cell(preset, given, build(preset, given), varied)
            cells.setdefault(cell.name, cell)
        except SettingsError as error:
            faults += error.faults
            others += _without_faults(preset, given)
    paths, unknown = _notebooks(said.get("notebooks", notebooks.MAIN_JOB))
    title = "grid" if where is None else Path(where).stem
    faults = list(dict.fromkeys([*faults, *unknown]))
    if not cells and not faults:
        faults = ["the grid has no cell: a list in it is empty"]
    grid = Grid(title, said.get("about", ""), tuple(paths), tuple(cells.values()))
    return grid, faults, [*(cell.config for cell in grid.cells), *others]


def _without_faults(preset: str, given: Mapping[str, Any]) -> list[Config]:
    """The corpus and the encoder of a combination that cannot be, where they at least can be told."""
    kept = {name: value for name, value in given.items() if name in FIELDS and FIELDS[name][0] in ("data", "encoder")}
    try:
        return [build(preset, kept)]
    except SettingsError:
        return []


def _stated(where: str | Path) -> tuple[dict[str, Any], list[str]]:
    """What a file says, or the fault that keeps it from being read."""
    file = next((path for path in (Path(where), SHIPPED / f"{where}.toml") if path.is_file()), None)
    if file is None:
        return {}, [f"{where} is no grid; it is a TOML file, or one of {', '.join(shipped())}"]
    try:
        return tomllib.loads(file.read_text("utf-8")), []
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        return {}, [f"{file} is not TOML: {error}"]


def _misfits(stated: Mapping[str, Any]) -> list[str]:
    """Keys that a grid does not have, and values of another kind than they should be."""
    faults = []
    for key, value in stated.items():
        if key not in _KINDS:
            near = difflib.get_close_matches(key, [*_KINDS], n=1)
            cure = f"did you mean {near[0]}?" if near else f"it has {', '.join(_KINDS)}; settings lie in [settings]"
            faults.append(f"{key} is not a key of a grid; {cure}")
        elif not isinstance(value, _KINDS[key]):
            faults.append(f"{key} is {value!r}; it is {_WORDS[_KINDS[key]]}")
    for table in ("cross", "one_at_a_time"):
        if isinstance(varied := stated.get(table), dict):
            lists = (f"{table}.{name} is {value!r}; it is a list" for name, value in varied.items())
            faults += [
                fault for fault, value in zip(lists, varied.values(), strict=True) if not isinstance(value, list)
            ]
    return faults


def _contradictions(said: Mapping[str, Any]) -> list[str]:
    """Settings that are given in two ways, and those that have a list of their own."""
    settings, cross, each = (said.get(table, {}) for table in ("settings", "cross", "one_at_a_time"))
    faults = [
        f"{name} has one value in settings and several in cross; give it once" for name in settings if name in cross
    ]
    faults += [f"{name} is both in cross and in one_at_a_time; give it once" for name in each if name in cross]
    for name, key in (("system", "systems"), ("seed", "seeds"), ("preset", "preset")):
        found = [table for table in ("settings", "cross", "one_at_a_time") if name in said.get(table, {})]
        if name == "preset":
            found = [table for table in found if table != "one_at_a_time"]
        faults += [f"{name} is in {table}; a grid has {key} for it" for table in found]
    return faults


def _combinations(said: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], str]]:
    """Preset, settings and what is varied, in words, for every cell; some may be alike."""
    own = {"system", "seed", "preset"}
    base = {name: value for name, value in said.get("settings", {}).items() if name not in own}
    cross = {name: values for name, values in _lists(said, "cross") if name not in own}
    each = [(name, value) for name, values in _lists(said, "one_at_a_time") for value in values]
    preset, systems, beside = said.get("preset", "recommended"), _systems(said, "systems"), _systems(said, "beside")
    for seed in dict.fromkeys(map(_hashable, said.get("seeds", [0]))):
        for system in beside:
            yield preset, base | {"system": system, "seed": seed}, ""
        for values in itertools.product(*cross.values()):
            crossed = dict(zip(cross, values, strict=True))
            for system in systems or ["ipr"]:
                given = base | crossed | {"system": system, "seed": seed}
                yield preset, given, _words(crossed.items())
                for name, value in each:
                    changed = value if isinstance(value, dict) else {name: value}
                    other = changed.get("preset", preset)
                    settings = {key: value for key, value in changed.items() if key != "preset"}
                    yield other, given | settings, _words([*crossed.items(), *changed.items()])


def _lists(said: Mapping[str, Any], table: str) -> Iterator[tuple[str, list[Any]]]:
    yield from ((name, values) for name, values in said.get(table, {}).items() if isinstance(values, list))


def _systems(said: Mapping[str, Any], key: str) -> list[Any]:
    names = [_hashable(name) for name in said.get(key, [])]
    return list(dict.fromkeys(name for word in names for name in GROUPS.get(word, (word,))))


def _hashable(value: Any) -> Any:
    """A list as a text: it is no system and no seed, which the configuration will say."""
    return value if isinstance(value, str | int | float) else str(value)


def _words(varied: Iterable[tuple[str, Any]]) -> str:
    return ", ".join(f"{name} {','.join(map(str, v)) if isinstance(v, list) else v}" for name, v in varied)


def _notebooks(names: Iterable[str]) -> tuple[list[Path], list[str]]:
    try:
        found = notebooks.named([str(name) for name in names])
    except SettingsError as error:
        return [], error.faults
    return found, ([] if found else ["notebooks is empty; name one at least"])
