"""The record of a run, checked: lines and arrays that a newer version, another program or a fault may have written."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ipr_core.runs import files
from ipr_core.runs.events import EpochEnd, from_json, to_json

_NUMBER = (int, float)
_KINDS: dict[str, Any] = {
    "epoch": int, "phase": str, "losses": dict, "steps": int, "accuracy": _NUMBER, "uar": _NUMBER, "macro_f1": _NUMBER,
    "confusion": list, "labels_model": list, "clock": dict,
}  # fmt: skip
_ARRAYS = ("prototypes", "map", "soft_model", "soft_prototypes")
_DIGEST = "arrays"  # the key of the arrays' digest in an epoch's line


def sealed_line(event: EpochEnd, arrays: Mapping[str, np.ndarray]) -> str:
    """Return the line of an event: its values, the digest of its arrays, and a seal over all but the clock.

    Without the clock, the lines of two runs with the same numbers have the same seals.
    """
    values = to_json(event) | {_DIGEST: files.arrays_digest(arrays)}
    clock = {"clock": values.pop("clock")}
    return json.dumps(files.sealed(values) | clock, ensure_ascii=False)


def unsealed_line(line: str, epoch: int) -> tuple[EpochEnd, str | None]:
    """Return the event of an epoch's line, and the digest of its arrays, which older versions did not keep.

    raises ValueError, TypeError or KeyError if it is none
    """
    values = json.loads(line)
    if not isinstance(values, dict):
        raise ValueError("it is not a JSON object")
    clock = {"clock": values.pop("clock")}
    values = files.unsealed(values)
    digest = values.pop(_DIGEST, None)
    event = _event(values | clock)
    if event.epoch != epoch:
        raise ValueError(f"it is of epoch {event.epoch}")
    return event, digest


def seals(lines: Sequence[str]) -> str:
    """Return a digest of the seals of a record."""
    return files.digest("".join(str(json.loads(line).get(files.SEAL)) for line in lines).encode())


def check_whole(lines: Sequence[str], digest: str | None, epochs: int) -> None:
    """Raise ValueError if the lines of a finished record are not all of it.

    digest: of their `seals`, which older versions did not keep   epochs: of the configuration
    """
    if digest is not None and digest != seals(lines):
        raise ValueError(files.DAMAGED)
    if digest is None and len(lines) != epochs:
        raise ValueError(f"it has {len(lines)} of {epochs} epochs")


def _event(values: Mapping[str, Any]) -> EpochEnd:
    wrong = [name for name, kind in _KINDS.items() if not isinstance(values[name], kind)]
    if wrong:
        raise ValueError(f"{wrong[0]} is {values[wrong[0]]!r}")
    size = len(values["confusion"])
    if any(not isinstance(row, list) or len(row) != size for row in values["confusion"]):
        raise ValueError("confusion is not square")
    try:
        return from_json(dict(values))
    except TypeError as error:  # of the dataclass: a field too many, or one too few
        raise ValueError(f"{error}; another version of the workbench may have written it") from error


def check_arrays(arrays: Mapping[str, np.ndarray], size: int, classes: int) -> None:
    """Raise ValueError if arrays are not those of an epoch: other names or shapes, or a value that is not finite.

    size: N utterances   classes: C
    """
    if missing := [name for name in _ARRAYS if name not in arrays]:
        raise ValueError(f"it has no {', '.join(missing)}")
    prototypes, sample = arrays["prototypes"].shape, arrays["map"].shape
    if len(prototypes) != 2 or prototypes[0] != classes:
        raise ValueError(f"prototypes are {prototypes}; there should be {classes} of them")
    if len(sample) != 2 or sample[1] != prototypes[1] or sample[0] > size:
        raise ValueError(f"map is {sample}; its embeddings should have the prototypes' {prototypes[1]} numbers")
    for name in ("soft_model", "soft_prototypes"):
        if arrays[name].shape != (size, classes):
            raise ValueError(f"{name} is {arrays[name].shape}; it should be {(size, classes)}")
    views = arrays.get("views", np.full((size, 2), -1))  # records of earlier versions have none
    if views.shape != (size, 2) or not ((views >= -1) & (views < classes)).all():
        raise ValueError(f"views are {views.shape}; they should be {(size, 2)} numbers of classes")
    for name, values in arrays.items():
        if not np.isfinite(values).all():
            raise ValueError(f"{name} has values that are not finite")
