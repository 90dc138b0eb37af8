"""Soft and single labels as a table; `annotation` makes the table of any corpus, this one of a run's own data."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.metrics import entropy

if TYPE_CHECKING:
    from ipr_core.training.session import Session


def of_session(session: Session) -> DataFrame:
    """Return the labels of every utterance of a session's data after its last evaluation.

    The system's own choice comes first: the prototypes where D2 moves them, the classifier otherwise.
    """
    classifier, prototypes = session.classifier_soft.cpu().numpy(), session.schedule.soft.cpu().numpy()
    columns = ["id", "path", "start", "end", "speaker", "part", "label", "share"]
    return table(
        session.data.table[columns], session.data.classes, classifier, prototypes, session.system.moves_prototypes
    )


def table(
    utterances: DataFrame, classes: tuple[str, ...], classifier: NDArray, prototypes: NDArray, by_prototypes: bool
) -> DataFrame:
    """Return utterances with their labels.

    classifier, prototypes: (N, C) shares by each of them   by_prototypes: which of the two the system labels with
    returns: the columns of `utterances`, then single_label, soft_<class> and entropy (bits) of the system's choice,
    then model_<class> and prototypes_<class>, and whether both name the same class
    (classifier_and_prototypes_agree)
    """
    soft = prototypes if by_prototypes else classifier
    names = np.array(classes)
    return utterances.assign(
        single_label=names[soft.argmax(axis=1)],
        **{f"soft_{c}": soft[:, i] for i, c in enumerate(classes)},
        entropy=entropy(soft),
        **{f"model_{c}": classifier[:, i] for i, c in enumerate(classes)},
        **{f"prototypes_{c}": prototypes[:, i] for i, c in enumerate(classes)},
        classifier_and_prototypes_agree=classifier.argmax(axis=1) == prototypes.argmax(axis=1),
    )
