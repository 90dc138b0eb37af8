"""The paper's equations, one pure function each.

The paper is Sun et al., "Iterative Prototype Refinement for Ambiguous Speech Emotion Recognition", Interspeech 2024
(arXiv 2408.00325). Letters: B utterances of a minibatch, N utterances of D1, C classes, D embedding, V views.

A *reading* is one way to understand what the paper leaves open or says in two ways. Each is a setting
(`ipr_core/readings.py`), and has a function of its own here, never a flag; `prototypes.py` and `systems/` choose.
`as printed` is said only of what an equation or a sentence of the paper states. The *gate* is the condition of Eq. 4:
who may move prototypes. Eq. 1, the encoder, is `Recogniser` in `training/model.py`; its mean over frames is ours.
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
    """Return soft labels: softmax(s / temperature), a reading.

    Section 2.2 has the similarities s themselves, and neither softmax nor temperature.

    s: (B, C) similarities
    returns: (B, C), rows sum to 1
    """
    return torch.softmax(s / temperature, dim=-1)


def raw_soft_labels(s: Tensor) -> Tensor:
    """Return soft labels without a temperature: s cut at 0 and scaled to sum 1.

    Section 2.2 has s alone; the cut is a reading, as shares cannot be negative. A row without a positive similarity is
    cut at its smallest one, so that the largest share is the pseudo-label's also there (Eq. 3).

    s: (B, C) similarities
    returns: (B, C), rows sum to 1; uniform where all similarities are equal and none is positive
    """
    least = s.amin(dim=-1, keepdim=True)
    positive = torch.where((s > 0).any(dim=-1, keepdim=True), s, s - least).clamp(min=0)
    total = positive.sum(dim=-1, keepdim=True)
    return torch.where(total > 0, positive / total.clamp(min=torch.finfo(s.dtype).tiny), 1 / s.shape[-1])


def pseudo_labels(s: Tensor) -> Tensor:
    """Return hard pseudo-labels: z = argmax_c k · p_c (Eq. 3).

    s: (B, C) similarities, or a classifier's soft labels where it labels D2 itself
    returns: (B,) int64
    """
    return s.argmax(dim=-1)


def one_class(classes: Tensor) -> Tensor:
    """Tell whose two views point to one class, the gate: argmax MLP(k_i) = argmax MLP(k_i^aug) (Eq. 4).

    Section 1 has the nearest prototypes in place of the classifier.
    classes: (B, 2) of k and of k^aug, -1 where not known
    returns: (B,) bool
    """
    return (classes[:, 0] == classes[:, 1]) & (classes[:, 0] >= 0)


def movement(s: Tensor, classes: Tensor, gate: Tensor) -> Tensor:
    """Return each utterance's weight on each prototype: s_c on its class alone (Eq. 4).

    As printed c is the class that the classifier names; moving the pseudo-label's prototype is a reading.
    s: (B, C) similarities, or soft labels as a reading   classes: (B,) c   gate: (B,) bool
    returns: (B, C), zero where nothing moves
    """
    return s * F.one_hot(classes, s.shape[-1]) * gate[:, None]


def kept_by_sample(share: float, n: float) -> float:
    """Return γ of one update where n of them together keep a share of the old prototype, a reading of γ (Eq. 4)."""
    return share ** (1 / n)


def update_prototypes(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Move prototypes, sample after sample (Eq. 4, the literal form).

    p_c ← Normalize(γ p_c + (1 − γ) k_i s_c)

    prototypes: (C, D)   k: (B, D)   weight: (B, C), s_c where utterance i moves class c and 0 elsewhere
    returns: (C, D), unit norm where a prototype was moved
    """
    for k_i, w_i in zip(k, weight, strict=True):
        sums = gamma * prototypes + (1 - gamma) * w_i[:, None] * k_i  # (C, D)
        prototypes = torch.where((w_i != 0)[:, None], F.normalize(sums, dim=-1), prototypes)
    return prototypes


