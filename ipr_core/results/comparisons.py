"""Tables of differences between systems.

**Jointly**: would other trainings, partitions and speakers show the difference again? This table decides whether a
sentence "A is above B" survives. **Over seeds** a pair is one seed and partition of both systems, and the test is about
another training on the same data. **Over utterances** a pair is one utterance of D3, and the test is about other
speakers, given these trainings.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any, Literal

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.method.systems import SYSTEMS
from ipr_core.results import hits
from ipr_core.results.scores import SCORES, UNIT, noise, score_table
from ipr_core.results.selection import usual_stream
from ipr_core.results.significance import (
    RESAMPLES,
    bootstrap,
    crossed_bootstrap,
    holm,
    mcnemar,
    sign_flip,
    within_partitions,
)
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

REFERENCE = "ipr"
"""The system that the others are compared with unless another one is named."""
LEVEL = 0.05
"""A comparison survives if its p, corrected by Holm, is below this, and it is above the noise of both systems."""
TWO_SEEDS = (
    "A test over seeds needs two seeds that both systems were trained with: "
    "`ipr train --systems all --seeds 0 1 2 3 4`, or `ipr batch table3`."
)
TWO_SYSTEMS = "A comparison over utterances needs two systems that were trained with the same seed: `ipr batch table3`."
NOISES = ("noise", "reference's noise")
"""The columns of the noise of a comparison's two systems."""
UNKNOWN = "unknown"
"""The word for a noise that was not measured: there is no run of the system with another random stream."""

Pairs = Literal["jointly", "seeds", "utterances"]


def differences(
    runs: Sequence[Run], reference: str | None = None, score: str = "accuracy", pairs: Pairs | None = None
) -> Table:
    """Tabulate the differences of every system from a reference, with 95 % intervals and p after Holm.

    runs: `selection.comparable` ones; those of another random stream only measure the noise
    reference: a system; None: `REFERENCE` if it was trained, else the first one
    score: one of `scores.SCORES`, over seeds; the accuracy otherwise
    pairs: None: jointly if two units are shared by any two systems, else of utterances
    """
    systems = {run.config.training.system for run in usual_stream(runs)}
    reference = reference or (REFERENCE if REFERENCE in systems else next((s for s in SYSTEMS if s in systems), ""))
    if pairs == "seeds":
        return _over_seeds(runs, reference, score)
    if pairs == "utterances":
        return _over_utterances(runs, reference)
    table = _jointly(runs, reference)
    return _over_utterances(runs, reference) if pairs is None and table.values.empty else table


def paired_by_unit(d: pd.Series, noises: tuple[float, float]) -> dict[str, Any]:
    """Test one comparison over seeds: difference, interval, p and noise, in the unit of d.

    d: differences by partition and seed, nan if one of both has no such run
    noises: of a single run of each of both, `scores.noise`
    """
    d = d.dropna()
    partitions = d.index.get_level_values("partition")
    estimate = within_partitions(d, partitions)
    low, high = estimate.interval()
    bands = _bands(noises, len(d))
    return {
        **_counts(d.index),
        "difference": estimate.mean,
        "difference ±": d.std(ddof=1) if len(d) > 1 else np.nan,
        "95 % from": low,
        "to": high,
        "p, t-test": estimate.p,
        "p, signs": sign_flip(d) if len(d) > 1 else np.nan,
        "noise": bands[0],
        "reference's noise": bands[1],
        "within noise": _is_noise(estimate.mean, bands),
    }


def corrected(rows: Sequence[dict[str, Any]]) -> DataFrame:
    """Return comparisons as a table, with Holm's correction beside each p."""
    frame = DataFrame(rows)
    for name in ("p, t-test", "p, signs", "p"):
        if name in frame:
            frame.insert(frame.columns.get_loc(name) + 1, f"{name}, Holm", holm(frame[name]))
    return frame


def _jointly(runs: Sequence[Run], reference: str) -> Table:
    table, scores = hits.hits(usual_stream(runs)), score_table(runs)
    names = _compared(table["system"], reference)
    noises = {name: noise(scores, "accuracy", name) for name in (*names, reference)}
    rows = [
        {"comparison": _minus(name, reference)} | row
        for name in names
        if (row := _joint_row(hits.paired(table, name, reference), (noises[name], noises[reference])))
    ]
    frame = corrected(rows)
    if rows:
        frame["survives"] = [_survives(row) for row in frame.to_dict("records")]
    caption = (
        "Differences of accuracy on D3, in points, paired by utterance within each seed and partition. 95 % interval "
        "and p are jointly over other trainings and other speakers (crossed bootstrap, Owen 2007; Student's t of its "
        f"standard error), p corrected by Holm for the rows of this table. {_NOISE} A comparison survives if it "
        f"is above both, and p below {LEVEL}."
    )
    missing = dict.fromkeys(NOISES, UNKNOWN)
    return Table(
        "differences", caption, frame, digits=2, missing=missing, lacking=TWO_SEEDS, conclusion=_conclusion(frame)
    )


_NOISE = (
    "Noise, of the system and of the reference: where the mean difference of as many runs would lie in 95 of 100 "
    "cases if only the system's own random stream differed."
)


def _joint_row(pairs: DataFrame, noises: tuple[float, float]) -> dict[str, Any]:
    """Test one comparison jointly; empty if there are not two units and two clusters."""
    units = pairs.groupby(UNIT).size().index
    if len(units) < 2 or pairs["cluster"].nunique() < 2:
        return {}
    estimate = crossed_bootstrap(*hits.sums_by_cluster(pairs, 100 * pairs["difference"]))
    low, high = estimate.interval()
    bands = _bands(noises, len(units))
    return {
        **_counts(units),
        "speakers": hits.clusters_in_words(pairs).removesuffix(" speakers"),
        "difference": estimate.mean,
        "95 % from": low,
        "to": high,
        "p": estimate.p,
        "noise": bands[0],
        "reference's noise": bands[1],
    }


