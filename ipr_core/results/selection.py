"""Selection of runs: those that are finished, and those that can be compared."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ipr_core.config import FIELDS, Mark, SettingsError, marked
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import collapse
from ipr_core.runs.files import read_json
from ipr_core.runs.names import default_runs
from ipr_core.runs.run import Run
from ipr_core.texts import plain


def finished_runs(folder: Path | str | None = None, grid: Path | str | None = None) -> list[Run]:
    """Find the finished runs in a folder; with a grid, only those of its cells.

    folder: of runs; None: $IPR_RUNS or `runs`
    grid: a grid's file, or a shipped grid's name if the batch was given no options beside it
    raises SettingsError with every fault of the grid
    """
    folder = Path(folder or default_runs())
    if grid is not None:
        from ipr_core.batch import plan
        from ipr_core.batch.grid import read

        runs = plan.runs_of(read(grid), folder)
    else:
        runs = [Run(path) for path in sorted(folder.glob("*"))]
    return [run for run in runs if run.exists and run.finished]


def comparable(runs: Sequence[Run]) -> list[tuple[str, list[Run]]]:
    """Group runs that differ in system, seed, stream and partition (`data_seed`) alone.

    In a tuned grid every system has settings of its own, which may differ too, if each system has one choice.
    If the utterances of one `data_seed` are not the same in all runs of a group, as where audio has changed, the
    group is divided by its utterances: nobody knows which partitions belong together.
    Of runs that differ in `data_seed` but not in their utterances, the first one counts.
    returns: for each group the settings that set it apart from the others, in words, and its runs
    """
    groups: dict[str, list[Run]] = {}
    settings: dict[str, dict[str, Any]] = {}
    retuned = _retuned(runs)
    for run in runs:
        tuned = tuned_settings(run)
        shared = _settings_without(run, () if tuned in retuned else tuned)
        key = json.dumps([shared, tuned], sort_keys=True)
        groups.setdefault(key, []).append(run)
        settings[key] = shared
    varying = [name for name in FIELDS if len({json.dumps(values.get(name)) for values in settings.values()}) > 1]
    return [
        (", ".join([*(f"{name} {plain(settings[key].get(name))}" for name in varying), *utterances]), part)
        for key, group in groups.items()
        for utterances, part in _by_utterances(group)
    ]


def largest_group(runs: Sequence[Run]) -> list[Run]:
    """Return the comparable runs with most systems, then with most runs."""
    groups = [group for _, group in comparable(runs)]
    return max(groups, key=lambda group: (len({run.config.training.system for run in group}), len(group)), default=[])


def tuned_settings(run: Run) -> tuple[str, ...]:
    """Return the settings that were each system's own in the tuned grid that the run is of; () if it is of none."""
    path = run.folder / "tuning.json"
    return tuple(read_json(path)["settings"]) if path.exists() else ()


def check_reference(runs: Sequence[Run], reference: str | None) -> None:
    """Raise SettingsError if a reference is named of which there is no run."""
    systems = sorted({run.config.training.system for run in runs if run.finished})
    if reference is not None and reference not in systems:
        raise SettingsError([f"against is {reference!r}; the finished runs here are of {', '.join(systems) or 'none'}"])


def usual_stream(runs: Sequence[Run]) -> list[Run]:
    """Return the finished runs of the usual random stream."""
    return [run for run in runs if run.finished and run.config.training.stream == 0]


def cautions(runs: Sequence[Run]) -> list[str]:
    """Return the warnings that some systems' results need, in Markdown, a line each; the collapsed ones come last."""
    lines = {}
    for run in runs:
        system = SYSTEMS[run.config.training.system]
        if caution := system.caution(run.config.encoder):
            lines[system.title] = f"**{system.title}**: {caution}."
    return [*lines.values(), *collapse.cautions(usual_stream(runs))]


def tables_folder(runs: Sequence[Run]) -> Path:
    """Return the default folder for the tables of runs: `tables`, beside the first run."""
    return (runs[0].folder.parent if runs else default_runs()) / "tables"


def _settings_without(run: Run, names: Sequence[str]) -> dict[str, Any]:
    """Return the settings of a run without some, and without those in which comparable runs may differ."""
    left_out = {*names, *marked(Mark.COMPARED)}
    return {name: value for name, value in run.meta["settings"].items() if name not in left_out}


def _retuned(runs: Sequence[Run]) -> set[tuple[str, ...]]:
    """Return the tuned settings of which one system has several choices: nobody knows which belong together."""
    choices: dict[tuple[tuple[str, ...], str], set[str]] = {}
    for run in runs:
        if tuned := tuned_settings(run):
            values = json.dumps([run.meta["settings"].get(name) for name in tuned])
            choices.setdefault((tuned, run.config.training.system), set()).add(values)
    return {tuned for (tuned, _), values in choices.items() if len(values) > 1}


def _by_utterances(runs: Sequence[Run]) -> list[tuple[list[str], list[Run]]]:
    """Divide runs of equal settings whose utterances contradict each other, with a word for each part."""
    corpora: dict[int, set[str]] = {}
    for run in runs:
        corpora.setdefault(run.config.data.data_seed, set()).add(run.meta["corpus"])
    if all(len(digests) == 1 for digests in corpora.values()):
        return [([], _distinct(runs))]
    digests = dict.fromkeys(run.meta["corpus"] for run in runs)
    return [
        ([f"utterances {digest}"], _distinct([run for run in runs if run.meta["corpus"] == digest]))
        for digest in digests
    ]


def _distinct(runs: Sequence[Run]) -> list[Run]:
    """Return the runs without those that another `data_seed` has not changed."""
    first: dict[tuple[Any, ...], Run] = {}
    for run in runs:
        training = run.config.training
        first.setdefault((training.system, training.seed, training.stream, run.meta["corpus"]), run)
    return list(first.values())
