"""Labels as a database in audformat: a table with the single label, and one share for each class."""

from __future__ import annotations

import os
import shutil
import tempfile
import warnings
from pathlib import Path

import numpy as np
import pandas as pd
from pandas import DataFrame

from ipr_core.atomic import WriteError
from ipr_core.data.corpora.audformat import require
from ipr_core.data.faults import CorpusError, Fault

TABLE = "emotion"
RATER = "ipr"
"""A machine, so that nobody takes its labels for a person's votes."""


def save(labels: DataFrame, classes: tuple[str, ...], root: Path, folder: Path, description: str) -> Path:
    """Write labels as a database of their own, in place of one that lies there.

    labels: as `labels.table` has them   root: of the corpus; files in it are named from there
    returns: `folder`   raises CorpusError without audformat, or for utterances that it cannot tell apart; WriteError
    """
    audformat = require()
    files = [_relative(path, root) for path in labels["path"]]
    if labels[["start", "end"]].isna().all(axis=None):
        index = audformat.filewise_index(files)
    else:
        start, end = (pd.to_timedelta(labels[name], unit="s") for name in ("start", "end"))
        index = audformat.segmented_index(files, list(start.fillna(pd.Timedelta(0))), list(end))
    if index.has_duplicates:
        problem = "utterances have the same file, start and end, as channels of a call do: audformat has no channels"
        raise CorpusError([Fault(str(root), None, problem, "use the labels as Parquet or CSV")])
    database = audformat.Database(folder.name, description=description)
    database.schemes["emotion"] = audformat.Scheme(labels=list(classes))
    database.schemes["share"] = audformat.Scheme("float", minimum=0, maximum=1, description="soft label of a class")
    database.raters[RATER] = audformat.Rater("machine", description=description)
    database[TABLE] = audformat.Table(index)
    cells = {"emotion": labels["single_label"]} | {f"share.{name}": labels[f"soft_{name}"] for name in classes}
    for name, values in cells.items():
        database[TABLE][name] = audformat.Column(scheme_id=name.split(".")[0], rater_id=RATER)
        numbers = values.to_numpy() if name == "emotion" else np.clip(values.to_numpy(float), 0, 1)
        database[TABLE][name].set(numbers)
    return _save_whole(database, folder)


def _relative(path: str, root: Path) -> str:
    """Return a path as audformat has it: from the root on, or whole if it lies elsewhere."""
    return Path(path).relative_to(root).as_posix() if Path(path).is_relative_to(root) else path


def _save_whole(database: object, folder: Path) -> Path:
    """Save a database beside its place, and put it there."""
    try:
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch, warnings.catch_warnings():
            warnings.simplefilter("ignore")
            database.save(scratch + "/new")  # type: ignore[attr-defined]
            shutil.rmtree(folder, ignore_errors=True)
            os.replace(scratch + "/new", folder)
    except OSError as error:
        raise WriteError(folder, error.strerror or str(error), "make room there, or name another place") from error
    return folder
