"""Corpora for tests: the real ones where they are at hand, and small files in their place."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ipr_core.config import SAMPLE_RATE, Data
from ipr_core.data.corpora.table import tidy, vote_columns

SHARED = Path(__file__).parents[3] / "shared" / "data"
TWO = ("angry", "sad")


def real(name):
    """Return the folder of a real corpus; the test is skipped where it is not at hand."""
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not at hand: no {SHARED / name}")
    return SHARED / name


def clips_of(data, folder, speakers=0):
    """Write thirty clips of a data set and a manifest of them, by so many speakers; none: it does not say."""
    for i in range(30):
        soundfile.write(folder / f"{i}.wav", np.asarray(data.waves[i]), SAMPLE_RATE)
    table = pd.DataFrame({"id": [f"u{i}" for i in range(30)], "path": [f"{i}.wav" for i in range(30)]})
    if speakers:
        table["speaker"] = [f"s{i % speakers}" for i in range(30)]
    table.to_csv(folder / "own.csv", index=False)
    return Data(corpus="manifest", corpus_path=str(folder / "own.csv"))


def wav(path, seconds=0.2):
    """Write a short tone, and the folders it needs."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.1 * np.sin(np.arange(int(SAMPLE_RATE * seconds)) / 6), SAMPLE_RATE)
    return path


def votes_of(table, utterance):
    """Return the votes of one utterance that are not zero, by emotion."""
    row = table.set_index("id").loc[utterance]
    return {name.removeprefix("votes_"): row[name] for name in vote_columns(table) if row[name]}


def utterances(votes, labels=None, speakers=None):
    """Return an utterance table from votes by emotion; ids u0, u1 …; all labelled "angry" by default."""
    n = len(next(iter(votes.values())))
    raw = {"id": [f"u{i}" for i in range(n)], "path": "x.wav", "label": labels or ["angry"] * n}
    raw |= {"speaker": speakers or ["s"] * n} | {f"votes_{name}": counts for name, counts in votes.items()}
    return tidy(pd.DataFrame(raw), Data(classes=TWO))
