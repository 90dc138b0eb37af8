"""Sessions in tests: their states, their weights, and whether two of them are the same to the bit."""

import torch

from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.events import EpochEnd
from ipr_core.training.loop import refine
from ipr_core.training.session import Session


def own_network(settings) -> bool:
    """Tell whether a system hears the corpus through an encoder of its own."""
    return SYSTEMS[settings.get("system", "ipr")].network.encoder is not None


def ends(events) -> list[EpochEnd]:
    """Return the epochs among the events."""
    return [event for event in events if isinstance(event, EpochEnd)]


def bits(session: Session) -> dict[str, torch.Tensor]:
    """Return a copy of all that training changes."""
    return {name: value.clone() for name, value in session.state().items()}


def weights(session: Session) -> dict[str, torch.Tensor]:
    """Return a copy of the model."""
    return {name: value.clone() for name, value in session.model.state_dict().items()}


def equal(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    """Tell whether two states are the same to the bit."""
    return a.keys() == b.keys() and all(a[name].equal(b[name]) for name in a)


def trained(session: Session) -> dict[str, torch.Tensor]:
    """Train to the end and return a copy of all that training changes."""
    ends(refine(session))
    return bits(session)


def finite(session: Session) -> bool:
    """Train to the end and tell whether all losses and all of the state are finite."""
    losses = [value for end in ends(refine(session)) for value in end.losses.values()]
    return all(map(torch.isfinite, torch.tensor(losses))) and all(v.isfinite().all() for v in session.state().values())
