"""CNN with attention pooling (Li et al., Interspeech 2018).

It learns where to listen at all, and where for each emotion. The score of an emotion is the sum over the spectrogram of
a map common to all emotions times a map of its own. The first is a softmax w over positions x, the second linear,
a_c · x, so that Σ w_x (a_c · x) = a_c · Σ w_x x: attention pools the positions to an embedding, and a linear classifier
follows. On D2 it learns, as retrained for IPR's paper, from its own soft label. It begins from nothing, and needs three
times the steps of other systems to fit D1.
"""

import torch
from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.encoder import valid
from ipr_core.encoders.spectrogram import SpectrogramCNN
from ipr_core.method import equations as eq
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Classifier, Network, System, Unprojected


class Attention(nn.Module):
    """The map common to all emotions.

    frames (B, F, H), valid (B,) → their weighted mean (B, H)
    """

    def __init__(self, width: int, n_classes: int):
        super().__init__()
        self.width = width
        self.map = nn.Linear(width, 1)

    def forward(self, frames: Tensor, n: Tensor) -> Tensor:
        scores = self.map(frames)[..., 0].float()
        weights = scores.masked_fill(~valid(n, frames.shape[1]), -torch.inf).softmax(dim=1)
        return (weights[..., None] * frames).sum(dim=1)


class Maps(Classifier):
    """The map of each emotion, applied after the sum over positions: embedding (B, H) → logits (B, C)."""

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.maps = nn.Linear(dim, n_classes)

    def forward(self, embedding: Tensor) -> Tensor:
        return self.maps(embedding)


def refinement_terms(step: Step) -> Terms:
    """Return CE on D1, and on D2 with the classifier's soft labels."""
    return terms(step, ambiguous=eq.cross_entropy(step.ambiguous.logits, step.classifier_soft))


SYSTEM = System(
    title="CNN, attention pooling",
    about="a CNN on spectrograms, in three times the steps trained on D1 and on D2 with its own labels",
    refinement_terms=refinement_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(encoder=SpectrogramCNN, pool=Attention, projection=Unprojected, classifier=Maps, turns=3),
    printed_accuracy=58.00,
)
