"""Deep spectrum (Cummins et al., ACM MM 2017): AlexNet on spectrograms, and a linear SVM.

The SVM is trained in its primal form, one emotion against the rest, by the common optimizer at ten times its rate. In
20 epochs on RAVDESS at 1e-3 the hinge loss on D1 then falls to 0.004, as low as an exact solver's at C between 0.01 and
1; without the ten it stood at 1.1. The weight decay hardly regularises: weights stay small because they begin at 0. On
D2 it learns, as retrained for IPR's paper, from its own soft label: the softmax of the margins.
"""

from torch import Tensor, nn

from ipr_core.config import Encoder
from ipr_core.encoders.alexnet import AlexNet
from ipr_core.method.systems.step import Step, Terms, terms
from ipr_core.method.systems.system import Classifier, Network, System, Unprojected


def hinge_loss(margins: Tensor, shares: Tensor) -> Tensor:
    """Return the squared hinge loss of C SVMs, the mean over the minibatch.

    Σ_c s_c max(0, 1 − m_c)² + (1 − s_c) max(0, 1 + m_c)²

    margins: (B, C) m   shares: (B, C) s, one-hot on D1
    returns: scalar
    """
    of_class = shares * (1 - margins).clamp(min=0).square()
    of_rest = (1 - shares) * (1 + margins).clamp(min=0).square()
    return (of_class + of_rest).sum(dim=-1).mean()


class LinearSVM(Classifier):
    """C linear SVMs: features (B, D) → margins (B, C)."""

    def __init__(self, dim: int, n_classes: int, choice: Encoder):
        super().__init__()
        self.svm = nn.Linear(dim, n_classes)
        nn.init.zeros_(self.svm.weight)
        nn.init.zeros_(self.svm.bias)

    def forward(self, embedding: Tensor) -> Tensor:
        # by √D: a step of the optimizer is as long in each of 4,096 dimensions and shall move margins little
        return self.svm(embedding / embedding.shape[1] ** 0.5)


def warm_up_terms(step: Step) -> Terms:
    """Return the hinge loss of D1."""
    return terms(step, precise=hinge_loss(step.precise.logits, step.one_hot))


def refinement_terms(step: Step) -> Terms:
    """Return the hinge loss of D1, and of D2 with the classifier's soft labels."""
    precise = hinge_loss(step.precise.logits, step.one_hot)
    return terms(step, precise=precise, ambiguous=hinge_loss(step.ambiguous.logits, step.classifier_soft))


def caution(choice: Encoder) -> str | None:
    """Warn of random features: they are no deep spectrum."""
    return None if choice.image_weights else "AlexNet has RANDOM weights: `image_weights` names no ImageNet ones"


SYSTEM = System(
    title="deep spectrum, SVM",
    about="AlexNet's features and a linear SVM (at ten times lr), trained on D1 and on D2 with its own labels",
    refinement_terms=refinement_terms,
    warm_up_terms=warm_up_terms,
    ambiguous_views=1,
    shows_beta=True,
    network=Network(encoder=AlexNet, projection=Unprojected, classifier=LinearSVM, rate=10),
    printed_accuracy=59.20,
    caution=caution,
)