def _survives(row: dict[str, Any]) -> str:
    if not row["p, Holm"] < LEVEL:
        return "no"
    is_noise = _is_noise(row["difference"], (row["noise"], row["reference's noise"]))
    return {"yes": "no", "no": "yes"}.get(is_noise, "noise unknown")


def _conclusion(frame: DataFrame) -> str:
    """Return which comparisons of a joint table survive, in a sentence or two."""
    if frame.empty:
        return ""
    survivors = frame[frame["survives"] == "yes"]
    texts = Table("", "", survivors).texts.to_dict("records")
    names = [f"{row['comparison']} ({row['difference']})" for row in texts]
    of_all = f"{len(names)} of {len(frame)}"
    first = f"Surviving comparisons, {of_all}: {', '.join(names)}." if names else "No comparison survives."
    unknown = (frame["survives"] == "noise unknown").sum()
    rest = f" {unknown} more may, but the noise of a system is unknown: `--stream 1` measures it." if unknown else ""
    return first + rest


def _over_seeds(runs: Sequence[Run], reference: str, score: str) -> Table:
    scores = score_table(runs)
    by_unit = scores[scores["stream"] == 0].pivot(index=UNIT, columns="system", values=score) if len(scores) else scores
    names = _compared(by_unit, reference)
    noises = {name: noise(scores, score, name) for name in (*names, reference)}
    rows = [
        {"comparison": _minus(name, reference)} | paired_by_unit(d, (noises[name], noises[reference]))
        for name in names
        if (d := by_unit[name] - by_unit[reference]).notna().sum() > 1
    ]
    caption = (
        f"Over seeds: differences of {SCORES[score]}, in points, paired by seed within each partition; 95 % interval "
        "and p of the paired t-test, p of the sign-flip test, each corrected by Holm for the rows of this table: about "
        f"other trainings on the same data. {_NOISE}"
    )
    missing = dict.fromkeys(NOISES, UNKNOWN)
    return Table("over_seeds", caption, corrected(rows), digits=2, missing=missing, lacking=TWO_SEEDS)


def _over_utterances(runs: Sequence[Run], reference: str) -> Table:
    """Pair by utterance the share of the shared seeds whose classifier gets it right."""
    table = hits.hits(usual_stream(runs))
    rows = [
        {"comparison": _minus(name, reference)} | row
        for name in _compared(table["system"], reference)
        if (row := _row_over_utterances(hits.paired(table, name, reference)))
    ]
    caption = (
        "Over utterances: differences of accuracy on D3, in points, paired by utterance, each utterance's correctness "
        "averaged over the seeds that both systems have; 95 % interval by a bootstrap of whole speakers (of utterances "
        f"where fewer than {hits.FEWEST_SPEAKERS} are known; {RESAMPLES:,} resamples); p of sign flips of whole "
        "speakers (of utterances; of McNemar's exact test for one seed), corrected by Holm for the rows of this table: "
        "about other speakers, given these trainings."
    )
    return Table("over_utterances", caption, corrected(rows), digits=2, lacking=TWO_SYSTEMS)


def _row_over_utterances(pairs: DataFrame) -> dict[str, Any]:
    """Test one comparison over utterances; empty if no unit is shared."""
    if pairs.empty:
        return {}
    means = pairs.groupby(["partition", "id", "cluster"], as_index=False)["difference"].mean()
    d, by_cluster = means["difference"], means.groupby("cluster")["difference"].sum()
    low, high = bootstrap(d, means["cluster"])
    better, worse = int((d > 0).sum()), int((d < 0).sum())
    units, clustered = pairs.groupby(UNIT).size().index, len(by_cluster) < len(means)
    return {
        **_counts(units),
        "speakers": hits.clusters_in_words(means).removesuffix(" speakers"),
        "utterances": len(means),
        "better on": better,
        "worse on": worse,
        "difference": 100 * d.mean(),
        "95 % from": 100 * low,
        "to": 100 * high,
        "p": sign_flip(by_cluster) if clustered or len(units) > 1 else mcnemar(better, worse),
    }


def _counts(units: pd.Index) -> dict[str, int]:
    """Return the numbers of seeds and, if there are several, of partitions."""
    seeds, partitions = units.get_level_values("seed").nunique(), units.get_level_values("partition").nunique()
    return {"seeds": seeds} | ({"partitions": partitions} if partitions > 1 else {})


def _bands(noises: tuple[float, float], n: int) -> tuple[float, float]:
    """Return half the width of each system's noise for a mean over n runs; nan if unknown."""
    first, second = (2 * value / np.sqrt(n) if n else np.nan for value in noises)
    return first, second


def _is_noise(difference: float, bands: tuple[float, float]) -> str:
    """Return whether a difference is within the noise of one of both systems."""
    if any(abs(difference) <= band for band in bands):
        return "yes"
    return UNKNOWN if any(np.isnan(bands)) else "no"


def _compared(systems: Iterable[str], reference: str) -> list[str]:
    """Return the systems that are compared with the reference, in their usual order."""
    names = set(systems)
    return [name for name in SYSTEMS if name in names and name != reference] if reference in names else []


def _minus(system: str, reference: str) -> str:
    return f"{SYSTEMS[system].title} − {SYSTEMS[reference].title}"
