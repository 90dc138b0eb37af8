"""TensorBoard beside the record: every epoch's numbers, for those who compare their trainings there.

events.jsonl stays the record. What it holds is written first, so that a run which goes on has whole curves.
"""

from __future__ import annotations

import importlib.util
import shutil
from typing import Any

from ipr_core.config import SettingsError
from ipr_core.runs.events import EpochEnd, StepEnd, to_json
from ipr_core.runs.run import Run
from ipr_core.training.loop import Event

FOLDER = "tensorboard"
"""In the run folder; `tensorboard --logdir runs` finds all of them."""
_OF_CLASSES = ("labels_model", "labels_prototypes", "angles")


def check() -> None:
    """Raise SettingsError, before work starts, if TensorBoard's package is not installed."""
    if importlib.util.find_spec("tensorboard") is None:
        raise SettingsError(["--tensorboard needs a package: pip install 'ipr-workbench[tensorboard]'"])


def scalars(event: EpochEnd, classes: tuple[str, ...]) -> dict[str, float]:
    """Return the numbers of an epoch's record by name, those of a group or of a class as group/name."""
    numbers: dict[str, float] = {}
    for name, value in to_json(event).items():
        parts = dict(zip(classes, value or (), strict=False)) if name in _OF_CLASSES else value
        pairs = [(f"{name}/{part}", number) for part, number in parts.items()] if isinstance(parts, dict) else []
        numbers |= {key: number for key, number in pairs or [(name, value)] if isinstance(number, int | float)}
    del numbers["epoch"]
    return numbers


class TensorBoard:
    """A watcher that writes the record of a run once more, for TensorBoard, by torch's own writer."""

    def __init__(self, run: Run):
        """Write what is recorded already, in place of what lies there."""
        from torch.utils.tensorboard import SummaryWriter  # takes a second

        folder = run.folder / FOLDER
        shutil.rmtree(folder, ignore_errors=True)
        self._classes, self._last = tuple(run.meta["classes"]), run.config.training.epochs - 1
        self._writer: Any = SummaryWriter(str(folder))
        for event in run.history():
            self(event)

    def __call__(self, event: Event) -> None:
        if isinstance(event, StepEnd):
            return
        for name, number in scalars(event, self._classes).items():
            self._writer.add_scalar(name, number, event.epoch)
        self._writer.flush()
        if event.epoch == self._last:
            self._writer.close()
