"""The corpus of a run that follows another: its utterances with what people have said since.

New votes count as those of the corpus do, so that an utterance that is agreed on now joins D1, and one that has lost
its agreement leaves it. A corrected utterance joins D1 with the corrected label. **D3 stays what it was**, with the
votes that it had: listeners choose what to hear by what a model says, and people correct where it looks wrong, so a
test set that they change would no longer test the model, but agree with it or spite it.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from pandas import DataFrame

from ipr_core.config import Config, Data, SettingsError
from ipr_core.data.corpora.table import share_columns, vote_columns
from ipr_core.data.faults import number_of
from ipr_core.data.waves import WaveStore
from ipr_core.runs import corrections
from ipr_core.runs.run import Run
from ipr_core.votes import merge
from ipr_core.votes.merge import Merged

_BASIC = ["id", "path", "start", "end", "speaker", "session", "label"]


@dataclass(frozen=True)
class NextCorpus:
    """The corpus of the next run."""

    merged: Merged
    votes: int
    """New votes on utterances outside of D3."""
    corrections: int
    """Corrections of utterances outside of D3."""

    def refuse_nothing_new(self) -> None:
        """Raise SettingsError if there is neither a new vote nor a correction to train with."""
        if not self.votes and not self.corrections:
            raise SettingsError(["there is no new vote and no correction outside of D3: nothing to train again with"])

    def save(self, run: Run) -> Path:
        """Write it into the folder of the earlier run, unless the same lies there. returns: the manifest's path

        raises WriteError, RunError
        """
        folder = run.subfolder("again")
        with tempfile.TemporaryDirectory() as scratch:
            new = [path.read_bytes() for path in merge.save(self.merged, Path(scratch))]
        numbers = sorted(int(path.name) for path in folder.glob("[0-9]*") if path.name.isdecimal())
        for number in reversed(numbers):
            paths = [folder / str(number) / name for name in (merge.NAME, merge.MANIFEST)]
            if [path.read_bytes() for path in paths if path.is_file()] == new:
                return paths[1]
        return merge.save(self.merged, folder / str(max(numbers, default=0) + 1))[1]


def next_corpus(run: Run, record: DataFrame | None, cache: Path, progress: bool = True) -> NextCorpus:
    """Return the corpus of the run that follows a finished one.

    record: votes of listening tests, of `votes.record.read`; None: there are none   cache: of decoded audio
    Where the run's votes are simulated annotators', an utterance that a person has heard has the person's votes alone.
    raises CorpusError, RunError
    """
    with tempfile.TemporaryDirectory() as scratch:
        source = _simulated(run, record, cache, Path(scratch)) if run.meta["simulated_annotators"] else run.config.data
        original = merge.merge(source, None, cache, progress)
        merged = merge.merge(source, record, cache, progress) if record is not None and len(record) else original
    table = run.table
    test = set(table.loc[table["part"] == "D3", "id"])
    newest = corrections.newest(run)
    newest = newest[~newest.index.isin(test)]
    manifest = _with_parts(merged.manifest, original.manifest, test, newest)
    votes = pd.concat([merged.votes[~merged.votes["id"].isin(test)], original.votes[original.votes["id"].isin(test)]])
    count = len(votes) - len(votes.merge(original.votes))
    sentences = [*merged.sentences, *_sentences(merged, original, test, len(newest))]
    return NextCorpus(Merged(manifest, votes.reset_index(drop=True), sentences), count, len(newest))


def next_config(run: Run, manifest: Path) -> Config:
    """Return the settings of the run that follows: those of the earlier one, on the manifest of `NextCorpus.save`."""
    return run.config.replace(
        corpus="manifest", corpus_path=str(manifest.resolve()), annotators="released", after=run.folder.name
    )


def _simulated(run: Run, record: DataFrame | None, cache: Path, folder: Path) -> Data:
    """Write a run's table as a manifest, without the simulated votes of utterances that a person has heard."""
    table = run.table
    names = vote_columns(table)
    if record is not None and len(record):
        keys = WaveStore.build(table, cache, progress=False).keys
        answered = record.loc[~record["cannot_tell"], "audio"]
        table.loc[pd.Series(keys, table.index).isin(set(answered)), names] = 0.0
    unnamed = DataFrame(columns=["id", "annotator", "label", "weight"])
    # with the true mixtures of a generated corpus
    columns = [*_BASIC, *table.columns.intersection(["channel"]), *share_columns(table)]
    path = merge.save(Merged(table[columns], unnamed, []), folder)[1]
    path.with_name(merge.NAME).unlink()
    return run.config.data.model_copy(update={"corpus": "manifest", "corpus_path": str(path), "annotators": "released"})


def _with_parts(new: DataFrame, original: DataFrame, test: set[str], newest: DataFrame) -> DataFrame:
    """Return the new manifest with D3's rows as they were, and corrected labels.

    new, original: manifests of the same utterances in the same order   newest: corrections by id
    """
    frozen = original["id"].isin(test)
    table = new.assign(part="")
    table = pd.concat([table[~frozen], original[frozen].assign(part="D3")]).sort_index()
    names = vote_columns(table)
    table = table.assign(**{name: table[name].fillna(0.0) for name in names})
    corrected = table["id"].isin(newest.index)
    labels = table.loc[corrected, "id"].map(newest["label"])
    table.loc[corrected, "label"], table.loc[corrected, "part"] = labels, "D1"
    return table[[name for name in table.columns if name not in names] + names]


def _sentences(merged: Merged, original: Merged, test: set[str], corrected: int) -> list[str]:
    sentences = []
    if ignored := len(merged.votes[merged.votes["id"].isin(test)]) - len(
        original.votes[original.votes["id"].isin(test)]
    ):
        sentences.append(f"{number_of(ignored, 'vote')} on utterances of D3 left out: the test set stays what it was")
    if corrected:
        sentences.append(f"{number_of(corrected, 'corrected utterance')} in D1 with the corrected label")
    return sentences
