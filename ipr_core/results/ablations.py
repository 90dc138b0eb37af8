"""What each setting does: runs of one system that differ from a base by a setting or a few, paired with it by seed."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pandas import DataFrame

from ipr_core.config import FIELDS, recommended
from ipr_core.results import significance, summary
from ipr_core.results.table import DEVIATION, Table
from ipr_core.runs.run import Run

LACKING = (
    "No setting has been varied: this needs runs of one system that differ by a setting and share two seeds. "
    "`ipr batch ablations` makes them."
)
_APART = ("system", "seed", "stream")
_NAMED = 3  # settings that are named where several differ


@dataclass(frozen=True)
class Ablation:
    """The runs of one system: those of the base, and those of every variation of it on the same utterances."""

    system: str
    base: tuple[Run, ...] = ()
    variations: tuple[tuple[dict[str, Any], tuple[Run, ...]], ...] = ()
    """What differs from the base, and the runs."""
    beside: tuple[Run, ...] = ()
    """Runs of other systems with the base's settings."""
    left_out: int = 0
    """Finished runs that are none of these: other systems with other settings, or other utterances."""

    @property
    def varied(self) -> list[str]:
        """The settings that any variation changes, in the configuration's order."""
        return [name for name in FIELDS if any(name in changed for changed, _ in self.variations)]


def of(runs: Sequence[Run], system: str = "ipr", base: Path | str | None = None) -> Ablation:
    """Which runs are the base, and what the others vary.

    base: a run folder whose settings are the base; None: the settings that the others differ from in fewest places
    raises ValueError where that run is not among them
    """
    mine = [run for run in runs if run.finished and run.config.training.system == system]
    groups: dict[str, list[Run]] = {}
    for run in mine:
        groups.setdefault(json.dumps(_settings(run), sort_keys=True), []).append(run)
    if not groups:
        return Ablation(system, left_out=len(runs))
    chosen = _of_run(groups, Path(base)) if base is not None else _middle(groups)
    corpus, asked = chosen[0].meta["corpus"], _settings(chosen[0])
    same = [alike for alike in groups.values() if alike is not chosen and alike[0].meta["corpus"] == corpus]
    variations = tuple((_changed(asked, _settings(alike[0])), tuple(alike)) for alike in same)
    others = [run for run in runs if run.finished and run.config.training.system != system]
    beside = tuple(run for run in others if _settings(run) == asked and run.meta["corpus"] == corpus)
    left_out = len(runs) - len(chosen) - sum(map(len, same)) - len(beside)
    return Ablation(system, tuple(chosen), variations, beside, left_out)


def circumstances(ablation: Ablation) -> str:
    """What is varied around which base, in Markdown."""
    if not ablation.variations:
        return LACKING
    asked = _settings(ablation.base[0])
    values = ", ".join(f"`{name}` {_text(asked[name])}" for name in ablation.varied)
    said = (
        f"**Base**, {len(_usual(ablation.base))} seeds: {values}. {len(ablation.variations)} variations of it. "
        f"Everything else is the same in all runs, the utterances too."
    )
    more = f" {ablation.left_out} finished runs of other systems or on other utterances are left out."
    return said + (more if ablation.left_out else "")


def effects(ablation: Ablation, score: str = "accuracy") -> Table:
    """What each variation changes against the base over the seeds both have, the largest gain first; Holm over all."""
    noise = _noise(ablation, score)
    rows = [
        {"setting": _name(changed)} | found
        for changed, runs in ablation.variations
        if (found := _paired(ablation.base, runs, score, noise))
    ]
    frame = significance.corrected(rows)
    if rows:
        frame = frame.sort_values("difference", ascending=False, kind="stable", ignore_index=True)
        frame = frame.dropna(axis=1, how="all")
    caption = (
        f"Differences of {summary.SCORES[score]} to the base, in points, paired by seed, from the largest gain to the "
        "largest loss; 95 % interval and p of the paired t-test, p of the sign-flip test, each corrected by Holm for "
        f"the rows of this table. {_said_of_noise(ablation, noise)}"
    )
    return Table("ablations", caption, frame, digits=2, lacking=LACKING)


