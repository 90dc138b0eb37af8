"""Soft and single labels as a table, and those of a run's own utterances; `annotation` makes those of any corpus."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core.metrics import entropy

if TYPE_CHECKING:
    from ipr_core.training.session import Session


def of_session(session: Session) -> DataFrame:
    """The labels of every utterance of a session's data after its last evaluation.

    What the system labels with comes first: the prototypes where D2 moves them, the classifier otherwise.
    """
    own, soft = session.own.cpu().numpy(), session.soft.cpu().numpy()
    columns = ["id", "path", "start", "end", "speaker", "part", "label", "share"]
    return table(session.data.table[columns], session.data.classes, own, soft, session.system.moves_prototypes)


def table(
    utterances: DataFrame, classes: tuple[str, ...], own: NDArray, soft: NDArray, by_prototypes: bool
) -> DataFrame:
    """Utterances with their labels.

    own, soft: (N, C) shares by the classifier and by the prototypes
    returns: the columns of `utterances`, then single_label, soft_<class> and entropy (bits) of what the system
    labels with, then model_<class> and prototypes_<class>, and whether both name the same class (views_agree)
    """
    chosen = soft if by_prototypes else own
    names = np.array(classes)
    return utterances.assign(
        single_label=names[chosen.argmax(axis=1)],
        **{f"soft_{c}": chosen[:, i] for i, c in enumerate(classes)},
        entropy=entropy(chosen),
        **{f"model_{c}": own[:, i] for i, c in enumerate(classes)},
        **{f"prototypes_{c}": soft[:, i] for i, c in enumerate(classes)},
        views_agree=own.argmax(axis=1) == soft.argmax(axis=1),
    )
