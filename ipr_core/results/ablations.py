"""Ablations: the effect of each setting of one system, paired with a base by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
from pandas import DataFrame

from ipr_core.config import FIELDS, Config, Mark, SettingsError, marked, recommended
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import comparisons
from ipr_core.results.scores import SCORES, UNIT, noise, score_table
from ipr_core.results.selection import usual_stream
from ipr_core.results.table import DEVIATION, Table
from ipr_core.runs.run import Run
from ipr_core.texts import in_markdown, plain

LACKING = (
    "No setting has been varied: this needs runs of one system that differ by a setting and share two seeds. "
    "`ipr batch ablations` makes them."
)
_NAMED = 3  # settings that are named if several differ


@dataclass(frozen=True)
class Ablation:
    """The runs of one system: those of the base, and every variation of it on the same utterances."""

    system: str
    base: tuple[Run, ...] = ()
    variations: tuple[tuple[dict[str, Any], tuple[Run, ...]], ...] = ()
    """The settings that differ from the base, and the runs."""
    other_systems: tuple[Run, ...] = ()
    """Runs of other systems with the base's settings."""
    left_out: int = 0
    """Finished runs that are none of these: other systems with other settings, or other utterances."""

    @property
    def varied(self) -> list[str]:
        """The settings that any variation changes, in the configuration's order."""
        return [name for name in FIELDS if any(name in changes for changes, _ in self.variations)]


def arrange(runs: Sequence[Run], system: str = "ipr", base: Path | str | None = None) -> Ablation:
    """Arrange runs into a base and its variations.

    base: a run folder whose settings are the base; None: the settings that the others differ from in fewest places
    raises SettingsError if that folder is not among the runs
    """
    groups: dict[str, list[Run]] = {}
    for run in runs:
        if run.finished and run.config.training.system == system:
            groups.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    if not groups:
        return Ablation(system, left_out=len(runs))
    base_runs = _group_of(groups, Path(base)) if base is not None else _central(groups)
    partitions, settings = {run.meta["corpus"] for run in base_runs}, _settings(base_runs[0])
    rest = [group for group in groups.values() if group is not base_runs]
    pairable = [part for group in rest if (part := [run for run in group if run.meta["corpus"] in partitions])]
    variations = tuple((_changes(base_runs[0].config, group[0].config), tuple(group)) for group in pairable)
    rivals = [run for run in runs if run.finished and run.config.training.system != system]
    rivals = [run for run in rivals if _settings(run) == settings and run.meta["corpus"] in partitions]
    left_out = len(runs) - len(base_runs) - sum(map(len, pairable)) - len(rivals)
    return Ablation(system, tuple(base_runs), variations, tuple(rivals), left_out)


def circumstances(ablation: Ablation) -> str:
    """Describe the base and the variations, in Markdown."""
    if not ablation.variations:
        return LACKING
    settings = _settings(ablation.base[0])
    values = ", ".join(f"`{name}` {in_markdown(_text(settings[name]))}" for name in ablation.varied)
    text = (
        f"**Base**, {_repetitions(ablation.base)}: {values}. {len(ablation.variations)} variations of it. "
        f"Everything else is the same in all runs, the utterances too."
    )
    remark = f" {ablation.left_out} finished runs of other systems or on other utterances are left out."
    return text + (remark if ablation.left_out else "")


def effects(ablation: Ablation, score: str = "accuracy") -> Table:
    """Test each variation against the base, the largest gain first.

    Runs are paired by the seeds and partitions that both have; Holm's correction is over all rows.
    """
    rows = [
        {"setting": _name(changes)} | row
        for changes, runs in ablation.variations
        if (row := _paired(ablation.base, runs, score))
    ]
    frame, missing = comparisons.corrected(rows), dict.fromkeys(comparisons.NOISES, comparisons.UNKNOWN)
    if rows:
        frame = frame.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
        frame = frame[[name for name in frame if frame[name].notna().any() or name in missing]]
    caption = (
        f"Differences of {SCORES[score]} from the base, in points, paired by seed within each partition, from the "
        "largest gain to the largest loss; 95 % interval and p of the paired t-test, p of the sign-flip test, each "
        "corrected by Holm for the rows of this table. Noise, of the variation and of the base: where the mean "
        "difference of as many runs would lie in 95 of 100 cases if only the random stream differed (`--stream 1` "
        "measures it); a setting within it has no effect that these runs could show."
    )
    return Table("ablations", caption, frame, digits=2, missing=missing, lacking=LACKING)


def by_system(runs: Sequence[Run], score: str = "accuracy") -> Table:
    """Test every variation of every system against the same system's base.

    Runs are paired by the seeds and partitions that both have; Holm's correction is over all rows.
    """
    rows = []
    for system in dict.fromkeys(run.config.training.system for run in runs if run.finished):
        ablation = arrange(runs, system)
        for changes, variation in ablation.variations:
            if test := _paired(ablation.base, variation, score):
                means = {
                    name: _by_unit(part, score).mean() for name, part in (("base", ablation.base), ("", variation))
                }
                first = {
                    "system": SYSTEMS[system].title,
                    "setting": _name(changes),
                    "base": means["base"],
                    "with it": means[""],
                }
                rows.append(first | test)
    frame = comparisons.corrected(rows)
    caption = (
        f"{SCORES[score]}, mean over seeds and partitions: of each system, and with a setting changed. Differences in "
        "points, paired by seed within each partition; 95 % interval and p of the paired t-test, p of the sign-flip "
        "test, each corrected by Holm for the rows of this table."
    )
    frame = frame[[name for name in frame if frame[name].notna().any()]]
    return Table("settings", caption, frame, digits=2, lacking=LACKING)


