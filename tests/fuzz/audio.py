"""Damaged audio files and odd folders of them, labelled by `ipr annotate`; the oracle is soundfile."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator

from fuzz import listings
from fuzz.sound_damage import DAMAGES, Damaged
from fuzz.sounds import Sound, alike, draw_sound, reading
from fuzz.trials import Damage, Verdict, call, judge
from fuzz.workbench import Workbench


def trial(number: int, draw: Generator, folder: Path, workbench: Workbench) -> Verdict:
    """Damage one file, or make a folder of several."""
    if number % 8 == 7:
        return listings.trial(draw, folder, workbench)
    sound = draw_sound(number, draw, workbench)
    damaged = _damaged(sound, draw)
    path = folder / f"sound-{number}.{damaged.sound.extension}"
    damage = Damage(
        f"{damaged.name}, {damaged.sound.kind()}", path.name, (), damaged.harmless, damaged.invisible, damaged.grave
    )
    (folder / "damage.txt").write_text(damage.name)
    reference = _reference(sound, folder)
    damaged.write(path)
    table = folder / "table.csv"
    with table.open("w", newline="") as stream:
        csv.writer(stream).writerows([["path"], [path.name]])
    answer = call("annotate", workbench.finished, table, "--segment", "none", "--out", folder / "out", folder=folder)
    wave = _read_by_the_product(path, folder) if answer.code == 0 else None
    return judge(answer, damage, lambda: alike(wave, reference), lambda: alike(wave, reading(path)))


def _damaged(sound: Sound, draw: Generator) -> Damaged:
    """Return the sound with some damage that its container can have."""
    while True:
        damage = DAMAGES[draw.integers(len(DAMAGES))]
        damaged = damage(sound, draw)
        if damaged is not None:
            return damaged


def _reference(sound: Sound, folder: Path) -> np.ndarray | None:
    intact = folder / f"intact.{sound.extension}"
    intact.write_bytes(sound.data)
    return reading(intact)


def _read_by_the_product(path: Path, folder: Path) -> np.ndarray | None:
    """Return the samples that were labelled; None if no label was written."""
    from ipr_core.data.waves import WaveStore

    labels = pd.read_parquet(next((folder / "out").glob("*.parquet")))
    store, faults = WaveStore.survey(pd.DataFrame({"id": ["x"], "path": [str(path)]}), folder / "cache", progress=False)
    return None if faults or len(labels) != 1 else np.array(store[0])
