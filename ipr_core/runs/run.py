"""The run folder: settings, record and results of a run. Every write to it is atomic.

config.json          settings, versions, and the corpus's digest
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
import json
import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from pandas import DataFrame
from safetensors import safe_open
from safetensors.numpy import load_file as load_arrays
from safetensors.numpy import save_file as save_arrays
from safetensors.torch import load_file as load_tensors
from safetensors.torch import save_file as save_tensors

from ipr_core.atomic import clear_unfinished, locked, write, write_text
from ipr_core.config import Config, recorded
from ipr_core.data.cache import default_cache
from ipr_core.data.dataset import Dataset
from ipr_core.data.waves import WaveStore
from ipr_core.method.systems import SYSTEMS, System
from ipr_core.runs import provenance
from ipr_core.runs.events import EpochEnd, from_json, to_json, without_prototypes
from ipr_core.spreadsheets import to_csv

_OLD_COLUMNS = {"views_agree": "classifier_and_prototypes_agree"}  # of runs that were made before the name changed


class RunError(ValueError):
    """A run folder that cannot be used; the message has reason and cure."""


class Run:
    """One run folder; `create` makes it and `open` finds it again."""

    def __init__(self, folder: Path):
        self.folder = Path(folder)

    @classmethod
    def create(cls, config: Config, data: Dataset, runs: Path | str | None = None, threads: int | None = None) -> Run:
        """Make the folder of a configuration below `runs`; training has not begun."""
        run = cls(Path(runs or default_runs()) / name(config))
        run.folder.mkdir(parents=True, exist_ok=True)
        write(run.folder / "corpus.parquet", data.table.to_parquet)
        meta = {
            "settings": config.settings(),
            "classes": list(data.classes),
            "corpus": digest(data),
            "simulated_annotators": data.simulated,
            "versions": provenance.versions(),
            "code": provenance.version(),
        }
        run._write_meta(meta | ({} if threads is None else {"threads": threads}))
        return run

    @classmethod
    def open(cls, folder: Path | str) -> Run:
        """Return an existing run. raises RunError if the folder holds none"""
        run = cls(Path(folder))
        if not run.exists:
            raise RunError(f"{folder} is not a run folder: it has no config.json; `ipr run` and `ipr train` make one")
        return run

    @property
    def exists(self) -> bool:
        return (self.folder / "config.json").exists()

    @property
    def meta(self) -> dict[str, Any]:
        return json.loads((self.folder / "config.json").read_text("utf-8"))

    @property
    def threads(self) -> int | None:
        """Torch's number of threads in training, on which the last bits depend; None where none is kept yet."""
        return self.meta.get("threads")

    def keep_threads(self, threads: int) -> None:
        """Keep the number of threads of a run that has none yet."""
        if self.threads is None:
            self._write_meta(self.meta | {"threads": threads})

    @property
    def config(self) -> Config:
        return recorded(self.meta["settings"])

    @property
    def system(self) -> System:
        """The system: its losses and their data."""
        return SYSTEMS[self.config.training.system]

    @property
    def table(self) -> DataFrame:
        """The utterance table with shares and parts."""
        return pd.read_parquet(self.folder / "corpus.parquet")

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
        return pd.read_parquet(self.folder / "labels.parquet").rename(columns=_OLD_COLUMNS)

    @property
    def warmed_up(self) -> bool:
        """Whether the warm-up is trained."""
        return (self.folder / "warm_up.safetensors").exists() or self.config.training.warm_up == 0

    @property
    def finished(self) -> bool:
        """Whether the last epoch is trained and model and labels are written."""
        return (self.folder / "labels.csv").exists()

    @property
    def epochs(self) -> int:
        """Epochs that the record holds."""
        return len(self._lines())

    def events(self) -> list[EpochEnd]:
        """Return the record with arrays, as live training yielded it; without prototypes if the system has none."""
        return list(self.replay())

    def replay(self) -> Iterator[EpochEnd]:
        """Yield the record, one event after the other."""
        for event in self.history():
            yield replace(event, arrays=self.arrays(event.epoch))

    def history(self) -> list[EpochEnd]:
        """Return the record without its arrays, for tables."""
        events = [from_json(json.loads(line)) for line in self._lines()]
        return events if self.system.shows_prototypes else [without_prototypes(event) for event in events]

    def arrays(self, epoch: int) -> dict[str, np.ndarray]:
        """Return the arrays of a recorded epoch; `EpochEnd.arrays` lists them."""
        return load_arrays(self._arrays(epoch))

    def row_over_epochs(self, name: str, row: int) -> np.ndarray:
        """Read one row of an array in every recorded epoch, and nothing else.  returns: (E, …)"""
        rows = []
        for epoch in range(self.epochs):
            with safe_open(self._arrays(epoch), "numpy") as arrays:
                rows.append(arrays.get_slice(name)[row : row + 1])
        return np.concatenate(rows) if rows else np.empty(0)

    def record(self, event: EpochEnd) -> None:
        """Keep an event: its arrays first, then its line, so that no line lacks its arrays."""
        (self.folder / "epochs").mkdir(exist_ok=True)
        arrays = {key: np.ascontiguousarray(value) for key, value in event.arrays.items()}
        write(self._arrays(event.epoch), lambda path: save_arrays(arrays, path))
        lines = [*self._lines()[: event.epoch], json.dumps(to_json(event), ensure_ascii=False)]
        write_text(self.folder / "events.jsonl", "".join(line + "\n" for line in lines))

    def save_state(self, state: dict[str, Any], name: str = "checkpoint") -> None:
        tensors = {key: value.detach().to("cpu", copy=True).contiguous() for key, value in state.items()}
        write(self.folder / f"{name}.safetensors", lambda path: save_tensors(tensors, path))

    def load_state(self, name: str = "checkpoint") -> dict[str, Any] | None:
        """Return the state saved last; None if there is none yet."""
        path = self.folder / f"{name}.safetensors"
        return load_tensors(path) if path.exists() else None

    def save_labels(self, table: DataFrame) -> None:
        write(self.folder / "labels.parquet", table.to_parquet)
        write(self.folder / "labels.csv", lambda path: to_csv(table, path))

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the run for training. raises RunError if another process trains it; a killed one holds nothing."""
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.folder / ".lock", wait=False))
            except BlockingIOError:
                raise RunError(f"{self.folder} is being trained by another process; wait for it, or stop it") from None
            for folder in (self.folder, self.folder / "epochs", self.folder / "model"):  # only training writes there
                clear_unfinished(folder, alone=True)
            for name in ("notebooks", "corrections", "widgets"):
                clear_unfinished(self.folder / name)
            yield

    def _write_meta(self, meta: dict[str, Any]) -> None:
        write_text(self.folder / "config.json", json.dumps(meta, indent=1, ensure_ascii=False))

    def _lines(self) -> list[str]:
        path = self.folder / "events.jsonl"
        return path.read_text("utf-8").splitlines() if path.exists() else []

    def _arrays(self, epoch: int) -> Path:
        return self.folder / "epochs" / f"{epoch:04d}.safetensors"


def default_runs() -> Path:
    """Return the default folder of runs: $IPR_RUNS, or `runs` in the checkout, or `runs` in the working folder."""
    checkout = Path(__file__).parents[2]
    parent = checkout if (checkout / "pyproject.toml").exists() else Path()
    return Path(os.environ.get("IPR_RUNS") or parent / "runs")


def name(config: Config) -> str:
    """Return a run's folder name: corpus, encoder, system, seed, and the digest of every setting."""
    encoder = Path(config.encoder.encoder).name
    return f"{config.data.corpus}-{encoder}-{config.training.system}-s{config.training.seed}-{config.digest()}"


def digest(data: Dataset) -> str:
    """Return hex digits that change with any waveform, label, vote or part."""
    columns = [c for c in data.table.columns if c not in ("path", "source", "row", "duration")]
    text = data.table[columns].to_csv(index=False) + "".join(data.waves.keys)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
