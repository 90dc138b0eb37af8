"""What the labels of a recording's utterances say of it as a whole: shares of time per emotion, and TextGrids.

A recording is an audio file of which the utterances are parts, with start or end. Shares are of the time that is
spoken, each utterance by its length: `share_<class>` by single labels, `soft_<class>` by soft ones.
"""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame
from pyarrow.parquet import ParquetFile

from ipr_core.data.cache import default_cache
from ipr_core.data.faults import number_of
from ipr_core.data.waves import WaveStore
from ipr_core.spreadsheets import to_csv
from ipr_core.textgrid import Interval, Tier, text

MINUTE = 60
"""Seconds of a stretch over which shares are told."""
_BATCH = 16_384  # rows that are read at a time
_KEY = ["path", "speaker", "minute"]
_NEEDED = ["path", "start", "end", "speaker", "single_label", "seconds"]


def summary(parquet: Path, classes: Iterable[str]) -> DataFrame:
    """Return the shares of time per emotion: of every recording, and in it of every minute and every known speaker.

    parquet: the labels of a corpus, as `annotate` writes them
    returns: path, speaker ("": all), start and end of the stretch in seconds, utterances, seconds that are spoken,
    share_<class>, soft_<class>; no row if no utterance is a part of a file. An utterance counts in the minute in which
    its middle lies.
    """
    names = list(classes)
    sums = DataFrame(columns=_KEY)
    for labels in _parts(parquet, names):
        sums = pd.concat([sums, _weighted(labels, names)] if len(sums) else [_weighted(labels, names)])
        sums = sums.groupby(_KEY, sort=False, as_index=False).sum()
    if sums.empty:
        return DataFrame()
    together = sums.assign(speaker="")
    stretches = pd.concat([together, sums[sums["speaker"] != ""]])
    whole = stretches.assign(minute=-1)  # before the first minute
    table = pd.concat([whole, stretches]).groupby(_KEY, sort=False, as_index=False).sum()
    order = {path: i for i, path in enumerate(sums["path"].unique())}
    table = table.sort_values(
        ["path", "speaker", "minute"], key=lambda cells: cells.map(order) if cells.name == "path" else cells
    )
    return _in_seconds(table.reset_index(drop=True), _lengths(parquet))


def _in_seconds(table: DataFrame, lengths: dict[str, float]) -> DataFrame:
    """Return sums as shares, and minutes as start and end."""
    whole, ends = table["minute"] < 0, table["path"].map(lengths)
    start = table["minute"].clip(lower=0).astype(float) * MINUTE
    shares = {name: table[name] / table["seconds"] for name in table if name.startswith(("share_", "soft_"))}
    columns = ["path", "speaker", "start", "end", "utterances", "seconds", *shares]
    return table.assign(start=start, end=ends.where(whole, np.minimum(start + MINUTE, ends)), **shares)[columns]


def _lengths(parquet: Path) -> dict[str, float]:
    """Return how long the recordings are, each by a channel of it that was labelled. raises CorpusError"""
    first_rows = [labels.drop_duplicates("path") for labels in _parts(parquet, [])]
    table = pd.concat(first_rows).drop_duplicates("path").drop(columns=["start", "end"])
    waves = WaveStore.build(table, default_cache(), progress=False)
    return dict(zip(table["path"], waves.seconds.tolist(), strict=True))


def _parts(parquet: Path, names: list[str]) -> Iterator[DataFrame]:
    """Yield the labels of utterances that are parts of a file, some at a time."""
    with ParquetFile(parquet) as file:
        columns = [*_NEEDED, *(["channel"] if "channel" in file.schema_arrow.names else [])]
        for batch in file.iter_batches(_BATCH, columns=[*columns, *(f"soft_{name}" for name in names)]):
            labels = batch.to_pandas()
            labels = labels[labels[["start", "end"]].notna().any(axis=1)]
            yield labels.assign(start=labels["start"].fillna(0.0), speaker=labels["speaker"].fillna(""))


