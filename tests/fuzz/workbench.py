"""What every trial needs, made once: a finished run, the same run stopped half-way, and sixty clips."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import soundfile

SETTINGS = [
    "--preset", "demo", "--synthetic-size", "80", "--epochs", "3", "--warm-up", "1", "--test-size", "16",
    "--max-seconds", "1", "--device", "cpu", "--map-size", "20",
]  # fmt: skip


class Workbench:
    """The folder with all of it; `make` fills it."""

    def __init__(self, folder: Path):
        self.folder = folder

    @property
    def cache(self) -> Path:
        """The decoded corpus of the runs."""
        return self.folder / "cache"

    @property
    def clips(self) -> list[Path]:
        """Different utterances of at most 2 s, 16 kHz mono 16-bit WAV."""
        return sorted((self.folder / "clips").glob("*.wav"))

    @property
    def finished(self) -> Path:
        """A run folder with two corrections."""
        return next((self.folder / "finished").iterdir())

    @property
    def unfinished(self) -> Path:
        """The same run with one epoch of three."""
        return next((self.folder / "unfinished").iterdir())

    def sound(self, draw: np.random.Generator) -> np.ndarray:
        """Return (T,) of some clip, float64 at 16 kHz."""
        return soundfile.read(self.clips[draw.integers(len(self.clips))])[0]


def make(folder: Path) -> None:
    """Make the workbench in this process."""
    os.environ |= {"IPR_CACHE": str(folder / "cache")}
    _train(folder)
    finished = Workbench(folder).finished
    _stop_half_way(folder)
    _correct(finished)
    (folder / "clips").mkdir()
    for path in sorted((folder / "cache").rglob("*.wav"))[:60]:
        shutil.copy(path, folder / "clips")


def _train(folder: Path) -> None:
    from ipr_core import cli

    if cli.main(["train", *SETTINGS, "--runs", str(folder / "finished")]):
        raise RuntimeError("the run of the workbench cannot be trained")


def _stop_half_way(folder: Path) -> None:
    from ipr_core.runs.events import EpochEnd
    from ipr_core.runs.run import Run
    from ipr_core.training.advance import advance, prepare

    def stop(event: object) -> None:
        if isinstance(event, EpochEnd) and event.epoch == 1:
            raise KeyboardInterrupt

    config = Run.open(Workbench(folder).finished).config
    run, data = prepare(config, folder / "unfinished")
    try:
        advance(run, data, watch=stop)
    except KeyboardInterrupt:
        return
    raise RuntimeError("the run of the workbench was not stopped")


def _correct(folder: Path) -> None:
    from ipr_core.runs import corrections
    from ipr_core.runs.run import Run

    run = Run.open(folder)
    for id in run.table["id"][:2]:
        corrections.add(run, id, "sad", "a listener", "heard twice")
