"""Example runs for the result notebooks if there is nothing else to show.

They are made in less than a minute, and their figures mean nothing.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

from ipr_core.config import SYSTEMS, TABLE2, Config, demo
from ipr_core.results.reachable import points
from ipr_core.results.selection import comparable, finished_runs
from ipr_core.runs.names import default_runs
from ipr_core.runs.run import Run

FOLDER = "example"
"""The folder of the example, in the folder of all runs."""
SEEDS = (0, 1)
VARIATIONS: tuple[dict[str, Any], ...] = ({}, {"gamma": 0.9}, {"mu": 0.0}, {"target": "soft"}, {"beta_growth": 2.0})
"""The settings that the ablations of the example change, one at a time."""
EXAMPLE_SYSTEMS = {
    "systems": ("baseline", "baseline_plus", "ipr", "supervised"),
    "rivals": ("baseline", "ipr", "mcil", "mmd", "bnm"),
}
"""The systems of the examples that compare systems."""
ORACLES: tuple[dict[str, Any], ...] = tuple(
    {"system": "oracle", "oracle": kind, "oracle_share": share}
    for kind, shares in {"correct": (0.0, 0.5, 1.0), "gate": (1.0,), "random": (0.1, 0.3)}.items()
    for share in shares
)
"""The oracles of the example, beside the baseline."""
WARNING = (
    "**This is a small EXAMPLE that was made just now** (synthetic voices, an encoder that was never trained, few "
    "epochs): it shows how the tables look, and its figures mean nothing. Give `runs` or `grid` for your own."
)

Kind = Literal["systems", "ablations", "rivals", "oracles"]


def runs_or_example(
    folder: Path | str | None = None, grid: Path | str | None = None, kind: Kind = "systems"
) -> list[Run]:
    """Return the finished runs, or train an example if there is nothing to compare yet.

    folder, grid: as `selection.finished_runs` takes them; if one of them is given, no example is made
    """
    runs = finished_runs(folder, grid)
    if folder is not None or grid is not None or _enough(runs, kind):
        return runs
    from ipr_core.training.advance import train_all

    return train_all(configs(kind), default_runs() / FOLDER, progress=False)


def warning(runs: Sequence[Run]) -> str:
    """Return a warning, in Markdown, if these are runs of the example; an empty text otherwise."""
    is_example = bool(runs) and all(run.folder.parent == default_runs() / FOLDER for run in runs)
    return f"{WARNING}\n\n" if is_example else ""


def configs(kind: Kind) -> list[Config]:
    """Return the example's configurations: systems, or one system with several settings, for two seeds.

    The first of them is trained with a second random stream too, which measures the noise.
    """
    base = demo(
        synthetic_size=64, test_size=20, epochs=3, warm_up=1, batch_size=8, map_size=0, max_seconds=1, effects="volume",
        train_features=False, frozen_layers=-1, lr=1e-3, device="cpu",
    )  # fmt: skip
    if kind == "ablations":
        variations, first = list(VARIATIONS), "ipr"
    elif kind == "oracles":
        variations, first = [*ORACLES], "baseline"
        variations.append({"system": first})
    else:
        variations, first = [{"system": name} for name in EXAMPLE_SYSTEMS[kind]], "baseline"
    variations.append({"system": first, "stream": 1})
    return [base.replace(seed=seed, **settings) for seed in SEEDS for settings in variations]


def _enough(runs: Sequence[Run], kind: Kind) -> bool:
    """Return whether two systems, or two settings of one, share two seeds or partitions; of oracles, one baseline."""
    if kind == "oracles":
        return bool(len(points(runs)))
    if kind == "ablations":
        systems = dict.fromkeys(run.config.training.system for run in runs)
        groups = [[run for run in runs if run.config.training.system == name] for name in systems]
    else:
        names = (*TABLE2, "ipr") if kind == "rivals" else SYSTEMS
        groups = [[run for run in group if run.config.training.system in names] for _, group in comparable(runs)]
    return any(map(_two_share_two_units, groups))


def _two_share_two_units(runs: Sequence[Run]) -> bool:
    units: dict[str, set[tuple[int, int]]] = {}
    for run in runs:
        settings = run.config.settings()
        unit, stream = (settings.pop("data_seed"), settings.pop("seed")), settings.pop("stream")
        if stream == 0:
            units.setdefault(repr(settings), set()).add(unit)
    return any(len(a & b) > 1 for a, b in itertools.combinations(units.values(), 2))
