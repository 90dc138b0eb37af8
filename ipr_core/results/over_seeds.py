"""Tables over the seeds of comparable runs: the paper's Table 3 and more.

Every score is of the final epoch and of the usual random stream. R runs, C classes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import TABLE2
from ipr_core.data.ambiguity import soft_votes
from ipr_core.method.systems import SYSTEMS
from ipr_core.results.scores import SCORES, run_scores
from ipr_core.results.selection import cautions, usual_stream
from ipr_core.results.table import DEVIATION, Table
from ipr_core.runs.run import Run
from ipr_core.texts import in_markdown

TABLES = {"table3": ("baseline", "baseline_plus", "ipr", "supervised"), "table2": (*TABLE2, "ipr")}
"""The rows of the paper's tables."""
SOFT = {
    "js": "JS, bits",
    "nll": "NLL, nats",
    "brier": "Brier",
    "ece": "ECE",
    "auprc": "AUPRC",
    "no_majority": "without majority",
}
"""`metrics.soft_scores` and their titles."""
PARTS = {"D2": ["D2"], "D3": ["D3"], "D2 and D3": ["D2", "D3"]}
"""The utterances on which soft labels are judged: no system is given their votes."""
UNIFORM = "uniform soft labels"
NO_RUN = "No finished run is here. `ipr batch table3` makes a batch, `ipr train --systems all --seeds 0 1 2 3 4` too."
_NO_VOTES = "The annotators' votes for each class are not known: there is nothing to compare soft labels with."


def circumstances(runs: Sequence[Run], finished: Sequence[Run] = ()) -> str:
    """Describe the basis of the runs: corpus, votes, encoder, seeds, and differences from the paper.

    finished: all finished runs; the text says how many of them are left out
    returns: Markdown
    """
    if not runs:
        return NO_RUN
    config, meta = runs[0].config, runs[0].meta
    sizes = runs[0].table["part"].value_counts()
    parts = ", ".join(f"{part} {sizes.get(part, 0):,}" for part in ("D1", "D2", "D3"))
    seeds = sorted({run.config.training.seed for run in runs})
    votes = "**simulated annotators'**: classifiers, no people" if meta["simulated_annotators"] else "the corpus's own"
    lines = [
        f"**{len(runs)} runs**, {len({run.config.training.system for run in runs})} systems, seeds "
        f"{', '.join(map(str, seeds))}: corpus `{config.data.corpus}` ({parts}; votes are {votes}), encoder "
        f"{in_markdown(_encoder(runs[0]))}, {config.training.epochs} epochs, {config.training.warm_up} of them "
        "warm-up.",
        unlike_paper(runs[0]),
        *cautions(runs),
    ]
    if left_out := len(finished) - len(runs):
        lines.append(f"{left_out} more finished runs have other settings or utterances and are left out.")
    return "\n\n".join(lines)


def unlike_paper(run: Run) -> str:
    """Say whether a run's figures can be compared with the paper's: same corpus and encoder."""
    corpus, encoder = run.config.data.corpus, _encoder(run)
    differences = [f"corpus ({in_markdown(corpus)}, not IEMOCAP-4)"] if corpus != "iemocap" else []
    differences += [f"encoder ({in_markdown(encoder)}, not wav2vec 2.0)"] if "wav2vec2" not in encoder else []
    if not differences:
        return "Corpus and family of the encoder are the paper's."
    return (
        f"The paper's figures are of another {' and another '.join(differences)}: "
        "the order of the systems may be compared with them, the values may not."
    )


def systems(runs: Sequence[Run]) -> Table:
    """Tabulate every score, mean and standard deviation over the seeds: a row a system."""
    caption = "Scores of the final epoch in per cent, mean ± standard deviation over the seeds."
    return Table("systems", caption, _over_seeds(_by_run(runs), SCORES), lacking=NO_RUN)


def paper(runs: Sequence[Run], table: str = "table3", reference: str = "baseline") -> Table:
    """Tabulate accuracy on D3, here and in the paper, and its gain over one system.

    table: one of TABLES   reference: a system of it
    """
    accuracies = _over_seeds(_by_run(runs), {"accuracy": "here"})
    rows = [SYSTEMS[name] for name in TABLES[table]]
    printed = [system.printed_accuracy for system in rows]
    frame = DataFrame({"system": [system.title for system in rows], "paper": printed})
    frame = frame.merge(accuracies, on="system", how="left") if len(accuracies) else frame.iloc[:0]
    gains = [f"over {SYSTEMS[reference].title}, {name}" for name in ("here", "paper")]
    if len(frame):
        frame["seeds"] = frame["seeds"].fillna(0).astype(int)
        is_reference = frame["system"] == SYSTEMS[reference].title
        for name, gain in zip(("here", "paper"), gains, strict=True):
            frame[gain] = (frame[name] - frame.loc[is_reference, name].iloc[0]).where(~is_reference)
        frame = frame[[c for c in ("system", "seeds", *_pair("here"), "paper", *gains) if c in frame]]
    caption = "Accuracy on D3 of the final epoch in per cent. " + (unlike_paper(runs[0]) if runs else "")
    return Table("paper", caption.replace("`", ""), frame, decimals={"paper": 2, gains[1]: 2}, lacking=NO_RUN)


