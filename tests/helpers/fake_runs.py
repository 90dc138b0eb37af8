"""Finished runs written by hand, so that every figure of a table over them is known."""

import dataclasses
import json

import numpy as np
import torch

from ipr_core.atomic import write_text
from ipr_core.data.dataset import Dataset
from ipr_core.runs.events import EpochEnd
from ipr_core.runs.run import Run
from ipr_core.training import labels


def fake_run(
    folder, config, data: Dataset, accuracies, confusion=None, right=None, soft=None, simulated=False, calibration=None
) -> Run:
    """Write a finished run of this configuration.

    accuracies: one an epoch, the first epoch of them the warm-up   confusion: of every epoch
    right: (size of D3,) whether the classifier is right, all if absent   soft: (N, C), uniform if absent
    calibration: of the soft labels, kept with a model that has nothing else
    """
    run = Run.create(config, dataclasses.replace(data, simulated=simulated), folder)
    for epoch, accuracy in enumerate(accuracies):
        run.record(fake_event(epoch, accuracy, confusion or [[1]]))
    n, c = len(data.table), len(data.classes)
    soft = np.full((n, c), 1 / c) if soft is None else soft
    predicted = data.labels.copy()
    d3 = data.rows("D3")
    hits = np.ones(len(d3), bool) if right is None else right
    predicted[d3] = np.where(hits, predicted[d3], (predicted[d3] + 1) % c)
    own = soft
    if calibration is not None:
        write_text(run.folder / "model" / "config.json", json.dumps({"calibration": dataclasses.asdict(calibration)}))
        own = calibration(torch.tensor(soft)).numpy()
    table = labels.table(data.table[["id", "part", "label"]], data.classes, own, np.eye(c)[predicted], soft)
    run.save_labels(table)
    return run


def fake_event(epoch: int, accuracy: float, confusion) -> EpochEnd:
    return EpochEnd(
        epoch=epoch, phase="refinement" if epoch else "warm_up", beta=0.5, losses={"total": 1.0}, steps=1,
        accuracy=accuracy, uar=accuracy / 2, macro_f1=accuracy / 4, confusion=confusion, accuracy_prototypes=0.0,
        cosines=[[1.0]], agreement_model=0.25, agreement_prototypes=0.75, labels_model=[1, 1], labels_prototypes=[1, 1],
        gate=None,
        clock=dict(seconds=1800.0, evaluation_seconds=800.0, audio_seconds_per_second=2.0, gpu_seconds=0.0,
                   peak_memory_mb=100.0 + epoch),
    )  # fmt: skip
