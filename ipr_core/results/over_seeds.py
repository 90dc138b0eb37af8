"""Tables over the seeds and partitions of comparable runs: the paper's Table 3 and more.

Every score is of the final epoch and of the usual random stream. A mean is that of the partitions' means. R runs, C
classes.
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
from ipr_core.method.systems import SYSTEMS
from ipr_core.results import collapse, soft_labels
from ipr_core.results.scores import SCORES, TRAINED, effort, final_scores, noise, score_table, training_seconds
from ipr_core.results.selection import cautions, tuned_settings, usual_stream
from ipr_core.results.significance import accuracy_interval
from ipr_core.results.table import BETWEEN, DEVIATION, Table
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
INTERVAL, NOISE, COLLAPSED = "95 % interval", "noise", "collapsed"
"""Columns beside the scores of a system."""
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
    votes = "**simulated annotators'**: classifiers, no people" if meta["simulated_annotators"] else "the corpus's own"
    lines = [
        f"**{len(runs)} runs**, {len(_systems(runs))} systems, {_repetitions(runs)}: corpus `{config.data.corpus}` "
        f"({_parts(runs)}; votes are {votes}), encoder {in_markdown(_encoder(runs[0]))}, {config.training.epochs} "
        f"epochs, {config.training.warm_up} of them warm-up.",
        unlike_paper(runs[0]),
        *_tuning(runs),
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
    """Tabulate every score, mean and standard deviation over the seeds: a row a system.

    Beside them: the interval and the noise of the accuracy, the accuracy on D1, and how many runs have collapsed.
    """
    usual, scores = usual_stream(runs), score_table(runs)
    frame = _over_seeds(_by_run(runs, lambda run: final_scores(run) | effort(run)), SCORES | TRAINED)
    groups = {name: [run for run in usual if run.config.training.system == name] for name in _systems(usual)}
    if len(frame):
        column = 1 + max(i for i, name in enumerate(frame.columns) if name.startswith(SCORES["accuracy"]))
        frame.insert(column, INTERVAL, [str(accuracy_interval(*group)) for group in groups.values()])
        frame.insert(column + 1, NOISE, [noise(scores, "accuracy", name) for name in groups])
        frame[COLLAPSED] = [collapse.share(group) for group in groups.values()]
        frame = frame.loc[:, (frame != "").any()]  # no mark where nothing has collapsed
    caption = (
        f"Scores of the final epoch in per cent, {_MEAN}. The interval is of the accuracy on D3, over speakers and, of "
        "several runs, over trainings jointly. Noise: how much a run's accuracy differs from itself under another "
        "random stream."
    )
    return Table("systems", caption, frame, missing={NOISE: "unknown"}, lacking=NO_RUN)


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
        counts = [name for name in ("seeds", "partitions", "runs") if name in frame]
        frame[counts] = frame[counts].fillna(0).astype(int)
        is_reference = frame["system"] == SYSTEMS[reference].title
        for name, gain in zip(("here", "paper"), gains, strict=True):
            frame[gain] = (frame[name] - frame.loc[is_reference, name].iloc[0]).where(~is_reference)
        accuracy = ("here", "here" + DEVIATION, "here" + BETWEEN)
        frame = frame[[c for c in ("system", *counts, *accuracy, "paper", *gains) if c in frame]]
    caption = f"Accuracy on D3 of the final epoch in per cent, {_MEAN}. " + (unlike_paper(runs[0]) if runs else "")
    return Table("paper", caption.replace("`", ""), frame, decimals={"paper": 2, gains[1]: 2}, lacking=NO_RUN)


def recalls(runs: Sequence[Run]) -> Table:
    """Tabulate the recall of every class on D3 over the seeds: a row a system, a column a class."""

    def by_class(run: Run) -> dict[str, float]:
        return dict(zip(run.meta["classes"], 100 * metrics.recalls(run.history()[-1].confusion), strict=True))

    by_run = _by_run(runs, by_class)
    names = {name: name for name in by_run.columns if name not in _KEYS}
    caption = f"Recall of each class on D3 in per cent, final epoch, {_MEAN}."
    return Table("recalls", caption, _over_seeds(by_run, names), lacking=NO_RUN)


def soft(runs: Sequence[Run]) -> Table:
    """Compare soft labels, calibrated and not, and constant ones with the annotators' votes: a row each and part.

    If the annotators are simulated, the table's name and caption say so: it is about classifiers, not people.
    """
    finished = usual_stream(runs)
    ordered = sorted(finished, key=lambda run: _rank(run.config.training.system))
    rows = [_keys(run) | row for run in ordered for row in soft_labels.rows(run)]
    one_a_partition = {run.meta["corpus"]: run for run in finished}.values()
    rows += [_keys(run) | row for run in one_a_partition for row in soft_labels.constant_rows(run)]
    titles = ({"temperature": "temperature"} if any("temperature" in row for row in rows) else {}) | SOFT
    parts = [
        _over_seeds(DataFrame([row for row in rows if row["part"] == part]), titles).assign(part=part)
        for part in soft_labels.PARTS
    ]
    frame = pd.concat(parts, ignore_index=True)
    if len(frame):
        frame.insert(1, "part", frame.pop("part"))
        frame = frame.drop(columns=[SOFT["no_majority"] + DEVIATION], errors="ignore")  # the votes are always the same
    simulated = bool(finished) and finished[0].meta["simulated_annotators"]
    votes = "the votes of SIMULATED annotators (classifiers, no people)" if simulated else "the annotators' votes"
    caption = (
        f"Soft labels against {votes}, {_MEAN}. Labels are calibrated with the temperature; uncalibrated ones and "
        "constants, which any system has to beat, stand below. ECE: the gap between the largest share and the votes "
        "for that class; uniform labels name none. AUPRC: how well entropy finds the utterances where no emotion has "
        "more than half of the votes; labels that know nothing get their share."
    )
    name = "soft_labels_simulated_votes" if simulated else "soft_labels"
    return Table(name, caption, frame, digits=3, lacking=_NO_VOTES if finished else NO_RUN)


def cost(runs: Sequence[Run]) -> Table:
    """Tabulate the cost by the records' clock, and the trained parameters: a row a system, and all runs together.

    Training and evaluation count, reading the corpus does not. A warm-up that was reused counts as if trained again.
    """
    by_run = _by_run(runs, _cost)
    names = {name: name for name in by_run.columns if name not in _KEYS}
    frame = _over_seeds(by_run, names)
    if len(frame):
        sums = {name: by_run[name].sum(min_count=1) for name in names if name not in (_PEAK, _PARAMETERS)}
        total = {"system": "all together", **repetitions(by_run, by_run), **sums, _PEAK: by_run[_PEAK].max()}
        frame = pd.concat([frame, DataFrame([total])], ignore_index=True).dropna(axis=1, how="all")
        frame = frame.drop(columns=[_PARAMETERS + DEVIATION, _PARAMETERS + BETWEEN], errors="ignore")
    caption = f"Cost of a run, {_MEAN}; below, all runs together (their highest peak)."
    decimals = {_WALL: 4, "audio trained on, s": 0, _PEAK: 0, _PARAMETERS: 0}
    return Table("cost", caption, frame, decimals=decimals, lacking=NO_RUN)


def moves(runs: Sequence[Run]) -> Table:
    """Tabulate what D2's moves of the prototypes did in the refinement (Eq. 4): a row a system whose D2 moves any."""
    counted = [run for run in runs if run.finished and run.system.moves_prototypes and _moves(run)]
    by_run = _by_run(counted, _moves)
    names = {name: name for name in by_run.columns if name not in _KEYS}
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


