"""IPR, the paper's method: prototypes label D2, and D2 moves the prototypes.

The contrastive term pulls the two views of an utterance together. When prototypes are set and moved, Eq. 2 to 4, is in
`method/prototypes.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.config import Method
from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, precise_loss, terms
from ipr_core.method.systems.system import System


def refinement_terms(step: Step) -> Terms:
    """Return the terms of Eq. 6: L = α CE(x^q, y) + β CE(x^k, ŷ) + μ L_con."""
    return terms(
        step,
        precise=precise_loss(step),  # CE(x^q, y)
        ambiguous=ambiguous_loss(step, step.prototype_soft, step.prototype_labels),  # CE(x^k, ŷ)
        contrastive=contrastive_loss(step, step.prototype_labels, step.prototype_labels_augmented),  # L_con
    )


def ambiguous_loss(step: Step, soft: Tensor, labels: Tensor, target: str | None = None) -> Tensor:
    """Return CE(x^k, ŷ) on D2 (Eq. 6).

    Readings: `target`, `confidence`, `augmented_target`.
    soft: (B, C) soft labels, rows sum to 1   labels: (B,) pseudo-labels   target: in place of the setting
    """
    hard = (target or step.method.target) == "hard"
    weight = soft.max(dim=-1).values if step.method.confidence else None
    views = [step.ambiguous]
    if step.method.augmented_target and step.has("ambiguous_augmented"):
        views.append(step.ambiguous_augmented)
    y = labels if hard else soft  # ŷ
    return torch.stack([eq.cross_entropy(view.logits, y, weight) for view in views]).mean()


def contrastive_loss(step: Step, labels: Tensor, labels_augmented: Tensor) -> Tensor:
    """Return L_con between the two views of D2 (Eq. 5); see `contrast`.

    labels, labels_augmented: (B,) pseudo-labels of x^k, and of x^aug by its own similarity
    """
    return contrast(step.ambiguous.embedding, step.ambiguous_augmented.embedding, labels, labels_augmented, step.method)


def contrast(k: Tensor, aug: Tensor, labels: Tensor, labels_augmented: Tensor, method: Method) -> Tensor:
    """Return L_con by the readings `contrast`, `augmented_label`, `positives`, `negatives`, `anchors`, `tau` (Eq. 5).

    k, aug: (B, D) embeddings   labels, labels_augmented: (B,) pseudo-labels of x^k, and of x^aug by its own similarity
    """
    if method.contrast == "cosine":
        k, aug = F.normalize(k, dim=-1), F.normalize(aug, dim=-1)
    n = len(k)
    view_labels = torch.cat([labels, labels_augmented if method.augmented_label == "own" else labels])  # (2B,)
    same = eq.same_label(view_labels) if method.positives == "label" else eq.same_utterance(n, k.device)
    pairs = eq.all_others(2 * n, k.device)
    if method.negatives == "other_label":
        pairs = eq.positives_and_other_labels(same, view_labels)
    if method.anchors == "clean":
        return eq.contrastive_loss(k, aug, same[:n, n:], pairs[:n, n:], method.tau)
    views = torch.cat([k, aug])  # (2B, D)
    return eq.contrastive_loss(views, views, same, pairs, method.tau)


SYSTEM = System(
    title="IPR",
    about="trained on D1 and on D2 with the prototypes' labels and the contrastive term; D2 moves the prototypes",
    refinement_terms=refinement_terms,
    ambiguous_views=2,
    shows_beta=True,
    moves_prototypes=True,
    shows_prototypes=True,
    shows_gate=True,
    printed_accuracy=70.75,
)