def recalls(runs: Sequence[Run]) -> Table:
    """Tabulate the recall of every class on D3 over the seeds: a row a system, a column a class."""

    def by_class(run: Run) -> dict[str, float]:
        return dict(zip(run.meta["classes"], 100 * metrics.recalls(run.history()[-1].confusion), strict=True))

    by_run = _by_run(runs, by_class)
    names = {name: name for name in by_run.columns if name not in ("system", "seed")}
    caption = "Recall of each class on D3 in per cent, final epoch, mean ± standard deviation over the seeds."
    return Table("recalls", caption, _over_seeds(by_run, names), lacking=NO_RUN)


def soft(runs: Sequence[Run]) -> Table:
    """Compare soft labels, and uniform ones, with the annotators' votes: a row a system and part.

    If the annotators are simulated, the table's name and caption say so: it is about classifiers, not people.
    """
    finished = usual_stream(runs)
    rows = [{"system": run.config.training.system, **row} for run in finished for row in _soft_rows(run)]
    rows += [{"system": UNIFORM, **row} for run in finished[:1] for row in _soft_rows(run, uniform=True)]
    parts = [_over_seeds(DataFrame([r for r in rows if r["part"] == part]), SOFT).assign(part=part) for part in PARTS]
    frame = pd.concat(parts, ignore_index=True)
    if len(frame):
        frame.insert(1, "part", frame.pop("part"))
        frame = frame.drop(columns=[SOFT["no_majority"] + DEVIATION], errors="ignore")  # the votes are always the same
    simulated = bool(finished) and finished[0].meta["simulated_annotators"]
    votes = "the votes of SIMULATED annotators (classifiers, no people)" if simulated else "the annotators' votes"
    caption = (
        f"Soft labels against {votes}, mean ± standard deviation over the seeds. AUPRC: how well entropy finds the "
        "utterances where no emotion has more than half of the votes; labels that know nothing get their share."
    )
    name = "soft_labels_simulated_votes" if simulated else "soft_labels"
    return Table(name, caption, frame, digits=3, lacking=_NO_VOTES if finished else NO_RUN)


def cost(runs: Sequence[Run]) -> Table:
    """Tabulate the cost by the records' clock: a row a system, and all runs together.

    Training and evaluation count, reading the corpus does not. A warm-up that was reused counts as if trained again.
    """
    by_run = _by_run(runs, _cost)
    names = {name: name for name in by_run.columns if name not in ("system", "seed")}
    frame = _over_seeds(by_run, names)
    if len(frame):
        sums = {name: by_run[name].sum(min_count=1) for name in names if name != _PEAK}
        total = {"system": "all together", "seeds": len(by_run), **sums, _PEAK: by_run[_PEAK].max()}
        frame = pd.concat([frame, DataFrame([total])], ignore_index=True).dropna(axis=1, how="all")
    caption = "Cost of a run, mean ± standard deviation over the seeds; below, all runs together (their highest peak)."
    return Table("cost", caption, frame, decimals={_WALL: 4, "audio trained on, s": 0, _PEAK: 0}, lacking=NO_RUN)


def moves(runs: Sequence[Run]) -> Table:
    """Tabulate what D2's moves of the prototypes did in the refinement (Eq. 4): a row a system whose D2 moves any."""
    counted = [run for run in runs if run.finished and run.system.moves_prototypes and _moves(run)]
    by_run = _by_run(counted, _moves)
    names = {name: name for name in by_run.columns if name not in ("system", "seed")}
    caption = (
        "What D2's moves of the prototypes did (Eq. 4), over all epochs of the refinement: labels of D2 that the moves"
        " of an epoch changed; labels of D2 that are other ones than by D1's class means; the mean angle of a"
        " prototype's move in an epoch, and the largest."
    )
    lacking = "No finished run here has counted what D2's moves did; version 0.1 did not." if runs else NO_RUN
    return Table("moves", caption, _over_seeds(by_run, names), decimals={_ANGLE: 3, _LARGEST: 2}, lacking=lacking)


