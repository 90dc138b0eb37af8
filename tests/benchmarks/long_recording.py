"""One long recording: how many of its utterances are found, how fast and with how much memory it is labelled.

    python tests/benchmarks/long_recording.py [MINUTES ...] [--noise DB] [--pauses FROM TO]

Clips of EmoDB and RAVDESS, in a random order and at one level, with pauses of 1 to 3 s between them, white noise 25 dB
below them and a hum, are written as one recording at 48 kHz in stereo. `ipr annotate` labels it by a run with the
frozen encoder of Whisper tiny.en, every length in a fresh process, decoding included. A clip counts as found if a
single utterance overlaps with it, and begins and ends within 0.2 s of the clip's sound. That sound begins and ends with
the first and the last 10 ms that have, between 100 and 1,000 Hz, at most 25 dB less than the loudest: both corpora have
breaths and noise of the room beyond.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import numpy as np
import pandas as pd
import soundfile
from numpy.typing import NDArray

from ipr_core.machine import peak_memory

T = TypeVar("T")
ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"
WHISPER = SHARED / "models" / "whisper-tiny-en-encoder"
TRAIN = [
    "--preset", "demo", "--synthetic-size", "80", "--epochs", "2", "--warm-up", "1", "--test-size", "16",
    "--encoder", str(WHISPER), "--frozen-layers", "-1", "--no-train-features", "--max-seconds", "15",
]  # fmt: skip
RATE, TALLER = 16_000, 3  # samples per second of the clips, and how many times as many the recording has
TOLERANCE = 0.2  # seconds
LEVEL = 0.05  # RMS of every clip, of full scale


def sound(clip: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return a clip without what lies beyond its voice, at one level."""
    from scipy.signal import butter, sosfiltfilt

    voice = sosfiltfilt(butter(4, [100, 1000], "bandpass", fs=RATE, output="sos"), clip)
    power = (voice[: len(clip) // 160 * 160].reshape(-1, 160) ** 2).mean(axis=1)
    loud = np.flatnonzero(power > power.max() / 10**2.5)
    clip = clip[loud[0] * 160 : (loud[-1] + 1) * 160]
    return clip * LEVEL / np.sqrt((clip**2).mean())


def record(file: Path, seconds: float, noise_db: float, pauses: tuple[float, float]) -> pd.DataFrame:
    """Write a recording, a clip at a time.  returns: start and end of each clip in seconds, and its path"""
    from scipy.signal import resample_poly

    rng = np.random.default_rng(0)
    paths = sorted([*SHARED.glob("data/emodb/wav/*.wav"), *SHARED.glob("data/ravdess/*/*.flac")])
    order = rng.permutation(len(paths))
    rows, samples, n = [], 0, 0
    with soundfile.SoundFile(file, "w", RATE * TALLER, 2, "PCM_16") as stream:
        while samples < seconds * RATE:
            path = paths[order[n % len(order)]]
            silence = np.zeros(round(rng.uniform(*pauses) * RATE))
            clip = sound(soundfile.read(path)[0])
            start = samples + len(silence)
            wave = np.concatenate([silence, clip])
            wave += rng.normal(0, LEVEL * 10 ** (-noise_db / 20), len(wave))
            wave += 0.002 * np.sin(2 * np.pi * 50 * (samples + np.arange(len(wave))) / RATE)
            wide = resample_poly(wave, TALLER, 1)
            stream.write(np.column_stack([wide, 0.5 * wide]))
            samples += len(wave)
            n += 1
            rows.append((start / RATE, samples / RATE, str(path)))
    return pd.DataFrame(rows, columns=["start", "end", "path"])


def hits(clips: pd.DataFrame, utterances: pd.DataFrame) -> NDArray[np.bool_]:
    """Tell which clips are found: one utterance overlaps with it, and begins and ends where it does."""
    overlaps = (utterances["start"].to_numpy() < clips["end"].to_numpy()[:, None]) & (
        utterances["end"].to_numpy() > clips["start"].to_numpy()[:, None]
    )
    single = overlaps.sum(axis=1) == 1
    first = overlaps.argmax(axis=1)
    errors = [np.abs(utterances[name].to_numpy()[first] - clips[name].to_numpy()) for name in ("start", "end")]
    return single & (np.maximum(*errors) <= TOLERANCE)


def measure(run: str, folder: str, minutes: str) -> None:
    """Annotate the recording in a folder by this process, and say how many clips are found."""
    from ipr_core.annotation import annotate
    from ipr_core.config import Data
    from ipr_core.data import segmentation
    from ipr_core.runs.run import Run

    corpus = Data(corpus="manifest", corpus_path=f"{folder}/audio")
    clips = pd.read_parquet(f"{folder}/clips.parquet")
    print(f"{float(minutes):g} minutes, {len(clips)} clips", flush=True)
    seconds = float(clips["end"].iloc[-1])
    cost("to segment, with decoding", seconds, lambda: segmentation.segmented(corpus, 15, progress=False))
    target = Path(folder) / "labels"
    paths = cost("to annotate after it", seconds, lambda: annotate(Run.open(run), corpus, target, False))
    labels = pd.read_parquet(paths[0])
    successes, emodb = hits(clips, labels), clips["path"].str.contains("emodb").to_numpy()
    shares = f"EmoDB {successes[emodb].mean():.1%}, RAVDESS {successes[~emodb].mean():.1%}"
    print(f"  {successes.mean():.1%} of all clips found ({shares}), {len(labels)} utterances", flush=True)


def cost(title: str, seconds: float, work: Callable[[], T]) -> T:
    """Do some work, and say what it cost: time of the wall and of processors, decoding included, and memory.

    seconds: of audio
    """
    from ipr_core.data import decoding

    memory, start, begin = Memory(), time.perf_counter(), os.times()
    result = work()
    wall = time.perf_counter() - start
    decoding._end_all(decoding._processes(os.getpid()))  # what a process took is known when it has ended
    processors = sum(os.times()[:4]) - sum(begin[:4])
    print(
        f"  {title}: {wall:.0f} s, {seconds / wall:.0f} x real time; {processors:.0f} s of processors, "
        f"at most {memory.highest() / 2**20:.0f} MiB, {peak_memory() / 2**20:.0f} MiB with what is mapped so far",
        flush=True,
    )
    return result


class Memory:
    """The highest of the memory of its own that this process has had, looked at twenty times a second."""

    def __init__(self) -> None:
        self._highest, self._end = 0, threading.Event()
        threading.Thread(target=self._watch, daemon=True).start()

    def _watch(self) -> None:
        while not self._end.wait(0.05):
            for line in Path("/proc/self/status").read_text().splitlines():
                if line.startswith("RssAnon"):
                    self._highest = max(self._highest, 1024 * int(line.split()[1]))

    def highest(self) -> int:
        """Stop looking, and return the highest so far, in bytes."""
        self._end.set()
        return self._highest


def main(arguments: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as path:
        folder, environment = Path(path), os.environ | {"IPR_CACHE": f"{path}/cache"}
        ipr = [sys.executable, "-m", "ipr_core", "train", *TRAIN, "--runs", f"{path}/runs"]
        subprocess.run(ipr, check=True, capture_output=True, env=environment)
        (run,) = (folder / "runs").iterdir()
        for minutes in arguments.minutes:
            (folder / "audio").mkdir(exist_ok=True)
            clips = record(folder / "audio" / "recording.wav", 60 * minutes, arguments.noise, tuple(arguments.pauses))
            clips.to_parquet(folder / "clips.parquet")
            again = [sys.executable, __file__, "--of", str(run), path, str(minutes)]
            subprocess.run(again, check=True, env=environment)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--of"]:
        measure(*sys.argv[2:])
    else:
        parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
        parser.add_argument("minutes", nargs="*", type=float, default=[10, 60])
        parser.add_argument("--noise", type=float, default=25, help="dB below the clips")
        parser.add_argument("--pauses", nargs=2, type=float, default=[1, 3], help="seconds, from and to")
        main(parser.parse_args())
