"""The run folder: settings, record and results of a run. Every write to it is atomic.

config.json          settings, versions, a corpus's description, and digests of corpus, encoder and finished files
corpus.parquet       the utterance table with shares and parts
events.jsonl         one line an epoch; replayed, it draws what live training drew
epochs/0007.safetensors   an epoch's arrays
checkpoint.safetensors    the newest state; warm_up.safetensors the state at the end of the warm-up
model/               the trained model, self-contained
labels.parquet, labels.csv   soft and single labels of every utterance
notebooks/, report.html      executed notebooks and the report
corrections/history.csv      labels that a person gave after listening, with who and when
widgets/planes.safetensors   the UMAP planes that the widgets drew
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from pyarrow import parquet
from safetensors import safe_open
from safetensors.numpy import save_file as save_arrays
from torch import Tensor

from ipr_core.atomic import clear_unfinished, locked, write, write_text
from ipr_core.config import Config, SettingsError, recorded
from ipr_core.data.cache import default_cache
from ipr_core.data.corpora import definition
from ipr_core.data.dataset import Dataset
from ipr_core.data.waves import WaveStore
from ipr_core.method.systems import SYSTEMS, System
from ipr_core.runs import files, names, provenance
from ipr_core.runs.events import EpochEnd, without_prototypes
from ipr_core.runs.files import FileError
from ipr_core.runs.record import check_arrays, check_whole, sealed_line, seals, unsealed_line
from ipr_core.sentence import SentenceError
from ipr_core.spreadsheets import csv_text

_OLD_COLUMNS = {"views_agree": "classifier_and_prototypes_agree"}  # of runs that were made before the name changed
_GIVEN = "put its copy back, or remove the folder and train the run again"
_FOLDERS = ("epochs", "model", "notebooks", "corrections", "widgets")
_NAMED = re.compile(r".+-s\d+-[0-9a-f]{8}")
_META = {"settings": dict, "classes": list, "corpus": str, "simulated_annotators": bool}


class RunError(SentenceError, ValueError):
    """A run folder that cannot be used; the message has the file, what is wrong, and the cure."""


class RunBusyError(RunError):
    """A run that another process trains."""


class Run:
    """One run folder; `create` makes it and `open` finds it again.

    Whatever is read from it is checked, and raises RunError if it is not what was written.
    """

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def create(
        cls,
        config: Config,
        data: Dataset,
        runs: Path | str | None = None,
        threads: int | None = None,
        encoder: str | None = None,
    ) -> Run:
        """Make the folder of a configuration below `runs`; training has not begun.

        encoder: the digest of the encoder's files, if it has some
        """
        run = cls(Path(runs or names.default_runs()) / names.name(config))
        write(run.folder / "corpus.parquet", data.table.to_parquet)
        meta = {
            "settings": config.settings(),
            "classes": list(data.classes),
            "corpus": digest(data),
            "simulated_annotators": data.simulated,
            "versions": provenance.versions(),
            "code": provenance.version(),
            "threads": threads,
            "encoder": encoder,
            "reader": definition(config.data.corpus),
            "files": {"corpus.parquet": files.digest((run.folder / "corpus.parquet").read_bytes())},
        }
        run._write_meta({key: value for key, value in meta.items() if value is not None})
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """Return an existing run. raises RunError if the folder holds none, or one that cannot be read"""
        run = cls(Path(folder))
        if not os.path.lexists(run.folder / "config.json"):
            try:
                os.listdir(folder)
                reason = "it has no config.json; `ipr run` and `ipr train` make one"
            except OSError as error:
                reason = f"{error.strerror}; `ipr run` and `ipr train` make one"
            raise RunError(f"{folder} is not a run folder: {reason}")
        if _NAMED.fullmatch(run.folder.name) and names.name(run.config) != run.folder.name:
            raise RunError(f"{run.folder / 'config.json'} is of another run, {names.name(run.config)}; {_GIVEN}")
        return run

    @property
    def exists(self) -> bool:
        """Whether the folder holds a run, which may be damaged."""
        return os.path.lexists(self.folder / "config.json")

    @property
    def meta(self) -> dict[str, Any]:
        """The content of config.json."""
        with self._cured(_GIVEN):
            meta = files.read_json(self.folder / "config.json")
            if wrong := [key for key, kind in _META.items() if not isinstance(meta.get(key), kind)]:
                raise FileError(f"{self.folder / 'config.json'} is of no run: it lacks {', '.join(wrong)}")
        return meta

    @property
    def threads(self) -> int | None:
        """Torch's number of threads in training, on which the last bits depend; None where none is kept yet."""
        return self.meta.get("threads")

    @property
    def encoder(self) -> str | None:
        """The digest of the encoder's files; None for an encoder of ours, or if none is kept yet."""
        return self.meta.get("encoder")

    def keep(self, threads: int, encoder: str | None, parameters: int, memory_gb: float | None = None) -> None:
        """Keep threads, the encoder's digest, the trained parameters' number and memory of a run that has none yet."""
        meta = self.meta
        values = {"threads": threads, "encoder": encoder, "parameters": parameters, "memory_gb": memory_gb}
        missing = {key: value for key, value in values.items() if value is not None and meta.get(key) is None}
        if missing:
            self._write_meta(meta | missing)

    @property
    def config(self) -> Config:
        """The settings."""
        meta = self.meta
        try:
            return recorded(meta["settings"])
        except SettingsError as error:
            version = meta.get("versions", {}).get("ipr-workbench")
            raise RunError(
                f"{self.folder / 'config.json'} has settings that this version does not know, or not with these "
                f"values: {'; '.join(error.faults)}. Version {version} made the run; use that one, or a newer one"
            ) from error

    @property
    def system(self) -> System:
        """The system: its losses and their data."""
        return SYSTEMS[self.config.training.system]

    @property
    def table(self) -> DataFrame:
        """The utterance table with shares and parts."""
        return self._table("corpus.parquet", ("id", "path", "start", "end", "speaker", "label", "part"), _GIVEN)

    def dataset(self, cache: Path | None = None, progress: bool = True) -> Dataset:
        """Load the run's data. raises RunError if an audio file has changed since the run was made"""
        table, meta = self.table, self.meta
        waves = WaveStore.build(table, cache or default_cache(), progress=progress)
        data = Dataset(table, waves, tuple(meta["classes"]), meta["simulated_annotators"])
        if digest(data) != meta["corpus"]:
            raise RunError(
                f"{self.folder}: audio files have changed since this run was made; rename or remove the folder"
            )
        return data

    @property
    def labels(self) -> DataFrame:
        """Soft and single labels of every utterance; see `labels.table`."""
        soft = [f"{kind}_{label}" for kind in ("soft", "model", "prototypes") for label in self.meta["classes"]]
        table = self._table("labels.parquet", ("id", "single_label", *soft), self.mended)
        return table.rename(columns=_OLD_COLUMNS)

    @property
    def warmed_up(self) -> bool:
        """Whether the warm-up is trained."""
        return os.path.lexists(self._state("warm_up")) or self.config.training.warm_up == 0

    @property
    def finished(self) -> bool:
        """Whether the last epoch is trained and model and labels are written."""
        return os.path.lexists(self.folder / "labels.csv")

    @property
    def epochs(self) -> int:
        """Epochs that the record holds."""
        return len(self._lines())

    @property
    def mended(self) -> str:
        """The cure for a damaged file that training makes."""
        return f"`ipr resume {self.folder}` makes it again"

    def events(self) -> list[EpochEnd]:
        """Return the record with arrays, as live training yielded it; without prototypes if the system has none."""
        return list(self.replay())

    def replay(self) -> Iterator[EpochEnd]:
        """Yield the record, one event after the other."""
        for event in self.history():
            yield replace(event, arrays=self.arrays(event.epoch))

    def history(self) -> list[EpochEnd]:
        """Return the record without its arrays, for tables."""
        lines = self._lines()
        with self._cured(self.mended):
            events = [self._line(lines, epoch)[0] for epoch in range(len(lines))]
            if self.finished:
                with files.reading(self.folder / "events.jsonl"):
                    check_whole(lines, self._digests.get("events.jsonl"), self.config.training.epochs)
        return events if self.system.shows_prototypes else [without_prototypes(event) for event in events]

    def event(self, epoch: int) -> EpochEnd:
        """Return a recorded epoch without its arrays."""
        with self._cured(self.mended):
            return self._line(self._lines(), epoch)[0]

    def arrays(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the arrays of a recorded epoch; `EpochEnd.arrays` lists them."""
        lines, path = self._lines(), self._arrays(epoch)
        with self._cured(self.mended):
            seal = self._line(lines, epoch)[1] if epoch < len(lines) else None
            arrays = files.read_arrays(path, seal)
        with self._cured(_GIVEN), files.reading(self.folder / "corpus.parquet"):
            size = parquet.read_metadata(self.folder / "corpus.parquet").num_rows
        with self._cured(self.mended), files.reading(path):
            check_arrays(arrays, size, len(self.meta["classes"]))
        return arrays

    def arrays_stamp(self, epoch: int) -> tuple[int, int] | None:
        """Return size and time of change of a recorded epoch's arrays; None where there are none."""
        with contextlib.suppress(OSError):
            return (status := os.stat(self._arrays(epoch))).st_size, status.st_mtime_ns
        return None

    def row_over_epochs(self, name: str, row: int) -> np.ndarray:
        """Read one row of an array in every recorded epoch, and nothing else.  returns: (E, …)"""
        rows = []
        for epoch in range(self.epochs):
            path = self._arrays(epoch)
            with self._cured(self.mended), files.reading(path), safe_open(path, "numpy") as arrays:
                rows.append(arrays.get_slice(name)[row : row + 1])
        return np.concatenate(rows) if rows else np.empty(0)

    def record(self, event: EpochEnd) -> None:
        """Keep an event: its arrays first, then its line, so that no line lacks its arrays."""
        arrays = {key: np.ascontiguousarray(value) for key, value in event.arrays.items()}
        write(self._arrays(event.epoch), lambda path: save_arrays(arrays, path))
        line = sealed_line(event, arrays)
        self._write_lines([*self._lines()[: event.epoch], line])

    def cut_(self, epochs: int) -> None:
        """Take all epochs but the first ones out of the record, before training goes on from there."""
        try:
            lines = self._lines()
        except RunError:  # no line of it can be read
            lines, epochs = [""], 0
        if len(lines) > epochs:
            self._write_lines(lines[:epochs])

    def reopen_(self) -> None:
        """Make a finished run an unfinished one, whose results training writes again."""
        (self.folder / "labels.csv").unlink(missing_ok=True)

    def save_state(self, state: Mapping[str, Tensor], name: str = "checkpoint") -> None:
        """Keep a state of training."""
        files.write_state(self._state(name), state)

    def load_state(self, name: str = "checkpoint") -> dict[str, Tensor] | None:
        """Return a state; None if there is none yet."""
        path = self._state(name)
        if not os.path.lexists(path):
            return None
        with self._cured(self.mended):
            return files.read_state(path)

    def save_labels(self, table: DataFrame) -> None:
        """Write the labels, with which the run is finished, and keep the digests of what is finished."""
        write(self.folder / "labels.parquet", table.to_parquet)
        text = csv_text(table)
        paths = {name: self.folder / name for name in ("labels.parquet", "model/config.json")}
        digests = {name: files.digest(path.read_bytes()) for name, path in paths.items() if path.exists()}
        digests |= {"events.jsonl": seals(self._lines()), "labels.csv": files.digest(text.encode())}
        self._write_meta(self.meta | {"files": self._digests | digests})
        write_text(self.folder / "labels.csv", text)

    def check_file(self, name: str) -> None:
        """Raise RunError if a finished file is not what was written."""
        with self._cured(self.mended):
            self._content(name)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for training. raises RunBusyError if another process trains it; a killed one holds nothing."""
        for name in _FOLDERS:
            self.subfolder(name)
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / ".lock", wait=False))
            except BlockingIOError:
                sentence = f"{self.folder} is being trained by another process; wait for it, or stop it"
                raise RunBusyError(sentence) from None
            for folder in (self.folder, self.folder / "epochs", self.folder / "model"):  # only training writes there
                clear_unfinished(folder, alone=True)
            self.clear_()
            yield

    def clear_(self) -> None:
        """Remove what killed processes left of files they were writing."""
        for folder in (self.folder, *(self.folder / name for name in _FOLDERS)):
            clear_unfinished(folder)

    def subfolder(self, name: str) -> Path:
        """Return a folder of the run's, which may not exist. raises RunError if it is a link to another place"""
        folder = self.folder / name
        if folder.is_symlink():
            raise RunError(f"{folder} is a symbolic link; a run is written in its own folder alone: remove the link")
        return folder

    @contextlib.contextmanager
    def _cured(self, cure: str) -> Iterator[None]:
        try:
            yield
        except FileError as error:
            raise RunError(f"{error}; {cure}") from error

    @property
    def _digests(self) -> dict[str, str]:
        """Digests of files that are written once, by name; older versions kept none."""
        return self.meta.get("files", {})

    def _content(self, name: str) -> bytes:
        """Return the bytes of a file whose digest is kept. raises FileError if they are not what was written"""
        path = self.folder / name
        with files.reading(path):
            content = path.read_bytes()
            if files.digest(content) != self._digests.get(name, files.digest(content)):
                raise ValueError(files.DAMAGED)
        return content

    def _table(self, name: str, columns: tuple[str, ...], cure: str) -> DataFrame:
        with self._cured(cure):
            content = self._content(name)
            with files.reading(self.folder / name):
                table = pd.read_parquet(io.BytesIO(content))
                if missing := [column for column in columns if column not in table]:
                    raise ValueError(f"it has no column {', '.join(missing)}")
        return table

    def _write_meta(self, meta: dict[str, Any]) -> None:
        write_text(self.folder / "config.json", json.dumps(files.sealed(meta), indent=1, ensure_ascii=False))

    def _write_lines(self, lines: list[str]) -> None:
        write_text(self.folder / "events.jsonl", "".join(line + "\n" for line in lines))

    def _lines(self) -> list[str]:
        """Return the lines of the record; a finished run has some."""
        path = self.folder / "events.jsonl"
        if not self.finished and not os.path.lexists(path):
            return []
        with self._cured(self.mended), files.reading(path):
            return path.read_text("utf-8").splitlines()

    def _line(self, lines: list[str], epoch: int) -> tuple[EpochEnd, str | None]:
        """Return the event of an epoch's line, and its arrays' digest if it has that. raises FileError"""
        try:
            return unsealed_line(lines[epoch], epoch)
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise FileError(f"{self.folder / 'events.jsonl'}, line {epoch + 1}: {error}") from error

    def _arrays(self, epoch: int) -> Path:
        return self.folder / "epochs" / f"{epoch:04d}.safetensors"

    def _state(self, name: str) -> Path:
        return self.folder / f"{name}.safetensors"


def digest(data: Dataset) -> str:
    """Return hex digits that change with any waveform, label, vote or part."""
    columns = [c for c in data.table.columns if c not in ("path", "source", "row", "duration", "sex", "gender", "text")]
    text = data.table[columns].to_csv(index=False) + "".join(data.waves.keys)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
