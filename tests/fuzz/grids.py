"""Grids with odd entries, planned by `ipr batch --dry-run`; the oracle counts their cells."""

from __future__ import annotations

import itertools
import json
import os
import re
import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.random import Generator

from fuzz.trials import Answer, Damage, Verdict, call, judge
from fuzz.workbench import Workbench

SETTINGS = {"synthetic_size": 80, "test_size": 16, "epochs": 3, "warm_up": 1}
VARIED: dict[str, list[Any]] = {
    "gamma": [0.5, 0.9, 0.99], "tau": [0.07, 0.1, 0.5], "mu": [0, 0.2, 1], "soft_label": ["softmax", "raw"],
    "epochs": [2, 3, 4],
    "unit_norm": [True, False], "batch_size": [4, 8], "lr": [1e-4, 5e-4], "effects": [["noise"], ["noise", "volume"]],
}  # fmt: skip
SYSTEMS = ("ipr", "baseline", "supervised", "fixmatch", "pico")
WRONG_VALUES: dict[str, list[Any]] = {
    "epochs": [True, False, 2.5, -1, 0, "many", 10**25, [], {}, "", None, 1e400, "3; rm"], "gamma": [True, 1.5, -0.1,
    "x", [0.5], float("nan"), float("inf"), {}],
    "lr": [0, -1, True, "0,1", float("inf"), [1]], "unit_norm": [2, "perhaps", 0.5, []], "device": ["tpu", "nan", "",
    "cuda:x", 3, True, "cpu:9"],
    "soft_label": ["hard", "Softmax", 1, True, []], "classes": [["sad"], ["sad", "sad"], "sad", [1, 2], []],
    "seed": [1], "system": ["ipr"],
    "data_seed": [-1, True, 10**20, 1.5, "x"], "stream": [10**20, True], "effects": [["echo"], [], 3],
    "noise_snr_db": [[1], [3, 1], [True, True], "x", [1, 2, 3]],
    "test_size": [0, -3, True, 10**9], "max_seconds": [0, -1, True, float("nan"), 1e-9], "encoder": ["", "no/such", 3,
    "/etc/passwd"], "synthetic_size": [3, True, 10**12],
    "corpus": ["none", 3, True], "corpus_path": [3, True, []], "epoch": [3], "Gamma": [0.5], "no-such": [1],
    "embedding": [True, -1, 2**40], "layers": [[99], [True], "x"],
}  # fmt: skip
ELSEWHERE = ("corpus_path", "synthetic_size", "test_size", "classes")
"""Settings that the corpus may refuse, in a sentence of its own that does not name the grid."""


@dataclass(frozen=True)
class Written:
    """A grid's file, with the properties of `trials.Damage`, and the number of its cells if it can be read."""

    name: str
    content: bytes
    cells: int | None
    tokens: tuple[str, ...] = ()
    harmless: bool = False


def trial(number: int, draw: Generator, folder: Path, workbench: Workbench) -> Verdict:
    """Write a grid and compare the plan with the count of its cells."""
    os.environ["IPR_CACHE"] = str(workbench.cache)
    grid = GRIDS[number % len(GRIDS)](draw)
    path = folder / f"grid-{number}.toml"
    path.write_bytes(grid.content)
    damage = Damage(grid.name, path.name, grid.tokens, grid.harmless)
    (folder / "damage.txt").write_text(damage.name)
    answer = call("batch", path, "--dry-run", "--runs", folder / "runs", folder=folder)
    return judge(answer, damage, lambda: grid.cells is not None and _planned(answer) == grid.cells)


def _planned(answer: Answer) -> int | None:
    """Return the number of cells that a plan lists and counts, None where the two differ."""
    count = re.search(r"^(\d+) cells,", answer.text, re.MULTILINE)
    names = len(re.findall(r"^  synthetic-\S+  .*: not begun$", answer.text, re.MULTILINE))
    return names if count and int(count[1]) == names else None


# Grids without a fault.


