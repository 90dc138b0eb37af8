"""The first page of a report, in words: what was asked, what came out, how sure it is, and what to keep in mind.

Sentences are plain text or Markdown of which bold is read; `report` makes a page of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.data.ambiguity import soft_votes
from ipr_core.data.faults import number_of
from ipr_core.data.validation import HELD_OUT
from ipr_core.results import collapse, comparisons, fairness, in_words, reachable, reliability, soft_labels
from ipr_core.results.hits import FEWEST_SPEAKERS
from ipr_core.results.scores import correct
from ipr_core.results.significance import accuracy_interval
from ipr_core.runs.run import Run

TO_HEAR = 4
"""Utterances that the first page lets hear."""
FEWEST_OF_CLASS = 10
"""Of a class with fewer utterances in D3 the page says that its recall rests on little."""
_LEAST = 0.05  # a smaller share of a distribution is left out of a sentence


@dataclass(frozen=True)
class Heard:
    """An utterance that the first page lets hear."""

    row: int
    """Of the run's table."""
    name: str
    part: str
    votes: str
    """In words; empty where they are not known."""
    soft: str


def question(run: Run) -> str:
    """Return what the run was to find out."""
    n_classes = number_of(len(run.meta["classes"]), "emotion")
    moves = (
        "Utterances that annotators disagree about (D2), whose labels are hidden, refine a prototype of each emotion, "
        "and the prototypes label them."
        if run.system.moves_prototypes
        else "No prototype moves in this system, so utterances that annotators disagree about (D2) refine none."
    )
    return (
        f"How well does {run.system.title} tell {n_classes} apart in the utterances that annotators agree on least "
        f"(D3), and do its soft labels say how divided the annotators are? {moves}"
    )


def verdict(run: Run, rivals: Sequence[Run] = ()) -> str:
    """Return the result in a sentence or two, with how sure it is."""
    interval, guess, accuracy = accuracy_interval(run), 100 * _guess(run), 100 * run.history()[-1].accuracy
    is_known = np.isfinite(interval.low)
    comparison = (
        "better than guessing"
        if is_known and interval.low > guess
        else "worse than guessing"
        if is_known and interval.high < guess
        else "no better than guessing, as far as can be told"
    )
    ends = f", 95 % interval {interval.low:.1f} to {interval.high:.1f} over {interval.units}" if is_known else ""
    first = (
        f"{run.system.title} recognises the most ambiguous utterances {comparison}: {accuracy:.1f} % of "
        f"{len(correct(run))} are right{ends}; always the same emotion would be right in {guess:.0f} %."
    )
    return " ".join([first, *(_beside(run, rival) for rival in rivals)])


def findings(run: Run, rivals: Sequence[Run] = ()) -> list[str]:
    """Return what else came out, a sentence or two each: D2's labels, the soft labels, their reliability, speakers."""
    judged = reliability.judged(run)
    calibrated = ""
    if judged:
        soft, votes, speakers = judged
        error = reliability.calibration_error(soft, votes, speakers)
        sure = soft.max(axis=1).mean() > (votes * (soft == soft.max(axis=1, keepdims=True))).sum(axis=1).mean()
        calibrated = (
            f"How sure a soft label is, and the votes' share of the emotion that it names, lie {error} apart on "
            f"average (expected calibration error); it is too {'sure' if sure else 'unsure'}."
        )
    control = "" if rivals else "No other system stands beside this run: `ipr run --beside baseline` trains a control."
    candidates = [control, in_words.changes(run), _distances(run, rivals), calibrated, fairness.spread(run)]
    return [text for text in candidates if text]


def caveats(run: Run, rivals: Sequence[Run] = ()) -> list[str]:
    """Return what a reader has to keep in mind of this run, the gravest first."""
    return [*_of_the_data(run), *_of_the_training(run, rivals)]


def facts(run: Run) -> dict[str, str]:
    """Return corpus, votes, partition and model of a run, in words."""
    table, config, counts = run.table, run.config, run.table["part"].value_counts()
    votes = "SIMULATED annotators (classifiers)" if run.meta["simulated_annotators"] else "the corpus's annotators"
    if config.data.corpus == "synthetic":
        votes = "drawn from the known mixture of each synthetic voice"
    speakers = table.loc[table["speaker"] != "", "speaker"].nunique()
    parts = {"D1": "agreed on", "D2": "ambiguous, labels hidden", "D3": "the test"} | {
        part: f"held out of {whole}" for whole, part in HELD_OUT.items()
    }
    sizes = [f"{part} {counts[part]:,} ({words})" for part, words in parts.items() if part in counts]
    hours = table["duration"].sum() / 3600
    time = "" if not np.isfinite(hours) or not hours else f", {hours:.1f} hours"
    encoder = "a small log-mel network, not pre-trained" if _is_small(run) else config.encoder.encoder
    return {
        "Corpus": f"{config.data.corpus}: {number_of(len(table), 'utterance')} of "
        f"{number_of(speakers, 'known speaker')}{time}; {', '.join(run.meta['classes'])}",
        "Votes": votes,
        "Partition": "; ".join(sizes),
        "Model": f"{run.system.title}; encoder: {encoder}; {number_of(config.training.epochs, 'epoch')}, "
        f"{config.training.warm_up} of them warm-up; seed {config.training.seed}",
    }


