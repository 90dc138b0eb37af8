"""Whom a run recognises worse: recall on D3 by speaker, and by sex where it is known.  S speakers, C classes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from scipy.stats import binomtest

from ipr_core.data.faults import quoted
from ipr_core.results.hits import FEWEST_SPEAKERS
from ipr_core.results.significance import RESAMPLES, bootstrap
from ipr_core.results.table import Table
from ipr_core.runs.run import Run

FEWEST = 5
"""A speaker with fewer utterances in D3 is not named as the best or the worst."""
FEMALE, MALE = "female", "male"
_LACKING = "D3 names no speakers."
_MEN_OF_EMODB = ("03", "10", "11", "12", "15")

_BY_NAME: dict[str, Callable[[str], str]] = {
    "emodb": lambda speaker: MALE if speaker in _MEN_OF_EMODB else FEMALE,
    "ravdess": lambda speaker: MALE if int(speaker[-2:]) % 2 else FEMALE,  # of runs before its table had the sex
    "iemocap": lambda speaker: MALE if speaker.endswith("M") else FEMALE,
    "msp_improv": lambda speaker: MALE if speaker.startswith("M") else FEMALE,
}
"""Corpus → a speaker's sex, as the corpus's own pages tell it from the speaker's name."""


def sexes(run: Run) -> Series:
    """Return each utterance's speaker's sex, as the corpus's column sex or gender says, or its names of speakers.

    returns: by the row of the run's table; "" where it is not known
    """
    table = run.table
    for column in ("sex", "gender"):
        if column in table:
            words = table[column].astype(str).str.strip().str.lower()
            return words.map(lambda word: FEMALE if word.startswith("f") else MALE if word.startswith("m") else "")
    of_name = _BY_NAME.get(run.config.data.corpus)
    if of_name is None:
        return Series("", index=table.index)
    return table["speaker"].map(lambda speaker: of_name(speaker) if speaker else "")


def hits_by_speaker(run: Run) -> DataFrame:
    """Return D3's utterances with speaker, sex, label and whether the classifier is right.

    returns: columns id, speaker, sex, label, right
    """
    labels, classes = run.labels, run.meta["classes"]
    classifier = labels[[f"model_{name}" for name in classes]].set_axis(classes, axis=1).idxmax(axis=1)
    table = run.table.assign(sex=sexes(run), right=(classifier == labels["label"]).to_numpy())
    return table.loc[table["part"] == "D3", ["id", "speaker", "sex", "label", "right"]].reset_index(drop=True)


def by_speaker(run: Run) -> Table:
    """Tabulate the share of each speaker's utterances of D3 that is recognised, the lowest first.

    The 95 % interval is Wilson's: of other utterances by this speaker.
    """
    table = hits_by_speaker(run)
    rows = []
    for speaker, group in table[table["speaker"] != ""].groupby("speaker"):
        right, total = int(group["right"].sum()), len(group)
        interval = binomtest(right, total).proportion_ci(method="wilson")
        row = {"speaker": speaker, "sex": group["sex"].iloc[0], "utterances": total, "recall, %": 100 * right / total}
        rows.append(row | {"95 % from": 100 * interval.low, "to": 100 * interval.high})
    frame = DataFrame(rows)
    if rows:
        frame = frame.sort_values(["recall, %", "speaker"], kind="stable", ignore_index=True)
        frame = frame if (frame["sex"] != "").any() else frame.drop(columns="sex")
    caption = (
        "Share of each speaker's utterances of D3 whose emotion the classifier names; the 95 % interval is Wilson's, "
        "of other utterances by the same speaker."
    )
    return Table("speakers", caption, frame, conclusion=spread(run), lacking=_LACKING)


def by_sex(run: Run) -> Table:
    """Tabulate accuracy and UAR on D3 by sex; no row where it is not known, or one sex alone is in D3.

    The 95 % interval of the accuracy is a bootstrap of whole speakers, of utterances where there are fewer than
    `FEWEST_SPEAKERS`.
    """
    table = hits_by_speaker(run)
    groups = [(sex, group) for sex, group in table.groupby("sex") if sex]
    rows = []
    for sex, group in groups if len(groups) > 1 else ():
        names, clustered = group["speaker"], group["speaker"].nunique() >= FEWEST_SPEAKERS
        low, high = bootstrap(group["right"], names if clustered else None)
        scores = {"accuracy, %": 100 * group["right"].mean(), "95 % from": 100 * low, "to": 100 * high}
        count = {"sex": sex, "speakers": names.nunique(), "utterances": len(group)}
        rows.append(count | scores | {"UAR, %": 100 * group.groupby("label")["right"].mean().mean()})
    caption = (
        "Recognition of D3 by the speakers' sex: accuracy, with the interval of a bootstrap of whole speakers (of "
        f"utterances where fewer than {FEWEST_SPEAKERS} are known), and UAR, the mean of the emotions' recalls."
    )
    return Table("sexes", caption, DataFrame(rows), lacking="The corpus does not say which sex its speakers have.")


def spread(run: Run) -> str:
    """Say how far the speakers' recalls lie apart, and how often chance alone would draw them so far apart.

    returns: empty for fewer than two speakers with `FEWEST` utterances in D3
    """
    table = hits_by_speaker(run)
    table = table[table["speaker"] != ""]
    counts = table.groupby("speaker")["right"].agg(["mean", "size"])
    counts = counts[counts["size"] >= FEWEST].sort_values("mean", kind="stable")
    if len(counts) < 2:
        return ""
    worst, best = ((quoted(str(counts.index[i])), counts.iloc[i]) for i in (0, -1))
    p = chance_of_spread(table)
    verdict = "more than chance explains" if p < 0.05 else "which chance alone explains"
    size = "< 0.001" if p < 0.001 else f"= {p:.3f}"
    return (
        f"Speakers' recalls run from {100 * worst[1]['mean']:.0f} % ({worst[0]}, {worst[1]['size']:.0f} utterances) to "
        f"{100 * best[1]['mean']:.0f} % ({best[0]}, {best[1]['size']:.0f}), {verdict} (p {size}: hits dealt anew to "
        "the utterances of each emotion)."
    )


def chance_of_spread(table: DataFrame, seed: int = 0) -> float:
    """Return the p of speakers' recalls as far apart as these, if every utterance of an emotion were equally hard.

    table: of `hits_by_speaker`
    The hits of each emotion are dealt anew to its utterances, `RESAMPLES` times (multivariate hypergeometric), so that
    a speaker with hard emotions does not count as badly recognised. The statistic is the sum over the speakers of the
    squared difference of hits and expected hits, over the number of utterances.
    """
    sizes = pd.crosstab(table["label"], table["speaker"]).to_numpy()  # (C, S)
    rights = table.groupby("label")["right"].sum().to_numpy()  # (C,) in the same order, sorted
    rng = np.random.default_rng(seed)
    dealt = sum(rng.multivariate_hypergeometric(row, n, size=RESAMPLES) for row, n in zip(sizes, rights, strict=True))
    expected = (sizes * (rights / sizes.sum(axis=1))[:, None]).sum(axis=0)  # (S,)
    observed = table.groupby("speaker")["right"].sum().to_numpy()

    def distance(hits: np.ndarray) -> np.ndarray:
        return ((hits - expected) ** 2 / sizes.sum(axis=0)).sum(axis=-1)

    return float((1 + (distance(np.asarray(dealt)) >= distance(observed) - 1e-9).sum()) / (1 + RESAMPLES))
