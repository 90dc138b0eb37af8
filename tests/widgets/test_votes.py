"""Figures of the partition, and of soft labels against votes."""

import numpy as np
import pandas as pd
import pytest

from helpers.fake_events import CLASSES
from helpers.fake_utterances import utterances
from helpers.figures import notes, trace
from ipr_widgets import votes


def test_the_partition_counts_utterances_of_each_class_and_speaker():
    fig = votes.partition(utterances(), CLASSES)
    assert {t.name: list(t.y) for t in fig.data} == {"angry": [1, 2, 0], "happy": [0, 0, 1], "sad": [1, 0, 0]}
    angry = [t for t in votes.partition_by_speaker(utterances(), CLASSES).data if t.name == "angry"]
    assert [list(t.y) for t in angry] == [["02", "10"]] * 3
    assert [list(t.x) for t in angry] == [[1, 0], [1, 1], [0, 0]]


def test_soft_labels_that_are_the_votes_lie_on_the_diagonal():
    shares = np.array([[1, 0, 0], [0.6, 0.4, 0], [0.2, 0.2, 0.6], [np.nan] * 3])
    soft = np.vstack([shares[:3], [[0, 0, 1]]])  # the fourth has no votes: it must not count
    fig = votes.soft_against_votes(soft, shares, CLASSES)
    for name in CLASSES:
        np.testing.assert_allclose(trace(fig, name).y, trace(fig, name).x)
        assert sum(trace(fig, name).customdata) == 3
    assert list(trace(fig, "angry").x) == pytest.approx([20, 60, 100])


def test_the_ends_of_the_vote_shares_have_bins_of_their_own():
    shares = np.array([[0.0, 1.0], [0.1, 0.9], [0.11, 0.89], [1.0, 0.0]])
    fig = votes.soft_against_votes(shares, shares, ("angry", "happy"))
    assert list(trace(fig, "angry").customdata) == [2, 1, 1]


def test_unknown_votes_have_a_note():
    unknown = np.full((5, 3), np.nan)
    soft = np.full((5, 3), 1 / 3)
    assert "not known" in notes(votes.soft_against_votes(soft, unknown, CLASSES))[0]
    assert "not known" in notes(votes.entropy_against_entropy(soft, unknown, utterances()["part"]))[0]


def test_entropies_are_in_bits_and_their_rank_correlation_is_in_the_title():
    shares = np.array([[1.0, 0, 0], [0.9, 0.1, 0], [0.5, 0.5, 0], [1 / 3] * 3, [np.nan] * 3])
    fig = votes.entropy_against_entropy(np.nan_to_num(shares, nan=1 / 3), shares, utterances()["part"])
    assert fig.layout.title.text.endswith("1.00")
    assert list(trace(fig, "D3, test").x) == pytest.approx([np.log2(3)])
    assert list(trace(fig, "D1, precise").y) == pytest.approx([0, -0.9 * np.log2(0.9) - 0.1 * np.log2(0.1)])
    bars = votes.entropies(shares[:4], ["D1", "D2", "D2", "D3"]).data[1]
    width = bars.xbins.size
    assert [x for x, y in zip(bars.x, bars.y, strict=True) if y] == pytest.approx([0.469, 1], abs=width / 2)
    assert (bars.y.sum(), width) == (2, pytest.approx(np.log2(3) / 20, abs=1e-6))


def test_figures_of_very_many_utterances_and_speakers_stay_small():
    n, speakers = 40_000, 200
    rng = np.random.default_rng(0)
    shares, parts = rng.dirichlet(np.ones(3), n), rng.choice(["D1", "D2", "D3"], n)
    fig = votes.entropy_against_entropy(shares, shares, parts)
    assert sum(len(points.x) for points in fig.data[1:]) == votes.POINTS
    assert fig.layout.title.text.endswith("5,000 of 40,000 utterances, rank correlation 1.00")
    assert len(votes.entropies(shares, parts).to_json()) < 20_000
    speaker = np.concatenate([np.arange(speakers), rng.integers(60, 120, n - speakers)])
    table = pd.DataFrame({"speaker": [f"{i:03d}" for i in speaker], "part": parts, "label": rng.choice(CLASSES, n)})
    fig = votes.partition_by_speaker(table, CLASSES)
    assert list(fig.data[0].y) == [f"{i:03d}" for i in range(60, 120)]
    assert "the 60 with the most utterances of 200" in fig.layout.title.text
