"""Soft and single labels as a table, and their calibration.

`annotation` makes the table of any corpus, this one of a run's own data. N utterances, C classes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame, Series

from ipr_core.calibration import FOLDS, Calibration, Source, fit
from ipr_core.data.validation import HELD_OUT
from ipr_core.metrics import entropy

if TYPE_CHECKING:
    from ipr_core.training.session import Session


def calibration(session: Session) -> Calibration:
    """Fit the calibration of a session's own soft labels, after its last evaluation, to V1 and V2.

    Targets are the votes' distribution over the classes. Where only the label's share is known, the rest of the votes
    is spread evenly over the other classes. Folds keep speakers together where there are enough of them; of few
    speakers no bias is tried, since it would be theirs.
    returns: the identity if no utterance is held out
    """
    data, rows = session.data, np.sort(np.concatenate([session.data.rows(part) for part in HELD_OUT.values()]))
    if not len(rows):
        return Calibration()
    table = data.table.iloc[rows]
    votes = data.votes[rows]
    has_votes = np.isfinite(votes).all(axis=1)
    targets = np.where(has_votes[:, None], votes, _by_agreement(data.labels[rows], table["share"], len(data.classes)))
    by_speaker, unknown = table["speaker"].nunique() >= FOLDS, (table["speaker"] == "").all()
    groups = table["speaker"] if by_speaker else table["id"]
    source: Source = "simulated" if data.simulated else "annotators" if has_votes.all() else "agreement"
    soft = session.schedule.soft if session.system.moves_prototypes else session.classifier_soft
    seed, biased = session.config.training.seed, bool(by_speaker or unknown)
    return fit(soft[rows].cpu().numpy(), targets, groups.tolist(), source, seed, biased)


def _by_agreement(labels: NDArray[np.int64], share: Series, n_classes: int) -> NDArray[np.float64]:
    """Return (N, C) the label's share of the votes (N,), and the rest evenly on the other classes."""
    one_hot = np.eye(n_classes)[labels]
    agreed = share.to_numpy(float)[:, None]
    return one_hot * agreed + (1 - one_hot) * (1 - agreed) / (n_classes - 1)


def of_session(session: Session) -> DataFrame:
    """Return the labels of every utterance of a session's data after its last evaluation, as its model has them."""
    labels = session.model.calibrated(session.classifier_soft, session.schedule.soft)
    columns = ["id", "path", "start", "end", "channel", "speaker", "part", "label", "share"]
    columns = [name for name in columns if name != "channel" or name in session.data.table]
    arrays = (shares.cpu().numpy() for shares in labels)
    return table(session.data.table[columns], session.data.classes, *arrays)


def table(
    utterances: DataFrame, classes: tuple[str, ...], soft: NDArray, classifier: NDArray, prototypes: NDArray
) -> DataFrame:
    """Return utterances with their labels.

    soft, classifier, prototypes: (N, C) shares, as `model.SoftLabels` has them
    returns: the columns of `utterances`, then single_label, soft_<class> and entropy (bits) of the system's own,
    calibrated labels, then model_<class> and prototypes_<class>, which are not calibrated, and whether both name the
    same class (classifier_and_prototypes_agree)
    """
    names = np.array(classes)
    return utterances.assign(
        single_label=names[soft.argmax(axis=1)],
        **{f"soft_{c}": soft[:, i] for i, c in enumerate(classes)},
        entropy=entropy(soft),
        **{f"model_{c}": classifier[:, i] for i, c in enumerate(classes)},
        **{f"prototypes_{c}": prototypes[:, i] for i, c in enumerate(classes)},
        classifier_and_prototypes_agree=classifier.argmax(axis=1) == prototypes.argmax(axis=1),
    )
