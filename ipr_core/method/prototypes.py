"""The prototype bank: one vector per emotion, its readings chosen by the configuration, its algebra in `equations`."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from ipr_core.config import Method
from ipr_core.method import equations as eq

_UPDATES = {
    "closed": eq.update_prototypes_closed,
    "sequential": eq.update_prototypes,
    "batch": eq.update_prototypes_batch,
}


class Prototypes:
    """One prototype per class. What ends in `_` changes them; everything is detached from the graph.

    vectors: (C, D)
    """

    def __init__(self, n_classes: int, dim: int, method: Method, device: torch.device | str = "cpu"):
        self.method = method
        self.vectors = torch.zeros(n_classes, dim, device=device)

    def anchor_(self, q: Tensor, y: Tensor) -> None:
        """Set every prototype to its class mean over D1 (Eq. 2).  q: (N, D)   y: (N,)"""
        self.vectors = self._unit(eq.class_means(self._unit(q.detach()), y, len(self.vectors)))

    def follow_(self, q: Tensor, y: Tensor) -> None:
        """A moving average of D1's embeddings instead of their mean: Eq. 4 with s_c = 1 for the label's class.

        q: (N, D)   y: (N,)
        """
        weight = F.one_hot(y, len(self.vectors)).to(q)
        self.vectors = eq.update_prototypes_closed(self.vectors, self._unit(q.detach()), weight, self.method.gamma)

    def similarity(self, k: Tensor) -> Tensor:
        """s, the similarity of every utterance to every prototype.  k: (B, D) → (B, C)"""
        return eq.similarity(self._unit(k.detach()), self.vectors)

    def soft(self, k: Tensor) -> Tensor:
        """The soft label of every utterance.  k: (B, D) → (B, C), rows sum to 1"""
        s = self.similarity(k)
        if self.method.soft_label == "raw":
            return eq.raw_soft_labels(s)
        return eq.soft_labels(s, self.method.temperature)

    def move_(self, k: Tensor, predicted: Tensor) -> Tensor:
        """Move the prototypes by a batch of D2 (Eq. 4).

        k: (B, D)   predicted: (B,) the class on which the MLP's two views agree, -1 where they do not
        returns: (B,) bool, who passed the gate
        """
        s = self.similarity(k)
        labels = eq.pseudo_labels(s)
        weight = s if self.method.soft_label == "raw" else self.soft(k)
        passed = self._gate(predicted, labels)
        if self.method.moves == "agreed":
            weight = eq.movement(weight, labels, passed)
        else:
            weight = weight * passed[:, None]
        update = _UPDATES[self.method.update]
        self.vectors = update(self.vectors, self._unit(k.detach()), weight, self.method.gamma)
        return passed

    def _gate(self, predicted: Tensor, labels: Tensor) -> Tensor:
        if self.method.gate == "none":
            return torch.ones_like(predicted, dtype=torch.bool)
        agreed = predicted >= 0
        return agreed & (predicted == labels) if self.method.gate == "views+prototype" else agreed

    def _unit(self, vectors: Tensor) -> Tensor:
        return F.normalize(vectors, dim=-1) if self.method.unit_norm else vectors
