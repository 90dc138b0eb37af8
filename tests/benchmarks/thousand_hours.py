"""Time, memory and disk of a corpus of many short clips, from the table to labels by workers of which one is killed.

    python tests/benchmarks/thousand_hours.py [--clips 100000] [--workers 3] [--folder DIR]

Clips of 1 to 2 s, noise with a tone, at 8 kHz, so that each one is decoded and resampled. The stages are commands, or a
session that keeps features under `--memory-gb 1`, of which a third may lie in memory. The encoder is `compact`. Last,
the labels are compared with those of one process, of the first thousand clips.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import psutil
import soundfile
from annotation import TRAIN

RATE, SPEAKERS, ANNOTATORS, FEW = 8_000, 500, 5, 1_000
CLASSES = ("angry", "happy", "sad", "neutral")
IPR = (sys.executable, "-m", "ipr_core")


def make(folder: Path, clips: int, seed: int = 0) -> Path:
    """Write the clips, a thousand a folder, and their manifest."""
    rng = np.random.default_rng(seed)
    times = np.arange(2 * RATE) / RATE
    noise = rng.normal(0, 0.02, 4 * RATE)
    paths = [Path(f"{i // 1_000:04d}", f"{i:07d}.wav") for i in range(clips)]
    for i, path in enumerate(paths):
        if i % 1_000 == 0:
            (folder / path.parent).mkdir()
        length, first = rng.integers(RATE, 2 * RATE), rng.integers(2 * RATE)
        wave = noise[first : first + length] + 0.3 * np.sin(2 * np.pi * rng.uniform(80, 300) * times[:length])
        soundfile.write(folder / path, wave, RATE, "PCM_16")
    votes = rng.multinomial(ANNOTATORS, rng.dirichlet(np.full(len(CLASSES), 0.3), clips))
    table = {"path": paths, "speaker": [f"speaker{i:04d}" for i in rng.integers(SPEAKERS, size=clips)]}
    table |= {f"votes_{name}": votes[:, i] for i, name in enumerate(CLASSES)}
    pd.DataFrame(table).to_csv(folder / "manifest.csv", index=False)
    return folder / "manifest.csv"


def stage(title: str, command: Sequence[str], places: Sequence[Path], victim_after: float | None = None) -> None:
    """Run a command, and print its time, its largest process and what it left on disk.

    places: folders whose sizes are what it left   victim_after: seconds after which its largest worker is killed
    """
    before, start, peak, victim = sum(map(size, places)), time.perf_counter(), 0, None
    log = places[0].parent / "log"
    process = psutil.Popen(command, stdout=log.open("w"), stderr=subprocess.STDOUT)
    while process.poll() is None:
        time.sleep(0.2)
        memory = {member: rss(member) for member in (process, *children(process))}
        peak = max(peak, *memory.values())
        workers = {member: memory[member] for member in memory if member != process and memory[member] > 2**28}
        if victim_after is not None and victim is None and time.perf_counter() - start > victim_after and workers:
            victim = max(workers, key=workers.__getitem__)
            victim.kill()
    seconds, stored = time.perf_counter() - start, sum(map(size, places)) - before
    if process.returncode:
        raise SystemExit(f"{title}: {log.read_text()}")
    killed = f", process {victim.pid} killed after {victim_after:g} s" if victim else ""
    gib = f"largest process {peak / 2**30:.2f} GiB, {stored / 2**30:+.2f} GiB on disk"
    print(f"{title:<44} {seconds:6.0f} s, {gib}{killed}", flush=True)
    print("".join(line for line in log.open() if line.startswith("    ")), end="", flush=True)


def children(process: psutil.Process) -> list[psutil.Process]:
    """Return all descendants that are still there."""
    try:
        return process.children(recursive=True)
    except psutil.NoSuchProcess:
        return []


def rss(process: psutil.Process) -> int:
    """Return the memory of a process; 0 if it has ended."""
    try:
        return process.memory_info().rss
    except (psutil.NoSuchProcess, psutil.ZombieProcess):
        return 0


def size(folder: Path) -> int:
    """Return the bytes of a folder's files."""
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) if folder.exists() else 0


def features(manifest: str) -> None:
    """Start a session, in this process: features in memory and on disk, then the first evaluation."""
    from ipr_core.config import build
    from ipr_core.data.dataset import load
    from ipr_core.training.session import Session

    settings = {"corpus": "manifest", "corpus_path": manifest, "test_size": 400, "encoder": "compact", "memory_gb": 1}
    config = build(settings=settings)
    start = time.perf_counter()
    data = load(config, progress=False)
    middle = time.perf_counter()
    store = Session(config, data).views._store
    seconds = time.perf_counter() - middle
    in_memory = store.size - store._end
    print(
        f"    the data {middle - start:.0f} s; features and the first evaluation {seconds:.0f} s, "
        f"{in_memory / 2**30:.2f} GiB of features in memory, {store._end / 2**30:.2f} GiB on disk"
    )


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clips", type=int, default=100_000)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--folder", type=Path)
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=args.folder) as path:
        folder = Path(path)
        cache, labels, manifest = folder / "cache", folder / "labels", make(folder, args.clips)
        os.environ["IPR_CACHE"] = str(cache)
        hours = sum(soundfile.info(file).duration for file in folder.rglob("*.wav")) / 3_600
        print(f"{args.clips:,} clips, {hours:.1f} h, {size(folder) / 2**30:.2f} GiB", flush=True)
        subprocess.run([*IPR, "train", *TRAIN, "--runs", path + "/runs"], check=True, capture_output=True)
        (run,) = (folder / "runs").iterdir()
        corpus = ["--corpus", "manifest", "--corpus-path", str(manifest)]
        stage("table, decoding, partition", [*IPR, "partition", *corpus], [cache])
        stage("the same again", [*IPR, "partition", *corpus], [cache])
        stage("a session: features, first evaluation", [sys.executable, __file__, "--of", str(manifest)], [cache])
        annotate = [*IPR, "annotate", str(run), str(manifest), "--out", str(labels), "--jobs", str(args.workers)]
        stage(f"labels by {args.workers} workers", annotate, [labels], victim_after=45)
        compare(run, folder, manifest, labels)


def compare(run: Path, folder: Path, manifest: Path, labels: Path) -> None:
    """Compare the workers' labels of the first clips with those of one process, to the bit."""
    table = pd.read_csv(manifest, dtype=str)
    table[:FEW].to_csv(folder / "few.csv", index=False)
    few = [str(folder / "few.csv"), "--out", str(folder / "few")]
    subprocess.run([*IPR, "annotate", str(run), *few], check=True, capture_output=True)
    whole, part = (pd.read_parquet(next(place.glob("*.parquet"))) for place in (labels, folder / "few"))
    assert len(whole) == len(table), f"{len(whole):,} rows"
    print(f"labels of {len(whole):,} clips; the first {FEW:,} equal those of one process: {whole[:FEW].equals(part)}")


if __name__ == "__main__":
    if sys.argv[1:2] == ["--of"]:
        features(sys.argv[2])
    else:
        main()
