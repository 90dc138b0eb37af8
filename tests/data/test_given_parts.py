"""Parts that a corpus gives its utterances: D3 stays what it was, and what a person corrected is in D1."""

import numpy as np
import pytest

from helpers.corpus_files import TWO, utterances
from ipr_core.config import recommended
from ipr_core.data import left_out
from ipr_core.data.ambiguity import partition
from ipr_core.data.corpora.table import CorpusError


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0} | settings))


def parts(result):
    return dict(zip(result["id"], result["part"], strict=True))


VOTES = {"angry": [3, 3, 2, 1, 0, 0, 2, 1], "sad": [0, 0, 1, 2, 3, 3, 1, 2]}
LABELS = ["angry", "angry", "angry", "angry", "sad", "sad", "angry", "angry"]
SPEAKERS = ["a", "b", "a", "b", "a", "b", "a", "b"]
"""u0 u1 u4 u5 are agreed, u2 and u6 two of three, u3 and u7 one of three; u1, u3, u5 and u7 are of b."""


def corpus(*pairs, speakers=SPEAKERS, votes=VOTES):
    table = utterances(votes, LABELS, speakers)
    return table.assign(part=[dict(pairs).get(name, "") for name in table["id"]])


def test_without_a_given_part_the_votes_decide():
    by_votes = partition(corpus().drop(columns="part"), config())
    assert parts(by_votes) == parts(partition(corpus(), config()))
    assert parts(by_votes) == {"u0": "D1", "u1": "D1", "u2": "D2", "u3": "D3", "u4": "D1", "u5": "D1", "u6": "D2",
                               "u7": "D3"}  # fmt: skip


def test_what_is_given_d1_is_there_whatever_its_votes():
    assert parts(partition(corpus(("u3", "D1"), ("u2", "D1")), config())) == {
        "u0": "D1", "u1": "D1", "u2": "D1", "u3": "D1", "u4": "D1", "u5": "D1", "u6": "D2", "u7": "D3",
    }  # fmt: skip


@pytest.mark.parametrize("settings", [{}, {"test_size": 1}, {"test_size": 7}, {"test_size": 2, "test_balanced": True}])
def test_d3_is_what_is_given_and_no_others(settings):
    result = parts(partition(corpus(("u0", "D3"), ("u7", "D3")), config(**settings)))
    assert {name for name, part in result.items() if part == "D3"} == {"u0", "u7"}
    assert result["u3"] == "D2"  # by its votes it would be tested
    assert result["u1"] == "D1"


def test_a_second_partition_keeps_the_first_ones_test_when_votes_change():
    first = partition(corpus(), config(test_size=2))
    test = [(name, "D3") for name, part in parts(first).items() if part == "D3"]
    later = {"angry": [3, 3, 5, 9, 0, 0, 2, 9], "sad": [0, 0, 5, 0, 3, 3, 0, 0]}
    second = parts(partition(corpus(*test, votes=later), config(test_size=2)))
    assert {name for name, part in second.items() if part == "D3"} == {name for name, _ in test}
    assert second["u6"] == "D1"
    assert second["u2"] == "D2"


def test_who_is_given_a_part_needs_a_label_and_no_votes():
    votes = {name: [*counts[:3], 0, *counts[4:7], 0] for name, counts in VOTES.items()}
    result = partition(corpus(("u3", "D1"), ("u7", "D3"), votes=votes), config())
    assert parts(result)["u3"] == "D1"
    assert parts(result)["u7"] == "D3"
    assert np.isnan(result.set_index("id").loc[["u3", "u7"], "share"]).all()
    other = corpus(("u3", "D1"), ("u7", "D3")).assign(label=[*LABELS[:3], "", *LABELS[4:]])
    assert "u3" not in parts(partition(other, config()))


def test_a_copy_of_a_sound_in_d3_is_in_d3():
    sounds = np.array([0, 1, 2, 3, 4, 5, 6, 0])
    assert parts(partition(corpus(("u7", "D3")), config(), sounds))["u0"] == "D3"
    assert parts(partition(corpus(("u7", "D3"), ("u0", "D1")), config(), sounds))["u0"] == "D3"


def test_the_speakers_of_the_given_d3_are_the_test_speakers():
    for speaker, name in (("a", "u2"), ("b", "u3")):
        result = partition(corpus((name, "D3")), config(speaker_disjoint=True))
        test = result["part"] == "D3"
        assert list(result.loc[test, "id"]) == [name]
        assert speaker not in set(result.loc[result["part"].isin(["D1", "D2"]), "speaker"])


def test_a_test_speakers_utterance_is_not_trained_on_even_if_it_is_given_d1():
    table = corpus(("u3", "D3"), ("u5", "D1"))
    settings = config(speaker_disjoint=True, test_speakers=("b",))
    result = partition(table, settings)
    assert parts(result) == {"u0": "D1", "u1": "", "u2": "D2", "u3": "D3", "u4": "D1", "u5": "", "u6": "D2", "u7": ""}
    causes = dict(zip(table["id"], left_out.causes(table, result, settings), strict=True))
    assert causes["u5"] == "of test speakers, and given D1"
    assert causes["u7"] == causes["u1"] == "of test speakers, and not in the D3 that is given"
    assert causes["u3"] == ""
    alone = parts(partition(corpus(("u7", "D1")), settings))
    assert alone["u7"] == ""  # neither tested nor trained on
    assert alone["u3"] == "D3"


def test_who_is_given_d3_has_to_be_a_test_speaker():
    settings = config(speaker_disjoint=True, test_speakers=("b",))
    with pytest.raises(
        CorpusError, match=r"1 utterances? .* given D3 .* of a, no test speaker; name them in --test-sp"
    ):
        partition(corpus(("u2", "D3")), settings)


def test_a_partition_without_d2_says_that_fewer_can_be_given():
    everything = [(f"u{i}", "D1") for i in range(7)] + [("u7", "D3")]
    with pytest.raises(CorpusError, match=r"D2 is empty; .*; or give fewer utterances their part"):
        partition(corpus(*everything), config())
