"""The paper's equations, one pure function each.

The paper is Sun et al., "Iterative Prototype Refinement for Ambiguous Speech Emotion Recognition", Interspeech 2024
(arXiv 2408.00325). Letters: B utterances of a minibatch, N utterances, C classes, D embedding. Where the paper leaves
a choice open there are two functions, never a flag; `prototypes.py` and `systems/` choose by the configuration. Eq. 1,
the encoder and its mean over frames, is `Recogniser` in `training/model.py`.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def class_means(q: Tensor, y: Tensor, n_classes: int) -> Tensor:
    """Return the prototypes, the mean embedding of each class (Eq. 2).

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
    """Compare embeddings with prototypes: s_c = k · p_c (section 2.2).

    k: (B, D)   prototypes: (C, D)
    returns: (B, C), cosines where both arguments have unit norm
    """
    return k @ prototypes.T


def soft_labels(s: Tensor, temperature: float) -> Tensor:
    """Return soft labels: softmax(s / temperature) (section 2.2).

    s: (B, C) similarities
    returns: (B, C), rows sum to 1
    """
    return torch.softmax(s / temperature, dim=-1)


def raw_soft_labels(s: Tensor) -> Tensor:
    """Return soft labels without a temperature: s cut at 0 and scaled to sum 1 (section 2.2).

    s: (B, C) similarities
    returns: (B, C), rows sum to 1; a row with no positive similarity is uniform
    """
    positive = s.clamp(min=0)
    total = positive.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, positive / total.clamp(min=torch.finfo(s.dtype).tiny), 1 / s.shape[-1])


def pseudo_labels(s: Tensor) -> Tensor:
    """Return hard pseudo-labels: z = argmax_c k · p_c (Eq. 3).

    s: (B, C) similarities or shares
    returns: (B,) int64
    """
    return s.argmax(dim=-1)


def agreement(logits: Tensor, logits_aug: Tensor) -> Tensor:
    """Tell who passes the gate: argmax MLP(k_i) = argmax MLP(k_i^aug) (Eq. 4).

    logits, logits_aug: (B, C)
    returns: (B,) bool
    """
    return logits.argmax(dim=-1) == logits_aug.argmax(dim=-1)


def movement(s: Tensor, labels: Tensor, agreed: Tensor) -> Tensor:
    """Return each utterance's weight on each prototype (Eq. 4 as printed).

    An utterance that passed the gate moves the prototype of its pseudo-label alone, by s_c.
    s: (B, C) similarities or shares   labels: (B,) pseudo-labels   agreed: (B,) bool, the gate
    returns: (B, C), zero where nothing moves
    """
    return s * F.one_hot(labels, s.shape[-1]) * agreed[:, None]


