"""Which utterances a further vote is worth most on, and when an utterance's part is settled.

Both start from a run's soft labels and the votes so far. N utterances, C classes.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import Partition
from ipr_core.runs.run import Run

Floats = NDArray[np.float64]
PANEL = 10
"""Votes after which an utterance is heard enough."""
CERTAINTY = 0.9
"""An utterance's part is settled if it stays what it is in this share of the futures."""
_FUTURES = 200
_TOLERANCE = 1e-9


def usefulness(soft: Floats, classifier: Floats, prototypes: Floats, votes: Floats) -> Floats:
    """Return (N,) how much a vote is worth: high where the model is unsure, its parts differ and few have voted.

    It is the entropy of the soft label, plus the Jensen-Shannon divergence of classifier and prototypes, both from 0 to
    1, by one more than the number of votes.
    soft, classifier, prototypes: (N, C) shares   votes: (N,) how many there are
    """
    entropy = metrics.entropy(soft) / np.log2(soft.shape[1])
    return (entropy + metrics.js_divergence(classifier, prototypes)) / (1 + votes)


def worth_in_run(run: Run, ids: Sequence[str], audio: Sequence[str], record: DataFrame) -> Floats:
    """Return (N,) how much a vote is worth on each clip, by a finished run and the votes of listening tests so far.

    A clip that the run does not have, as one without votes before, is worth as much as one of which the model knows
    nothing. A clip of D3 is worth nothing: votes on it would change the test and not the model.
    ids, audio: (N,) utterances, and keys of their sounds   record: of `votes.record.read`
    """
    labels, classes = run.labels.set_index("id"), run.meta["classes"]
    kinds = ("soft", "model", "prototypes" if run.system.shows_prototypes else "model")
    shares = [labels[[f"{kind}_{name}" for name in classes]].to_numpy(float) for kind in kinds]
    answers = record[~record["cannot_tell"].astype(bool)].drop_duplicates(["listener", "audio"])["audio"].value_counts()
    votes = answers.reindex(audio).fillna(0.0).to_numpy(float)
    rows = labels.index.get_indexer(ids)
    unsure = np.append(usefulness(shares[0], shares[1], shares[2], np.zeros(len(labels))), 1.0)
    test = np.append((labels["part"] == "D3").to_numpy(), False)
    return np.where(test[rows], 0.0, unsure[rows] / (1 + votes))


def votes_needed(
    votes: Floats, soft: Floats, rules: Partition, panel: int = PANEL, seed: int = 0
) -> tuple[NDArray[np.int64], NDArray[np.str_]]:
    """Return (N,) how many more votes settle each utterance's part, and (N,) the likeliest part of the whole panel.

    The shares of the votes have a Dirichlet posterior, whose prior is the soft label with the weight of one vote. Its
    futures are drawn up to a panel of votes (Pólya's urn). A part is settled from the vote on after which it stays the
    same to the end in `CERTAINTY` of them. 0: it is settled now, as it is where the panel is complete.
    votes: (N, C) so far   soft: (N, C) rows sum to 1   rules: the shares that make D1, D2 and D3
    """
    draw = np.random.default_rng(seed)
    missing, part = np.zeros(len(votes), np.int64), np.empty(len(votes), "U2")
    for i, (counts, prior) in enumerate(zip(votes, soft, strict=True)):
        parts = _futures(counts, prior, max(0, panel - round(float(counts.sum()))), rules, draw)
        stays = np.logical_and.accumulate((parts == parts[:, -1:])[:, ::-1], axis=1)[:, ::-1]  # (F, 1 + votes)
        missing[i] = int(np.argmax(stays.mean(axis=0) >= CERTAINTY))
        names, frequency = np.unique(parts[:, -1], return_counts=True)
        part[i] = names[frequency.argmax()]
    return missing, part


def settlement(run: Run, manifest: DataFrame, panel: int = PANEL) -> DataFrame:
    """Return how many more votes settle the part of each utterance outside of D3, most votes first.

    manifest: the run's corpus with all votes so far, see `again.next_corpus`   panel: votes of an utterance that is
    heard enough
    returns: id, votes (so far), part (the likeliest of the whole panel) and votes_needed, 0 where it is settled
    """
    classes = run.meta["classes"]
    labels = run.labels.set_index("id")[[f"soft_{name}" for name in classes]]
    rows = manifest[manifest["id"].isin(labels.index) & (manifest["part"] != "D3")]
    zeros = np.zeros(len(rows))
    votes = np.stack([rows.get(f"votes_{name}", zeros) for name in classes], axis=1).astype(float)
    rules = run.config.partition.model_copy(update={"ambiguous_share": 0.0})  # D3 is fixed: what is not D1 is D2
    needed, part = votes_needed(votes, labels.loc[rows["id"]].to_numpy(float), rules, panel)
    table = DataFrame({"id": rows["id"], "votes": votes.sum(axis=1), "part": part, "votes_needed": needed})
    return table.sort_values("votes_needed", ascending=False, kind="stable").reset_index(drop=True)


def _futures(counts: Floats, prior: Floats, size: int, rules: Partition, draw: np.random.Generator) -> NDArray:
    """Return (F, 1 + size) the part of an utterance now and after each further vote, in F futures."""
    shares = draw.dirichlet(counts + np.maximum(prior, 1e-6), _FUTURES)  # (F, C)
    cumulative = shares.cumsum(axis=1)[:, None, :]
    choice = (draw.random((_FUTURES, size, 1)) > cumulative).sum(axis=2).clip(max=len(counts) - 1)  # (F, size)
    added = np.eye(len(counts))[choice].cumsum(axis=1)  # (F, size, C)
    totals = counts + np.concatenate([np.zeros((_FUTURES, 1, len(counts))), added], axis=1)
    whole = totals.sum(axis=2)
    share = totals.max(axis=2) / np.where(whole > 0, whole, 1)
    return np.select(
        [whole == 0, share >= rules.precise_share - _TOLERANCE, share >= rules.ambiguous_share - _TOLERANCE],
        ["", "D1", "D2"],
        "D3",
    )
