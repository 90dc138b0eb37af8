"""The paper's equations as slow loops over plain numbers, from its sections 2 and 3.2 alone.

No line here knows the workbench: embeddings are lists of floats, the encoder and the classifier are functions.
Where a sentence decides, it stands above the lines that it decides.
"""

import math
from collections.abc import Callable, Sequence

Vector = list[float]
Rows = list[Vector]


def dot(a: Vector, b: Vector) -> float:
    total = 0.0
    for left, right in zip(a, b, strict=True):
        total += left * right
    return total


def argmax(values: Sequence[float]) -> int:
    best = 0
    for index, value in enumerate(values):
        if value > values[best]:
            best = index
    return best


def normalize(vector: Vector) -> Vector:
    length = math.sqrt(dot(vector, vector))
    return [value / length for value in vector]


def embeddings(encoder: Callable[[Vector], Vector], waves: Rows) -> Rows:
    """Eq. 1. "q_i = Encoder(x_i^q; θ)": each utterance by itself; the equation has no mean."""
    return [encoder(wave) for wave in waves]


def prototypes(q: Rows, y: list[int], n_classes: int) -> Rows:
    """Eq. 2. "p_c = 1/n Σ_{i ∈ c} q_i … n represents the number of samples belonging to class c"."""
    result = []
    for c in range(n_classes):
        members = [row for row, label in zip(q, y, strict=True) if label == c]
        result.append([sum(values) / len(members) for values in zip(*members, strict=True)])
    return result


def similarities(k: Vector, p: Rows) -> Vector:
    """Section 2.2. "s_c is k_i^T p_c"."""
    return [dot(k, prototype) for prototype in p]


def pseudo_label(k: Vector, p: Rows) -> int:
    """Eq. 3. "The class prototype vector with the largest similarity to k_i is the pseudo label"."""
    return argmax(similarities(k, p))


def moved(p: Rows, k: Rows, logits_k: Rows, logits_aug: Rows, gamma: float) -> Rows:
    """Eq. 4. "p_c = Normalize(γ p_c + (1 − γ) k_i s_c), if c = max MLP(k_i) = max MLP(k_i^aug)".

    "Then, we compute the similarity …"; "In the subsequent step, following the assignment of pseudo labels …, we
    dynamically adjust": all s of the utterances given are computed before the first prototype moves.
    """
    s = [similarities(row, p) for row in k]
    p = [list(prototype) for prototype in p]
    for i, row in enumerate(k):
        c = argmax(logits_k[i])
        if c != argmax(logits_aug[i]):
            continue
        p[c] = normalize([gamma * old + (1 - gamma) * new * s[i][c] for old, new in zip(p[c], row, strict=True)])
    return p


def contrast(k: Rows, aug: Rows, i: int, tau: float) -> float:
    """Eq. 5 of utterance i: the anchor is x_i^k, and every x_j^aug of the batch is in the denominator."""
    above = math.exp(dot(k[i], aug[i]) / tau)
    below = 0.0
    for other in aug:
        below += math.exp(dot(k[i], other) / tau)
    return -math.log(above / below)


def contrast_of_batch(k: Rows, aug: Rows, tau: float) -> float:
    """Eq. 5 is of one utterance; a batch has the mean of its utterances."""
    return sum(contrast(k, aug, i, tau) for i in range(len(k))) / len(k)


def cross_entropy(logits: Rows, y: list[int]) -> float:
    total = 0.0
    for row, label in zip(logits, y, strict=True):
        total += math.log(sum(math.exp(value) for value in row)) - row[label]
    return total / len(y)


def objective(cls_q: float, cls_k: float, con: float, alpha: float, beta: float, mu: float) -> float:
    """Eq. 6. "L = α L_cls(x^q, y) + β L_cls(x^k, ŷ) + μ L_con"."""
    return alpha * cls_q + beta * cls_k + mu * con


def beta(epoch: int, epochs: int, weight: float, r: float) -> float:
    """Eq. 7, with its "−1" beside the power and not in the exponent.

    "Initially, β is set to 0.0 … The increment of β accelerates with each epoch until reaching 0.5."
    In the exponent, as it is printed, the first value would not be 0.
    """
    power = 1.0
    power *= r ** (epoch / (epochs / 2))
    return min(weight * (power - 1) / (r - 1), weight)


def gradient(value: Callable[[Rows], float], rows: Rows, step: float = 1e-5) -> Rows:
    """The derivative of a number by each entry of `rows`, from differences on both sides."""
    result = [[0.0] * len(row) for row in rows]
    for i, row in enumerate(rows):
        for d in range(len(row)):
            ends = []
            for sign in (1, -1):
                changed = [list(other) for other in rows]
                changed[i][d] += sign * step
                ends.append(value(changed))
            result[i][d] = (ends[0] - ends[1]) / (2 * step)
    return result
