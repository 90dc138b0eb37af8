"""Labels for any corpus by a trained run, piece by piece, by one worker or several.

A corpus is cut into pieces, in its order. The labels of a piece lie in a file of their own in `annotated-NAME.pieces`
until every piece is there. Then they are put together, and that folder is removed. A piece's file is written whole or
not at all and named by its number, its utterances and the model. So finished pieces are skipped after a kill, and
those that have changed since are labelled again. Pieces do not depend on the worker: one and many give the same files
on hardware of one kind.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from pandas import DataFrame, Series
from pyarrow import Table
from pyarrow.parquet import ParquetWriter
from tqdm import tqdm

from ipr_core.atomic import locked, write
from ipr_core.config import Config, Data
from ipr_core.data import corpora, dataset
from ipr_core.data.cache import default_cache
from ipr_core.data.corpora.table import CorpusError, Fault
from ipr_core.data.waves import SAMPLE_RATE, WaveStore
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.training.labels import table
from ipr_core.training.minibatches import by_length
from ipr_core.training.model import DESCRIPTION, WEIGHTS, Recogniser, in_bf16
from ipr_core.training.views import PASS

PIECE = 256
"""Utterances of a piece."""
_READ = 32 * PIECE  # utterances read at a time
_WRITTEN = 64  # pieces put together at a time
_COLUMNS = ("id", "path", "start", "end", "speaker", "label")
_KEYS = "audio"  # a piece's column of waveform keys, by which corrections are found
_WHOLE = (1, 1)

Piece = tuple[int, str, DataFrame]
"""Number, file name, utterances."""


def annotate(
    run: Run, corpus: Data, folder: Path | None = None, progress: bool = True, shard: tuple[int, int] = _WHOLE
) -> list[Path]:
    """Label any corpus, with labels of its own or without, by a trained run; see `labels.table`.

    Utterances that were corrected in this run have the corrected single label; see `corrections.apply`.
    corpus: as for training; its classes do not matter   folder: for the labels, by default the run's own
    shard: (k, n) for the k-th of n workers, counted from 1: it labels every n-th piece. The worker that finds all
    pieces finished puts them together.
    returns: the Parquet and the CSV file; none while pieces of other workers are missing
    raises CorpusError with every fault at once, of the whole table and of this shard's audio, before anything is
    labelled; RunError if the corrections' file is damaged
    """
    corrections.newest(run)  # refused now rather than after hours
    config = run.config.replace(**corpus.model_dump() | {"classes": run.config.data.classes})
    title = Path(corpus.corpus_path or "").stem if corpus.corpus == "manifest" else corpus.corpus
    folder = Path(folder or run.folder)
    pieces_folder = folder / f"annotated-{title}.pieces"
    mark = _mark(run, config)
    names, unlabelled = _checked(config, mark, pieces_folder, shard, progress)
    pieces_folder.mkdir(parents=True, exist_ok=True)
    if unlabelled:
        _label(run, config, mark, pieces_folder, unlabelled, progress)
    paths = [folder / f"annotated-{title}.parquet", folder / f"annotated-{title}.csv"]
    return paths if _put_together([pieces_folder / name for name in names], run, paths) else []


def _mark(run: Run, config: Config) -> bytes:
    """Return a digest of the model and of max_seconds, on which the labels of every piece depend."""
    digest = hashlib.blake2b(str(config.audio.max_seconds).encode(), digest_size=16)
    for part in (DESCRIPTION, WEIGHTS):
        with open(run.folder / "model" / part, "rb") as file:
            digest.update(hashlib.file_digest(file, "blake2b").digest())
    return digest.digest()


def _pieces(utterances: DataFrame, first: int, mark: bytes) -> Iterator[Piece]:
    """Yield the pieces of some utterances of a corpus; the first has the number `first`."""
    utterances = utterances[[name for name in _COLUMNS if name in utterances]]
    for number, begin in enumerate(range(0, len(utterances), PIECE), first):
        piece = utterances[begin : begin + PIECE]
        digest = hashlib.blake2b(mark, digest_size=8)
        digest.update(pd.util.hash_pandas_object(piece, index=False).to_numpy().tobytes())
        yield number, f"{number:07d}-{digest.hexdigest()}.parquet", piece


def _checked(
    config: Config, mark: bytes, folder: Path, shard: tuple[int, int], progress: bool
) -> tuple[list[str], set[int]]:
    """Return the file name of every piece, and the numbers of those that this shard has to label.

    raises CorpusError with every fault of the table and of the shard's audio; ids are compared by 8 bytes each
    """
    names: list[str] = []
    unlabelled: set[int] = set()
    faults: list[Fault] = []
    ids: list[NDArray[np.uint64]] = []
    blocks = corpora.surveys(config.data, _READ, labels_needed=False, progress=progress)
    for utterances, table_faults in tqdm(blocks, "Checking", unit="block", delay=2, leave=False, disable=not progress):
        pieces = list(_pieces(utterances, len(names), mark))
        names += [name for _, name, _ in pieces]
        ids.append(pd.util.hash_array(utterances["id"].to_numpy(object)))
        own_pieces = [piece for piece in pieces if piece[0] % shard[1] == shard[0] - 1]
        rows = pd.concat([part for *_, part in own_pieces]).index if own_pieces else utterances.index[:0]
        waves, audio_faults = dataset.existing_waves(utterances.loc[rows], default_cache(), progress)
        faults += table_faults + audio_faults
        if not faults:
            unlabelled |= _unlabelled(own_pieces, Series(waves.keys, rows, dtype=str), folder)
    if len(np.unique(np.concatenate(ids))) < sum(
        map(len, ids)
    ):  # rare, so that reading the whole table now is affordable
        faults += corpora.survey(config.data, labels_needed=False, progress=progress)[1]
    if faults:
        raise CorpusError(sorted(dict.fromkeys(faults), key=lambda fault: (fault.source, fault.row or 0)))
    return names, unlabelled


def _unlabelled(pieces: list[Piece], keys: Series, folder: Path) -> set[int]:
    """Return the numbers of pieces without labels, or with labels for other audio.

    keys: of the waveforms, by the utterances' index
    """
    return {
        number
        for number, name, utterances in pieces
        if not (folder / name).exists()
        or pd.read_parquet(folder / name, columns=[_KEYS])[_KEYS].tolist() != keys[utterances.index].tolist()
    }


def _label(run: Run, config: Config, mark: bytes, folder: Path, numbers: set[int], progress: bool) -> None:
    """Label the pieces with these numbers, on a GPU if there is one."""
    model = Recogniser.load(run.folder / "model").to("cuda" if torch.cuda.is_available() else "cpu")
    model.bf16 = in_bf16(config.training)
    bar = tqdm(total=len(numbers), desc="Labelling", unit="piece", delay=2, disable=not progress)
    first = 0
    for utterances, _ in corpora.surveys(config.data, _READ, labels_needed=False, progress=False):
        pieces = list(_pieces(utterances, first, mark))
        first += len(pieces)
        for number, name, piece in pieces:
            if number in numbers:
                labels = _labelled(model, piece, config)
                write(folder / name, labels.to_parquet)
                bar.update()
    bar.close()


def _labelled(model: Recogniser, utterances: DataFrame, config: Config) -> DataFrame:
    """Return a piece's labels and, last, the keys of its waveforms."""
    waves = WaveStore.build(utterances, default_cache(), progress=False)
    classifier_soft, prototypes_soft = _predicted(model, waves, config.audio.max_seconds)
    labels = table(utterances, model.classes, classifier_soft, prototypes_soft, model.by_prototypes)
    return labels.assign(**{_KEYS: waves.keys})


