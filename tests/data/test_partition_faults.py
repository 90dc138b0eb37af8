"""Refusals of a partition name values that work."""

import re

import numpy as np
import pytest

from helpers.corpus_files import TWO, utterances
from ipr_core.config import recommended
from ipr_core.data.ambiguity import partition
from ipr_core.data.corpora.table import CorpusError


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0} | settings))


def refused(table, **settings):
    """Return the faults of a partition, as texts."""
    try:
        partition(table, config(**settings))
    except CorpusError as error:
        return [f"{fault.problem}; {fault.cure}" for fault in error.faults]
    return []


def agreed(*right, labels=None, speakers=None):
    """Return a table of ten votes an utterance, of which so many are for the label; the first is angry, and so on."""
    labels = labels or [TWO[i % 2] for i in range(len(right))]
    angry = [n if label == "angry" else 10 - n for n, label in zip(right, labels, strict=True)]
    return utterances({"angry": angry, "sad": [10 - n for n in angry]}, labels, speakers)


def test_a_test_set_that_is_too_large_is_told_the_largest():
    table = agreed(10, 10, 9, 9, 8, 7)
    sentence = "test_size is 60, and 4 utterances may be in D3; try --test-size 3, the largest"
    assert refused(table, test_size=60) == [sentence]
    assert not refused(table, test_size=3)
    assert refused(table, test_size=4)  # none is left for D2
    assert refused(agreed(10, 10, 10, 10), test_size=1)[0].endswith("or set annotators to 'simulated'")


def test_test_speakers_may_all_be_tested():
    table = agreed(*[10, 10, 9, 9] * 2, speakers=["p0"] * 4 + ["p1"] * 4)
    rules = {"speaker_disjoint": True, "test_speakers": ("p0",)}
    sentence = "test_size is 60, and 2 utterances may be in D3; try --test-size 2, the largest or more test_speakers"
    assert refused(table, test_size=60, **rules) == [sentence]
    assert not refused(table, test_size=2, **rules)


def test_d1_without_a_class_is_told_the_largest_share_that_gives_it_every_class():
    table = agreed(10, 9, 8, 8, 5, 5)
    cure = "try --precise-share 0.9, the largest with which it has every class, or add utterances of sad"
    assert cure in refused(table)[0]
    assert not refused(table, precise_share=0.9)
    assert refused(table, precise_share=0.901)
    thirds = utterances({"angry": [3, 1, 2, 1], "sad": [0, 2, 1, 1]}, ["angry", "sad", "angry", "sad"])
    assert "--precise-share 0.666 with a lower ambiguous_share" in refused(thirds)[0]


def test_classes_that_d1_can_never_have_are_to_be_left_out():
    table = agreed(10, 10, 8, 5)
    fault = refused(table, classes=(*TWO, "happy"))[0]
    assert fault.startswith("D1 has no utterance of happy")
    assert fault.endswith("; leave happy out: --classes angry,sad")
    assert not refused(table)


def test_more_votes_than_there_are_is_told_how_many_each_class_has():
    table = agreed(10, 10, 8, 5)
    assert refused(table, min_votes=11)[0].endswith("and has 11 votes; try --min-votes 10: each class has as many")
    assert not refused(table, min_votes=10)


OPTION = re.compile(r"--(test-size|ambiguous-share|precise-share) ([\d.]+)")


@pytest.mark.parametrize("seed", range(150))
def test_every_value_that_a_refusal_names_cures_what_it_refuses(seed):
    rng = np.random.default_rng(seed)
    n = int(rng.integers(4, 30))
    speakers = [f"p{i % 4}" for i in range(n)]
    table = agreed(*rng.choice(rng.integers(3, 11, 3), n), speakers=speakers)
    rules = {"speaker_disjoint": bool(rng.integers(2)), "precise_share": float(rng.choice([0.9, 1.0]))}
    rules |= {"test_size": int(rng.integers(1, n))} if rng.integers(2) else {"ambiguous_share": rng.uniform(0.3, 0.9)}
    for fault in refused(table, **rules):
        subject = fault.split()[0]  # D1, D2, D3 or test_size
        for option, value in OPTION.findall(fault) if "with a lower" not in fault else ():
            number = int(value) if option == "test-size" else float(value)
            again = refused(table, **(rules | {option.replace("-", "_"): number}))
            assert subject not in [sentence.split()[0] for sentence in again], (fault, option, again)