def readings(ablation: Ablation, score: str = "accuracy") -> Table:
    """The values of each setting, the base's first: a row a value, with the sentence that says what it decides."""
    asked = _settings(ablation.base[0]) if ablation.base else {}
    noise = _noise(ablation, score)
    groups: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for changed, runs in ablation.variations:
        within = _paired(ablation.base, runs, score, noise).get("within noise", "no shared seed")
        first = _row(asked, tuple(changed), ablation.base, score, "the base")
        row = _row(_settings(runs[0]), tuple(changed), runs, score, within)
        groups.setdefault(tuple(changed), [first]).append(row)
    order = sorted(groups, key=lambda names: [list(FIELDS).index(name) for name in names])
    frame = DataFrame([row for names in order for row in groups[names]]).dropna(axis=1, how="all")
    caption = f"{summary.SCORES[score]} of every value that was tried, mean ± standard deviation over its seeds."
    return Table("readings", caption, frame, lacking=LACKING)


def _paired(base: Sequence[Run], runs: Sequence[Run], score: str, noise: float) -> dict[str, Any]:
    """A variation against the base over the seeds both have; nothing where there is none."""
    theirs, ours = _scores(base, score), _scores(runs, score)
    both = ours.index.intersection(theirs.index)
    return significance.paired_by_seed(ours[both] - theirs[both], noise) if len(both) else {}


def _row(settings: dict[str, Any], names: tuple[str, ...], runs: Sequence[Run], score: str, noise: str) -> dict:
    values, title = _scores(runs, score), summary.SCORES[score]
    sentences = [(FIELDS[name][1].description or "").removeprefix("Reading: ") for name in names[:_NAMED]]
    return {
        "setting": _few(names),
        "value": _few([_text(settings[name]) for name in names]),
        "seeds": len(values),
        title: values.mean(),
        title + DEVIATION: values.std(ddof=1),
        "within noise": noise,
        "what it decides": " ".join(sentence[0].upper() + sentence[1:] for sentence in sentences),
    }


def _noise(ablation: Ablation, score: str) -> float:
    """How much the base, else the baseline beside it, differs from itself under another random stream; else nan."""
    each = summary.each([*ablation.base, *ablation.beside])
    own = summary.noise(each, score, ablation.system)
    return own if own == own else summary.noise(each, score)


def _said_of_noise(ablation: Ablation, noise: float) -> str:
    if noise != noise:
        return "Noise was not measured: `--stream 1` trains the base with another random stream of the same seeds."
    return (
        "Noise: where the mean difference of as many seeds would lie in 95 of 100 cases if only the random stream "
        "differed; a setting within it does nothing that these runs could show."
    )


def _scores(runs: Sequence[Run], score: str) -> Any:
    """A score of the usual random stream by seed."""
    return summary.each(_usual(runs)).set_index("seed")[score] if _usual(runs) else DataFrame(columns=[score])[score]


def _usual(runs: Sequence[Run]) -> list[Run]:
    return [run for run in runs if run.config.training.stream == 0]


def _settings(run: Run) -> dict[str, Any]:
    return {name: value for name, value in run.config.settings().items() if name not in _APART}


def _changed(base: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    return {name: other[name] for name in FIELDS if name in other and other[name] != base[name]}


def _of_run(groups: dict[str, list[Run]], base: Path) -> list[Run]:
    for alike in groups.values():
        if base.resolve() in [run.folder.resolve() for run in alike]:
            return alike
    raise ValueError(f"{base} is none of the finished runs of this system; name one of their folders, or none")


def _middle(groups: dict[str, list[Run]]) -> list[Run]:
    """The runs from whose settings those of all others differ in fewest places.

    Where that is equal: those with most runs, then those that are nearest to `recommended`.
    """
    of = {key: json.loads(key) for key in groups}
    usual = {name: value for name, value in recommended().settings().items() if name not in _APART}

    def far(key: str) -> tuple[int, int, int]:
        apart = sum(len(_changed(of[key], other)) for other in of.values())
        return apart, -len(groups[key]), len(_changed(usual, of[key]))

    return groups[min(groups, key=far)]


def _name(changed: dict[str, Any]) -> str:
    return _few([f"{name} {_text(value)}" for name, value in changed.items()])


def _few(words: Sequence[str]) -> str:
    """A list in words, the first three alone where it is long: another preset changes many settings."""
    more = len(words) - _NAMED
    return ", ".join(words[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return "+".join(map(_text, value)) or "none"
    return "none" if value is None else str(value)
