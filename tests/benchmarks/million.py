"""The cost of a manifest of a million utterances: seconds and peak memory of each stage.

    python tests/benchmarks/million.py [ROWS]

The stages are reading, checking and partitioning. The utterances are parts of eight long recordings (made here, noise
at 16 kHz), with the votes of five annotators. All stages run in one fresh process, so the peak is that of all so far.
For comparison, pandas alone reads the same file, every cell as text.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import soundfile

from ipr_core.machine import peak_memory

FILES, SECONDS, ANNOTATORS, SPEAKERS = 8, 1800, 5, 1000
CLASSES = ("angry", "happy", "sad", "neutral")


def make(folder: Path, rows: int, seed: int = 0) -> Path:
    """Write a manifest of `rows` utterances and the recordings that it names."""
    rng = np.random.default_rng(seed)
    for i in range(FILES):
        noise = rng.normal(0, 1000, SECONDS * 16_000).astype(np.int16)
        soundfile.write(folder / f"recording{i}.wav", noise, 16_000)
    start = rng.uniform(0, SECONDS - 12, rows).round(3)
    truth = rng.dirichlet(np.full(len(CLASSES), 0.3), rows)
    votes = rng.multinomial(ANNOTATORS, truth)
    table = pd.DataFrame(
        {
            "id": [f"u{i:07d}" for i in range(rows)],
            "path": [f"recording{i}.wav" for i in rng.integers(FILES, size=rows)],
            "start": start,
            "end": (start + rng.lognormal(1.28, 0.69, rows).clip(0.6, 11)).round(3),
            "speaker": [f"speaker{i:04d}" for i in rng.integers(SPEAKERS, size=rows)],
        }
        | {f"votes_{name}": votes[:, i] for i, name in enumerate(CLASSES)}
    )
    table.to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def measure(manifest: str) -> None:
    """Run the stages, one after another, in this process."""
    from ipr_core.config import build
    from ipr_core.data import ambiguity, corpora, dataset

    folder = Path(manifest).parent
    config = build(settings={"corpus": "manifest", "corpus_path": manifest, "test_size": 400})
    say("imports", lambda: None)
    table = say("reading", lambda: corpora.reader("manifest").read(config.data).checked())
    assert not say("checking the table", lambda: corpora.check(table, config.data))
    table = say("its final form", lambda: corpora.tidy(table, config.data))
    parts = say("partition", lambda: ambiguity.partition(table, config))
    print("   ", parts["part"].value_counts().to_dict())
    parts = table = None
    data = say("all of `ipr partition`, audio too", lambda: dataset.load(config, folder / "cache", progress=False))
    files = sum(1 for path in (folder / "cache").rglob("*") if path.is_file())
    print(f"    {len(data.table):,} utterances, {files} files in the cache")


def say(title: str, stage: Callable[[], Any]) -> Any:
    """Run a stage, print its time and the peak memory, and return its result.

    The time is that of the wall clock and of the processors; on a busy machine the wall clock says little.
    """
    start = time.perf_counter(), time.process_time()
    result = stage()
    wall, processor = time.perf_counter() - start[0], time.process_time() - start[1]
    peak = peak_memory() / 2**30
    print(f"{title:<34} {wall:6.2f} s, {processor:6.2f} s of processors, peak so far {peak:5.2f} GiB", flush=True)
    return result


def main(rows: int) -> None:
    with tempfile.TemporaryDirectory() as folder:
        manifest = make(Path(folder), rows)
        print(f"{rows:,} rows, {manifest.stat().st_size / 2**20:.0f} MiB")
        subprocess.run([sys.executable, __file__, "--of", str(manifest)], check=True)
        say("beside it, pandas.read_csv alone", lambda: pd.read_csv(manifest, dtype=str, keep_default_na=False))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--of"]:
        measure(sys.argv[2])
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1_000_000)