def update_prototypes(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Move prototypes, sample after sample (Eq. 4, the literal form).

    p_c ← Normalize(γ p_c + (1 − γ) k_i s_c)

    prototypes: (C, D) p   k: (B, D)   weight: (B, C), s_c where utterance i moves class c and 0 elsewhere
    returns: (C, D), unit norm where a prototype was moved
    """
    for k_i, w_i in zip(k, weight, strict=True):
        sums = gamma * prototypes + (1 - gamma) * w_i[:, None] * k_i  # (C, D)
        prototypes = torch.where((w_i != 0)[:, None], F.normalize(sums, dim=-1), prototypes)
    return prototypes


def update_prototypes_closed(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Move prototypes by the sequence of Eq. 4 in closed form, normalised once at its end.

    p_c ← Normalize(γ^n p_c + (1 − γ) Σ_i γ^(n − rank_i) s_ic k_i), over the n utterances that move class c

    Arguments and result as for `update_prototypes`; both agree to first order in 1 − γ.
    """
    moves = weight != 0  # (B, C)
    rank = moves.cumsum(dim=0)  # (B, C) utterance i's rank among those that move class c, from 1
    count = rank[-1]  # (C,)
    decay = gamma ** (count - rank).to(k)  # (B, C)
    sums = gamma ** count.to(k)[:, None] * prototypes + (1 - gamma) * (weight * decay).T @ k  # (C, D)
    return torch.where((count > 0)[:, None], F.normalize(sums, dim=-1), prototypes)


def update_prototypes_batch(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Move prototypes by one step of Eq. 4 for a whole minibatch.

    p_c ← Normalize(γ p_c + (1 − γ) mean_i s_ic k_i), over the utterances that move class c

    Arguments and result as for `update_prototypes`; the order within the minibatch does not matter.
    """
    count = (weight != 0).sum(dim=0).to(k)  # (C,)
    sums = gamma * prototypes + (1 - gamma) * weight.T @ k / count.clamp(min=1)[:, None]  # (C, D)
    return torch.where((count > 0)[:, None], F.normalize(sums, dim=-1), prototypes)


def same_utterance(n: int, device: torch.device | None = None) -> Tensor:
    """Return the positives of Eq. 5 as printed: the other view of the same utterance.

    n: N utterances, of 2N views: k first, then k^aug
    returns: (2N, 2N) bool, the diagonal False
    """
    return torch.eye(2 * n, dtype=torch.bool, device=device).roll(n, dims=1)


def same_label(labels: Tensor) -> Tensor:
    """Return the positives of the text: views of the same pseudo-label (section 2.3).

    labels: (N,) pseudo-labels, of k and of k^aug alike
    returns: (2N, 2N) bool, the diagonal False
    """
    view_labels = labels.repeat(2)  # (2N,)
    return (view_labels[:, None] == view_labels[None, :]).fill_diagonal_(False)


def contrastive_loss(k: Tensor, aug: Tensor, positives: Tensor, tau: float) -> Tensor:
    """Return L_con, the contrast of views, the mean over positives p and views i (Eq. 5).

    L_con = −log exp(v_i·v_p / τ) / Σ_{j ≠ i} exp(v_i·v_j / τ)

    k, aug: (N, D) embeddings of the two views; normalise them for the cosine   positives: (2N, 2N) bool
    returns: scalar
    """
    views = torch.cat([k, aug])  # (2N, D)
    logits = views @ views.T / tau
    logits = logits.masked_fill(torch.eye(len(views), dtype=torch.bool, device=k.device), float("-inf"))
    log_share = logits.log_softmax(dim=-1).masked_fill(~positives, 0)  # -inf · 0 on the diagonal would be nan
    return -(log_share.sum(dim=-1) / positives.sum(dim=-1)).mean()


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return CE(x, y), the mean over the minibatch (Eq. 6).

    logits: (B, C)   target: (B,) classes or (B, C) shares, taken as constant   weight: (B,) or None for ones
    returns: scalar
    """
    losses = F.cross_entropy(logits, target.detach(), reduction="none")  # (B,)
    return (losses if weight is None else losses * weight.detach()).mean()


def beta(epoch: int, epochs: int, weight_max: float, growth: float) -> float:
    """Return β = min(w (r^(e / (E/2)) − 1) / (r − 1), w), the weight of D2 (Eq. 7).

    epoch: e, from 0   epochs: E   weight_max: w   growth: r > 1
    returns: 0 at e = 0, w from e = E/2 on
    """
    return min(weight_max * (growth ** (epoch / (epochs / 2)) - 1) / (growth - 1), weight_max)


def total_loss(precise: Tensor, ambiguous: Tensor, contrastive: Tensor, alpha: float, beta: float, mu: float) -> Tensor:
    """Return L = α CE(x^q, y) + β CE(x^k, ŷ) + μ L_con (Eq. 6).

    precise, ambiguous, contrastive: scalars, the two cross-entropies and L_con
    returns: scalar
    """
    return alpha * precise + beta * ambiguous + mu * contrastive


def cosines(prototypes: Tensor) -> Tensor:
    """Return the cosine between every two prototypes (Figure 2).

    prototypes: (C, D)
    returns: (C, C)
    """
    unit = F.normalize(prototypes, dim=-1)
    return unit @ unit.T
