"""What is made ahead is what would have been made when asked for."""

import threading

import pytest

from ipr_core.training.ahead import Ahead


def test_it_gives_what_was_asked_for_expected_or_not():
    ahead = Ahead(lambda key: key * 10)
    assert ahead.get(7) == 70
    ahead.expect([1, 2, 3, 4])
    assert [ahead.get(key) for key in (1, 2, 9, 3, 4, 4)] == [10, 20, 90, 30, 40, 40]


def test_the_next_are_begun_before_they_are_asked_for_and_made_once():
    begun, enough = [], threading.Event()

    def make(key):
        begun.append(key)
        if len(begun) == 2:
            enough.set()
        return key

    ahead = Ahead(make, depth=2)
    ahead.expect(range(5))
    assert enough.wait(timeout=20)
    assert begun == [0, 1]
    assert [ahead.get(key) for key in range(5)] == list(range(5))
    assert begun == list(range(5))


def test_another_expectation_takes_the_place_of_the_first():
    ahead = Ahead(lambda key: -key)
    ahead.expect([1, 2, 3])
    ahead.expect([8, 9])
    assert [ahead.get(key) for key in (8, 9, 1)] == [-8, -9, -1]


def test_what_fails_ahead_fails_where_it_is_asked_for():
    ahead = Ahead(lambda key: 1 / key)
    ahead.expect([1, 0])
    assert ahead.get(1) == 1
    with pytest.raises(ZeroDivisionError):
        ahead.get(0)
