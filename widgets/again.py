"""The bar that trains again with what people have said since: new votes and corrections of the run in view."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import ipywidgets as w
import pandas as pd

from ipr_core.data.cache import default_cache
from ipr_core.data.dataset import Dataset
from ipr_core.data.faults import number_of
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.training.advance import prepare
from ipr_core.votes import again, merge, record
from ipr_widgets.state import RunState

Start = Callable[[Callable[[], tuple[Run, Dataset]]], None]
"""A runner's: trains the run that a function prepares."""


class Again(w.HBox):
    """A button that says how many votes and corrections are new, shown once a run is finished."""

    def __init__(self, state: RunState, start: Start, runs: Path | str | None = None):
        self._state, self._start, self._runs = state, start, runs
        self.button = w.Button(
            layout=w.Layout(width="auto"),
            tooltip="Trains a run that follows this one: agreed utterances join D1, D3 stays what it was",
        )
        self.folder = w.Text("votes", description="Votes in", tooltip="The folder of the listening tests' votes")
        self.folder.layout, self.folder.style = w.Layout(width="16em", min_width="0"), dict(description_width="auto")
        super().__init__([self.button, self.folder], layout=w.Layout(align_items="center", display="none"))
        self.button.on_click(self._guarded(self._train))
        self.folder.observe(self._guarded(self.show), "value")
        state.follow(self._guarded(self.show), traits=("run", "data", "status", "corrected"))
        self._guarded(self.show)()

    def show(self) -> None:
        """Count what is new, and show the bar if the run is finished."""
        run, data = self._state.run, self._state.data
        finished = self._state.status == "finished" and run is not None and data is not None
        self.layout.display = None if finished else "none"
        if finished and run is not None and data is not None:
            votes, corrected = news(run, data, Path(self.folder.value))
            words = f"{number_of(votes, 'vote')} and {number_of(corrected, 'correction')}"
            self.button.description = f"Train again with {words}"
            self.button.disabled = not votes and not corrected

    def _train(self) -> None:
        run = self._state.run
        assert run is not None, "the button is shown for a finished run alone"
        folder = Path(self.folder.value)
        self._start(lambda: following(run, folder, self._runs))

    def _guarded(self, act: Callable[[], None]) -> Callable[..., None]:
        def call(*_: object) -> None:
            with self._state.lock, self._state.guard("train again"):
                act()

        return call


def news(run: Run, data: Dataset, folder: Path) -> tuple[int, int]:
    """Return how many votes and corrections a run has not been trained with, outside of D3.

    folder: of the votes; one that is not there has none   raises RunError, VoteError
    """
    test = set(data.table.loc[data.table["part"] == "D3", "id"])
    corrected = sum(id not in test for id in corrections.newest(run).index)
    ids = {key: id for key, id in zip(data.waves.keys, data.table["id"], strict=True) if id not in test}
    table = record.read(folder)
    table = table[table["audio"].isin(ids) & ~table["cannot_tell"].astype(bool)].drop_duplicates(["listener", "audio"])
    pairs = set(zip(table["audio"].map(ids), table["listener"], strict=True))
    return len(pairs - _voted(run)), corrected


def following(run: Run, folder: Path, runs: Path | str | None) -> tuple[Run, Dataset]:
    """Return the run that follows another, prepared.

    folder: of the votes   runs: the folder of new runs, by default that of the run
    raises SettingsError if nothing is new, CorpusError, RunError, VoteError
    """
    corpus = again.next_corpus(run, record.read(folder), default_cache(), progress=False)
    corpus.refuse_nothing_new()
    return prepare(again.next_config(run, corpus.save(run)), runs or run.folder.parent, progress=False)


def _voted(run: Run) -> set[tuple[str, str]]:
    """Return utterance and listener of the votes that a run was trained with, of a corpus that `again` made."""
    settings = run.config.data
    file = Path(settings.corpus_path or "").parent / merge.NAME
    if settings.after is None or not file.is_file():
        return set()
    table = pd.read_csv(file, usecols=["id", "annotator"], dtype=str, keep_default_na=False)
    return set(zip(table["id"], table["annotator"], strict=True))
