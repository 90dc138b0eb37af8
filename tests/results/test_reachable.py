"""The oracle's curve, and a corpus's place on it."""

from types import SimpleNamespace

import pytest

from ipr_core.config import demo
from ipr_core.results.reachable import expectation, points, reachable


def run(system="oracle", accuracy=0.5, own=0.6, corpus="c", finished=True, validation=None, **settings):
    """Return what is read of a run."""
    config = demo(system=system, warm_up=2, epochs=4, **settings)
    event = SimpleNamespace(accuracy=accuracy, agreement_model=own, validation=validation)
    return SimpleNamespace(
        config=config, finished=finished, meta={"settings": config.settings(), "corpus": corpus},
        history=lambda: [event] * config.training.epochs,
    )  # fmt: skip


def v2(right, n):
    return {"accuracy_ambiguous": right / n if n else 0.0, "utterances_ambiguous": n}


@pytest.mark.parametrize(
    ("kind", "share", "right"),
    [("correct", 0, 0.6), ("correct", 0.5, 0.8), ("correct", 1, 1), ("gate", 0, 0.6), ("gate", 1, 1),
     ("gate", 0.5, 0.75), ("random", 0, 1), ("random", 0.2, 0.8)],
)  # fmt: skip
def test_the_share_of_right_labels(kind, share, right):
    row = points([run(oracle=kind, oracle_share=share), run("baseline")]).iloc[0]
    assert row["right"] == pytest.approx(right)


def test_a_gain_is_over_the_baseline_of_the_same_seed_partition_and_corpus():
    baselines = [run("baseline", 0.40, seed=0), run("baseline", 0.50, seed=1), run("baseline", 0.1, data_seed=1)]
    oracles = [run(accuracy=0.55, seed=0), run(accuracy=0.58, seed=1), run(accuracy=0.2, data_seed=1)]
    others = [run(accuracy=0.9, seed=2), run(accuracy=0.9, corpus="d"), run(accuracy=0.9, lr=0.1), run("ipr", 0.9)]
    frame = points([*baselines, *oracles, *others, run(accuracy=0.9, finished=False)])
    assert frame["gain"].tolist() == pytest.approx([15, 8, 10])
    assert frame["seed"].tolist() == [0, 1, 0]


def test_the_table_has_a_row_for_each_kind_and_share():
    runs = [run("baseline", 0.4, seed=seed) for seed in (0, 1)]
    runs += [run(accuracy=0.5 + seed / 10, seed=seed, oracle_share=share) for seed in (0, 1) for share in (0, 1)]
    values = reachable(runs).values
    assert values["runs"].tolist() == [2, 2]
    assert values["gain on D3, points"].tolist() == pytest.approx([15, 15])
    assert values["right, %"].tolist() == pytest.approx([60, 100])


def test_without_an_oracle_the_table_says_how_to_train_one():
    assert "ipr batch reachable" in reachable([run("baseline")]).lacking


@pytest.mark.parametrize(
    ("right", "n", "words"),
    [(96, 100, "is open"), (995, 1000, "can be expected to help"), (60, 100, "cannot be expected to help"),
     (85, 100, "is open")],
)  # fmt: skip
def test_a_corpus_has_its_place_on_the_curve(right, n, words):
    sentence = expectation(run("ipr", validation=v2(right, n)))
    assert words in sentence
    assert f"{right} of {n} held-out" in sentence


@pytest.mark.parametrize("validation", [None, v2(5, 5), v2(0, 0)])
def test_nothing_is_said_of_too_few_utterances(validation):
    assert expectation(run("ipr", validation=validation)) == ""
