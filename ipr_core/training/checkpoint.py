"""A session as named tensors: the checkpoint that a run goes on from."""

from __future__ import annotations

from itertools import chain
from typing import Protocol

import torch
from torch import Tensor

from ipr_core.config import Config
from ipr_core.method.prototypes import Prototypes, PrototypeSchedule
from ipr_core.method.systems.step import Companion
from ipr_core.training.adamw import AdamW
from ipr_core.training.model import Recogniser

_KEPT = "kept_own", "kept_soft", "kept_labels"
"""The keys of `Session.kept_labels`."""
_EVALUATION = "embeddings", "own", "soft"
"""The keys of the last evaluation of all N utterances."""


class StateError(ValueError):
    """A state that a session cannot go on from."""


class Trained(Protocol):
    """The part of a `session.Session` that a checkpoint keeps."""

    config: Config
    device: torch.device
    model: Recogniser
    companion: Companion
    optimizer: AdamW
    prototypes: Prototypes
    schedule: PrototypeSchedule
    embeddings: Tensor
    classifier_soft: Tensor
    kept_labels: tuple[Tensor, Tensor, Tensor] | None
    epoch: int


def state(session: Trained) -> dict[str, Tensor]:
    """Return everything that training changes.

    The keys are those of the files: "own" and "soft" are the soft labels by the classifier and by the prototypes,
    "beside." is the system's companion.
    """
    names = _optimized(session)
    moments = {
        f"optimizer.{names[i]}.{key}": value
        for i, tensors in session.optimizer.state_dict()["state"].items()
        for key, value in tensors.items()
    }
    model = {f"model.{name}": value for name, value in session.model.trained_state().items()}
    refined = session.epoch > session.config.training.warm_up  # until then it is as made, and a warm-up can be shared
    companion = {f"beside.{name}": value for name, value in session.companion.state_dict().items() if refined}
    schedule, kept = session.schedule, dict(zip(_KEPT, session.kept_labels or (), strict=False))
    return {
        **model, **companion, **moments, **kept,
        "prototypes": session.prototypes.vectors, "embeddings": session.embeddings,
        "own": session.classifier_soft, "soft": schedule.soft,
        "epoch": torch.tensor(session.epoch),
    }  # fmt: skip


def without_evaluation(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return a state without what a pass over the corpus makes again, so that its size is not the corpus's."""
    return {name: value for name, value in tensors.items() if name not in _EVALUATION}


def restore_(session: Trained, tensors: dict[str, Tensor]) -> bool:
    """Put a `state` back.

    returns: whether it holds the last evaluation; if not, that has to be made again
    raises StateError if it is of another model, or of another version of the workbench
    """
    try:
        _restore_(session, tensors)
    except torch.OutOfMemoryError:
        raise
    except KeyError as error:
        raise StateError(f"it has no {error}") from error
    except (ValueError, RuntimeError) as error:
        raise StateError(str(error)) from error
    return set(_EVALUATION) <= set(tensors)


def _restore_(session: Trained, tensors: dict[str, Tensor]) -> None:
    session.model.load_trained_state(_with_prefix("model.", tensors))
    if companion := _with_prefix("beside.", tensors):
        session.companion.load_state_dict(companion)
    moments: dict[int, dict[str, Tensor]] = {}
    indices = {name: i for i, name in enumerate(_optimized(session))}
    for name, value in _with_prefix("optimizer.", tensors).items():
        parameter, _, key = name.rpartition(".")
        moments.setdefault(indices[parameter], {})[key] = value
    session.optimizer.load_state_dict(session.optimizer.state_dict() | {"state": moments})
    session.prototypes.vectors = tensors["prototypes"].to(session.device)
    if set(_EVALUATION) <= set(tensors):
        session.embeddings = tensors["embeddings"].to(session.device)
        session.classifier_soft = tensors["own"].to(session.device)
        session.schedule.soft = tensors["soft"].to(session.device)
        session.schedule.labels = session.prototypes.labels(session.embeddings)
    if kept := [tensors[name].to(session.device) for name in _KEPT if name in tensors]:
        session.kept_labels = kept[0], kept[1], kept[2]
    session.epoch = int(tensors["epoch"])


def _optimized(session: Trained) -> list[str]:
    """Return the names of what is optimized, in the optimizer's order, which systems do not share."""
    parameters = chain(session.model.named_parameters("model"), session.companion.named_parameters("beside"))
    names = {id(parameter): name for name, parameter in parameters}
    return [names[id(parameter)] for group in session.optimizer.param_groups for parameter in group["params"]]


def _with_prefix(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
