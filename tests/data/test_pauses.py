"""Utterances between pauses: by hand, and what holds whatever is heard."""

import numpy as np
import pytest

from ipr_core.data import pauses
from ipr_core.data.pauses import BRIEF, MARGIN, NEAR, PAUSE, SECOND, utterances

LONG = (15 * 16_000 - 1) // 512


def speech(*stretches):
    """Return probabilities of alternating silence and speech, by their lengths in frames; silence first."""
    levels = [0.9 if i % 2 else 0.01 for i in range(len(stretches))]
    return np.repeat(np.array(levels, np.float32), stretches)


def test_by_hand():
    spans = utterances(speech(50, 100, PAUSE, 60, PAUSE - 1, 40, 30), 15)
    second = 50 + 100 + PAUSE
    assert spans.tolist() == [[50 - MARGIN, 150], [second - MARGIN, second + 60 + PAUSE - 1 + 40]]


def test_nothing_is_none():
    assert utterances(np.empty(0, np.float32), 15).shape == (0, 2)
    assert utterances(speech(500), 15).shape == (0, 2)
    assert utterances(np.full(100, 0.25, np.float32), 15).shape == (0, 2)  # never likely enough


def test_a_sound_that_is_too_brief_is_none():
    assert len(utterances(speech(100, BRIEF - 1, 100), 15)) == 0
    assert len(utterances(speech(100, BRIEF, 100), 15)) == 1


def test_what_falls_below_the_lower_bound_alone_ends_a_stretch():
    level = speech(50, 100, 50)
    level[80:120] = 0.25  # no longer likely to be speech, and not silence
    assert utterances(level, 15).tolist() == [[50 - MARGIN, 150]]


def test_an_utterance_ends_with_its_last_frame_that_is_surely_speech():
    level = speech(50, 100, 50)
    level[140:160] = 0.4
    assert utterances(level, 15).tolist() == [[50 - MARGIN, 140]]
    level[50:150] = 0.4  # nowhere surely speech: it ends where it is no longer likely
    assert utterances(level, 15).tolist() == [[50 - MARGIN, 160]]
    level[50] = 0.9
    assert utterances(level, 15).tolist() == [[50 - MARGIN, 50 + BRIEF]]


def test_a_short_one_joins_its_neighbour_over_the_shorter_pause():
    brief = SECOND - MARGIN - 1
    spans = utterances(speech(50, 100, 60, brief, 30, 100, 50), 15)
    assert spans.tolist() == [[50 - MARGIN, 150], [210 - MARGIN, 210 + brief + 130]]


def test_a_short_one_stays_alone_if_its_neighbours_are_far_or_the_whole_too_long():
    brief = SECOND - MARGIN - 1
    assert len(utterances(speech(50, 100, NEAR + MARGIN + 1, brief, 50), 15)) == 2
    assert len(utterances(speech(50, 100, NEAR, brief, 50), 15)) == 1
    (_, end), (start, _) = utterances(speech(50, LONG - brief, NEAR, brief, 50), 15).tolist()
    assert start - end == NEAR - MARGIN


def test_a_long_one_is_cut_where_speech_is_least_likely():
    level = speech(10, LONG + 100, 50)
    level[10 + 300 : 10 + 310] = 0.36
    level[10 + 50 : 10 + 60] = 0.36  # in the first half of what is allowed
    (_, cut), (again, last) = utterances(level, 15).tolist()
    assert 310 <= cut == again < 320
    assert last == 10 + LONG + 100


def test_an_even_one_is_cut_into_as_few_as_there_have_to_be():
    lengths = np.diff(utterances(np.ones(1_000, np.float32), 15), axis=1)
    assert lengths.ravel().tolist() == [468, 468, 64]


@pytest.mark.parametrize("max_seconds", [0.1, 0.5, 1, 4, 15, 3600])
def test_whatever_is_heard_none_is_too_long_and_all_are_in_order(max_seconds):
    rng = np.random.default_rng(0)
    longest = max(pauses._LEAST, int((max_seconds * 16_000 - 1) // 512))
    for _ in range(20):
        level = np.repeat(rng.random(60), rng.integers(1, 120, 60)).astype(np.float32)
        spans = utterances(level, max_seconds)
        assert (spans[:, 1] - spans[:, 0] <= longest).all()
        assert (spans[:, 1] - spans[:, 0] >= 4).all()
        assert (np.diff(spans.ravel()) >= 0).all()
        assert spans.min(initial=0) >= 0
        assert spans.max(initial=0) <= len(level)
        loud = level >= pauses.SURE
        runs = np.flatnonzero(np.diff(np.concatenate([[0], loud, [0]]).astype(int))).reshape(-1, 2)
        covered = np.zeros(len(level), bool)
        for first, last in spans.tolist():
            covered[first:last] = True
        assert all(covered[first:last].all() for first, last in runs if last - first >= BRIEF)  # nothing is lost
