"""Labels for any corpus by a trained run, piece by piece, by one worker or several.

A corpus is cut into pieces, in its order. The labels of a piece lie in a file of their own in `annotated-NAME.pieces`
until every piece is there. Then they are put together, and that folder is removed. A piece's file is written whole or
not at all and named by its number, its utterances and the model. So finished pieces are skipped after a kill, and
those that have changed since, or are damaged, are labelled again. Pieces do not depend on the worker: one and many give
the same files on hardware of one kind.

A model that is centred by speaker hears the whole corpus twice: first for the speakers' means, then for the labels.
Then a piece's name is of the corpus's whole table too, since an utterance more moves the mean of its speaker.

Recordings that are too long for the model are cut into utterances first, see `data.segmentation`: what is labelled is
then the manifest that comes of it, under the name of the corpus that was given.

NAME says whose labels they are: where the corpus lies, and a digest of its whole path and the run's name. So labels of
another corpus or by another run are never replaced, those of the same corpus are, and all workers agree on the name.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame, Series
from pyarrow import ArrowException, Table
from pyarrow.parquet import ParquetWriter

from ipr_core import labelling, recordings
from ipr_core.atomic import WriteError, locked, prepare_folder, write
from ipr_core.config import Config, Data
from ipr_core.data import audformat_labels, corpora, dataset, segmentation
from ipr_core.data.block_faults import BlockFaults
from ipr_core.data.cache import default_cache
from ipr_core.data.source import DECODER
from ipr_core.data.waves import WaveStore
from ipr_core.labelling import KEYS, LENGTHS, Order, Piece, Work, in_this_process
from ipr_core.names import Segment
from ipr_core.progress import Progress
from ipr_core.runs import corrections
from ipr_core.runs.run import Run, RunError
from ipr_core.spreadsheets import to_csv
from ipr_core.training import onnx_file
from ipr_core.training.centring import SpeakerMeans
from ipr_core.training.labels import table
from ipr_core.training.model import Recogniser
from ipr_core.training.processes import best_device

PIECE = 256
"""Utterances of a piece."""
_READ = 32 * PIECE  # utterances read at a time
_WRITTEN = 64  # pieces put together at a time
_COLUMNS = ("id", "path", "start", "end", "channel", "speaker", "label")
_ENDINGS = (".parquet", ".csv", "-recordings.parquet", "-recordings.csv", "-textgrids")  # of what is written
_LETTERS = 60  # of a corpus's name in a file's name
_log = logging.getLogger(__name__)


def annotate(
    run: Run,
    corpus: Data,
    folder: Path | None = None,
    progress: bool = True,
    shard: tuple[int, int] = (1, 1),
    segment: Segment = "auto",
    textgrid: bool = False,
    work: Work = in_this_process,
    onnx: bool = False,
) -> list[Path]:
    """Label any corpus, with labels of its own or without, by a trained run; see `labels.table`.

    Utterances that were corrected in this run have the corrected single label; see `corrections.apply`.
    corpus: as for training; its classes do not matter   folder: for the labels, by default the run's own
    shard: (k, n) for the k-th of n, counted from 1: every n-th piece. Whoever finds all finished puts them together
    segment: which recordings are cut, see `segmentation.segmented`   onnx: whether onnxruntime hears them, on the CPU
    textgrid: whether recordings in parts get TextGrids too   work: who labels the pieces, see `batch.pieces`
    returns: the labels as Parquet and CSV; of recordings in parts also their summary as both, and a folder of
    TextGrids; none while pieces of other workers are missing
    raises CorpusError with every fault at once, of the table and the audio (with "none": of this shard's), before
    anything is labelled; before anything is read, WriteError if the labels cannot lie there, and what `onnx_file.check`
    raises; RunError if the corrections' file or the model is damaged, or a piece of another worker
    """
    corrections.newest(run)  # refused now rather than after hours
    model = labelling.model(os.path.abspath(run.folder), weights := labelling.weights(run))
    prefix = f"{folder or run.folder}/annotated-{name(run, corpus)}"
    targets, pieces_folder = [Path(prefix + ending) for ending in _ENDINGS], Path(f"{prefix}.pieces")
    _check(pieces_folder, targets, model if onnx else None)
    cut_corpus = segmentation.segmented(corpus, model.max_seconds, segment, None, shard, progress)
    if cut_corpus.changed:
        _log.warning("%s", "; ".join(cut_corpus.sentences))
    config = run.config.replace(**cut_corpus.data.model_dump() | {"classes": run.config.data.classes})
    mark = _mark(weights, config, model.centred, onnx)
    names, unlabelled = _checked(config, mark, pieces_folder, shard, progress, notes=segment == "none")
    if unlabelled:
        order = Order(os.path.abspath(run.folder), weights, os.path.abspath(pieces_folder))
        _label(order, model, config, mark, unlabelled, work, progress, onnx)
    labelling.model.cache_clear()
    return _put_together([pieces_folder / name for name in names], run, corpus, targets, textgrid)


def name(run: Run, corpus: Data) -> str:
    """Return the name of a corpus's labels: its folder and file, or the reader, and a digest of whose labels they are.

    The digest is of the corpus's whole path, without links, and of the run's name.
    """
    path = _path(corpus)
    of_files = path.name if path.is_dir() else f"{path.parent.name}-{path.stem}"
    title = of_files if corpus.corpus == "manifest" else corpus.corpus
    plain = re.sub(r"[^\w.-]+", "_", title)[:_LETTERS].strip("._-")
    parts = (corpus.corpus, os.fspath(path), run.folder.resolve().name)
    digest = hashlib.blake2b("\0".join(parts).encode("utf-8", "surrogateescape"), digest_size=4).hexdigest()
    return f"{plain}-{digest}" if plain else digest


def _path(corpus: Data) -> Path:
    return Path(corpus.corpus_path or "").expanduser().resolve()


def _check(pieces_folder: Path, files: Sequence[Path], exported: Recogniser | None) -> None:
    """Raise WriteError, before anything is read, if pieces or the files made of them cannot lie there.

    files: the last one is a folder   exported: a model that has to be written as ONNX, see `onnx_file.check`
    """
    if exported is not None:
        onnx_file.check(exported, pieces_folder)
    prepare_folder(pieces_folder)
    for file in files[:-1]:
        if file.is_dir():
            raise WriteError(file, "it is a folder", "remove it, or name another place")


def _graph(model: Recogniser, folder: Path, mark: bytes) -> str:
    """Write a model as ONNX beside the pieces, once, and return its file."""
    path = folder / f"model-{mark.hex()[:16]}.onnx"
    if not path.is_file():
        onnx_file.save(model, path)
    return os.path.abspath(path)


def _mark(weights: str, config: Config, whole_table: bool, onnx: bool) -> bytes:
    """Return a digest of the model, of its settings, the decoder and the labels' columns: pieces depend on all.

    whole_table: and of every utterance of the corpus
    """
    shares = np.empty((0, len(config.data.classes)), np.float32)
    columns = table(DataFrame(columns=_COLUMNS), config.data.classes, shares, shares, shares).columns
    parts = [config.audio.max_seconds, config.training.precision, DECODER, *columns, *LENGTHS, KEYS, weights]
    parts += ["onnx"] if onnx else []
    digest = hashlib.blake2b(repr(parts).encode(), digest_size=16)
    for utterances in _blocks(config) if whole_table else ():
        digest.update(_hash(utterances))
    return digest.digest()


def _blocks(config: Config) -> Iterator[DataFrame]:
    """Yield the corpus's utterances, some thousands at a time, in its order; faults are `_checked`'s to name."""
    for utterances, _ in corpora.surveys(config.data, _READ, labels_needed=False, progress=False, notes=False):
        yield utterances


def _hash(utterances: DataFrame) -> bytes:
    columns = [name for name in _COLUMNS if name in utterances]
    return pd.util.hash_pandas_object(utterances[columns], index=False).to_numpy().tobytes()


def _pieces(utterances: DataFrame, first: int, mark: bytes) -> Iterator[Piece]:
    """Yield the pieces of some utterances of a corpus; the first has the number `first`."""
    utterances = utterances[[name for name in _COLUMNS if name in utterances]]
    for number, begin in enumerate(range(0, len(utterances), PIECE), first):
        piece = utterances[begin : begin + PIECE]
        digest = hashlib.blake2b(mark, digest_size=8)
        digest.update(_hash(piece))
        yield number, f"{number:07d}-{digest.hexdigest()}.parquet", piece


def _checked(
    config: Config, mark: bytes, folder: Path, shard: tuple[int, int], progress: bool, notes: bool
) -> tuple[list[str], set[int]]:
    """Return the file name of every piece, and the numbers of those that this shard has to label.

    notes: whether it is logged what was read
    raises CorpusError with every fault of the table and of the shard's audio
    """
    names: list[str] = []
    unlabelled: set[int] = set()
    block_faults = BlockFaults(config.data)
    blocks = corpora.surveys(config.data, _READ, labels_needed=False, progress=progress, notes=notes)
    for utterances, table_faults in Progress(blocks, "Checking", "block", shown=progress):
        pieces = list(_pieces(utterances, len(names), mark))
        names += [name for _, name, _ in pieces]
        own_pieces = [piece for piece in pieces if piece[0] % shard[1] == shard[0] - 1]
        rows = pd.concat([part for *_, part in own_pieces]).index if own_pieces else utterances.index[:0]
        waves, audio_faults = dataset.existing_waves(utterances.loc[rows], default_cache(), progress)
        block_faults.add(utterances, [*table_faults, *audio_faults])
        if not block_faults:
            unlabelled |= _unlabelled(own_pieces, Series(waves.keys, rows, dtype=str), folder)
    block_faults.refuse()
    return names, unlabelled


def _unlabelled(pieces: list[Piece], keys: Series, folder: Path) -> set[int]:
    """Return the numbers of pieces without labels, with damaged ones, or with labels for other audio.

    keys: of the waveforms, by the utterances' index
    """
    numbers = set()
    for number, name, utterances in pieces:
        try:
            labels = _stored(folder / name) if (folder / name).is_file() else None
        except RunError as error:
            _log.warning("%s", error)
            labels = None
        if labels is None or labels[KEYS].tolist() != keys[utterances.index].tolist():
            numbers.add(number)
    return numbers


def _stored(piece: Path) -> DataFrame:
    """Return the labels of a piece. raises RunError if it is damaged"""
    try:
        labels = pd.read_parquet(piece, page_checksum_verification=True)
        if KEYS not in labels:
            raise ValueError(f"it has no column {KEYS!r}")
        return labels
    except (OSError, ValueError, ArrowException) as error:
        cure = "the same command labels this piece again, without --shard if another worker has labelled it"
        raise RunError(f"{piece} is damaged ({error}); {cure}") from error


def _all_pieces(config: Config, mark: bytes) -> Iterator[Piece]:
    first = 0
    for utterances in _blocks(config):
        pieces = list(_pieces(utterances, first, mark))
        first += len(pieces)
        yield from pieces


def _label(
    order: Order,
    model: Recogniser,
    config: Config,
    mark: bytes,
    numbers: set[int],
    work: Work,
    progress: bool,
    onnx: bool,
) -> None:
    """Have the pieces with these numbers labelled."""
    Path(order.folder).mkdir(parents=True, exist_ok=True)
    if onnx:
        order = replace(order, graph=_graph(model, Path(order.folder), mark))
    if model.centred:
        order = replace(order, means=str(_speaker_means(model, config, Path(order.folder), mark, progress)))
    pieces = (piece for piece in _all_pieces(config, mark) if piece[0] in numbers)
    with Progress(range(0), "Labelling", "piece", len(numbers), progress) as bar:
        for _ in work(order, pieces, len(numbers)):
            bar.update()


def _speaker_means(model: Recogniser, config: Config, folder: Path, mark: bytes, progress: bool) -> Path:
    """Find the means of the corpus's speakers, and keep them in a file beside the pieces, so that it is done once."""
    path = folder / f"speakers-{mark.hex()[:16]}.safetensors"
    if path.is_file() and SpeakerMeans.read(path, model.centre) is not None:
        return path
    means = SpeakerMeans(model.to(best_device()).centre)
    for _, _, piece in Progress(_all_pieces(config, mark), "Hearing the speakers", "piece", shown=progress):
        waves = WaveStore.build(piece, default_cache(), progress=False)
        model.add_to_means_(means, waves, piece["speaker"].tolist())
    if not means.known:
        _log.warning(
            "no utterance has a speaker; the model was trained on vectors centred by speaker and is less right"
            " without: give a column `speaker`"
        )
    write(path, means.save)
    return path


def in_audformat(parquet: Path, run: Run, corpus: Data) -> Path:
    """Write labels as a database in audformat too, beside the files that `annotate` wrote; see `audformat_labels`.

    returns: its folder   raises CorpusError, WriteError
    """
    root = _path(corpus) if _path(corpus).is_dir() else _path(corpus).parent
    description = f"labels by the run {run.folder.resolve().name}"
    folder = parquet.with_suffix(".audformat")
    return audformat_labels.save(pd.read_parquet(parquet), run.config.data.classes, root, folder, description)


def cut(parquet: Path) -> tuple[int, float]:
    """Return how many recordings of an annotated corpus are longer than what was heard of them, and that limit.

    parquet: the file of the labels   returns: the limit in seconds, 0 if there is none
    """
    seconds, limits = pd.read_parquet(parquet, columns=list(LENGTHS)).to_numpy().T
    longer = seconds > limits
    return int(longer.sum()), float(limits[longer].max(initial=0))


def _put_together(pieces: list[Path], run: Run, corpus: Data, targets: list[Path], textgrid: bool) -> list[Path]:
    """Write the labels, and what they say of recordings, and remove the pieces.

    targets: every file or folder that may be written
    returns: those that were; none, without a write, if pieces are missing
    """
    folder = pieces[0].parent
    with contextlib.ExitStack() as stack:
        try:
            stack.enter_context(locked(folder / ".lock"))
        except FileNotFoundError:  # another worker came first
            return []
        if not all(piece.exists() for piece in pieces):
            return []
        parts = [folder / path.name for path in targets]
        _join(pieces, corrections.newest(run), _origin(run, corpus), *parts[:2])
        grids = parts[4] if textgrid else None
        recordings.write(parts[0], run.config.data.classes, parts[2], parts[3], grids)
        for part, path in zip(parts, targets, strict=True):
            _move(part, path)
        for piece in pieces:
            piece.unlink()
    shutil.rmtree(folder, ignore_errors=True)  # Windows keeps an open file: a worker may just look at the lock
    return [path for path in targets if path.exists()]


def _move(part: Path, path: Path) -> None:
    """Put a file or folder in its place, where nothing older stays."""
    if path.is_dir():
        shutil.rmtree(path)
    if part.exists():
        os.replace(part, path)
    else:
        path.unlink(missing_ok=True)


def _origin(run: Run, corpus: Data) -> dict[str, str]:
    """Return the corpus and the run of the labels, for the Parquet file's metadata."""
    origin = {"run": run.folder.resolve().name, "corpus": corpus.corpus, "corpus_path": os.fspath(_path(corpus))}
    return {"ipr_core": json.dumps(origin)}


def _join(pieces: list[Path], newest: DataFrame, origin: dict[str, str], parquet: Path, csv: Path) -> None:
    """Write all pieces in their order as one Parquet and one CSV file, some at a time, with the corrections."""
    schema = None
    with contextlib.ExitStack() as stack:
        writer = None
        for first in range(0, len(pieces), _WRITTEN):
            labels = pd.concat(map(_stored, pieces[first : first + _WRITTEN]), ignore_index=True)
            labels = corrections.apply(labels.drop(columns=KEYS), labels[KEYS], newest)
            block = Table.from_pandas(labels, schema, preserve_index=False)
            if writer is None:
                schema = block.schema.with_metadata((block.schema.metadata or {}) | origin)
                writer = stack.enter_context(ParquetWriter(parquet, schema))
            writer.write_table(block)
            to_csv(labels, csv, header=first == 0, mode="w" if first == 0 else "a")