_WALL, _PEAK, _PARAMETERS = "wall time, h", "peak memory, MB", "trained parameters"


def _cost(run: Run) -> dict[str, float]:
    clocks = [event.clock for event in run.history()]
    trained = [clock["seconds"] - clock.get("evaluation_seconds", 0.0) for clock in clocks]
    audio = [s * clock.get("audio_seconds_per_second", np.nan) for s, clock in zip(trained, clocks, strict=True)]
    on_gpu = [clock.get("gpu_seconds", np.nan) for clock in clocks]
    seconds = sum(clock["seconds"] for clock in clocks)
    return {
        _PARAMETERS: run.meta.get("parameters", np.nan),
        _WALL: seconds / 3600,
        "training, s": training_seconds(run.history()),
        "audio trained on, s": float(np.sum(audio)),
        "GPU, s": float(np.sum(on_gpu)),
        "CPU, s": seconds - float(np.sum(on_gpu)),
        _PEAK: max(clock.get("peak_memory_mb", np.nan) for clock in clocks),
    }


_KEYS = ("system", "partition", "seed")
_MEAN = (
    "mean ± standard deviation over the seeds of a partition; behind a slash, where there are several partitions, the "
    "deviation between their means"
)


def _by_run(runs: Sequence[Run], measure: Callable[[Run], dict[str, Any]] = final_scores) -> DataFrame:
    """Return a row a run: its system, partition, seed and measurements."""
    return DataFrame([_keys(run) | measure(run) for run in usual_stream(runs)])


