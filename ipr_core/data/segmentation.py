"""Long recordings cut into utterances: from a corpus to a corpus, whose manifest every command reads.

Rows that are not cut stay as they are. A row that is cut becomes a row per utterance, with start and end, its speaker
and session, and without label and votes, which belong to the whole. What can be cut, and where, depends on the sound
and `max_seconds` alone (`voice_activity`, `pauses`), never on the worker. How likely each frame is speech lies in the
cache, so that nothing is heard for it twice.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import logging
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series
from pandas.api.types import is_numeric_dtype

from ipr_core.atomic import write
from ipr_core.config import SAMPLE_RATE, Data
from ipr_core.data import cache, corpora, dataset
from ipr_core.data.block_faults import BlockFaults
from ipr_core.data.corpora.columns import PLAIN
from ipr_core.data.corpora.table import UNLABELLED, share_columns, vote_columns
from ipr_core.data.faults import CorpusError, Fault, enumeration, number_of
from ipr_core.data.loudness import FEWEST_FRAMES, sounding
from ipr_core.data.source import DECODER
from ipr_core.data.waves import WaveStore
from ipr_core.names import Segment
from ipr_core.progress import Progress
from ipr_core.spreadsheets import to_csv

_READ = 8192  # utterances read at a time
_DIGITS = 6  # of seconds
_log = logging.getLogger(__name__)

Times = NDArray[np.float64]


@dataclass(frozen=True)
class Segmentation:
    """A corpus whose long recordings are cut, and what became of them."""

    data: Data
    """The corpus of the utterances: a manifest, or the corpus itself where nothing had to be cut."""
    recordings: int
    """How many were cut."""
    utterances: int
    """How many were made of them."""
    speechless: tuple[str, ...]
    """Ids of those that have none: no speech was found in them."""

    @property
    def changed(self) -> bool:
        """Whether anything was cut or left out."""
        return bool(self.recordings or self.speechless)

    @property
    def sentences(self) -> list[str]:
        """What was cut, and what was left out."""
        lines = []
        if self.recordings:
            parts = number_of(self.utterances, "utterance")
            lines.append(f"{number_of(self.recordings, 'recording')} cut at pauses into {parts}")
        if self.speechless:
            rows = number_of(len(self.speechless), "recording")
            lines.append(f"no speech was found in {rows}, left out: {enumeration(self.speechless, 3)}")
        return lines


def segmented(
    data: Data,
    max_seconds: float,
    segment: Segment = "auto",
    file: Path | None = None,
    shard: tuple[int, int] = (1, 1),
    progress: bool = True,
) -> Segmentation:
    """Cut the recordings of a corpus into utterances, and write them as a manifest.

    max_seconds: of the longest utterance
    segment: "auto": recordings that are longer are cut; "vad": also shorter files, unless the corpus gives start or end
    file: the manifest; None: one in the cache, if anything is cut
    shard: (k, n): the k-th of n workers hears its share first, and finds what the others have heard in the cache
    raises CorpusError with every fault of the table and the audio at once, or if there is no speech in any of it;
    WriteError
    """
    if segment == "none":
        return Segmentation(data, 0, 0, ())
    if shard[1] > 1:
        _hear_share(data, max_seconds, segment, shard, progress)
    cuts = _cuts(data, max_seconds, segment, progress)
    corpus = data
    if cuts.times or file:
        file = file or _file_in_cache(data, max_seconds, segment)
        with cache.writable(file.parent) if file.parent == _folder() else contextlib.nullcontext():
            write(file, functools.partial(_write, data, cuts))
        corpus = data.model_copy(update={"corpus": "manifest", "corpus_path": os.fspath(file)})
    count = sum(map(len, cuts.times.values()))
    return Segmentation(corpus, len(cuts.times) - len(cuts.speechless), count, tuple(cuts.speechless))


@dataclass
class _Cuts:
    """Where the rows of a corpus are cut, and which columns its manifest has."""

    times: dict[int, Times] = field(default_factory=dict)
    """Start and end of the utterances of every row that is cut, (K, 2) seconds, by the row's number."""
    speechless: list[str] = field(default_factory=list)
    """Ids of the rows that are cut and have none."""
    columns: set[str] = field(default_factory=lambda: {"id", "path", "start", "end", "label"})
    """Those that have to be there, and those that hold something in some row."""


def _surveys(data: Data, progress: bool, notes: bool = False) -> Iterator[tuple[int, DataFrame, list[Fault]]]:
    """Yield the number of a block's first row, its utterances and its faults. Excited stays excited."""
    first = 0
    as_it_is = data.model_copy(update={"merge_excited": False})
    for table, faults in corpora.surveys(as_it_is, _READ, labels_needed=False, progress=progress, notes=notes):
        yield first, table, faults
        first += len(table)


def _hear_share(data: Data, max_seconds: float, segment: Segment, shard: tuple[int, int], progress: bool) -> None:
    """Put the speech of every n-th row into the cache. Faults are named later."""
    for first, table, _ in _surveys(data, progress):
        share = table[(np.arange(first, first + len(table)) % shard[1]) == shard[0] - 1]
        waves, faults = dataset.existing_waves(share, cache.default_cache(), progress)
        if not faults:
            for _ in _hear(waves, _to_cut(waves, share, max_seconds, segment), progress):
                pass


