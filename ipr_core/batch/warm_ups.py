"""One warm-up for many runs: what is the same up to its end is trained once and taken over by the others.

Systems and most readings differ only after the warm-up. A run that takes one over ends with the same bits as one
that trained its own; only its clock is the other's.
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
from ipr_core.runs.run import Run

_LATER = marked(Mark.AFTER_WARM_UP) | {"system"}  # whose part in the warm-up the key has by itself


def key(config: Config, corpus: str, code: str | None) -> str | None:
    """The same text for runs whose states at the end of the warm-up are the same; None where there is no warm-up.

    corpus: `runs.digest` of the data   code: the `provenance.version` that trained it
    """
    if config.training.warm_up == 0 or code is None:
        return None
    system = SYSTEMS[config.training.system]
    settings = {name: value for name, value in config.settings().items() if name not in _LATER}
    moving = config.method.warm_up_prototypes == "moving" and system.moves_prototypes  # else they are D1's means
    settings |= {"warm_up_prototypes": moving, "gamma": config.method.gamma if moving else None}
    # A system that is another network, or learns another loss of D1, has a warm-up of its own.
    apart = system.network != Network() or system.warm_up is not terms
    own = config.training.system if apart else None
    return json.dumps([settings, system.precise_views, own, corpus, code], sort_keys=True)


def key_of(run: Run) -> str | None:
    """The key of a run as it lies there."""
    meta = run.meta
    return key(run.config, meta["corpus"], meta.get("code"))


def reuse(run: Run) -> Run | None:
    """Take over the warm-up of a run beside this one, where there is one and this run has nothing of its own yet.

    The state is written last and in the order of `runner.advance`: killed in between, the run trains from its start.
    raises RunError where another process trains this run
    """
    with run.locked():
        if (run.folder / "checkpoint.safetensors").exists() or run.config.training.warm_up == 0:
            return None
        other = next(_alike(run), None)
        if other is not None:
            _copy(other, run)
        return other


def _alike(run: Run) -> Iterator[Run]:
    wanted = key_of(run)
    for state in sorted(run.folder.parent.glob("*/warm_up.safetensors")):
        other = Run(state.parent)
        if other.folder != run.folder and other.exists and wanted is not None and key_of(other) == wanted:
            yield other


def _copy(other: Run, run: Run) -> None:
    epochs = run.config.training.warm_up
    for epoch in range(epochs):
        _link(other.folder / "epochs" / f"{epoch:04d}.safetensors", run.folder / "epochs" / f"{epoch:04d}.safetensors")
    lines = (other.folder / "events.jsonl").read_text("utf-8").splitlines()[:epochs]
    write_text(run.folder / "events.jsonl", "".join(line + "\n" for line in lines))
    for name in ("warm_up", "checkpoint"):
        _link(other.folder / "warm_up.safetensors", run.folder / f"{name}.safetensors")


def _link(file: Path, to: Path) -> None:
    """The same content under another name, once on disk where that can be: no file of a run is changed in place."""

    def save(temporary: str) -> None:
        with contextlib.suppress(OSError):
            return os.link(file, temporary)
        shutil.copyfile(file, temporary)

    write(to, save)
