"""Sounds for tests, written as files, and the table that names them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from ipr_core.config import SAMPLE_RATE
from ipr_core.data.waves import WaveStore


def sine(seconds: float = 1.0, rate: int = SAMPLE_RATE, hz: float = 440.0, amplitude: float = 0.5) -> np.ndarray:
    return (amplitude * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def table(*paths: Path, start: float = np.nan, end: float = np.nan) -> pd.DataFrame:
    """Return one row per file; rows are counted from 2, as in a CSV with a header line."""
    rows = [(f"u{i}", str(path), start, end, "manifest.csv", i + 2) for i, path in enumerate(paths)]
    return pd.DataFrame(rows, columns=["id", "path", "start", "end", "source", "row"])


def wav(path: Path, samples: np.ndarray, rate: int = SAMPLE_RATE, **form: str) -> Path:
    soundfile.write(path, samples, rate, **form)
    return path


def cut(path: Path, share: float = 0.5) -> Path:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    return path


def changed(path: Path, position: int, contents: bytes) -> Path:
    """Write bytes over those of a file."""
    whole = bytearray(path.read_bytes())
    whole[position : position + len(contents)] = contents
    path.write_bytes(whole)
    return path


def decode(path: Path, cache: Path, **part: float) -> np.ndarray:
    """Return the stored clip as float in [-1, 1]."""
    return WaveStore.build(table(path, **part), cache, progress=False)[0].astype(np.float64) / 32768


def problem(path: Path, cache: Path, **part: float) -> str:
    """Return problem and cure of a file that cannot be used, "" of one that can."""
    faults = WaveStore.survey(table(path, **part), cache, progress=False)[1]
    assert len(faults) <= 1
    return f"{faults[0].problem.partition(', which ')[2]}; {faults[0].cure}" if faults else ""