def over_epochs(runs: Sequence[Run], score: str) -> DataFrame:
    """Return mean and deviation over the seeds of a score in every epoch, in per cent.

    score: a field of the events that is a share, such as "accuracy"; epochs without a value are left out
    returns: columns system, epoch, mean, deviation
    """
    rows = [
        (run.config.training.system, event.epoch, 100 * value)
        for run in usual_stream(runs)
        for event in run.history()
        if (value := getattr(event, score)) is not None
    ]
    frame = DataFrame(rows, columns=["system", "epoch", "value"])
    spread = frame.groupby(["system", "epoch"])["value"].agg(mean="mean", deviation="std").reset_index()
    return spread.sort_values("system", key=lambda names: names.map(_rank), kind="stable").reset_index(drop=True)


_ANGLE, _LARGEST = "angle, degrees", "largest angle, degrees"


def _moves(run: Run) -> dict[str, float]:
    events = [event for event in run.history() if event.angles]
    if not events:
        return {}
    labels = sum(sum(event.labels_model) for event in events)  # of D2, in all epochs of the refinement
    angles = np.array([event.angles for event in events])
    return {
        "labels changed": sum(event.labels_changed or 0 for event in events),
        "of labels": labels,
        "changed, %": 100 * sum(event.labels_changed or 0 for event in events) / labels,
        "other than by D1's means, %": 100 * sum(event.labels_beyond_d1 or 0 for event in events) / labels,
        _ANGLE: float(angles.mean()),
        _LARGEST: float(angles.max()),
    }


_WALL, _PEAK = "wall time, h", "peak memory, MB"


def _cost(run: Run) -> dict[str, float]:
    clocks = [event.clock for event in run.history()]
    trained = [clock["seconds"] - clock.get("evaluation_seconds", 0.0) for clock in clocks]
    audio = [s * clock.get("audio_seconds_per_second", np.nan) for s, clock in zip(trained, clocks, strict=True)]
    on_gpu = [clock.get("gpu_seconds", np.nan) for clock in clocks]
    seconds = sum(clock["seconds"] for clock in clocks)
    return {
        _WALL: seconds / 3600,
        "audio trained on, s": float(np.sum(audio)),
        "GPU, s": float(np.sum(on_gpu)),
        "CPU, s": seconds - float(np.sum(on_gpu)),
        _PEAK: max(clock.get("peak_memory_mb", np.nan) for clock in clocks),
    }


def _soft_rows(run: Run, uniform: bool = False) -> list[dict[str, Any]]:
    """Return `metrics.soft_scores` of a run, or of uniform labels, on each of PARTS."""
    table, classes = run.table, run.meta["classes"]
    votes = soft_votes(table, classes)
    soft = run.labels[[f"soft_{name}" for name in classes]].to_numpy(float)
    soft = np.full_like(votes, 1 / len(classes)) if uniform else soft
    judged = np.isfinite(votes).all(axis=1)
    masks = {name: judged & table["part"].isin(parts).to_numpy() for name, parts in PARTS.items()}
    return [{"part": name, **metrics.soft_scores(soft[m], votes[m])} for name, m in masks.items() if m.any()]


def _by_run(runs: Sequence[Run], measure: Callable[[Run], dict[str, Any]] = run_scores) -> DataFrame:
    """Return a row a run: its system and its measurements."""
    return DataFrame([{"system": run.config.training.system, **measure(run)} for run in usual_stream(runs)])


def _over_seeds(by_run: DataFrame, titles: dict[str, str]) -> DataFrame:
    """Return number of seeds, mean and deviation of every titled column: a row a system."""
    if by_run.empty:
        return by_run
    rows = []
    for system, group in sorted(by_run.groupby("system", sort=False), key=lambda pair: _rank(pair[0])):
        row: dict[str, Any] = {"system": SYSTEMS[system].title if system in SYSTEMS else system, "seeds": len(group)}
        for name, title in titles.items():
            row |= dict(zip(_pair(title), (group[name].mean(), group[name].std(ddof=1)), strict=True))
        rows.append(row)
    return DataFrame(rows).dropna(axis=1, how="all")


def _pair(title: str) -> tuple[str, str]:
    return title, title + DEVIATION


def _rank(system: str) -> int:
    return list(SYSTEMS).index(system) if system in SYSTEMS else len(SYSTEMS)


def _encoder(run: Run) -> str:
    return Path(run.config.encoder.encoder).name
