"""A system: its losses, the views it asks for, and its parts of the network."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import SpeechEncoder
from ipr_core.method.systems.step import Companion, Step, Terms, terms


class Classifier(nn.Module):
    """A system's own classifier, whose logits are read from richer scores: several members' logits, say.

    `forward`: embedding (B, D) → scores (B, …), which the system's losses are computed from
    """

    def logits(self, scores: Tensor) -> Tensor:
        """Read the logits (B, C) from the scores (B, …); their softmax is the soft label. Uses no parameter."""
        return scores


class Unprojected(nn.Identity):
    """A projection that leaves the pooled vectors (B, P) as they are."""

    def __init__(self, width: int, choice: Encoder):
        super().__init__()
        self.dim = width


@dataclass(frozen=True)
class Network:
    """A system's own parts in place of the recogniser's; those that are None stay as configured."""

    encoder: Callable[[Encoder], SpeechEncoder] | None = None
    pool: Callable[[int, int], nn.Module] | None = None
    """Width H of a frame, classes C → a module: frames (B, F, H), valid (B,) → (B, width), `width` its attribute.
    Its output is not standardised."""
    projection: Callable[[int, Encoder], nn.Module] | None = None
    """Width P → a module: (B, P) → (B, dim), `dim` its attribute."""
    classifier: Callable[[int, int, Encoder], Classifier] | None = None
    """Size D of the embedding, classes C → the classifier."""
    rate: float = 1.0
    """Times the setting `lr`, for all that is trained at it: where D1 is not fitted at the rate of other systems."""
    turns: int = 1
    """How often an epoch goes through D1 and D2, each time in other minibatches: more than once where a network begins
    from nothing and D1 is not fitted in the steps of other systems."""


@dataclass(frozen=True)
class System:
    """A way of training on D1 and D2, with all that tables and figures say of it."""

    title: str
    """Its name in tables and figures."""
    about: str
    """Its training data in a few words, for a legend."""
    refinement_terms: Callable[[Step], Terms]
    """The losses of a step after the warm-up."""
    warm_up_terms: Callable[[Step], Terms] = terms
    """The losses of a step of the warm-up, on D1 alone."""
    precise_views: int = 1
    """Views of D1: 2 adds the augmented one."""
    ambiguous_views: int = 0
    """Views of D2: none, the clean one, or the augmented one too."""
    moves_prototypes: bool = False
    """Whether D2 moves the prototypes (Eq. 4); otherwise they are D1's class means, for analysis alone."""
    shows_prototypes: bool = False
    """Whether prototypes say anything of it; figures leave them out where they do not."""
    shows_gate: bool = False
    """Whether Eq. 4's gate says anything of it."""
    shows_beta: bool = False
    """Whether Eq. 7's β weighs a loss of it."""
    network: Network = Network()
    """Its own parts of the recogniser."""
    companion: Callable[[int, int, int], Companion] | None = None
    """Size D of the embedding, classes C, utterances N → its own module beside the recogniser."""
    printed_accuracy: float | None = None
    """Accuracy in per cent on D3 of IEMOCAP-4, mean over five seeds (Tables 2 and 3 of Sun et al. 2024)."""
    caution: Callable[[Encoder], str | None] = lambda choice: None
    """A warning that every result of it needs under these settings, or None."""
