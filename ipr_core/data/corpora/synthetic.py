"""A small source-filter voice whose emotions are a known mixture.

Annotators' votes are drawn from the mixture. Everything follows from (synthetic_size, data_seed, classes). An
utterance that is 70 % angry and 30 % sad sounds angry for 70 % of its time and sad for the rest, in phrases, and its
annotators disagree in these shares.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.config import Data
from ipr_core.data.cache import clear_once, default_cache, folder_sealed
from ipr_core.data.reading import Reading

Floats = NDArray[np.float64]

LAYOUT = "nothing: it is generated"
ANNOTATORS = 10
"""Votes on each utterance."""
SPEAKERS = 12
"""Voices, each of as many utterances as the others."""
VERSION = 1
"""To be counted up when the sounds change, so that older ones in a cache are not used."""
_CLEAR = 0.35  # share of utterances that are nearly pure


def read(data: Data, progress: bool = True) -> Reading:
    """Return the utterance table, with mixture_<class> columns.

    The sounds are generated if the cache does not hold them yet, or not as they were written.
    """
    table = describe(data)
    folder = _folder(data)
    clear_once(folder)
    if not folder_sealed(folder):
        from ipr_core.data.corpora.voice import write_sounds  # its imports are only for those who generate

        write_sounds(table, data, SPEAKERS, folder, progress)
    return Reading(table.assign(path=[str(folder / f"{name}.wav") for name in table["id"]]))


def describe(data: Data) -> DataFrame:
    """Return the table without paths: speakers, durations, mixtures and votes."""
    rng = np.random.default_rng([data.data_seed, 0])
    n, classes = data.synthetic_size, data.classes
    truth = mixtures(n, len(classes), rng)
    votes = rng.multinomial(ANNOTATORS, truth)  # (N, C)
    # Of two emotions with as many votes, the label is the one with the larger share of the truth.
    label = (votes + 0.5 * truth).argmax(axis=1)
    columns = {
        "id": [f"synthetic-{row:05d}" for row in range(1, n + 1)],
        "start": np.nan,
        "end": np.nan,
        "speaker": [f"speaker-{i + 1:02d}" for i in rng.permutation(np.arange(n) % SPEAKERS)],
        "session": "",
        "duration": np.round(1.5 * np.exp(0.4 * rng.standard_normal(n)), 2).clip(0.8, 3.0),
        "label": np.array(classes)[label],
        **{f"votes_{name}": votes[:, c].astype(float) for c, name in enumerate(classes)},
        "votes_other": 0.0,
        **{f"mixture_{name}": truth[:, c] for c, name in enumerate(classes)},
        "source": "synthetic",
        "row": np.arange(1, n + 1),
    }
    return pd.DataFrame(columns)


def mixtures(n: int, classes: int, rng: Generator) -> Floats:
    """Return (n, classes) shares of the emotions; rows sum to 1.

    Some are nearly pure, many are mostly of two emotions. Every emotion leads equally often.
    """
    first = rng.permutation(np.arange(n) % classes)
    clear = rng.random(n) < _CLEAR
    share = np.where(clear, rng.uniform(0.97, 1.0, n), rng.uniform(0.55, 0.95, n))
    rest = rng.dirichlet([0.3] * (classes - 1), n) * (1 - share)[:, None]  # mostly one other emotion
    rest_classes = (first[:, None] + np.arange(1, classes)) % classes
    truth = np.zeros((n, classes))
    np.put_along_axis(truth, first[:, None], share[:, None], axis=1)
    np.put_along_axis(truth, rest_classes, rest, axis=1)
    return truth / truth.sum(axis=1, keepdims=True)


def _folder(data: Data) -> Path:
    names = hashlib.blake2b("\n".join(data.classes).encode(), digest_size=4).hexdigest()
    return default_cache() / f"synthetic-{data.synthetic_size}-{data.data_seed}-{names}-v{VERSION}"