def _cuts(data: Data, max_seconds: float, segment: Segment, progress: bool) -> _Cuts:
    """Hear what has to be cut. raises CorpusError"""
    cuts, block_faults, rows = _Cuts(), BlockFaults(data), 0
    for first, table, table_faults in _surveys(data, progress, notes=True):
        waves, audio_faults = dataset.existing_waves(table, cache.default_cache(), progress)
        block_faults.add(table, [*table_faults, *audio_faults])
        rows += len(table)
        if block_faults:
            continue
        cuts.columns |= {name for name in (*PLAIN, *share_columns(table)) if name in table and _is_filled(table[name])}
        rows_to_cut = _to_cut(waves, table, max_seconds, segment)
        for i, speech in zip(rows_to_cut, _hear(waves, rows_to_cut, progress), strict=True):
            times = _times(waves, i, speech, max_seconds) + np.nan_to_num(table["start"].iloc[i])
            cuts.times[first + i] = times
            cuts.speechless += [] if len(times) else [table["id"].iloc[i]]
    block_faults.refuse()
    if len(cuts.speechless) == rows:
        source, cure = data.corpus_path or data.corpus, "check that it is speech, or do not segment"
        raise CorpusError([Fault(source, None, "no speech was found in any of it", cure)])
    return cuts


def _is_filled(cells: Series) -> bool:
    return bool(cells.fillna(0).ne(0).any() if is_numeric_dtype(cells) else cells.ne("").any())


def _to_cut(waves: WaveStore, table: DataFrame, max_seconds: float, segment: Segment) -> list[int]:
    """Return the rows that are cut: what is too long, and with "vad" every file that is whole."""
    rows_to_cut = waves.lengths > round(max_seconds * SAMPLE_RATE)
    if segment == "vad":
        rows_to_cut |= table[["start", "end"]].isna().all(axis=1).to_numpy()
    return np.flatnonzero(rows_to_cut).tolist()


def _hear(waves: WaveStore, rows: list[int], progress: bool) -> Iterator[NDArray[np.float32]]:
    """Yield how likely the frames of some clips are speech, (N,) each, from the cache where it has them."""
    with cache.writable(cache.default_cache()):
        for i in Progress(rows, "Finding pauses", "recording", shown=progress):
            yield _speech(waves, i)


def _speech(waves: WaveStore, i: int) -> NDArray[np.float32]:
    from ipr_core.data import voice_activity

    parts = f"{waves.keys[i]} {DECODER} {voice_activity.network()}"
    name = hashlib.blake2b(parts.encode(), digest_size=16).hexdigest()
    file = cache.default_cache() / "speech" / name[:2] / f"{name}.npy"
    cache.clear_once(file.parent)
    stored = cache.sealed(file, "<f4", 1)
    if stored is None:
        speech = voice_activity.speech(waves, i).astype("<f4")

        def save(copy: str) -> None:
            with open(copy, "wb") as stream:
                np.save(stream, speech, allow_pickle=False)
            cache.seal(copy)

        write(file, save)
        return speech
    return np.array(stored[0])


def _times(waves: WaveStore, i: int, speech: NDArray[np.float32], max_seconds: float) -> Times:
    """Return start and end of a clip's utterances in seconds, (K, 2); none is silent."""
    from ipr_core.data.pauses import utterances
    from ipr_core.data.voice_activity import FRAME

    spans = (utterances(speech, max_seconds) * FRAME).clip(max=int(waves.lengths[i]))
    audible = [sounding(waves[i][first:last]).sum() >= 2 * FEWEST_FRAMES for first, last in spans.tolist()]
    return spans[np.array(audible, bool)] / SAMPLE_RATE


def _file_in_cache(data: Data, max_seconds: float, segment: Segment) -> Path:
    """Return the place of a corpus's manifest: the same for all workers, and for every try."""
    path = Path(data.corpus_path or "").expanduser().resolve()
    words = f"{data.model_dump_json()} {os.fspath(path)} {max_seconds} {segment}"
    digest = hashlib.blake2b(words.encode("utf-8", "surrogateescape"), digest_size=16).hexdigest()
    return _folder() / f"{digest}.csv"


def _folder() -> Path:
    return cache.default_cache() / "segments"


def _write(data: Data, cuts: _Cuts, copy: str) -> None:
    """Write the manifest, a block at a time."""
    for first, table, _ in _surveys(data, progress=False):
        times = [cuts.times.get(row) for row in range(first, first + len(table))]
        manifest = _expanded(table, times)
        columns = [name for name in manifest if name in cuts.columns and name != "duration"]
        to_csv(manifest[columns], copy, header=first == 0, mode="a" if first else "w")


def _expanded(table: DataFrame, times: list[Times | None]) -> DataFrame:
    """Return a row per utterance.

    times: start and end of the utterances of every row, None for a row that is not cut
    """
    rows = np.repeat(np.arange(len(table)), [1 if spans is None else len(spans) for spans in times])
    manifest = table.assign(label=_labels(table)).iloc[rows].reset_index(drop=True)
    cut = np.array([spans is not None for spans in times], bool)[rows]
    if cut.any():
        spans = np.concatenate([spans for spans in times if spans is not None]).round(_DIGITS)
        manifest.loc[cut, "id"] += [f"@{start}-{end}" for start, end in spans.tolist()]
        manifest.loc[cut, ["start", "end"]] = spans
        manifest.loc[cut, "label"] = UNLABELLED
        manifest.loc[cut, share_columns(table)] = 0.0
        manifest.loc[cut, [name for name in ("part",) if name in table]] = ""
    return manifest


def _labels(table: DataFrame) -> Series:
    """Return the labels as a manifest has them: one that is missing, without votes, is so on purpose."""
    has_votes = table[vote_columns(table)].to_numpy(float).any(axis=1)
    return table["label"].mask((table["label"] == "") & ~has_votes, UNLABELLED)