def _weighted(labels: DataFrame, names: list[str]) -> DataFrame:
    """Return utterances with their seconds by single and by soft label, ready to be added up."""
    seconds = labels["seconds"]
    sums = {f"share_{name}": seconds * (labels["single_label"] == name) for name in names}
    sums |= {f"soft_{name}": seconds * labels[f"soft_{name}"].astype(float) for name in names}
    minute = ((labels["start"] + seconds / 2) // MINUTE).astype(int)
    return DataFrame(
        {"path": labels["path"], "speaker": labels["speaker"], "minute": minute, "utterances": 1, "seconds": seconds}
        | sums
    )


def sentence(table: DataFrame) -> str:
    """Return the shares of all recordings of a summary in words."""
    whole = table[(table["speaker"] == "") & ~table.duplicated(["path", "speaker"])]
    speech, total = whole["seconds"].sum(), whole["end"].sum()
    names = [name for name in whole if name.startswith("share_")]
    shares = {name.removeprefix("share_"): (whole[name] * whole["seconds"]).sum() / speech for name in names}
    words = ", ".join(f"{name} {share:.0%}" for name, share in sorted(shares.items(), key=lambda item: -item[1]))
    minutes = f"{speech / 60:.1f} of {total / 60:.1f} minutes in utterances"
    return f"{number_of(len(whole), 'recording')}, {minutes}: {words} of that time."


def write(labels: Path, classes: Iterable[str], parquet: Path, csv: Path, folder: Path | None) -> None:
    """Write the summary of some labels, and a TextGrid for every recording; nothing if no recording is in parts.

    labels: the Parquet file that `annotate` writes   folder: of the TextGrids; None: there are none
    """
    classes = list(classes)
    table = summary(labels, classes)
    if table.empty:
        return
    table.to_parquet(parquet, index=False)
    to_csv(table, csv)
    if folder:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        for title, words in textgrids(labels, classes):
            (folder / f"{title}.TextGrid").write_text(words, "utf-8")


def textgrids(parquet: Path, classes: Iterable[str]) -> Iterator[tuple[str, str]]:
    """Yield name and text of a TextGrid for every recording, in their order.

    A tier has the single labels, and one below it the soft labels; both are there for every known speaker, and again
    where utterances of a speaker overlap.
    """
    names = list(classes)
    labels = pd.concat(_parts(parquet, names), ignore_index=True)
    lengths = _lengths(parquet)
    titles: set[str] = set()
    for path, utterances in labels.groupby("path", sort=False):
        length = lengths[str(path)]
        by_speaker = utterances.groupby("speaker")
        tiers = [tier for speaker, rows in by_speaker for tier in _tiers(str(speaker), rows, names, length)]
        yield _new_title(Path(str(path)).stem, titles), text(tiers, length)


def _new_title(stem: str, titles: set[str]) -> str:
    """Return a file's name without suffix, with a number if another file of that name came before."""
    numbered = (f"{stem}-{number}" if number > 1 else stem for number in itertools.count(1))
    title = next(name for name in numbered if name.casefold() not in titles)
    titles.add(title.casefold())
    return title


def _tiers(speaker: str, labels: DataFrame, names: list[str], length: float) -> Iterator[Tier]:
    for number, rows in enumerate(_lanes(labels), 1):
        title = " ".join(filter(None, [speaker, str(number) if number > 1 else ""]))
        times = list(zip(rows["start"], (rows["start"] + rows["seconds"]).clip(upper=length), strict=True))
        shares = [
            ", ".join(f"{name} {share:.2f}" for name, share in zip(names, values, strict=True))
            for values in rows[[f"soft_{name}" for name in names]].to_numpy()
        ]
        for kind, texts in (("emotion", rows["single_label"]), ("shares", shares)):
            intervals = [Interval(*span, words) for span, words in zip(times, texts, strict=True)]
            yield Tier(f"{kind} {title}".strip(), intervals)


def _lanes(labels: DataFrame) -> list[DataFrame]:
    """Return utterances in as few groups as there have to be, in none of which two overlap."""
    lanes: list[list[int]] = []
    ends: list[float] = []
    labels = labels.sort_values("start", kind="stable")
    for i, (start, seconds) in enumerate(zip(labels["start"], labels["seconds"], strict=True)):
        lane = next((k for k, end in enumerate(ends) if end <= start), len(lanes))
        if lane == len(lanes):
            lanes.append([])
            ends.append(0.0)
        lanes[lane].append(i)
        ends[lane] = round(start + seconds, 6)
    return [labels.iloc[rows] for rows in lanes]
