"""Which votes are worth most, and how many settle an utterance's part."""

import numpy as np
import pytest

from ipr_core.config import Partition
from ipr_core.votes.usefulness import PANEL, usefulness, votes_needed

RULES = Partition(precise_share=0.8, ambiguous_share=0.5)
EVEN, SURE = np.full((1, 4), 0.25), np.array([[0.97, 0.01, 0.01, 0.01]])


def settles(votes, soft, rules=RULES, panel=PANEL):
    count, part = votes_needed(np.array([votes], float), np.asarray(soft, float), rules, panel)
    return int(count[0]), str(part[0])


def test_a_vote_is_worth_more_where_the_model_is_unsure_or_its_parts_differ():
    soft = np.vstack([EVEN, SURE, SURE])
    classifier = np.vstack([EVEN, SURE, SURE])
    prototypes = np.vstack([EVEN, SURE, SURE[:, ::-1]])
    unsure, certain, differing = usefulness(soft, classifier, prototypes, np.zeros(3))
    assert unsure == pytest.approx(1)
    assert certain < differing
    assert certain < unsure


def test_a_vote_is_worth_less_the_more_there_are():
    worth = usefulness(*[np.repeat(EVEN, 3, axis=0)] * 3, np.array([0.0, 1.0, 3.0]))
    assert worth.tolist() == pytest.approx([1, 0.5, 0.25])


def test_a_complete_panel_is_settled_by_its_votes():
    assert settles([10, 0, 0, 0], EVEN) == (0, "D1")
    assert settles([6, 4, 0, 0], EVEN) == (0, "D2")
    assert settles([4, 3, 3, 0], EVEN) == (0, "D3")


def test_agreement_settles_sooner_than_disagreement():
    agreed, part = settles([7, 0, 0, 0], SURE)
    divided, _ = settles([3, 2, 1, 1], EVEN)
    assert part == "D1"
    assert agreed <= 2
    assert divided >= agreed


def test_nobody_has_voted_so_votes_are_needed_even_if_the_model_is_sure():
    assert settles([0, 0, 0, 0], SURE)[0] >= 1


def test_with_the_paper_s_rule_one_vote_against_settles_that_it_is_not_in_d1():
    strict = Partition()  # precise_share 1, ambiguous_share 2/3
    count, part = settles([9, 1, 0, 0], SURE, strict)
    assert (count, part) == (0, "D2")
    assert settles([5, 1, 0, 0], SURE, strict)[1] == "D2"


def test_the_chance_of_a_part_is_that_of_the_urn():
    # Prior of one vote for two classes, one vote for the first: Pólya's urn with 1.5 and 0.5, one more vote of a panel
    # of two. The second vote agrees with 0.75, so the likeliest part is D1, and it is not settled before that vote.
    rules = Partition(precise_share=1.0, ambiguous_share=0.6)
    assert settles([1, 0], [[0.5, 0.5]], rules, panel=2) == (1, "D1")
    assert settles([1, 0], [[0.95, 0.05]], rules, panel=2) == (0, "D1")


def test_the_same_seed_gives_the_same_answer():
    votes, soft = np.array([[1.0, 1, 0, 0]] * 5), np.repeat(EVEN, 5, axis=0)
    first, second = votes_needed(votes, soft, RULES, seed=3), votes_needed(votes, soft, RULES, seed=3)
    assert (first[0] == second[0]).all()
    assert (first[1] == second[1]).all()