def entries(draw: Generator) -> dict[str, Any]:
    """Return a small grid as a file has it."""
    names = list(draw.permutation([*VARIED]))
    cross = {name: VARIED[name][: draw.integers(1, 4)] for name in names[: draw.integers(0, 3)]}
    single = {name: VARIED[name][: draw.integers(1, 3)] for name in names[3 : 3 + draw.integers(0, 3)]}
    settings = {name: value for name, value in SETTINGS.items() if name not in cross}
    grid = {
        "preset": "demo", "systems": list(draw.permutation(SYSTEMS)[: draw.integers(1, 4)]),
        "seeds": [int(seed) for seed in draw.permutation(5)[: draw.integers(1, 4)]], "settings": settings,
        "cross": cross, "one_at_a_time": single,
    }  # fmt: skip
    return {name: value for name, value in grid.items() if value}


def count_cells(grid: dict[str, Any]) -> int:
    """Count the different combinations of a grid."""
    base = DEMO | grid.get("settings", {})
    cells = set()
    cross = grid.get("cross", {})
    single = [{}, *({name: value} for name, values in grid.get("one_at_a_time", {}).items() for value in values)]
    for seed, system, values, single_value in itertools.product(
        grid.get("seeds", [0]), grid.get("systems", ["ipr"]), itertools.product(*cross.values()), single
    ):
        cells.add(
            json.dumps([seed, system, base | dict(zip(cross, values, strict=True)) | single_value], sort_keys=True)
        )
    return len(cells)


DEMO = {
    "gamma": 0.999, "tau": 0.1, "mu": 0.2, "soft_label": "softmax", "unit_norm": True, "batch_size": 16, "lr": 5e-4,
    "effects": ["noise", "volume", "reverberation", "pitch"],
}  # fmt: skip
"""The preset's values of what is varied."""