def most_ambiguous(run: Run, count: int = TO_HEAR) -> list[Heard]:
    """Return the utterances of D2 and D3 whose votes are most divided, of as divided ones those with the least sure
    soft labels; without votes the latter alone decide.
    """
    table, classes = run.table, run.meta["classes"]
    votes, soft = soft_votes(table, classes), soft_labels.calibrated_labels(run)
    divided = np.round(np.nan_to_num(metrics.entropy(np.nan_to_num(votes)), nan=-1), 6)
    order = np.lexsort([-metrics.entropy(soft), -divided])
    rows = [row for row in order if table["part"].iloc[row] in soft_labels.PARTS[soft_labels.BOTH]][:count]
    return [
        Heard(
            int(row), str(table["id"].iloc[row]), str(table["part"].iloc[row]),
            _shares(votes[row], classes) if np.isfinite(votes[row]).all() else "", _shares(soft[row], classes),
        )
        for row in rows
    ]  # fmt: skip


def _beside(run: Run, rival: Run) -> str:
    """Return how a run compares with another one."""
    table = comparisons.differences([run, rival], run.config.training.system).values
    accuracy = f"{100 * rival.history()[-1].accuracy:.1f} %"
    title = f"the {rival.system.title} beside it ({accuracy})"
    if table.empty:
        return f"{title[0].upper()}{title[1:]} is the same system."
    row = table.iloc[0]
    low, high = row["95 % from"], row["to"]
    points = [f"{value:+.1f}".replace("-", "−") for value in (row["difference"], low, high)]
    ends = f"{rival.system.title} − {run.system.title} {points[0]} points, 95 % interval {points[1]} to {points[2]}"
    if low <= 0 <= high:
        return f"One training each cannot tell it from {title}: {ends}."
    word = "better" if high < 0 else "worse"
    return f"On these utterances it is {word} than {title}: {ends}; another seed may differ."


def _distances(run: Run, rivals: Sequence[Run]) -> str:
    """Return how near the soft labels are to the truth, without the example that the terminal gives."""
    return in_words.soft(run, rivals).partition(" A typical utterance")[0]


def _of_the_data(run: Run) -> Iterator[str]:
    table, corpus = run.table, run.config.data.corpus
    if run.meta["simulated_annotators"]:
        yield (
            "The annotators' votes are **simulated**: *ambiguous* means that classifiers disagreed, and agreement with "
            "their votes says little about people."
        )
    if corpus == "synthetic":
        yield "The voices are **synthetic**: the figures show that the method runs, not how it hears people."
    d3 = table["part"] == "D3"
    shared = set(table.loc[d3, "speaker"]) & set(table.loc[table["part"].isin(["D1", "D2"]), "speaker"]) - {""}
    if shared:
        yield (
            f"{len(shared)} of {table.loc[d3, 'speaker'].nunique()} speakers of D3 are heard in training too; nothing "
            "is known of new speakers (`speaker_disjoint` keeps D3's apart)."
        )
    if table.loc[d3, "speaker"].nunique() < FEWEST_SPEAKERS or (table.loc[d3, "speaker"] == "").any():
        yield "D3 has too few known speakers to draw them: intervals are over utterances, and too narrow."
    if "share" in table and np.isfinite(ceiling := table.loc[d3, "share"].mean()):
        yield (
            "Annotators disagree about D3: one of them, drawn at random, gives an utterance the label that counts here "
            f"in {100 * ceiling:.0f} % of cases."
        )
    counts = table.loc[d3, "label"].value_counts().reindex(run.meta["classes"], fill_value=0)
    if rare := [f"{name} {count}" for name, count in counts.items() if count < FEWEST_OF_CLASS]:
        yield f"D3 has few utterances of some emotions, whose recall rests on little: {', '.join(rare)}."


def _of_the_training(run: Run, rivals: Sequence[Run]) -> Iterator[str]:
    seeds = {r.config.training.seed for r in (run, *rivals)}
    yield (
        f"{'Each system was' if rivals else 'It was'} trained once (seed {', '.join(map(str, sorted(seeds)))}); "
        "intervals are over other speakers or utterances, and another training may differ by more "
        "(`ipr train --seeds`)."
    )
    if _is_small(run):
        yield "The encoder is a small one that was not pre-trained; the paper's is wav2vec 2.0."
    yield from collapse.cautions([run, *rivals])
    yield from soft_labels.notes([run])[1:]
    if expectation := reachable.expectation(run):
        yield expectation


def _is_small(run: Run) -> bool:
    return run.config.encoder.encoder == "compact"


def _guess(run: Run) -> float:
    """Return the share of D3 that always the same emotion would get right."""
    table: DataFrame = run.table
    return float(table.loc[table["part"] == "D3", "label"].value_counts(normalize=True).max())


def _shares(shares: NDArray[np.floating], classes: Sequence[str]) -> str:
    """Return "55 % angry, 45 % sad", the largest share first."""
    order = [c for c in np.argsort(-shares, kind="stable") if shares[c] >= _LEAST]
    return ", ".join(f"{100 * shares[c]:.0f} % {classes[c]}" for c in order)
