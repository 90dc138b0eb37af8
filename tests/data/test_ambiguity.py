"""Votes to shares, shares to D1, D2 and D3."""

import numpy as np
import pytest

from helpers.corpus_files import TWO, real, utterances
from ipr_core.config import recommended
from ipr_core.data import corpora
from ipr_core.data.ambiguity import partition, soft_votes, summary, vote_entropy, vote_shares
from ipr_core.data.corpora.table import CorpusError


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0} | settings))


def parts(result):
    return dict(zip(result["id"], result["part"], strict=True))


# Votes


def test_shares_are_of_all_votes_and_other_counts_only_if_it_is_said_to():
    t = utterances({"angry": [2, 0], "sad": [1, 0], "fearful": [1, 0], "other": [4, 1]})
    assert vote_shares(t, TWO, count_other=False)[0] == pytest.approx([2 / 4, 1 / 4])
    assert vote_shares(t, TWO, count_other=True)[0] == pytest.approx([2 / 8, 1 / 8])
    assert np.isnan(vote_shares(t, TWO, count_other=False)[1]).all()
    assert vote_shares(t, TWO, count_other=True)[1] == pytest.approx([0, 0])


@pytest.mark.parametrize("count_other", [True, False])
def test_votes_for_an_unknown_emotion_count_in_every_share(count_other):
    t = utterances({"angry": [18], "unknown": [2]})
    assert vote_shares(t, TWO, count_other)[0] == pytest.approx([0.9, 0])


def test_soft_votes_are_over_the_classes_alone_and_nan_where_they_are_not_known():
    t = utterances({"angry": [3, 0, 18, 20], "sad": [1, 0, 0, 0], "fearful": [6, 2, 0, 0], "unknown": [0, 0, 2, 0]})
    soft = soft_votes(t, TWO)
    assert soft[0] == pytest.approx([0.75, 0.25])
    assert np.isnan(soft[1]).all()  # nobody voted for a class
    assert np.isnan(soft[2]).all()  # the emotion that two listeners heard is not known
    assert soft[3] == pytest.approx([1, 0])


def test_entropy_is_zero_agreed_log_c_undecided_and_nan_unknown():
    t = utterances({"angry": [5, 2, 0, 3], "sad": [0, 2, 0, 1]})
    assert vote_entropy(t, TWO)[[0, 1, 3]] == pytest.approx([0, np.log(2), np.log(4) - 0.75 * np.log(3)])
    assert np.isnan(vote_entropy(t, TWO)[2])
    assert not np.signbit(vote_entropy(t, TWO)[0])


# Partition


def test_partition_by_the_label_s_share():
    t = utterances({"angry": [3, 2, 1, 0, 0], "sad": [0, 1, 2, 3, 1]}, ["angry", "angry", "angry", "sad", ""])
    result = partition(t.assign(label=["angry", "angry", "angry", "sad", ""]), config())
    assert parts(result) == {"u0": "D1", "u1": "D2", "u2": "D3", "u3": "D1"}  # u4 has no label
    assert list(result["share"]) == pytest.approx([1, 2 / 3, 1 / 3, 1])
    assert list(result.index) == [0, 1, 2, 3]


def test_two_of_three_votes_are_two_thirds_in_floats_too():
    votes = [float(np.cumsum([1 / 3] * n)[-1]) for n in (20, 10)]  # `sum` is compensated from Python 3.12 on
    t = utterances({"angry": [votes[0], 1, 0, 0], "sad": [votes[1], 0, 1, 1], "happy": [0, 0, 0, 1]})
    t = t.assign(label=["angry", "angry", "sad", "sad"])
    assert votes[0] / (votes[0] + votes[1]) < 2 / 3  # by rounding alone
    assert parts(partition(t, config())) == {"u0": "D2", "u1": "D1", "u2": "D1", "u3": "D3"}


def test_utterances_of_other_classes_are_left_out_but_votes_for_them_count():
    t = utterances({"angry": [1, 1, 0, 4, 1], "sad": [0, 0, 1, 1, 0], "fearful": [0, 2, 0, 0, 3]})
    result = partition(t.assign(label=["angry", "angry", "sad", "angry", "fearful"]), config())
    assert parts(result) == {"u0": "D1", "u1": "D3", "u2": "D1", "u3": "D2"}


