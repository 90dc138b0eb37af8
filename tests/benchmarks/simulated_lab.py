"""A simulated lab: does it matter in which order clips are voted on? Random order against the most useful first.

    python tests/benchmarks/simulated_lab.py --corpus-path FOLDER --encoder FOLDER [--seeds 5] [--system baseline_plus]

RAVDESS, four classes. What people hear in a clip is known here: the shares of 24 simulated annotators, whom no listener
is. Eight listeners of known skill vote: with their skill they hear one of those shares' emotions, else any at all. D3,
the 200 clips that the shares agree on least, is never voted on. First every other clip is heard once, and half of them
twice. Then votes are spent in steps, each on the clips that come first: at random, or by `votes.usefulness` of the run
trained on the votes so far, a fifth of them at random. Nobody hears a clip twice. After each step a run is trained.
"""

from __future__ import annotations

import argparse
import itertools
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.random import Generator
from numpy.typing import NDArray
from pandas import DataFrame

from ipr_core import metrics
from ipr_core.config import Config, build
from ipr_core.data.ambiguity import class_numbers, partition, soft_votes
from ipr_core.data.annotators import simulate_annotators, wave_features
from ipr_core.data.cache import default_cache
from ipr_core.data.dataset import Dataset, readable
from ipr_core.data.table_checks import labelled
from ipr_core.data.validation import hold_out
from ipr_core.data.waves import WaveStore
from ipr_core.results.soft_labels import calibrated_labels
from ipr_core.runs.run import Run
from ipr_core.training.advance import advance, prepare
from ipr_core.votes.usefulness import usefulness

SKILLS = np.linspace(0.6, 0.95, 8)
BUDGETS = (1.5, 2.0, 2.5, 3.0, 4.0)
"""Votes spent, per clip outside of D3."""
AT_RANDOM = 0.2
ORDERS = ("random", "most useful")
_SCRATCH = tempfile.TemporaryDirectory()


class Lab:
    """Listeners, what they have said so far, and what they would hear."""

    def __init__(self, truth: NDArray[np.float64], draw: Generator):
        """truth: (N, C) shares of what people hear"""
        self.truth, self.draw = truth, draw
        self.answers = np.full((len(truth), len(SKILLS)), -1)  # a class, -1: no vote yet

    def vote(self, rows: NDArray[np.int64]) -> None:
        """Let a listener who has not heard it vote on each clip."""
        classes = self.truth.shape[1]
        for row in rows.tolist():
            listener = self.draw.choice(np.flatnonzero(self.answers[row] < 0))
            skilled = self.draw.random() < SKILLS[listener]
            shares = self.truth[row] if skilled else np.full(classes, 1 / classes)
            self.answers[row, listener] = self.draw.choice(classes, p=shares)

    @property
    def counts(self) -> NDArray[np.float64]:
        """(N, C) votes so far."""
        return np.stack([(self.answers == c).sum(axis=1) for c in range(self.truth.shape[1])], axis=1).astype(float)

    def next_rows(self, worth: NDArray[np.float64] | None, size: int) -> NDArray[np.int64]:
        """Return the clips that are heard next.  worth: (N,) the most useful first; None: at random"""
        free = np.flatnonzero((self.answers < 0).any(axis=1))
        by_chance = self.draw.permutation(free)
        if worth is None:
            return by_chance[:size]
        first = free[np.argsort(-worth[free], kind="stable")][: round((1 - AT_RANDOM) * size)]
        return np.concatenate([first, by_chance[~np.isin(by_chance, first)][: size - len(first)]])


def main() -> None:
    args = arguments()
    settings = dict(
        corpus="ravdess", corpus_path=args.corpus_path, encoder=args.encoder, annotators="simulated",
        annotator_count=24, test_size=200, test_balanced=True, frozen_layers=-1, layers=(2, 3),
        pooling="mean+deviation", max_seconds=2.0, epochs=20, warm_up=5, lr=1e-3, system=args.system,
        validation_share=0.1, own_target="soft",
    )  # fmt: skip
    config = build(settings=settings)
    table, waves = utterances(config)
    rows = []
    for seed in range(args.seeds):
        for order in ORDERS:
            rows += [{"seed": seed, "order": order} | row for row in lab_days(config, table, waves, order, seed)]
            print(DataFrame(rows[-len(BUDGETS) :]).to_string(), flush=True)
    print(report(DataFrame(rows)))


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--corpus-path", required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--system", default="baseline_plus")
    return parser.parse_args()