@torch.no_grad()
def _predicted(model: Recogniser, waves: WaveStore, max_seconds: float) -> tuple[NDArray, NDArray]:
    """Return (N, C) shares of every utterance by the classifier and by the prototypes."""
    shape = len(waves), len(model.classes)
    classifier_soft, prototypes_soft = np.empty(shape, np.float32), np.empty(shape, np.float32)
    for rows in by_length(waves.lengths.clip(max=round(max_seconds * SAMPLE_RATE)), PASS):
        minibatch, lengths = waves.batch(rows.tolist(), max_seconds)
        soft = model.label(*model(*model.stem(minibatch.to(model.prototypes.device), lengths)))
        classifier_soft[rows], prototypes_soft[rows] = (shares.cpu().numpy() for shares in soft)
    return classifier_soft, prototypes_soft


def _put_together(pieces: list[Path], run: Run, paths: list[Path]) -> bool:
    """Write the Parquet and the CSV file and remove the pieces; False, without a write, if pieces are missing."""
    folder = pieces[0].parent
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))
        except FileNotFoundError:  # another worker came first
            return False
        if not all(piece.exists() for piece in pieces):
            return False
        parts = [folder / path.name for path in paths]
        _join(pieces, corrections.newest(run), *parts)
        for part, path in zip(parts, paths, strict=True):
            os.replace(part, path)
        for piece in pieces:
            piece.unlink()
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps an open file: a worker may just look at the lock
    return True


def _join(pieces: list[Path], newest: DataFrame, parquet: Path, csv: Path) -> None:
    """Write all pieces in their order as one Parquet and one CSV file, some at a time, with the corrections."""
    schema = None
    with contextlib.ExitStack() as stack:
        writer = None
        for first in range(0, len(pieces), _WRITTEN):
            labels = pd.concat(map(pd.read_parquet, pieces[first : first + _WRITTEN]), ignore_index=True)
            labels = corrections.apply(labels.drop(columns=_KEYS), labels[_KEYS], newest)
            block = Table.from_pandas(labels, schema, preserve_index=False)
            if writer is None:
                schema = block.schema
                writer = stack.enter_context(ParquetWriter(parquet, schema))
            writer.write_table(block)
            labels.to_csv(csv, index=False, header=first == 0, mode="w" if first == 0 else "a")