def _keys(run: Run) -> dict[str, Any]:
    training = run.config.training
    return {"system": training.system, "partition": run.meta["corpus"], "seed": training.seed}


def _over_seeds(by_run: DataFrame, titles: dict[str, str]) -> DataFrame:
    """Return the numbers of repetitions, and mean and deviations of every titled column: a row a system."""
    if by_run.empty:
        return by_run
    rows = []
    for system, group in sorted(by_run.groupby("system", sort=False), key=lambda pair: _rank(pair[0])):
        row = {"system": SYSTEMS[system].title if system in SYSTEMS else system} | repetitions(group, by_run)
        for name, title in titles.items():
            row |= dict(zip((title, title + DEVIATION, title + BETWEEN), spread(group, name), strict=True))
        rows.append(row)
    return DataFrame(rows).dropna(axis=1, how="all")


def repetitions(group: DataFrame, by_run: DataFrame) -> dict[str, int]:
    """Return how many seeds a system's runs have, and how many partitions and runs if the table has several partitions.

    group: of by_run, the table's runs: columns partition and seed, a row a run
    """
    counts = {"seeds": group["seed"].nunique(), "partitions": group["partition"].nunique(), "runs": len(group)}
    return counts if by_run["partition"].nunique() > 1 else {"seeds": counts["seeds"]}


def spread(group: DataFrame, name: str) -> tuple[float, float, float]:
    """Return mean of the partitions' means, deviation over a partition's seeds, and between the partitions' means.

    The deviation over seeds is that of all partitions pooled. nan where a deviation has fewer than two values.
    """
    partitions = group.groupby("partition")[name]
    over_seeds = float(np.sqrt(partitions.var(ddof=1).mean()))
    return float(partitions.mean().mean()), over_seeds, float(partitions.mean().std(ddof=1))


def _rank(system: str) -> int:
    return list(SYSTEMS).index(system) if system in SYSTEMS else len(SYSTEMS)


def _systems(runs: Sequence[Run]) -> list[str]:
    """Return the systems of runs in their usual order."""
    return sorted({run.config.training.system for run in runs}, key=_rank)


def _repetitions(runs: Sequence[Run]) -> str:
    """Return the seeds and, if there are several, the partitions of runs, in words."""
    seeds = sorted({run.config.training.seed for run in runs})
    partitions = sorted({run.meta["corpus"]: run.config.data.data_seed for run in runs}.values())
    words = f"seeds {', '.join(map(str, seeds))}"
    numbers = ", ".join(map(str, partitions))
    return f"{words}, {len(partitions)} partitions (`data_seed` {numbers})" if len(partitions) > 1 else words


def _tuning(runs: Sequence[Run]) -> list[str]:
    """Return a sentence that names the settings of which every system has its own choice, if there are any."""
    names = ", ".join(f"`{name}`" for name in tuned_settings(runs[0]))
    return [f"Every system has its own choice of {names}, made on V1 by `ipr tune`, never on D3."] if names else []


def _parts(runs: Sequence[Run]) -> str:
    """Return the parts with their sizes, from the smallest to the largest of all partitions, in words."""
    partitions = {run.meta["corpus"]: run for run in runs}.values()
    sizes = DataFrame([run.table["part"].value_counts() for run in partitions]).fillna(0).astype(int)
    words = []
    for part in ("D1", "D2", "D3", "V1", "V2"):
        if part in sizes:
            low, high = sizes[part].min(), sizes[part].max()
            words.append(f"{part} {low:,}" + (f" to {high:,}" if high > low else ""))
    return ", ".join(words)


def _encoder(run: Run) -> str:
    return Path(run.config.encoder.encoder).name
