"""A partitioned corpus ready for training: the utterance table and its waves."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Index, Series

from ipr_core.config import Config
from ipr_core.data import ambiguity
from ipr_core.data.cache import default_cache
from ipr_core.data.faults import CorpusError, Fault, enumeration
from ipr_core.data.table_checks import checked_table, labelled, log_left_out, simulates
from ipr_core.data.waves import WaveStore

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Dataset:
    """The utterances of D1, D2 and D3, and of V1 and V2, which are held out of the first two (N rows)."""

    table: DataFrame
    """The utterance table with `share` and `part`, index 0..N-1."""
    waves: WaveStore
    classes: tuple[str, ...]
    simulated: bool
    """Whether the votes are simulated annotators'. Every page with a result that rests on them says so."""

    def rows(self, part: str) -> NDArray[np.int64]:
        """Return the rows of "D1", "D2", "D3", "V1" or "V2"."""
        return np.flatnonzero(self.table["part"] == part)

    @property
    def labels(self) -> NDArray[np.int64]:
        """(N,) the released label as a class number. D2's are for scoring, `supervised` and `oracle`; -1: tied."""
        return ambiguity.class_numbers(self.table, self.classes)

    @property
    def votes(self) -> NDArray[np.float64]:
        """(N, C) the annotators' distribution over the classes; NaN rows where it is not known."""
        return ambiguity.soft_votes(self.table, self.classes)

    @property
    def mixtures(self) -> NDArray[np.float64] | None:
        """(N, C) the true mixtures of a synthetic corpus, None for any other."""
        columns = [f"mixture_{name}" for name in self.classes]
        return self.table[columns].to_numpy() if set(columns) <= set(self.table.columns) else None


def load(config: Config, cache: Path | None = None, progress: bool = True) -> Dataset:
    """Read, check, decode and partition a corpus, with simulated annotators if it has none.

    How many utterances are left out is logged, by cause.
    raises CorpusError with every fault of the table and of the audio files at once, or why the table cannot be parted
    """
    cache = cache or default_cache()
    corpus, waves = readable(config, cache, progress)
    rows = labelled(corpus, config)
    table, waves = corpus.iloc[rows].reset_index(drop=True), waves.take(rows)
    _log_durations(table, waves)
    _log_copies(table, waves.sounds)
    table = table.assign(duration=waves.seconds)
    simulated = simulates(config, table)
    if simulated:
        from ipr_core.data.annotators import simulate_annotators, wave_features  # scikit-learn takes long to import

        table = simulate_annotators(table, wave_features(waves, cache, progress), config.data, progress)
    parts = ambiguity.partition(table, config, waves.sounds)
    log_left_out(corpus, parts, config)
    parts = parts[parts["part"] != ""].reset_index(drop=True)
    return Dataset(parts, waves.take(Index(table["id"]).get_indexer(parts["id"])), config.data.classes, simulated)


def readable(config: Config, cache: Path, progress: bool = True) -> tuple[DataFrame, WaveStore]:
    """Return the corpus's table and its waves; no audio is decoded if a sound table cannot be parted.

    raises CorpusError with every fault of the table and of the audio files, or why the table cannot be parted
    """
    table, faults = checked_table(config, progress)
    waves, audio_faults = existing_waves(table, cache, progress)
    if faults or audio_faults:
        raise CorpusError(sorted([*faults, *audio_faults], key=lambda fault: (fault.source, fault.row or 0)))
    return table, waves


def existing_waves(table: DataFrame, cache: Path, progress: bool = True) -> tuple[WaveStore, list[Fault]]:
    """Return the waves of the utterances whose file exists, and the faults of their audio.

    A missing file is a fault of the table, not of the audio.
    """
    exists = {path: os.path.isfile(path) for path in table["path"].unique()}
    return WaveStore.survey(table[table["path"].map(exists).astype(bool)], cache, progress=progress)


def _log_durations(table: DataFrame, waves: WaveStore) -> None:
    """Log a warning of durations in the table that are not those of the sound."""
    stated, seconds = table["duration"].to_numpy(float), waves.seconds
    wrong = np.flatnonzero(np.abs(stated - seconds) > np.maximum(0.5, 0.1 * seconds))  # not where none is given
    if len(wrong):
        sentence = (
            "%d utterances last differently than their duration in the table, the first %s: %g s, and %g s of sound"
        )
        i = int(wrong[0])
        _log.warning(sentence, len(wrong), _row_name(table, i), stated[i], seconds[i])


def _log_copies(table: DataFrame, sounds: NDArray[np.int64]) -> None:
    """Log a warning of utterances that have the same sound as an earlier one."""
    first = Series(np.arange(len(sounds))).groupby(sounds).transform("first").to_numpy()
    copies = np.flatnonzero(first != np.arange(len(sounds)))
    if len(copies):
        pairs = enumeration([f"{_row_name(table, i)} that of {_row_name(table, first[i])}" for i in copies.tolist()], 3)
        _log.warning("%d utterances have the same sound as another: %s", len(copies), pairs)


def _row_name(table: DataFrame, i: int) -> str:
    """Return an utterance's id, and the row where it is."""
    utterance = table.iloc[i]
    row = f", row {utterance['row']}" if utterance["row"] else ""
    return f"{utterance['id']!r} ({utterance['source']}{row})"
