"""The batch plan: who is seen how often, that it follows from its key alone, and what lies side by side."""

import itertools

import numpy as np
import pytest

from ipr_core.training.minibatches import by_length, plan

KEY = (0, 0, 3)
SIZES = [(22, 30, 8), (30, 22, 8), (8, 8, 8), (3, 50, 8), (50, 3, 8), (1, 9, 4), (2, 5, 1), (5, 2, 1), (7, 7, 100)]


def parts(precise: int, ambiguous: int):
    """Rows of D1 and D2, mingled, and the lengths of all rows."""
    random = np.random.default_rng(1)
    rows = random.permutation(precise + ambiguous)
    return rows[:precise], rows[precise:], random.integers(8_000, 160_000, len(rows))


def times(batches, part: str, rows) -> list[int]:
    """How often every row is seen."""
    rows_seen = np.concatenate([getattr(batch, part) for batch in batches])
    assert set(rows_seen) <= set(rows)
    return [int((rows_seen == row).sum()) for row in rows]


@pytest.mark.parametrize(("precise", "ambiguous", "size"), SIZES)
def test_a_warm_up_epoch_sees_d1_once_and_d2_never(precise, ambiguous, size):
    d1, d2, lengths = parts(precise, ambiguous)
    batches = plan(d1, d2, lengths, size, KEY, refining=False)
    assert times(batches, "precise", d1) == [1] * precise
    assert all(len(batch.ambiguous) == 0 and 1 <= len(batch.precise) <= size for batch in batches)
    assert len(batches) == -(-precise // size)


@pytest.mark.parametrize(("precise", "ambiguous", "size"), SIZES)
def test_a_refinement_epoch_sees_the_larger_part_once_and_goes_round_the_smaller(precise, ambiguous, size):
    d1, d2, lengths = parts(precise, ambiguous)
    batches = plan(d1, d2, lengths, size, KEY, refining=True)
    of_d1, of_d2 = times(batches, "precise", d1), times(batches, "ambiguous", d2)
    larger, smaller = (of_d1, of_d2) if precise >= ambiguous else (of_d2, of_d1)
    assert set(larger) == {1}
    assert min(smaller) >= 1
    assert max(smaller) - min(smaller) <= 1  # rounds are gone through whole before the next begins
    assert len(batches) == -(-max(precise, ambiguous) // size)


@pytest.mark.parametrize(("precise", "ambiguous", "size"), SIZES)
def test_no_batch_of_the_refinement_is_empty_or_too_large(precise, ambiguous, size):
    d1, d2, lengths = parts(precise, ambiguous)
    for batch in plan(d1, d2, lengths, size, KEY, refining=True):
        assert 1 <= len(batch.precise) <= size
        assert 1 <= len(batch.ambiguous) <= size


@pytest.mark.parametrize("size", [1, 2, 3, 4, 8, 16, 50])
def test_no_batch_holds_an_utterance_twice_whatever_the_sizes(size):
    """An utterance would be its own negative; of a part below the batch size each batch has every utterance."""
    for precise, ambiguous in itertools.product(range(1, 27, 2), range(1, 27, 3)):
        d1, d2, lengths = parts(precise, ambiguous)
        batches = plan(d1, d2, lengths, size, (precise, 0, ambiguous), refining=True)
        for rows, part in ((d1, "precise"), (d2, "ambiguous")):
            counts = times(batches, part, rows)
            assert min(counts) >= 1
            assert max(counts) - min(counts) <= 1
            assert len(rows) < max(precise, ambiguous) or max(counts) == 1
            for batch in batches:
                batch_rows = getattr(batch, part)
                assert len(set(batch_rows)) == len(batch_rows) <= size
                assert len(rows) >= size or len(batch_rows) == len(rows)


def test_utterances_of_every_length_are_gone_through_again_alike():
    d1, d2, lengths = parts(100, 130)
    short = lengths[d1] < np.median(lengths[d1])
    again = np.zeros(len(d1))
    for epoch in range(40):
        again += times(plan(d1, d2, lengths, 8, (0, 0, epoch), refining=True), "precise", d1)
    assert abs(again[short].mean() - again[~short].mean()) < 4  # were the shortest repeated alone, it would be 28


def test_a_plan_follows_from_its_key_alone():
    d1, d2, lengths = parts(40, 60)
    flat = [str(plan(d1, d2, lengths, 8, key, True)) for key in [KEY, KEY, (1, 0, 3), (0, 1, 3), (0, 0, 4), (3, 0, 0)]]
    assert flat[0] == flat[1]
    assert len(set(flat)) == 5
    np.random.default_rng(0).random()
    assert str(plan(d1, d2, lengths, 8, KEY, True)) == flat[0]


@pytest.mark.parametrize("precise", [800, 250])
def test_batches_and_pairs_are_of_similar_length(precise):
    d1, d2, lengths = parts(precise, 800)
    spread = lengths.std()
    for batch in plan(d1, d2, lengths, 8, KEY, refining=True):
        assert lengths[batch.precise].std() < spread / 2
        # lengths are blurred by a fifth either way, and two draws of 800 are about the same distribution
        assert abs(np.log(lengths[batch.precise].mean() / lengths[batch.ambiguous].mean())) < 0.5


def test_batches_come_in_no_order_of_length():
    d1, d2, lengths = parts(400, 400)
    means = [lengths[batch.precise].mean() for batch in plan(d1, d2, lengths, 8, KEY, refining=True)]
    assert abs(np.corrcoef(means, np.arange(len(means)))[0, 1]) < 0.5


def test_by_length_takes_every_row_once_longest_first_and_not_more_than_asked_with_padding():
    lengths = np.array([5, 9, 1, 9, 7])
    assert [batch.tolist() for batch in by_length(lengths, 18)] == [[1, 3], [4, 0], [2]]
    assert [batch.tolist() for batch in by_length(lengths, 6)] == [[1], [3], [4], [0], [2]]