def toml(value: Any) -> str:
    """Write a value as TOML does; a text is written as JSON, which TOML reads alike."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return json.dumps(value)
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(name)} = {toml(part)}" for name, part in value.items()) + "}"
    return "''" if value is None else str(value)


def text_of(grid: dict[str, Any]) -> str:
    plain = [f"{name} = {toml(value)}" for name, value in grid.items() if not isinstance(value, dict)]
    tables = [(name, value) for name, value in grid.items() if isinstance(value, dict)]
    sections = [
        f"[{name}]\n" + "\n".join(f"{key} = {toml(part)}" for key, part in table.items()) for name, table in tables
    ]
    return "\n".join([*plain, *sections]) + "\n"


def plain(draw: Generator) -> Written:
    grid = entries(draw)
    end, note = str(draw.choice(["\n", "\r\n"])), str(draw.choice(["", "# naïve\n"]))
    return Written("a grid", (note + text_of(grid)).replace("\n", end).encode(), count_cells(grid), harmless=True)


def doubled_values(draw: Generator) -> Written:
    """Repeat values and seeds, which are the same cells."""
    grid = entries(draw)
    grid["seeds"] = grid["seeds"] * 2
    grid["cross"] = {name: [*values, values[0]] for name, values in grid.get("cross", {}).items()}
    grid["cross"] = grid["cross"] or {"tau": [0.1, 0.1]}
    grid.get("one_at_a_time", {}).pop("tau", None)
    return Written("values twice", text_of(grid).encode(), count_cells(grid))


# Faults.


def wrong_value(draw: Generator) -> Written:
    """Give a setting a value that it cannot have."""
    name = str(draw.choice([*WRONG_VALUES]))
    values = WRONG_VALUES[name]
    value = values[draw.integers(len(values))]
    table = str(draw.choice(["settings", "cross", "one_at_a_time"]))
    grid = entries(draw)
    for table_name in ("settings", "cross", "one_at_a_time"):
        grid.get(table_name, {}).pop(name, None)
    grid[table] = grid.get(table, {}) | {name: value if table == "settings" else [value]}
    tokens = (name,) if name in ELSEWHERE else ()
    return Written(f"{name} = {toml(value)[:20]} in {table}", text_of(grid).encode(), None, tokens)


def wrong_entry(draw: Generator) -> Written:
    """Give a key of the grid a value of a wrong kind, or a key that no grid has."""
    entries_ = {
        "seeds": [3, "all", [True], [1.5], [-1], [10**20], [[1]], ["a"], [{}], [None], [float("nan")], {}],
        "systems": ["ipr", [3], ["IPR"], [True], [["ipr"]], ["none"], [""]],
        "beside": [3, ["x"], "all", [[]]], "preset": ["none", 3, ["demo"], "", True], "notebooks": [[], [3], ["99"],
        "02_refinement", ["/etc/passwd"], ["../x"]],
        "about": [3, [], {}], "settings": [3, [], "x"], "cross": [[], 3, {"gamma": 0.5}, {"gamma": []}, {"gamma": {}},
        {"": [1]}],
        "one_at_a_time": [3, {"gamma": []}, {"raw": [{"soft": "x"}]}, {"raw": [[1]]}, {"preset": ["x"]}],
        "own": [3, [], {"ipr": 3}, {"nobody": {}}, {"ipr": {"seed": 1}}], "tune": [3], "tuned": [[]],
        "seed": [[0]], "setings": [{}], "epochs": [3], "": [1], "a b": [1],
    }  # fmt: skip
    key = str(draw.choice([*entries_]))
    value = entries_[key][draw.integers(len(entries_[key]))]
    grid = {name: part for name, part in entries(draw).items() if name != key}
    body = text_of({json.dumps(key) if not key.isalpha() and key != "one_at_a_time" else key: value} | grid)
    cells = count_cells(grid) if value == [] and key == "notebooks" else None  # the cells are trained, no more
    return Written(f"{key} = {toml(value)[:20]}", body.encode(), cells)


def too_many(draw: Generator) -> Written:
    grid = entries(draw)
    kind = str(draw.choice(["cells", "seeds", "alone", "names"]))
    if kind == "cells":
        grid["cross"] = {name: [i / 1000 for i in range(1, 60)] for name in ("gamma", "tau", "mu", "dropout")}
        grid = {name: part for name, part in grid.items() if name != "one_at_a_time"}
    elif kind == "seeds":
        grid["seeds"] = list(range(200_000))
    elif kind == "alone":
        grid["one_at_a_time"] = {"tau": [i / 1000 for i in range(1, 100_000)]}
    else:
        grid["cross"] = {f"x{i}": [1] for i in range(5000)}
    return Written(f"too many {kind}", text_of(grid).encode(), None)


def damaged_text(draw: Generator) -> Written:
    """Damage the file's text, or write it in another encoding."""
    grid = text_of(entries(draw))
    data = bytearray(grid.encode())
    for i in draw.integers(0, len(data), 3):
        data[i] ^= 1 << int(draw.integers(8))
    kinds = {
        "nested lists": b"seeds = " + b"[" * 50_000, "nested tables": b"a = " + b"{a = " * 30_000 + b"1",
        "dotted": b".".join([b"a"] * 20_000) + b" = 1",
        "cut": grid[: int(draw.integers(1, len(grid)))].rstrip()[:-1].encode(), "UTF-16": grid.encode("utf-16"),
        "a mark": b"\xef\xbb\xbf" + grid.encode(),
        "NUL": grid.encode() + b"\0", "a key twice": (grid + grid).encode(), "empty": b"", "JSON": b'{"seeds": [0]}',
        "YAML": b"seeds:\n- 0\n", "noise": draw.bytes(2000),
        "a date": b"seeds = [1979-05-27]\n" + grid.replace("seeds", "# ").encode(),
        "a long text": b"about = '" + b"x" * 3_000_000 + b"'\n" + grid.encode(),
        "a large number": b"seeds = [" + b"9" * 5000 + b"]\n" + grid.replace("seeds", "# ").encode(),
        "latin-1": "about = 'naïve'\n".encode("latin-1") + grid.encode(),
    }  # fmt: skip
    name = str(draw.choice([*kinds]))
    cells = _count_of(kinds[name])
    return Written(name, kinds[name], cells)


def _count_of(content: bytes) -> int | None:
    """Return the cells of a text that is TOML all the same."""
    try:
        return count_cells(tomllib.loads(content.decode("utf-8-sig")))
    except Exception:
        return None


GRIDS: tuple[Callable[[Generator], Written], ...] = (
    plain, doubled_values, wrong_value, wrong_value, wrong_value, wrong_value, wrong_entry, wrong_entry, too_many,
    damaged_text, damaged_text,
)  # fmt: skip
"""Tried by turns."""
