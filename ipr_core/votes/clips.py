"""The clips of a corpus as a listener hears them: sounds and their keys; no label and no vote is looked at."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ipr_core.config import CORPORA, Data, build
from ipr_core.data import corpora, dataset
from ipr_core.data.cache import default_cache
from ipr_core.data.faults import CorpusError
from ipr_core.data.waves import WaveStore
from ipr_core.runs.run import Run


@dataclass(frozen=True)
class Clips:
    """N clips."""

    ids: list[str]
    """(N,) what the corpus calls them; never shown to a listener."""
    waves: WaveStore

    @property
    def audio(self) -> list[str]:
        """(N,) keys of the sounds, by which votes are found again."""
        return self.waves.keys

    def samples(self, row: int) -> NDArray[np.int16]:
        """Return (T,) samples at 16 kHz. raises CorpusError if the file has changed since the corpus was read"""
        return np.ascontiguousarray(self.waves[row])


def corpus(source: str, settings: dict[str, object] | None = None) -> Data:
    """Return the settings of a corpus.

    source: a corpus's name (see `ipr corpora`) or description, or the path of a manifest or a folder with audio files
    settings: of the configuration, `corpus_path` and `classes` among them; None keeps the default
    raises SettingsError
    """
    described = source in CORPORA or source.endswith(".toml")
    defaults = {"corpus": source} if described else {"corpus": "manifest", "corpus_path": source}
    return build(
        settings=defaults | {name: value for name, value in (settings or {}).items() if value is not None}
    ).data


def run_of(source: Run | Data | str | Path) -> Run | None:
    """Return the run whose folder a path is; None where it is none. raises RunError if the run cannot be read"""
    if isinstance(source, Run | Data):
        return source if isinstance(source, Run) else None
    return Run.open(source) if Run(Path(source).expanduser()).exists else None


def read(data: Data, progress: bool = True) -> Clips:
    """Read a corpus, with labels or without, and decode what is not decoded yet.

    raises CorpusError with every fault of the table and of the audio files at once
    """
    table, faults = corpora.survey(data, labels_needed=False, progress=progress)
    waves, audio_faults = dataset.existing_waves(table, default_cache(), progress)
    if faults or audio_faults:
        raise CorpusError([*faults, *audio_faults])
    return Clips(table["id"].astype(str).tolist(), waves)
