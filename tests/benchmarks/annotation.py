"""Memory and speed of annotation, by the size of the corpus.

    python tests/benchmarks/annotation.py [UTTERANCES ...]

Short clips (0.2 to 0.5 s, parts of the recordings of `million.py`) are labelled by the compact encoder, every size in a
fresh process. Last comes one shard of 4,000 of a manifest of a million rows, whose whole table is checked.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pandas as pd
from million import make, say

TRAIN = ["--preset", "demo", "--synthetic-size", "80", "--epochs", "2", "--warm-up", "1", "--test-size", "16"]


def measure(run: str, manifest: str, rows: str, shard: str) -> None:
    """Annotate in this process."""
    from ipr_core.annotation import annotate
    from ipr_core.config import Data
    from ipr_core.runs.run import Run

    k, _, n = shard.partition("/")
    corpus = Data(corpus="manifest", corpus_path=manifest)
    say("imports", lambda: None)
    options = (Path(manifest).parent, False, (int(k), int(n)))
    say(f"{int(rows):,} rows, shard {shard}", lambda: annotate(Run.open(run), corpus, *options))


def short(manifest: Path) -> Path:
    """Cut the utterances to at most half a second."""
    table = pd.read_csv(manifest)
    length = (table["end"] - table["start"]) % 0.3 + 0.2
    table.assign(end=(table["start"] + length).round(3)).to_csv(manifest, index=False)
    return manifest


def main(sizes: list[int]) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder = Path(path)
        ipr = [sys.executable, "-m", "ipr_core"]
        subprocess.run([*ipr, "train", *TRAIN, "--runs", path + "/runs"], check=True, capture_output=True)
        (run,) = (folder / "runs").iterdir()
        for rows, shard in [*((size, "1/1") for size in sizes), (1_000_000, "1/4000")]:
            manifest = short(make(folder, rows))
            subprocess.run([sys.executable, __file__, "--of", str(run), str(manifest), str(rows), shard], check=True)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--of"]:
        measure(*sys.argv[2:])
    else:
        main([int(size) for size in sys.argv[1:]] or [2_000, 50_000])
