"""Shared warm-ups: runs that are alike up to its end train it once, and the others take it over.

Systems and most readings differ only after the warm-up. A run that takes one over ends with the same bits as one
that trained its own; only its clock is that of the donor.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from ipr_core.atomic import write, write_text
from ipr_core.config import Config, Mark, marked
from ipr_core.method.systems import SYSTEMS
from ipr_core.method.systems.step import terms
from ipr_core.method.systems.system import Network
from ipr_core.runs.mending import whole_epochs
from ipr_core.runs.run import Run, RunError

_LATER = marked(Mark.AFTER_WARM_UP) | {"system"}  # the key has the system's part in the warm-up by itself


def key(config: Config, corpus: str, code: str | None, encoder: str | None = None) -> str | None:
    """Return a text that is the same for runs with the same state after the warm-up; None without a warm-up.

    corpus: `runs.digest` of the data   code: the `provenance.version` that trained it
    encoder: the digest of the encoder's files, None where it has none
    """
    if config.training.warm_up == 0 or code is None:
        return None
    system = SYSTEMS[config.training.system]
    settings = {name: value for name, value in config.settings().items() if name not in _LATER}
    moving = config.method.warm_up_prototypes == "moving" and system.moves_prototypes  # else they are D1's means
    settings |= {"warm_up_prototypes": moving, "gamma": config.method.gamma if moving else None}
    # A system with another network, or another loss on D1, has a warm-up of its own.
    special = system.network != Network() or system.warm_up_terms is not terms
    name = config.training.system if special else None
    return json.dumps([settings, system.precise_views, name, corpus, code, encoder], sort_keys=True)


def run_key(run: Run) -> str | None:
    """Return the key of a run in its folder; None where it is damaged."""
    try:
        return key(run.config, run.meta["corpus"], run.meta.get("code"), run.encoder)
    except RunError:
        return None


def reuse(run: Run) -> Run | None:
    """Take over the warm-up of a neighbouring run, where there is one and this run has not begun; return that run.

    The state is written last, as by `advance`: killed in between, the run trains from its start.
    raises RunError where another process trains this run
    """
    with run.locked():
        if (run.folder / "checkpoint.safetensors").exists() or run.config.training.warm_up == 0:
            return None
        donor = next(_donors(run), None)
        if donor is not None:
            _copy(donor, run)
        return donor


def _donors(run: Run) -> Iterator[Run]:
    run_text = run_key(run)
    for state in sorted(run.folder.parent.glob("*/warm_up.safetensors")):
        donor = Run(state.parent)
        alike = donor.folder != run.folder and donor.exists and run_text is not None and run_key(donor) == run_text
        if alike and _is_whole(donor):
            yield donor


def _is_whole(donor: Run) -> bool:
    """Tell whether the warm-up of a run, its record and its state, can be read."""
    with contextlib.suppress(RunError):
        return donor.load_state("warm_up") is not None and whole_epochs(donor)[0] >= donor.config.training.warm_up
    return False


def _copy(donor: Run, run: Run) -> None:
    epochs, folder = run.config.training.warm_up, run.subfolder("epochs")
    for epoch in range(epochs):
        _link(donor.folder / "epochs" / f"{epoch:04d}.safetensors", folder / f"{epoch:04d}.safetensors")
    lines = (donor.folder / "events.jsonl").read_text("utf-8").splitlines()[:epochs]
    write_text(run.folder / "events.jsonl", "".join(line + "\n" for line in lines))
    for name in ("warm_up", "checkpoint"):
        _link(donor.folder / "warm_up.safetensors", run.folder / f"{name}.safetensors")


def _link(file: Path, target: Path) -> None:
    """Give a file a second name, or copy it where links cannot be; no file of a run is changed in place."""

    def save(temporary: str) -> None:
        with contextlib.suppress(OSError):
            return os.link(file, temporary)
        shutil.copyfile(file, temporary)

    write(target, save)
