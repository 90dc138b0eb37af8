"""Reliability of soft labels: the curve and the calibration error, by hand."""

import numpy as np
import pytest

from helpers.fake_runs import fake_run
from ipr_core import metrics
from ipr_core.results import reliability

SOFT = np.array([[0.9, 0.1], [0.9, 0.1], [0.3, 0.7], [0.5, 0.5]])
VOTES = np.array([[1.0, 0.0], [0.5, 0.5], [0.5, 0.5], [1.0, 0.0]])


def test_a_bin_has_the_mean_share_and_the_votes_for_the_named_class():
    curve = reliability.curve(SOFT, VOTES)  # the last label names no class
    assert curve["confidence"].tolist() == pytest.approx([0.7, 0.9])
    assert curve["votes"].tolist() == [0.5, 0.75]
    assert curve["utterances"].tolist() == [1, 2]
    assert curve["error"].iloc[1] == pytest.approx(0.25)  # of 1 and 0.5: deviation 0.3536 / sqrt 2


def test_the_error_is_that_of_the_tables():
    # gaps 0.2 and twice 0.15: (0.2 + 0.3) / 3
    error = reliability.calibration_error(SOFT, VOTES)
    assert error.value == pytest.approx(0.5 / 3)
    assert error.value == metrics.expected_calibration_error(SOFT, VOTES)
    assert error.units == "3 utterances"


def test_the_interval_holds_the_error_and_that_of_calibrated_labels_begins_at_0():
    rng = np.random.default_rng(0)
    truth = rng.dirichlet(np.full(3, 0.8), size=300)
    votes = rng.multinomial(10, truth) / 10
    calibrated = reliability.calibration_error(truth, votes)
    assert calibrated.low == 0
    assert calibrated.value <= calibrated.high < 0.1
    sharp = truth**4 / (truth**4).sum(axis=1, keepdims=True)
    sure = reliability.calibration_error(sharp, votes)
    assert 0.1 < sure.low < sure.value < sure.high


def test_speakers_are_drawn_whole_where_enough_are_known():
    speakers = np.array([f"s{i % 6}" for i in range(60)])
    soft, votes = np.tile(SOFT[:3], (20, 1)), np.tile(VOTES[:3], (20, 1))
    assert reliability.calibration_error(soft, votes, speakers).units == "6 speakers"
    assert reliability.calibration_error(soft, votes, np.where(speakers == "s0", "", speakers)).units == "60 utterances"


def test_one_utterance_has_no_interval():
    error = reliability.calibration_error(SOFT[:1], VOTES[:1])
    assert np.isnan([error.low, error.high]).all()
    assert "no interval" in str(error)


def test_a_run_without_votes_cannot_be_judged(frozen, data, tmp_path):
    run = fake_run(tmp_path, frozen, data, (0.2, 0.5))
    table = reliability.errors(run)
    assert table.values["utterances of"].tolist() == ["D2", "D2", "D3", "D3", "D2 and D3", "D2 and D3"]
    soft, votes, speakers = reliability.judged(run, "D3")
    assert len(soft) == len(votes) == len(speakers) == len(data.rows("D3"))
