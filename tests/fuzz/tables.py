"""Manifests in many dresses and with many damages, read by `ipr partition`; the oracle is pandas."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from pandas import DataFrame, Series

from fuzz.table_damage import DAMAGES
from fuzz.table_dresses import DRESSES
from fuzz.trials import Damage, Verdict, call, judge
from fuzz.workbench import Workbench

CLASSES = ("angry", "happy", "sad", "neutral")
PATTERNS = ((6,), (4, 2), (3, 2, 1), (5,), (4, 1, 1), (2, 2, 1))
"""Votes for the label and for rest: D1, D2 and D3 of each class by the thresholds of two thirds and 1."""
HELD_OUT = {"V1": "D1", "V2": "D2"}
"""Parts that are drawn from others for validation, and those others."""


def trial(number: int, draw: Generator, folder: Path, workbench: Workbench) -> Verdict:
    """Write a damaged manifest, and compare its parts with those of the clean one."""
    (folder / "clips").symlink_to(workbench.folder / "clips")
    table = clean_table(draw, workbench)
    ways = (*DRESSES, *DAMAGES)
    manifest = ways[number % len(ways)](table, draw)
    path = folder / f"table-{number}{manifest.suffix}"
    manifest.write(path)
    damage = Damage(manifest.name, path.name, manifest.tokens, manifest.harmless, manifest.invisible)
    (folder / "damage.txt").write_text(damage.name)
    output = folder / "parts.parquet"
    answer = call("partition", "--corpus", "manifest", "--corpus-path", path, "--out", output, folder=folder)
    return judge(
        answer,
        damage,
        lambda: _is_same(output, parts(table), manifest.twins) and _in_one_part(output, manifest.twins),
        lambda: _is_same(output, parts(manifest.plain(path))),
    )


def clean_table(draw: Generator, workbench: Workbench) -> DataFrame:
    """Return three to five utterances of each class and each part, with votes or shares."""
    clips = draw.permutation([path.name for path in workbench.clips])
    rows = []
    for label in CLASSES:
        rest = [name for name in CLASSES if name != label]
        for pattern in PATTERNS[: draw.integers(3, len(PATTERNS) + 1)]:
            clip = clips[len(rows)]
            voices = dict(zip([label, *draw.permutation(rest)], pattern, strict=False))
            votes = {f"votes_{name}": voices.get(name, 0) for name in CLASSES}
            rows.append(
                {"id": clip[:-4], "path": f"clips/{clip}", "speaker": f"0{len(rows) % 5}", "label": label} | votes
            )
    table = DataFrame(rows)
    if draw.random() < 0.25:
        votes = [f"votes_{name}" for name in CLASSES]
        table[votes] = table[votes].div(table[votes].sum(axis=1), axis=0)
    return table.sample(frac=1, random_state=int(draw.integers(2**31))).reset_index(drop=True)


def parts(table: DataFrame | None) -> DataFrame | None:
    """Return label, speaker, part and share of every utterance by its id, as the documentation defines them."""
    if table is None or not {"id", "label", "speaker"} <= set(table):
        return None
    votes = table[[name for name in table if str(name).startswith("votes_")]].apply(pd.to_numeric, errors="coerce")
    votes = votes.fillna(0)
    tied = votes.eq(votes.max(axis=1), axis=0).sum(axis=1) > 1  # then an empty label stays empty
    most = votes.idxmax(axis=1).str.removeprefix("votes_").mask(tied, "")
    label = table["label"].where(table["label"] != "", most)
    votes_of_label = Series(
        [votes.at[i, f"votes_{name}"] if f"votes_{name}" in votes else 0 for i, name in label.items()], table.index
    )
    total = votes.sum(axis=1)
    share = (votes_of_label / total.where(total >= 1 - 1e-9)).round(9)
    part = Series(
        np.select([share >= 1 - 1e-9, share >= 2 / 3 - 1e-9, share >= 0], ["D1", "D2", "D3"], ""), table.index
    )
    result = DataFrame({"id": table["id"], "label": label, "speaker": table["speaker"], "part": part, "share": share})
    usable = (part != "") & label.isin(CLASSES)
    return result[usable].astype({"speaker": str}).sort_values("id").reset_index(drop=True)


def _is_same(output: Path, reference: DataFrame | None, twins: tuple[str, ...] = ()) -> bool:
    """Tell whether the parts are those of the reference, in which utterances of the same sound are not looked at."""
    if reference is None:
        return False
    result = pd.read_parquet(output)[["id", "label", "speaker", "part", "share"]].replace({"part": HELD_OUT})
    result = result.astype({"speaker": str}).sort_values("id").reset_index(drop=True)
    # Shares to five digits: a table may have them as floats of 32 bit.
    result, reference = (frame[~frame["id"].isin(twins)].round(5) for frame in (result, reference))
    return len(result) == len(reference) and bool((result.to_numpy(object) == reference.to_numpy(object)).all())


def _in_one_part(output: Path, twins: tuple[str, ...]) -> bool:
    """Tell whether utterances of the same sound are in one part, or all but one of them in none."""
    table = pd.read_parquet(output)
    return table.loc[table["id"].isin(twins), "part"].nunique() <= 1
