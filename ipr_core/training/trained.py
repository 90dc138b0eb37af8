"""The results of a finished run, read and checked: its model, and whether everything in its folder is whole."""

from __future__ import annotations

import contextlib
import logging
from pathlib import Path

from ipr_core.atomic import WriteError
from ipr_core.calibration import Calibration
from ipr_core.runs import mending
from ipr_core.runs.files import FileError, read_json, reading
from ipr_core.runs.run import Run, RunError
from ipr_core.training import onnx_file
from ipr_core.training.model import DESCRIPTION, MODEL_TYPE, Recogniser, calibration_of

_log = logging.getLogger(__name__)


def trained_model(run: Run) -> Recogniser:
    """Load the model of a finished run. raises RunError if it is damaged or of another run"""
    folder = run.folder / "model"
    run.check_file("model/config.json")
    try:
        model = Recogniser.load(folder, run.config)
    except FileError as error:
        raise RunError(f"{error}; {run.mended}") from error
    if list(model.classes) != run.meta["classes"]:
        raise RunError(f"{folder} is of another run; {run.mended}")
    return model


def calibration(run: Run) -> Calibration:
    """Return the calibration of a finished run's soft labels; the identity if its model is not here, or has none.

    raises RunError if the model's description is damaged
    """
    path = run.folder / "model" / DESCRIPTION
    if not path.exists():
        return Calibration()
    try:
        description = read_json(path)
        with reading(path):
            return calibration_of(description)
    except FileError as error:
        raise RunError(f"{error}; {run.mended}") from error


def export(run: Run, folder: Path, onnx: bool = False) -> None:
    """Write the model of a finished run into a folder.

    onnx: whether it is written as ONNX too
    raises RunError; WriteError if that holds something else; with `onnx`, what `onnx_file.save` raises
    """
    model = trained_model(run)
    if onnx:
        onnx_file.check(model, folder / onnx_file.FILE)
    if (folder / DESCRIPTION).exists() and _model_type(folder) != MODEL_TYPE:
        raise WriteError(folder, f"it holds a {DESCRIPTION} of something else", "name a new folder")
    model.save(folder)
    (folder / onnx_file.FILE).unlink(missing_ok=True)  # of the model that was there before
    if onnx:
        onnx_file.save(model, folder / onnx_file.FILE)


def _model_type(folder: Path) -> object:
    with contextlib.suppress(FileError):
        return read_json(folder / DESCRIPTION).get("model_type")
    return None


def reopen_if_damaged_(run: Run) -> None:
    """Make a finished run an unfinished one if a file that training makes is damaged, and say which."""
    if run.finished and (sentences := faults(run)):
        for sentence in sentences:
            _log.warning("%s; it is made again", sentence.removesuffix(f"; {run.mended}"))
        with run.locked():
            run.reopen_()


def faults(run: Run) -> list[str]:
    """List what is damaged in a finished run's folder, a sentence each, of the files that training makes."""
    try:
        run.history()
    except RunError as error:
        return [str(error)]
    sentences = mending.start(run).faults
    for check in (trained_model, _check_labels, _check_csv):
        try:
            check(run)
        except RunError as error:
            sentences.append(str(error))
    return list(dict.fromkeys(sentences))


def _check_labels(run: Run) -> None:
    """Raise RunError if the labels are not of the run's utterances."""
    if run.labels["id"].tolist() != run.table["id"].tolist():
        raise RunError(f"{run.folder / 'labels.parquet'} is of another run; {run.mended}")


def _check_csv(run: Run) -> None:
    run.check_file("labels.csv")
