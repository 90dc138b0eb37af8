"""The record of one run, as text: all that the example's page shows, and from which a run folder is made again.

It leaves out the weights and the arrays of the epochs, except for what the page shows of two of them.
"""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from ipr_core.atomic import write, write_text
from ipr_core.calibration import Calibration
from ipr_core.config import recorded
from ipr_core.runs.events import EpochEnd, from_json, to_json
from ipr_core.runs.names import name
from ipr_core.runs.run import Run
from ipr_core.training import labels
from ipr_core.training.session import map_sample
from ipr_widgets import planes
from ipr_widgets.layout import Plane

FOLDER = Path(__file__).parents[2] / "notebooks" / "example"
POINTS = 150
"""Utterances on the plane: each takes its place in a file of shapes."""
_META = ("settings", "classes", "corpus", "simulated_annotators", "threads", "parameters", "versions")


def write_record(run: Run, data, folder: Path = FOLDER) -> None:
    """Write the record of a finished run."""
    meta = {key: run.meta[key] for key in _META}
    meta["calibration"] = json.loads((run.folder / "model" / "config.json").read_text("utf-8"))["calibration"]
    write_text(folder / "run.json", json.dumps(meta, indent=1, ensure_ascii=False) + "\n")
    write_text(folder / "events.jsonl", "".join(_line(event) for event in run.history()))
    write_text(folder / "utterances.csv", _utterances(run).to_csv(index=False, lineterminator="\n"))
    write_text(folder / "planes.json", json.dumps(_planes(run, data)) + "\n")


def read_run(parent: Path, folder: Path = FOLDER) -> Run:
    """Make a run folder of the record, below `parent`; it has the arrays of two epochs, as far as they are shown."""
    meta = json.loads((folder / "run.json").read_text("utf-8"))
    classes, calibration = meta["classes"], meta.pop("calibration")
    run = Run(parent / name(recorded(meta["settings"])))
    table = pd.read_csv(folder / "utterances.csv", keep_default_na=False)
    shares = {kind: table[[f"{kind}_{label}" for label in classes]].to_numpy() for kind in ("model", "prototypes")}
    corpus = table[[column for column in table if not column.startswith(("model_", "prototypes_", "epoch"))]]
    write(run.folder / "corpus.parquet", corpus.assign(path="", start=np.nan, end=np.nan).to_parquet)
    write_text(run.folder / "config.json", json.dumps(meta))
    write_text(run.folder / "model" / "config.json", json.dumps({"calibration": calibration}))
    for event in read_events(folder):
        run.record(replace(event, arrays=_arrays(table, event.epoch, len(classes))))
    soft = Calibration.described(calibration)(torch.tensor(shares["prototypes"])).numpy()
    run.save_labels(labels.table(corpus[["id", "part", "label"]], classes, soft, shares["model"], shares["prototypes"]))
    return run


def read_events(folder: Path = FOLDER) -> list[EpochEnd]:
    """Return the epochs of the record, without arrays."""
    return [from_json(json.loads(line)) for line in (folder / "events.jsonl").read_text("utf-8").splitlines()]


def read_planes(folder: Path = FOLDER) -> tuple[list[int], list[Plane]]:
    """Return the rows of the utterances on the planes, and the plane before and after the refinement."""
    values = json.loads((folder / "planes.json").read_text("utf-8"))
    pair = [Plane(np.array(plane["points"]), np.array(plane["prototypes"])) for plane in values["planes"]]
    return values["rows"], pair


def shown_epochs(run: Run) -> tuple[int, int]:
    """Return the last epoch of the warm-up and that of the refinement."""
    return run.config.training.warm_up - 1, run.config.training.epochs - 1


def _line(event: EpochEnd) -> str:
    return json.dumps(_rounded(to_json(event)), ensure_ascii=False) + "\n"


def _utterances(run: Run) -> pd.DataFrame:
    """Return a row an utterance: of the corpus, the shares by classifier and prototypes, and two epochs' labels."""
    corpus = run.table
    columns = [column for column in corpus if column.startswith(("votes_", "mixture_"))]
    table = corpus[["id", "speaker", "label", "part", *columns]].join(run.labels.filter(regex="^(model|prototypes)_"))
    digits = {column: 4 if column.startswith("prototypes_") else 3 for column in table.select_dtypes("number")}
    table = table.round(digits).astype({column: int for column in columns if column.startswith("votes_")})
    soft = {f"epoch{epoch}": run.arrays(epoch)["soft_prototypes"].argmax(axis=1) for epoch in shown_epochs(run)}
    return table.assign(**soft)


def _arrays(table: pd.DataFrame, epoch: int, classes: int) -> dict[str, np.ndarray]:
    """Return an epoch's arrays: of the soft labels, the largest share alone is known."""
    if f"epoch{epoch}" not in table:
        return {}
    soft = np.eye(classes, dtype=np.float32)[table[f"epoch{epoch}"]]
    return {"soft_prototypes": soft, "soft_model": soft, "prototypes": np.zeros((classes, 1)), "map": soft[:0, :1]}


def _planes(run: Run, data) -> dict:
    """Return the plane of all utterances before and after, and of it the points that the page shows."""
    sample = map_sample(data, run.config.training.map_size)
    pair = planes.of_epochs(run, shown_epochs(run))
    rows = np.sort(np.random.default_rng(0).permutation(len(sample))[:POINTS])
    return {
        "rows": sample[rows].tolist(),
        "planes": [
            {"points": _rounded(plane.points[rows].tolist(), 4), "prototypes": _rounded(plane.prototypes.tolist(), 4)}
            for plane in pair
        ],
    }


def _rounded(value, digits: int = 6):
    """Return plain values with fewer digits, so that the record is small and the same wherever it is read."""
    if isinstance(value, dict):
        return {key: _rounded(part, digits) for key, part in value.items()}
    if isinstance(value, list):
        return [_rounded(part, digits) for part in value]
    return round(value, digits) if isinstance(value, float) else value
