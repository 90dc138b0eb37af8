"""A corpus of short tones with annotators' votes that make every part, a run on it, and votes of a listening test."""

import numpy as np
import pandas as pd
import soundfile

from helpers.corpus_files import TWO
from ipr_core.config import SAMPLE_RATE, recommended
from ipr_core.data.cache import default_cache
from ipr_core.data.waves import WaveStore
from ipr_core.training.advance import advance, prepare
from ipr_core.votes import record
from ipr_core.votes.record import Vote

VOTES = [*[(4, 0), (0, 4)] * 5, *[(3, 1), (1, 3)] * 4, *[(2, 1), (1, 2)] * 2]
D1, D2, D3 = "u0", "u11", "u18"
"""An utterance of each part."""


def corpus(folder):
    """Write the manifest, whose clips differ in sound."""
    table = pd.DataFrame(VOTES, columns=["votes_angry", "votes_sad"])
    for i in range(len(VOTES)):
        tone = 0.1 * np.sin(np.arange(SAMPLE_RATE // 4) / (5 + i))
        soundfile.write(folder / f"u{i}.wav", tone, SAMPLE_RATE)
    rows = table.assign(id=[f"u{i}" for i in range(len(table))], path=[f"u{i}.wav" for i in range(len(table))])
    rows.assign(speaker=[f"s{i % 6}" for i in range(len(rows))]).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def finished_run(folder):
    """Return a finished run on that corpus, in `folder/runs`."""
    settings = recommended(
        corpus="manifest", corpus_path=str(corpus(folder)), classes=TWO, encoder="compact", system="baseline",
        epochs=2, warm_up=1, validation_share=0, ambiguous_share=0.7, device="cpu",
    )  # fmt: skip
    run, data = prepare(settings, folder / "runs", progress=False)
    return advance(run, data)


def listening_test(run, folder):
    """Keep votes of two listeners: D2's utterance is agreed on now, D1's is not, and D3's would be."""
    keys = dict(zip(run.table["id"], WaveStore.build(run.table, default_cache(), progress=False).keys, strict=True))
    for name in ("ada", "bo"):
        for id, emotion in ((D1, "sad"), (D2, "sad"), (D3, "angry")):
            record.add(folder, Vote(name, id, keys[id], (emotion,)))
    return record.read(folder)