def utterances(config: Config) -> tuple[DataFrame, WaveStore]:
    """Return the clips with the shares that people hear as votes, parted by them, and their waves."""
    corpus, waves = readable(config, default_cache())
    rows = labelled(corpus, config)
    table, waves = corpus.iloc[rows].reset_index(drop=True), waves.take(rows)
    table = table.assign(duration=waves.seconds)
    table = simulate_annotators(table, wave_features(waves, default_cache()), config.data)
    parts = partition(table, config.replace(validation_share=0.0), waves.sounds)
    return parts, waves.take(pd.Index(table["id"]).get_indexer(parts["id"]))


def lab_days(config: Config, table: DataFrame, waves: WaveStore, order: str, seed: int) -> list[dict[str, float]]:
    """Spend votes in one order, and train after each step.  returns: a row a budget"""
    truth = soft_votes(table, config.data.classes)
    open_rows = np.flatnonzero(table["part"] != "D3")
    lab = Lab(truth[open_rows], np.random.default_rng([seed, 0]))
    lab.vote(np.arange(len(open_rows)))
    worth, scores = None, []
    for last, budget in itertools.pairwise((1.0, *BUDGETS)):
        lab.vote(lab.next_rows(worth, round((budget - last) * len(open_rows))))
        run = trained(config.replace(seed=seed), with_votes(table, open_rows, lab.counts, config), waves)
        soft, labels = calibrated_labels(run), run.labels.set_index("id")
        rows = labels.index.get_indexer(table["id"])
        if order != "random":
            shares = [
                labels[[f"{kind}_{c}" for c in config.data.classes]].to_numpy() for kind in ("model", "prototypes")
            ]
            worth = usefulness(soft, *shares, np.zeros(len(soft)))[rows[open_rows]] / (1 + lab.counts.sum(axis=1))
        test = (table["part"] == "D3").to_numpy()
        scores.append(
            {
                "votes": budget,
                "accuracy": 100 * run.history()[-1].accuracy,
                "JS on D3": float(metrics.js_divergence(soft[rows], truth)[test].mean()),
                "JS elsewhere": float(metrics.js_divergence(soft[rows], truth)[~test].mean()),
                "D1": int((run.table["part"] == "D1").sum()),
            }
        )
    return scores


def with_votes(
    table: DataFrame, open_rows: NDArray[np.int64], counts: NDArray[np.float64], config: Config
) -> DataFrame:
    """Return the table parted by the votes so far: D1 where two or more agree and none differs, else D2; D3 as it was.

    A label of D1 is the votes' own; of D2 the clip's, for scores alone.
    """
    share = counts.max(axis=1) / counts.sum(axis=1)
    agreed = (share >= 1) & (counts.sum(axis=1) >= 2)
    table = table.copy()
    names = np.array(config.data.classes)
    label = table["label"].to_numpy(object, copy=True)
    label[open_rows] = np.where(agreed, names[counts.argmax(axis=1)], label[open_rows])
    part = table["part"].to_numpy(object, copy=True)
    part[open_rows] = np.where(agreed, "D1", "D2")
    votes = table[[f"votes_{name}" for name in names]].to_numpy(float, copy=True)
    votes[open_rows] = counts
    table = table.assign(label=label, part=part, **{f"votes_{name}": votes[:, i] for i, name in enumerate(names)})
    table.loc[open_rows, "share"] = share
    assert set(class_numbers(table[table["part"] == "D1"], config.data.classes)) == set(range(len(names)))
    return hold_out(table, np.arange(len(table)), config)


def trained(config: Config, table: DataFrame, waves: WaveStore) -> Run:
    """Train on a table of utterances, in a folder that goes with the process."""
    folder = Path(tempfile.mkdtemp(dir=_SCRATCH.name))
    run, data = prepare(config, folder, data=Dataset(table, waves, config.data.classes, True), progress=False)
    return advance(run, data)


def report(rows: DataFrame) -> str:
    """Return means and deviations over the seeds, and the paired differences of the orders with p of the t-test."""
    values = ["accuracy", "JS on D3", "JS elsewhere", "D1"]
    means = rows.groupby(["votes", "order"])[values].agg(["mean", "std"]).round(3)
    sides = [rows[rows["order"] == order].set_index(["votes", "seed"])[values] for order in ORDERS]
    pairs = DataFrame(
        {
            (budget, name): metrics.paired_difference(*(side.loc[budget, name] for side in reversed(sides)))
            for budget in BUDGETS[1:]  # up to the first both orders are the same
            for name in values
        }
    ).T.round(3)
    return f"{means.to_string()}\n\nmost useful − random, paired by seed:\n{pairs.to_string()}"


if __name__ == "__main__":
    main()
