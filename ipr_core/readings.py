"""The method's settings: what the paper tunes, and its readings, the choices that it leaves open.

A reading is one way to understand a sentence or an equation that can be understood in several. Each is a setting that
says so, with the sentence or the equation that it reads. Some came after version 0.1, or had other names in it: what is
written in run folders of then is read, and named, as if it were written today.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator

from ipr_core.sections import Mark, NotNegative, Positive, Section, Share

_AFTER = Mark.AFTER_WARM_UP
_FORMER_MOVES = "agreed"
"""The name that `moves` had for "prototype" in version 0.1."""
_ADDED = {
    "gamma_per": "sample",
    "negatives": "all",
    "anchors": "both",
    "augmented_label": "shared",
    "own_target": "same",
    "validation_share": 0.0,
    "labels_when": "epoch",
    "oracle": "correct",
    "oracle_share": 0.0,
    "centring": "none",
    "tied": "left out",
    "after": None,
    "vote_weights": "equal",
    "memory_gb": None,
    "adapter": "none",
    "adapter_rank": 8,
}
"""Settings that version 0.1 did not have → the value that says what it did."""


class Method(Section):
    """Every choice that the paper leaves open or tunes."""

    alpha: NotNegative = 1.0
    """Weight of the cross-entropy on D1 (Eq. 6)."""
    mu: Annotated[NotNegative, _AFTER] = 0.2
    """Weight of the contrastive term (Eq. 6)."""
    beta_max: Annotated[NotNegative, _AFTER] = 0.5
    """Largest weight of the cross-entropy on D2, w of Eq. 7."""
    beta_growth: Annotated[float, Field(gt=1, le=1_000_000), _AFTER] = 10.0
    """Reading: growth r of Eq. 7; larger means later and steeper."""
    beta_from: Annotated[Literal["start", "warm_up"], _AFTER] = "start"
    """Reading: the epoch that Eq. 7 counts from, the first or the first after the warm-up."""
    gamma: Share = 0.999
    """Reading: γ of Eq. 4, the share of the old prototype kept at an update (`gamma_per`); 0.99 as printed."""
    gamma_per: Literal["sample", "epoch"] = "sample"
    """Reading: γ is the share kept at each update (Eq. 4), or over as many updates as D2 has utterances."""
    unit_norm: bool = True
    """Reading: whether embeddings have unit norm where they meet prototypes (Eq. 2 to 4)."""
    compare_when: Annotated[Literal["epoch", "step"], _AFTER] = "epoch"
    """Reading: when D2 meets the prototypes (soft labels and Eq. 4), once after each epoch or at every step."""
    compare_mode: Annotated[Literal["evaluation", "training"], _AFTER] = "evaluation"
    """Reading: mode of the encoder for that comparison at every step; once an epoch k is as in evaluation."""
    soft_label: Literal["softmax", "raw"] = "softmax"
    """Reading: the soft label: softmax(s / temperature), or s cut at 0 and scaled to sum 1 (Eq. 4 has s uncut)."""
    temperature: Positive = 0.1
    """Temperature of the soft label; the paper has none."""
    target: Annotated[Literal["hard", "soft"], _AFTER] = "hard"
    """Reading: the target on D2, the pseudo-label or the soft label."""
    own_target: Annotated[Literal["same", "hard", "soft"], _AFTER] = "same"
    """Reading: the target on D2 of baseline+, whose labels are its own: as `target`, hard, or soft (section 3.2)."""
    labels_when: Annotated[Literal["epoch", "warm_up"], _AFTER] = "epoch"
    """Reading: D2's labels, those before each epoch (or step), or those at the end of the warm-up, kept to the end."""
    confidence: Annotated[bool, _AFTER] = False
    """Reading: whether each utterance of D2 is weighted by the largest share of its soft label."""
    moves: Annotated[Literal["classifier", "prototype", "all"], _AFTER] = "prototype"
    """Reading: which prototypes an utterance moves: the classifier's class (Eq. 4), its pseudo-label's, all (2.2)."""
    gate: Annotated[Literal["views", "views+prototype", "prototypes", "none"], _AFTER] = "views"
    """Reading: who moves prototypes: views of one class by classifier (Eq. 4), by prototypes (1), or both; all."""
    update: Annotated[Literal["closed", "sequential", "batch"], _AFTER] = "closed"
    """Reading: a batch's updates, sample by sample in closed form or literally, or one step with its mean."""
    warm_up_prototypes: Literal["means", "moving"] = "means"
    """Reading: prototypes in the warm-up, D1's class means after each epoch (Eq. 2), or a moving average of them."""
    after_warm_up: Annotated[Literal["anchor+move", "move", "anchor", "keep"], _AFTER] = "anchor+move"
    """Reading: prototypes after the warm-up, set to D1's class means each epoch, moved by Eq. 4, both, or neither."""
    positives: Annotated[Literal["view", "label"], _AFTER] = "view"
    """Reading: positives of the contrastive term, the other view (Eq. 5) or every view of the same pseudo-label."""
    negatives: Annotated[Literal["all", "other_label"], _AFTER] = "all"
    """Reading: negatives of the contrastive term, all other views (Eq. 5) or those of another pseudo-label alone."""
    anchors: Annotated[Literal["both", "clean"], _AFTER] = "both"
    """Reading: anchors of the contrastive term, both views among all others, or x^k among all x^aug (Eq. 5)."""
    augmented_label: Annotated[Literal["shared", "own"], _AFTER] = "shared"
    """Reading: the pseudo-label of x^aug in the contrastive term, that of x^k or by its own similarity (2.3)."""
    contrast: Annotated[Literal["cosine", "dot"], _AFTER] = "cosine"
    """Reading: similarity in the contrastive term."""
    tau: Annotated[Positive, _AFTER] = 0.1
    """Reading: temperature of the contrastive term (Eq. 5)."""
    augmented_target: Annotated[bool, _AFTER] = False
    """Reading: whether x^aug has a cross-entropy on D2 too."""
    own_weight: Annotated[NotNegative | None, _AFTER] = None
    """Weight λ of a method's own term (DANN, DAAN: reversal; PiCO: contrast); none: its authors', of MMD 0.1, ours."""

    oracle: Annotated[Literal["correct", "gate", "random"], _AFTER] = "correct"
    """Of `oracle` alone: wrong labels of D2 are put right, or left out; or right ones are made wrong at random."""
    oracle_share: Annotated[Share, _AFTER] = 0.0
    """Of `oracle` alone: the share of those labels, chosen by the seed."""

    @field_validator("moves", mode="before")
    @classmethod
    def _moves(cls, value: Any) -> Any:
        return "prototype" if value == _FORMER_MOVES else value


def completed(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the settings of a run's record with those that were added after it was written."""
    return _ADDED | dict(record)


def as_named_first(settings: Mapping[str, Any]) -> dict[str, Any]:
    """Return settings as version 0.1 would have written them, as far as it could: what a run is named by."""
    first = {name: value for name, value in settings.items() if name not in _ADDED or value != _ADDED[name]}
    return first | ({"moves": _FORMER_MOVES} if settings["moves"] == "prototype" else {})
