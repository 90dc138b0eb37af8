"""A small batch for the result notebooks to show where there is none yet: seconds to make, and worth nothing."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from ipr_core.config import SYSTEMS, TABLE2, Config, demo
from ipr_core.results import summary
from ipr_core.runs.run import Run, default_runs

FOLDER = "example"
"""Below the folder of all runs."""
SEEDS = (0, 1)
VARIED = ({}, {"gamma": 0.9}, {"mu": 0.0}, {"target": "soft"}, {"beta_growth": 2.0})
"""What the ablations of the example change, one at a time."""
NAMED = {
    "systems": ("baseline", "baseline_plus", "ipr", "supervised"),
    "rivals": ("baseline", "ipr", "mcil", "mmd", "bnm"),
}
"""The systems of the examples that compare some."""
SAID = (
    "**This is a small EXAMPLE that was made just now** (synthetic voices, an encoder that was never trained, few "
    "epochs): it shows what the tables look like, its figures mean nothing. Give `runs` or `grid` for your own."
)

What = Literal["systems", "ablations", "rivals"]


def found(runs: Path | str | None = None, grid: Path | str | None = None, what: What = "systems") -> list[Run]:
    """The finished runs that are asked for; an example's where nothing is asked for and nothing can be compared yet.

    runs, grid: as `results.found` takes them; where one of them is given, no example is made
    """
    there = summary.found(runs, grid)
    if runs is not None or grid is not None or _enough(there, what):
        return there
    from ipr_core.training.advance import train_all

    return train_all(configs(what), default_runs() / FOLDER, progress=False)


def said(runs: Sequence[Run]) -> str:
    """A warning, in Markdown, where these are runs of the example; nothing for others."""
    made_here = bool(runs) and all(run.folder.parent == default_runs() / FOLDER for run in runs)
    return f"{SAID}\n\n" if made_here else ""


def configs(what: What) -> list[Config]:
    """What the example trains: systems, or one with several settings; two seeds; the noise of the first."""
    base = demo(
        synthetic_size=64, test_size=20, epochs=3, warm_up=1, batch_size=8, map_size=0, max_seconds=1, effects="volume",
        train_features=False, frozen_layers=-1, lr=1e-3, device="cpu",
    )  # fmt: skip
    if what == "ablations":
        named, first = list(VARIED), "ipr"
    else:
        named, first = [{"system": name} for name in NAMED[what]], "baseline"
    again = [{"system": first, "stream": 1}]
    return [base.replace(seed=seed, **settings) for seed in SEEDS for settings in [*named, *again]]


def _enough(there: Sequence[Run], what: What) -> bool:
    """Whether two systems with the same settings, or two settings of one system, share two seeds."""
    if what == "ablations":
        systems = dict.fromkeys(run.config.training.system for run in there)
        groups = [[run for run in there if run.config.training.system == name] for name in systems]
    else:
        asked = (*TABLE2, "ipr") if what == "rivals" else SYSTEMS
        groups = [
            [run for run in alike if run.config.training.system in asked] for _, alike in summary.comparable(there)
        ]
    return any(map(_two_share_two_seeds, groups))


def _two_share_two_seeds(runs: Sequence[Run]) -> bool:
    seeds: dict[str, set[int]] = {}
    for run in runs:
        settings = run.config.settings()
        seed, stream = settings.pop("seed"), settings.pop("stream")
        if stream == 0:
            seeds.setdefault(repr(settings), set()).add(seed)
    return any(len(a & b) > 1 for a, b in itertools.combinations(seeds.values(), 2))