def test_utterances_with_fewer_votes_than_asked_are_left_out():
    t = utterances({"angry": [1, 3, 4, 1, 0, 0], "sad": [0, 0, 1, 3, 3, 0]}, ["angry"] * 4 + ["sad"] * 2)
    assert parts(partition(t, config(min_votes=3))) == {"u1": "D1", "u2": "D2", "u3": "D3", "u4": "D1"}
    assert set(parts(partition(t, config(min_votes=0)))) == {"u0", "u1", "u2", "u3", "u4"}  # no votes: no share


def large_table(seed=0, n=200):
    """Return a table of n utterances, eight speakers, ten votes each, a third of the utterances sad."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n) % 3 == 0, "sad", "angry")
    right = rng.integers(3, 11, n).astype(float)
    votes = {
        "angry": np.where(labels == "angry", right, 10 - right),
        "sad": np.where(labels == "sad", right, 10 - right),
    }
    return utterances(votes, list(labels), [f"p{i % 8}" for i in range(n)])


def test_test_size_takes_the_least_agreed_and_leaves_the_others_to_d2():
    result = partition(large_table(), config(test_size=50))
    share = result.groupby("part")["share"]
    assert (result["part"] == "D3").sum() == 50
    assert share.max()["D3"] <= share.min()["D2"]
    assert share.min()["D1"] == 1
    assert not (result["part"] == "").any()


@pytest.mark.parametrize("settings", [{}, {"test_balanced": True}, {"speaker_disjoint": True, "test_size": 20}])
def test_partition_does_not_depend_on_the_table_s_order(settings):
    t, rules = large_table(), config(**({"test_size": 50} | settings))
    shuffled = t.sample(frac=1, random_state=1).reset_index(drop=True)
    assert parts(partition(shuffled, rules)) == parts(partition(t, rules))


def test_equal_shares_are_ordered_by_the_seed():
    tests = [
        {
            name
            for name, part in parts(partition(large_table(), config(test_size=50, data_seed=seed))).items()
            if part == "D3"
        }
        for seed in (0, 1)
    ]
    assert tests[0] != tests[1]


def test_balanced_test_set_has_the_same_number_of_each_class_as_far_as_there_are():
    t, rules = large_table(), config(test_size=50, test_balanced=True)
    counts = partition(t, rules).query("part == 'D3'")["label"].value_counts()
    assert counts.to_dict() == {"angry": 25, "sad": 25}
    scarce = t.assign(votes_angry=t["votes_angry"].mask(t["label"] == "sad", 0.0))
    scarce.loc[[0, 3, 6], "votes_angry"] = 9.0  # three sad utterances that not all agree on
    scarce.loc[0, "votes_sad"] = scarce.loc[3, "votes_sad"] = scarce.loc[6, "votes_sad"] = 1.0
    counts = partition(scarce, rules).query("part == 'D3'")["label"].value_counts()
    assert counts.to_dict() == {"angry": 47, "sad": 3}


def test_balanced_test_set_of_an_odd_size_has_one_more_of_the_class_that_agrees_less():
    wrong = [5, 4, 3, 0, 2, 2, 1, 0]  # of ten listeners; four utterances of each class
    votes = {"angry": [10 - n for n in wrong[:4]] + wrong[4:], "sad": wrong[:4] + [10 - n for n in wrong[4:]]}
    t = utterances(votes, ["angry"] * 4 + ["sad"] * 4)
    for seed in range(5):
        by_id = parts(partition(t, config(test_size=3, test_balanced=True, data_seed=seed)))
        assert [by_id[f"u{i}"] for i in range(4)] == ["D3", "D3", "D2", "D1"]


def test_balanced_test_set_takes_the_least_agreed_of_each_class():
    result = partition(large_table(), config(test_size=50, test_balanced=True))
    for _, of_class in result.groupby("label"):
        share = of_class.groupby("part")["share"]
        assert share.max()["D3"] <= share.min()["D2"]


@pytest.mark.parametrize("test_size", [None, 20])
def test_speaker_disjoint_test_speakers_are_nowhere_else(test_size):
    result = partition(large_table(), config(speaker_disjoint=True, test_size=test_size))
    speakers = result.groupby("part")["speaker"].agg(set)
    assert len(speakers["D3"]) == 2  # a quarter of eight
    assert not speakers["D3"] & (speakers["D1"] | speakers["D2"])
    assert (result["part"] == "").any()  # utterances that the test speakers agree on are in no part
    if test_size is None:
        assert result.query("part == 'D2'")["share"].min() >= 2 / 3 - 1e-9
    else:
        assert (result["part"] == "D3").sum() == 20


def test_named_test_speakers_are_used_and_unknown_ones_refused():
    rules = {"speaker_disjoint": True, "test_size": 10}
    result = partition(large_table(), config(test_speakers=("p3", "p5"), **rules))
    assert set(result.query("part == 'D3'")["speaker"]) == {"p3", "p5"}
    with pytest.raises(CorpusError, match="test speaker 'p33' has no utterance; name others, such as p3"):
        partition(large_table(), config(test_speakers=("p33",), **rules))
    speakers = tuple(f"p{i}" for i in range(8))
    with pytest.raises(CorpusError, match="leaves none of the 8 speakers for training; name at most 7 test_speakers"):
        partition(large_table(), config(test_speakers=speakers, **rules))


def test_partitions_that_no_system_can_train_on_are_refused_with_every_reason():
    t = utterances({"angry": [4, 4, 1], "sad": [1, 1, 4]}, ["angry", "angry", "sad"])
    with pytest.raises(CorpusError) as refused:
        partition(t, config())
    assert [fault.problem for fault in refused.value.faults] == [
        "D1 has no utterance of angry, sad: none has a share of votes of 1",
        "D3 is empty: no share of votes is below 0.667, the lowest is 0.8",
    ]
    with pytest.raises(CorpusError, match="D2 is empty; the annotators agree too well"):
        partition(utterances({"angry": [1, 0, 1], "sad": [0, 1, 1]}, ["angry", "sad", "sad"]), config())


def test_a_test_set_larger_than_what_there_is_is_refused():
    with pytest.raises(CorpusError, match=r"test_size is 500, and \d+ utterances may be in D3; try --test-size \d+"):
        partition(large_table(), config(test_size=500))


def test_a_corpus_without_votes_or_labels_of_the_classes_is_refused():
    with pytest.raises(CorpusError, match="the labels are angry; where nobody voted, set annotators to 'simulated'"):
        partition(utterances({"angry": [0.0, 0.0]}), config())


def test_summary_counts_each_part_by_class_and_by_speaker_with_zeros():
    t = utterances(
        {"angry": [3, 2, 1, 0], "sad": [0, 1, 2, 3]}, ["angry", "angry", "angry", "sad"], ["x", "y", "y", "y"]
    )
    result = partition(t, config())
    assert summary(result).to_numpy().tolist() == [
        ["D1", "angry", 1], ["D1", "sad", 1],
        ["D2", "angry", 1], ["D2", "sad", 0],
        ["D3", "angry", 1], ["D3", "sad", 0],
    ]  # fmt: skip
    by_speaker = summary(result, group="speaker").set_index(["part", "speaker"])["count"]
    assert by_speaker.to_dict() == {
        ("D1", "x"): 1, ("D1", "y"): 1, ("D2", "x"): 0, ("D2", "y"): 1, ("D3", "x"): 0, ("D3", "y"): 1,
    }  # fmt: skip


def test_emodb_s_listeners_part_its_four_classes():
    settings = {"corpus": "emodb", "corpus_path": str(real("emodb"))}
    t = corpora.read(recommended(**settings).data)
    result = partition(t, recommended(test_size=100, test_balanced=True, validation_share=0, **settings))
    assert result["part"].value_counts().to_dict() == {"D1": 133, "D2": 106, "D3": 100}
    assert result.query("part == 'D3'")["label"].value_counts().to_dict() == dict.fromkeys(
        ("angry", "happy", "sad", "neutral"), 25
    )
    with pytest.raises(
        CorpusError, match=r"D3 is empty: no share of votes is below 0.667, the lowest is 0.8; try --test-size 103"
    ):
        partition(t, recommended(**settings))
