"""A run's result in plain words, for someone who has not read the paper. N utterances, C classes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ipr_core import metrics
from ipr_core.data.ambiguity import soft_votes
from ipr_core.data.faults import quoted
from ipr_core.results import comparisons, soft_labels
from ipr_core.results.scores import divergences
from ipr_core.runs.run import Run

_LEAST = 0.05  # of a distribution that is told: smaller shares are left out


def paragraphs(run: Run, rivals: Sequence[Run] = ()) -> list[str]:
    """Return what `ipr run` says of a finished run: its accuracy; its labels of D2 and its soft labels, as they apply.

    rivals: other systems' finished runs on the same corpus
    """
    about_labels = " ".join(filter(None, (changes(run), soft(run, rivals))))
    return list(filter(None, (outcome(run, rivals), about_labels)))


def outcome(run: Run, rivals: Sequence[Run] = ()) -> str:
    """Say what a finished run's accuracy is of, what guessing would reach, and how it compares with its rivals.

    rivals: other systems' finished runs on the same corpus
    """
    table = run.table
    labels = table.loc[table["part"] == "D3", "label"]
    guess = labels.value_counts(normalize=True).max()
    sentences = [
        f"D3 is the test: the {len(labels)} utterances that annotators agree on least. {run.system.title} names the "
        f"emotion of {_percent(run)} of them; always the same emotion would be right in {100 * guess:.0f} %."
    ]
    differences = comparisons.differences([run, *rivals], run.config.training.system).values
    for rival in rivals:
        sentence = f"The {rival.system.title} beside it: {_percent(rival)}"
        rows = differences[differences["comparison"].str.startswith(f"{rival.system.title} −")]
        for low, high in rows[["95 % from", "to"]].itertuples(index=False):
            verdict = "which one training each cannot tell from no difference" if low <= 0 <= high else "a difference"
            sentence += f", {verdict} (95 % interval {low:+.1f} to {high:+.1f} points)"
        sentences.append(f"{sentence}.")
    return " ".join(sentences)


def changes(run: Run) -> str:
    """Say what the refinement did to the labels of D2, from the end of the warm-up to the end of training.

    Utterances of D2 whose votes tie have no label, and do not count.
    returns: empty for a system without refinement by prototypes, or a run without warm-up or refinement
    """
    training = run.config.training
    if not run.system.moves_prototypes or not 0 < training.warm_up < training.epochs:
        return ""
    names = np.array(run.meta["classes"])
    d2 = ((run.table["part"] == "D2") & run.table["label"].isin(names)).to_numpy()
    truth = run.table.loc[d2, "label"].to_numpy()
    first, last = (names[_soft(run, epoch)[d2].argmax(axis=1)] for epoch in (training.warm_up - 1, training.epochs - 1))
    is_new = first != last
    right, wrong = int((is_new & (last == truth)).sum()), int((is_new & (first == truth)).sum())
    return (
        f"Refinement changed {is_new.sum()} of the {len(truth)} labels that D2 had after the warm-up: {right} became "
        f"right, {wrong} wrong; {(first == truth).sum()} had been right."
    )


def soft(run: Run, rivals: Sequence[Run] = ()) -> str:
    """Say how near the soft labels are to the truth, with a typical utterance of D3: that of the median distance.

    The truth is the mixtures where they are known (the embedded corpus), else the annotators' votes.
    returns: empty where neither is known, and for the votes of simulated annotators
    """
    distances = [divergences(system_run) for system_run in (run, *rivals)]
    names = [name for name in ("js_mixture", "js_votes") if np.isfinite(distances[0][name])]
    if not names:
        return ""
    truth = "true mixtures" if names[0] == "js_mixture" else "votes"
    others = "".join(
        f", the {rival.system.title}'s {values[names[0]]:.3f}"
        for rival, values in zip(rivals, distances[1:], strict=True)
    )
    distance, uniform = distances[0][names[0]], distances[0][f"{names[0]}_uniform"]
    return (
        f"{run.system.title}'s soft labels lie {distance:.3f} bits from the {truth} of D2 and D3 (0 is the same)"
        f"{others}, equal shares {uniform:.3f}. "
        f"{_typical(run, truth)}"
    )


def _typical(run: Run, truth: str) -> str:
    """Describe the utterance of D3 whose soft label's distance to the truth is the median."""
    table, classes = run.table, run.meta["classes"]
    votes = soft_votes(table, classes)
    truths = table[[f"mixture_{name}" for name in classes]].to_numpy(float) if truth == "true mixtures" else votes
    shares = soft_labels.calibrated_labels(run)
    rows = np.flatnonzero((table["part"] == "D3") & np.isfinite(truths).all(axis=1))
    if not len(rows):
        return ""
    distances = metrics.js_divergence(shares[rows], truths[rows])
    row = rows[np.argsort(distances, kind="stable")[(len(rows) - 1) // 2]]
    mixture = f"truth {_shares(truths[row], classes)}; " if truth == "true mixtures" else ""
    return (
        f"A typical utterance of D3, {quoted(str(table['id'].iloc[row]))}: {mixture}votes "
        f"{_shares(votes[row], classes)}; soft label {_shares(shares[row], classes)}."
    )


def _shares(shares: NDArray[np.floating], classes: Sequence[str]) -> str:
    """Return "55 % angry, 45 % sad", the largest share first, without those below _LEAST."""
    order = [c for c in np.argsort(-shares, kind="stable") if shares[c] >= _LEAST]
    return ", ".join(f"{100 * shares[c]:.0f} % {classes[c]}" for c in order)


def _soft(run: Run, epoch: int) -> NDArray[np.floating]:
    """Return the soft labels (N, C) that a run's system gave after an epoch, uncalibrated."""
    return run.arrays(epoch)[f"soft_{'prototypes' if run.system.moves_prototypes else 'model'}"]


def _percent(run: Run) -> str:
    return f"{100 * run.history()[-1].accuracy:.1f} %"
