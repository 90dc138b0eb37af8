"""IPR, the paper's method: prototypes label D2, and D2 moves the prototypes.

The contrastive term pulls the two views of an utterance together. The prototypes' own schedule, Eq. 2 to 4, is in
`method/prototypes.py`.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, precise_loss, terms
from ipr_core.method.systems.system import System


def refine(step: Step) -> Terms:
    """Return the terms of Eq. 6: L = α CE(x^q, y) + β CE(x^k, ŷ) + μ L_con."""
    return terms(
        step,
        precise=precise_loss(step),  # CE(x^q, y)
        ambiguous=ambiguous_loss(step, step.prototype_soft),  # CE(x^k, ŷ)
        contrastive=contrastive_loss(step, step.prototype_soft),  # L_con
    )


def ambiguous_loss(step: Step, soft: Tensor) -> Tensor:
    """Return CE(x^k, ŷ) on D2 (Eq. 6).

    Readings: `target`, `confidence`, `augmented_target`.
    soft: (B, C) soft labels that ŷ is made of, rows sum to 1
    """
    target = eq.pseudo_labels(soft) if step.method.target == "hard" else soft  # ŷ, by Eq. 3 where it is hard
    weight = soft.max(dim=-1).values if step.method.confidence else None
    views = [step.ambiguous]
    if step.method.augmented_target and step.has("ambiguous_augmented"):
        views.append(step.ambiguous_augmented)
    return torch.stack([eq.cross_entropy(view.logits, target, weight) for view in views]).mean()


def contrastive_loss(step: Step, soft: Tensor) -> Tensor:
    """Return L_con between the two views of D2 (Eq. 5).

    Readings: `positives`, `contrast`, `tau`.
    soft: (B, C) soft labels; read where views of the same pseudo-label are positives
    """
    k, aug = step.ambiguous.embedding, step.ambiguous_augmented.embedding
    if step.method.contrast == "cosine":
        k, aug = F.normalize(k, dim=-1), F.normalize(aug, dim=-1)
    if step.method.positives == "label":
        positives = eq.same_label(eq.pseudo_labels(soft))
    else:
        positives = eq.same_utterance(len(k), k.device)
    return eq.contrastive_loss(k, aug, positives, step.method.tau)


SYSTEM = System(
    title="IPR",
    about="trained on D1 and on D2 with the prototypes' labels and the contrastive term; D2 moves the prototypes",
    refine=refine,
    ambiguous_views=2,
    shows_beta=True,
    moves_prototypes=True,
    shows_prototypes=True,
    shows_gate=True,
    paper=70.75,
)
