"""All figures of a finished run, by subject: for its report, and for a paper."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import plotly.graph_objects as go

from ipr_core.data.ambiguity import class_numbers, soft_votes
from ipr_core.data.dataset import Dataset
from ipr_core.data.waves import WaveStore
from ipr_core.results import fairness, reliability, soft_labels
from ipr_core.results.drawn import FIRST_PAGE
from ipr_core.runs.run import Run
from ipr_core.training.session import map_sample
from ipr_widgets import comparison, curves, matrices, outcome, plane, planes, votes

CORPUS, TRAINING, D2, PROTOTYPES, RECOGNITION, SOFT, BESIDE, UNDECIDED, DISPUTED = (
    "The corpus and its parts", "Training", "The labels of D2", "The prototypes", "Recognition of D3, and of whom",
    "Soft labels and the votes", "Beside other runs", "The most undecided utterances of D2",
    "Where classifier and prototypes disagree, both sure",
)  # fmt: skip
"""Subjects, headings of a report."""


@dataclass(frozen=True)
class Drawing:
    """A figure of a run."""

    subject: str
    """The heading that it stands under."""
    name: str
    """The name of its file, without an ending."""
    figure: go.Figure

    @property
    def is_wide(self) -> bool:
        """Whether it has panels beside each other, which need the width of a page."""
        return "xaxis2" in self.figure.layout


def drawings(run: Run, rivals: Sequence[Run] = ()) -> list[Drawing]:
    """Return the figures of a finished run, in the order of a report.

    rivals: other finished runs on the same utterances, beside which it is drawn
    raises RunError if the run's files are damaged, or a rival cannot be compared
    """
    return [
        *_first_page(run, rivals),
        *_partition(run),
        *_training(run),
        *_labels_of_d2(run),
        *_prototypes(run),
        *_recognition(run),
        *_soft_labels(run),
        *_beside(run, rivals),
    ]


def _first_page(run: Run, rivals: Sequence[Run]) -> Iterator[Drawing]:
    yield Drawing(FIRST_PAGE, "recognition", outcome.recognition([run, *rivals]))
    yield Drawing(FIRST_PAGE, "recalls", outcome.recalls(run))
    if reliability.judged(run):
        yield Drawing(FIRST_PAGE, "reliability", outcome.reliability([run, *rivals]))
    elif _knows_labels_of_d2(run):
        yield Drawing(FIRST_PAGE, "agreement", curves.agreement(run.history()))


def _partition(run: Run) -> Iterator[Drawing]:
    subject, table, classes = CORPUS, run.table, run.meta["classes"]
    yield Drawing(subject, "partition", votes.partition(table, classes))
    if table["speaker"].nunique() > 1:
        figure = votes.partition_by_speaker(table, classes)
        yield Drawing(subject, "partition_by_speaker", figure.update_yaxes(dtick=1))


def _training(run: Run) -> Iterator[Drawing]:
    subject, history = TRAINING, run.history()
    yield Drawing(subject, "losses", curves.losses(history))
    yield Drawing(subject, "scores", curves.scores(history))
    if any(event.beta for event in history):
        yield Drawing(subject, "beta", curves.beta(history))
    if any(event.gate is not None for event in history):
        yield Drawing(subject, "gate", curves.gate(history))


def _labels_of_d2(run: Run) -> Iterator[Drawing]:
    subject, history, classes = D2, run.history(), run.meta["classes"]
    if _knows_labels_of_d2(run) and reliability.judged(run):  # else it stands on the first page
        yield Drawing(subject, "agreement", curves.agreement(history))
    labels = class_numbers(run.table, classes)[(run.table["part"] == "D2").to_numpy()]
    truth = np.bincount(labels[labels >= 0], minlength=len(classes))
    yield Drawing(subject, "label_counts", curves.label_counts(history, classes, truth.tolist()))


def _knows_labels_of_d2(run: Run) -> bool:
    return any(event.agreement_model is not None for event in run.history())


def _prototypes(run: Run) -> Iterator[Drawing]:
    subject, history, classes = PROTOTYPES, run.history(), run.meta["classes"]
    if history[-1].cosines is not None:
        yield Drawing(subject, "cosines", matrices.cosines(history, classes))
        yield Drawing(subject, "cosine_trends", curves.cosine_trends(history, classes))
    if any(event.angles for event in history):
        yield Drawing(subject, "moves", curves.moves(history, classes))
    ends = _ends(run)
    if shown := planes.of_epochs(run, ends):
        sample = run.table.iloc[map_sample(_without_sound(run), run.config.training.map_size)]
        figure = plane.panels(shown, sample, classes, [f"epoch {epoch}" for epoch in ends])
        yield Drawing(subject, "planes", figure.update_traces(showlegend=False, selector=dict(name="prototypes")))


def _ends(run: Run) -> list[int]:
    """Return the last epoch of the warm-up and that of training; one, if they are the same."""
    training = run.config.training
    return list(dict.fromkeys([max(training.warm_up - 1, 0), training.epochs - 1]))


def _without_sound(run: Run) -> Dataset:
    """Return a run's utterances for a figure: they are drawn also where their sound is not on this machine."""
    empty = np.empty(0)
    store = WaveStore([], empty.astype(np.int64), empty, empty)
    return Dataset(run.table, store, tuple(run.meta["classes"]), run.meta["simulated_annotators"])


def _recognition(run: Run) -> Iterator[Drawing]:
    subject = RECOGNITION
    yield Drawing(subject, "confusion", matrices.confusion(run.history()[-1].confusion, run.meta["classes"]))
    speakers = fairness.by_speaker(run)
    if len(speakers.values):
        yield Drawing(subject, "recall_by_speaker", outcome.by_speaker(speakers))


def _soft_labels(run: Run) -> Iterator[Drawing]:
    subject, table, classes = SOFT, run.table, run.meta["classes"]
    soft, shares = soft_labels.calibrated_labels(run), soft_votes(table, classes)
    if np.isfinite(shares).all(axis=1).any():
        yield Drawing(subject, "soft_against_votes", votes.soft_against_votes(soft, shares, classes))
        entropy = votes.entropy_against_entropy(soft, shares, table["part"])
        yield Drawing(subject, "entropy_against_entropy", entropy)
    yield Drawing(subject, "entropies", votes.entropies(soft, table["part"]))


def _beside(run: Run, rivals: Sequence[Run]) -> Iterator[Drawing]:
    subject, runs = BESIDE, comparison.gather(run, [rival.folder for rival in rivals])
    names = ("beside_scores", "beside_agreement", "beside_pairs", "beside_cosines", "beside_confusions")
    for name, figure in zip(names, comparison.figures(runs), strict=False):
        yield Drawing(subject, name, figure)
