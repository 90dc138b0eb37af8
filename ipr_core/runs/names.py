"""Where runs lie and how their folders are called, without the seconds that torch takes to import."""

from __future__ import annotations

import os
from pathlib import Path

from ipr_core.config import Config


def default_runs() -> Path:
    """Return the default folder of runs: $IPR_RUNS, or `runs` in the checkout, or `runs` in the working folder."""
    checkout = Path(__file__).parents[2]
    parent = checkout if (checkout / "pyproject.toml").exists() else Path()
    return Path(os.environ.get("IPR_RUNS") or parent / "runs")


def name(config: Config) -> str:
    """Return a run's folder name: corpus, encoder, system, seed, and the digest of every setting."""
    encoder, corpus = Path(config.encoder.encoder).name, Path(config.data.corpus).name.removesuffix(".toml")
    return f"{corpus}-{encoder}-{config.training.system}-s{config.training.seed}-{config.digest()}"
