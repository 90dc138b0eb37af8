"""The order of a listening test: a listener's own, reproducible, with repeats far from the first hearing."""

import numpy as np
import pytest

from ipr_core.votes.order import GAP, Hearing, most_useful_first, shuffled, unheard
from ipr_core.votes.record import VoteError

AUDIO = [f"{number:032x}" for number in range(120)]


def positions(order, repeat):
    return {hearing.row: position for position, hearing in enumerate(order) if hearing.repeat == repeat}


@pytest.mark.parametrize("seed", range(20))
def test_every_clip_comes_once_and_a_share_again_after_some_others(seed):
    order = shuffled(AUDIO, "ada", seed, 0.1)
    first, second = positions(order, 0), positions(order, 1)
    assert sorted(first) == list(range(120))
    assert len(second) == 12
    assert len(order) == 132
    assert min(second[row] - first[row] for row in second) > GAP


def test_an_order_is_a_listeners_own_and_the_same_again():
    assert shuffled(AUDIO, "ada", 0) == shuffled(AUDIO, "ada", 0)
    assert shuffled(AUDIO, "ada", 0) != shuffled(AUDIO, "bo", 0)
    assert shuffled(AUDIO, "ada", 0) != shuffled(AUDIO, "ada", 1)


def test_an_order_does_not_depend_on_the_order_of_the_rows():
    backwards = AUDIO[::-1]
    keys = [(AUDIO[hearing.row], hearing.repeat) for hearing in shuffled(AUDIO, "ada")]
    assert keys == [(backwards[hearing.row], hearing.repeat) for hearing in shuffled(backwards, "ada")]


def test_a_sound_that_two_rows_have_is_heard_once():
    order = shuffled(["b" * 32, "a" * 32, "b" * 32], "ada", repeats=0)
    assert sorted(order) == [Hearing(0, 0), Hearing(1, 0)]


@pytest.mark.parametrize("size", range(8))
@pytest.mark.parametrize("repeats", [0, 0.5, 1])
def test_small_corpora_have_an_order_too(size, repeats):
    order = shuffled(AUDIO[:size], "ada", 0, repeats)
    first, second = positions(order, 0), positions(order, 1)
    assert len(first) == size
    assert len(second) <= round(repeats * size)
    assert all(second[row] - first[row] > min(GAP, size // 2) for row in second)


@pytest.mark.parametrize("repeats", [-0.1, 1.1, float("nan")])
def test_an_impossible_share_is_refused(repeats):
    with pytest.raises(VoteError, match="share of clips that come twice"):
        shuffled(AUDIO, "ada", 0, repeats)


def test_what_has_a_vote_is_not_heard_again():
    order = shuffled(AUDIO, "ada")
    votes = {(AUDIO[hearing.row], hearing.repeat) for hearing in order[:17]}
    assert unheard(order, AUDIO, votes) == order[17:]


def test_the_most_useful_clips_come_first_and_some_by_chance():
    worth = np.arange(120)[::-1]
    first = [hearing.row for hearing in most_useful_first(AUDIO, worth, "ada", repeats=0, by_chance=0)]
    assert first == list(range(120))
    mixed = [hearing.row for hearing in most_useful_first(AUDIO, worth, "ada", repeats=0, by_chance=0.2)]
    assert sorted(mixed) == list(range(120))
    among_the_first = sum(row < 50 for row in mixed[:50])
    assert 35 <= among_the_first < 50
    assert mixed != [hearing.row for hearing in most_useful_first(AUDIO, worth, "bo", repeats=0, by_chance=0.2)]


def test_useful_clips_come_a_second_time_too():
    order = most_useful_first(AUDIO, np.arange(120), "ada", repeats=0.1)
    assert sum(hearing.repeat for hearing in order) == 12
    with pytest.raises(VoteError, match="by_chance is 2"):
        most_useful_first(AUDIO, np.arange(120), "ada", by_chance=2)