def update_prototypes_closed(prototypes: Tensor, k: Tensor, weight: Tensor, gamma: float) -> Tensor:
    """Move prototypes by the sequence of Eq. 4 in closed form, normalised once at its end.

    p_c ← Normalize(γ^n p_c + (1 − γ) Σ_i γ^(n − rank_i) s_ic k_i), over the n utterances that move class c

    Arguments and result as for `update_prototypes`. For prototypes of unit norm both agree to first order in 1 − γ; for
    others, as class means are without `unit_norm`, only the sequence has unit norm after its first move.
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
    """Return the positives of Eq. 5: the other view of the same utterance.

    n: B utterances, of 2B views: k first, then k^aug
    returns: (2B, 2B) bool, the diagonal False
    """
    return torch.eye(2 * n, dtype=torch.bool, device=device).roll(n, dims=1)


def same_label(labels: Tensor) -> Tensor:
    """Return the positives of the text: views of the same pseudo-label (section 2.3).

    labels: (V,) pseudo-labels of all views
    returns: (V, V) bool, the diagonal False
    """
    return (labels[:, None] == labels[None, :]).fill_diagonal_(False)


def all_others(n: int, device: torch.device | None = None) -> Tensor:
    """Return the pairs of every view with every other one.  n: V views   returns: (V, V) bool, the diagonal False"""
    return ~torch.eye(n, dtype=torch.bool, device=device)


def positives_and_other_labels(positives: Tensor, labels: Tensor) -> Tensor:
    """Return the pairs of the text: positives, and negatives of another pseudo-label (section 2.3).

    positives: (V, V) bool   labels: (V,) pseudo-labels of all views
    returns: (V, V) bool
    """
    return positives | (labels[:, None] != labels[None, :])


def contrastive_loss(anchors: Tensor, views: Tensor, positives: Tensor, pairs: Tensor, tau: float) -> Tensor:
    """Return L_con, the contrast of views, the mean over anchors a_i and their positives v_p (Eq. 5).

    L_con = −log exp(a_i·v_p / τ) / Σ_j exp(a_i·v_j / τ), over the pairs (i, j)

    As printed anchors are the k_i, views all k_j^aug of the minibatch and all are pairs. Both views as anchors, and
    all the other 2B − 1 views in the sum, are a reading.

    anchors: (A, D)   views: (V, D)   normalise both for the cosine, a reading too
    positives, pairs: (A, V) bool; positives are pairs as well, and an anchor without any is left out
    returns: scalar
    """
    count = positives.sum(dim=-1)  # (A,)
    pairs = pairs | (count == 0)[:, None]  # an empty sum would have no finite gradient
    logits = (anchors @ views.T / tau).masked_fill(~pairs, float("-inf"))
    log_share = logits.log_softmax(dim=-1).masked_fill(~positives, 0)  # -inf · 0 would be nan
    return -(log_share.sum(dim=-1) / count.clamp(min=1)).sum() / (count > 0).sum().clamp(min=1)


def cross_entropy(logits: Tensor, target: Tensor, weight: Tensor | None = None) -> Tensor:
    """Return CE(x, y), the mean over the minibatch (Eq. 6).

    logits: (B, C)   target: (B,) classes or (B, C) shares, taken as constant   weight: (B,) or None for ones
    returns: scalar
    """
    losses = F.cross_entropy(logits, target.detach(), reduction="none")  # (B,)
    return (losses if weight is None else losses * weight.detach()).mean()


def beta(epoch: int, epochs: int, weight_max: float, growth: float) -> float:
    """Return β = min(w (r^(e / (E/2)) − 1) / (r − 1), w), the weight of D2 (Eq. 7).

    The paper prints the −1 of the numerator inside the exponent. Then β would not begin at 0, as section 3.2 says.
    epoch: e, from 0   epochs: E   weight_max: w, `beta_max`   growth: r > 1, `beta_growth`
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


def angles(start: Tensor, end: Tensor) -> Tensor:
    """Return the angle in degrees between each prototype before and after a move.

    2 atan2(|a − b|, |a + b|) of the unit vectors: a cosine in float32 would not tell angles below 0.02° from none.
    start, end: (C, D)
    returns: (C,)
    """
    a, b = F.normalize(start, dim=-1), F.normalize(end, dim=-1)
    return torch.rad2deg(2 * torch.atan2((a - b).norm(dim=-1), (a + b).norm(dim=-1)))