def readings(ablation: Ablation, score: str = "accuracy") -> Table:
    """Tabulate the values of each setting, the base's first, with the setting's description."""
    settings = _settings(ablation.base[0]) if ablation.base else {}
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for changes, runs in ablation.variations:
        remark = _paired(ablation.base, runs, score).get("within noise", "no shared seed")
        first = _row(settings, tuple(changes), ablation.base, score, "the base")
        row = _row(_settings(runs[0]), tuple(changes), runs, score, remark)
        groups.setdefault(tuple(changes), [first]).append(row)
    order = sorted(groups, key=lambda names: [list(FIELDS).index(name) for name in names])
    frame = DataFrame([row for names in order for row in groups[names]]).dropna(axis=1, how="all")
    caption = f"{SCORES[score]} of every value that was tried, mean ± standard deviation over its seeds."
    return Table("readings", caption, frame, lacking=LACKING)


def _paired(base: Sequence[Run], runs: Sequence[Run], score: str) -> dict[str, Any]:
    """Test a variation against the base over the seeds and partitions both have; empty if there is none."""
    reference, values = _by_unit(base, score), _by_unit(runs, score)
    units = values.index.intersection(reference.index)
    noises = _noise(runs, score), _noise(base, score)
    return comparisons.paired_by_unit(values[units] - reference[units], noises) if len(units) else {}


def _row(
    settings: dict[str, Any], names: tuple[str, ...], runs: Sequence[Run], score: str, remark: str
) -> dict[str, Any]:
    values, title = _by_unit(runs, score), SCORES[score]
    sentences = [(FIELDS[name][1].description or "").removeprefix("Reading: ") for name in names[:_NAMED]]
    return {
        "setting": _enumeration(names),
        "value": _enumeration([_text(settings[name]) for name in names]),
        "runs": len(values),
        title: values.mean(),
        title + DEVIATION: values.std(ddof=1),
        "within noise": remark,
        "what it decides": " ".join(map(_capitalised, sentences)),
    }


def _capitalised(sentence: str) -> str:
    """Return a sentence with a capital, unless it begins with a symbol: γ is no Γ."""
    return sentence[0].upper() + sentence[1:] if sentence[0].isascii() else sentence


def _noise(runs: Sequence[Run], score: str) -> float:
    """Return the noise of runs of one system with the same settings; nan if not measured."""
    return noise(score_table(runs), score, runs[0].config.training.system)


def _by_unit(runs: Sequence[Run], score: str) -> pd.Series:
    """Return a score of the usual random stream by partition and seed."""
    table = score_table(usual_stream(runs))
    return table.set_index(UNIT)[score] if len(table) else pd.Series(dtype=float)


def _repetitions(runs: Sequence[Run]) -> str:
    """Return the numbers of seeds and, if there are several, of partitions of the usual stream, in words."""
    usual = usual_stream(runs)
    seeds, partitions = {run.config.training.seed for run in usual}, {run.meta["corpus"] for run in usual}
    return f"{len(seeds)} seeds" + (f" in {len(partitions)} partitions" if len(partitions) > 1 else "")


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config.settings().items() if name not in marked(Mark.COMPARED)}


def _changes(base: Config, config: Config) -> dict[str, Any]:
    return {name: value for name, value in config.differences(base).items() if name not in marked(Mark.COMPARED)}


def _group_of(groups: dict[str, list[Run]], base: Path) -> list[Run]:
    for group in groups.values():
        if base.resolve() in [run.folder.resolve() for run in group]:
            return group
    raise SettingsError([f"{base} is none of the finished runs of this system; name one of their folders, or none"])


def _central(groups: dict[str, list[Run]]) -> list[Run]:
    """Return the runs from whose settings those of all others differ in fewest places.

    Of equals, those with most runs, then those that are nearest to `recommended`.
    """
    configs = {key: runs[0].config for key, runs in groups.items()}

    def distance(key: str) -> tuple[int, int, int]:
        n_changes = sum(len(_changes(configs[key], config)) for config in configs.values())
        return n_changes, -len(groups[key]), len(_changes(recommended(), configs[key]))

    return groups[min(groups, key=distance)]


def _name(changes: dict[str, Any]) -> str:
    return _enumeration([f"{name} {_text(value)}" for name, value in changes.items()])


def _enumeration(words: Sequence[str]) -> str:
    """List words, only the first three if there are many: another preset changes many settings."""
    rest = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {rest} more" if rest > 0 else "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value)) or "none"
    return "none" if value is None else plain(value)
