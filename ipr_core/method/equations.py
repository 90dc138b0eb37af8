"""The equations of Sun et al., "Iterative Prototype Refinement for Ambiguous Speech Emotion Recognition",
Interspeech 2024 (arXiv 2408.00325), one pure function each.

Letters: B utterances of a batch, N utterances, C classes, D embedding. Where the paper leaves a choice
open there are two functions, never a flag; `prototypes.py` and `systems/` choose by the configuration.
Eq. 1, the encoder and its mean over frames, is `model.Recogniser`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_means(q: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """The prototypes: the mean embedding of each class (Eq. 2).

    q: (N, D) embeddings   y: (N,) labels in [0, n_classes)
    returns: (n_classes, D)
    raises ValueError naming the classes that have no utterance: they have no mean
    """
    member = F.one_hot(y, n_classes).to(q)  # (N, C)
    count = member.sum(dim=0)  # (C,)
    if (count == 0).any():
        raise ValueError(f"no utterance of class {count.eq(0).nonzero().flatten().tolist()}; every class needs one")
    return member.T @ q / count[:, None]


def similarity(k: Tensor, prototypes: Tensor) -> Tensor:
    """s_c = k · p_c for every class (section 2.2). With unit-norm arguments it is the cosine.

    k: (B, D)   prototypes: (C, D)
    returns: (B, C)
    """
    return k @ prototypes.T


def soft_labels(s: Tensor, temperature: float) -> Tensor:
    """The soft label, a share for every class: softmax(s / temperature).

    s: (B, C) similarities
    returns: (B, C), rows sum to 1
    """
    return torch.softmax(s / temperature, dim=-1)


def raw_soft_labels(s: Tensor) -> Tensor:
    """The soft label without a temperature: s itself, cut at 0 (a share is not negative) and scaled to sum 1.

    s: (B, C) similarities
    returns: (B, C), rows sum to 1; a row with no positive similarity is uniform
    """
    positive = s.clamp(min=0)
    total = positive.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, positive / total.clamp(min=torch.finfo(s.dtype).tiny), 1 / s.shape[-1])


def pseudo_labels(s: Tensor) -> Tensor:
    """z = argmax_c k · p_c, the hard pseudo-label (Eq. 3).

    s: (B, C) similarities or shares
    returns: (B,) int64
    """
    return s.argmax(dim=-1)


def agreement(logits: Tensor, logits_aug: Tensor) -> Tensor:
    """The gate of Eq. 4: argmax MLP(k_i) = argmax MLP(k_i^aug).

    logits, logits_aug: (B, C)
    returns: (B,) bool
    """
    return logits.argmax(dim=-1) == logits_aug.argmax(dim=-1)


def movement(s: Tensor, labels: Tensor, agreed: Tensor) -> Tensor:
    """How strongly each utterance moves each prototype in Eq. 4 as printed: its pseudo-label's alone, by s_c.

    s: (B, C) similarities or shares   labels: (B,) pseudo-labels   agreed: (B,) bool, the gate
    returns: (B, C), zero where nothing moves
    """
    return s * F.one_hot(labels, s.shape[-1]) * agreed[:, None]


def update_prototypes(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """p_c ← Normalize(γ p_c + (1 − γ) k_i s_c), sample after sample (Eq. 4), the literal form.

    prototypes: (C, D)   k: (B, D)   weight: (B, C), s_c where utterance i moves class c and 0 elsewhere
    returns: (C, D), unit norm where a prototype was moved
    """
    for k_i, w_i in zip(k, weight, strict=True):
        moved = gamma * prototypes + (1 - gamma) * w_i[:, None] * k_i
        prototypes = torch.where((w_i != 0)[:, None], F.normalize(moved, dim=-1), prototypes)
    return prototypes


def update_prototypes_closed(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """The sequence of Eq. 4 over a batch in closed form, normalised once at its end:
    γ^n p_c + (1 − γ) Σ_i γ^(n − rank_i) s_ic k_i, over the n utterances that move class c.

    Arguments and result as for `update_prototypes`; both agree to first order in 1 − γ.
    """
    moves = weight != 0  # (B, C)
    rank = moves.cumsum(dim=0)  # place of utterance i among those that move class c, from 1
    count = rank[-1]  # (C,)
    decay = gamma ** (count - rank).to(k)  # (B, C)
    moved = gamma ** count.to(k)[:, None] * prototypes + (1 - gamma) * (weight * decay).T @ k
    return torch.where((count > 0)[:, None], F.normalize(moved, dim=-1), prototypes)


def update_prototypes_batch(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """One step of Eq. 4 for a whole batch: with the mean of s_c k_i over the utterances that move class c.

    Arguments and result as for `update_prototypes`; the order within the batch does not matter.
    """
    count = (weight != 0).sum(dim=0).to(k)  # (C,)
    moved = gamma * prototypes + (1 - gamma) * weight.T @ k / count.clamp(min=1)[:, None]
    return torch.where((count > 0)[:, None], F.normalize(moved, dim=-1), prototypes)


def same_utterance(n: int, device: torch.device | None = None) -> Tensor:
    """Positives of Eq. 5 as printed: of 2N views (k first, then k^aug), the other view of the same utterance.

    returns: (2N, 2N) bool, the diagonal False
    """
    return torch.eye(2 * n, dtype=torch.bool, device=device).roll(n, dims=1)


def same_label(labels: Tensor) -> Tensor:
    """Positives as the text has them: every view whose pseudo-label is the same (section 2.3).

    labels: (N,) pseudo-labels, of k and of k^aug alike
    returns: (2N, 2N) bool, the diagonal False
    """
    both = labels.repeat(2)
    return (both[:, None] == both[None, :]).fill_diagonal_(False)


def contrastive_loss(k: Tensor, aug: Tensor, positives: Tensor, tau: float) -> Tensor:
    """L_con = −log exp(v_i·v_p / τ) / Σ_{j ≠ i} exp(v_i·v_j / τ), the mean over positives p and views i (Eq. 5).

    k, aug: (N, D) embeddings of the two views; normalise them for the cosine   positives: (2N, 2N) bool
    returns: scalar
    """
    views = torch.cat([k, aug])  # (2N, D)
    logits = views @ views.T / tau
    logits = logits.masked_fill(torch.eye(len(views), dtype=torch.bool, device=k.device), float("-inf"))
    log_share = logits.log_softmax(dim=-1).masked_fill(~positives, 0)  # -inf · 0 on the diagonal would be nan
    return -(log_share.sum(dim=-1) / positives.sum(dim=-1)).mean()


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """CE(x, y) of Eq. 6, the mean over the batch.

    logits: (B, C)   target: (B,) classes or (B, C) shares, taken as constant   weight: (B,) or None for ones
    returns: scalar
    """
    each = F.cross_entropy(logits, target.detach(), reduction="none")
    return (each if weight is None else each * weight.detach()).mean()


def beta(epoch: int, epochs: int, weight_max: float, growth: float) -> float:
    """β = min(w (r^(e / (E/2)) − 1) / (r − 1), w): 0 at e = 0, w from e = E/2 on (Eq. 7).

    epoch: e, from 0   epochs: E   weight_max: w   growth: r > 1
    """
    return min(weight_max * (growth ** (epoch / (epochs / 2)) - 1) / (growth - 1), weight_max)


def total_loss(precise: Tensor, ambiguous: Tensor, contrastive: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    """L = α CE(x^q, y) + β CE(x^k, ŷ) + μ L_con (Eq. 6)."""
    return alpha * precise + beta * ambiguous + mu * contrastive


def cosines(prototypes: Tensor) -> Tensor:
    """Cosine between every two prototypes (Figure 2).

    prototypes: (C, D)
    returns: (C, C)
    """
    unit = F.normalize(prototypes, dim=-1)
    return unit @ unit.T
