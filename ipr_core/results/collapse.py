"""Signs that a run's labels have collapsed: it names few of the classes, or its prototypes are one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ipr_core.method.systems import SYSTEMS
from ipr_core.runs.run import Run

LARGEST_SHARE = 0.95
"""One class has more than this share of the pseudo-labels of D2."""
LARGEST_COSINE = 0.999
"""The cosine between two classes' prototypes is above this: they say the same of nearly every utterance."""


def signs(run: Run) -> list[str]:
    """Return the signs of a collapse after a finished run's final epoch, in words; none if it has not collapsed.

    One class has more than `LARGEST_SHARE` of D2's pseudo-labels (by what labels D2: the prototypes if it moves them,
    else the classifier); the classifier names a class that D3 has for no utterance of D3; or two prototypes that label
    D2 have a cosine above `LARGEST_COSINE`.
    """
    event, by_prototypes = run.history()[-1], run.system.moves_prototypes
    labels = np.array(event.labels_prototypes if by_prototypes else event.labels_model)
    confusion = np.array(event.confusion)
    pairs = ~np.eye(len(event.cosines or []), dtype=bool)
    checks = {
        "one class has nearly all labels of D2": labels.max() > LARGEST_SHARE * labels.sum(),
        "a class is never named on D3": ((confusion.sum(axis=0) == 0) & (confusion.sum(axis=1) > 0)).any(),
        "two prototypes are one": by_prototypes and np.array(event.cosines)[pairs].max(initial=-1) > LARGEST_COSINE,
    }
    return [sign for sign, present in checks.items() if present]


def cautions(runs: Sequence[Run]) -> list[str]:
    """Return a sentence for each system with collapsed runs, in Markdown."""
    by_system: dict[str, list[list[str]]] = {}
    for run in runs:
        by_system.setdefault(run.config.training.system, []).append(signs(run))
    return [
        f"**{SYSTEMS[system].title}** has collapsed in {_ratio(rows)} runs: {'; '.join(_counts(rows))}."
        for system, rows in sorted(by_system.items(), key=lambda pair: list(SYSTEMS).index(pair[0]))
        if any(rows)
    ]


def share(runs: Sequence[Run]) -> str:
    """Return how many of one system's runs have collapsed, such as "2 of 5"; "" if none has."""
    rows = [signs(run) for run in runs]
    return _ratio(rows) if any(rows) else ""


def _ratio(rows: Sequence[Sequence[str]]) -> str:
    return f"{sum(map(bool, rows))} of {len(rows)}"


def _counts(rows: Sequence[Sequence[str]]) -> list[str]:
    """Return each sign with the number of runs that have it."""
    words = [sign for row in rows for sign in row]
    return [f"{sign} ({words.count(sign)})" for sign in dict.fromkeys(words)]
