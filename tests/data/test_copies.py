"""Shares in place of counts, and utterances with the same sound, which stand in one part."""

import numpy as np
import pytest

from helpers.corpus_files import TWO, utterances
from helpers.sounds import sine, table, wav
from ipr_core.config import recommended
from ipr_core.data.ambiguity import partition
from ipr_core.data.waves import WaveStore

OTHERS = ("happy", "neutral", "frustrated", "surprised", "fearful", "disgusted", "bored", "calm")


def config(**settings):
    return recommended(**({"classes": TWO, "validation_share": 0} | settings))


def parts(result):
    return dict(zip(result["id"], result["part"], strict=True))


# Shares


@pytest.mark.parametrize(
    ("shares", "times"),
    [
        ((0.7, 0.2, 0.1), 1),
        ((0.1,) * 10, 1),
        ((0.1,) * 10, 3),
        ((0.33,) * 3, 1),
        ((0.14,) * 7, 1),
        ((0.7, 0.2, 0.1), 3),
    ],
)
def test_shares_that_add_up_to_one_but_for_their_rounding_are_a_vote(shares, times, caplog):
    """In floats 0.7 + 0.2 + 0.1 is 0.9999999999999999."""
    columns = {name: [share * times, 0, 0, 0] for name, share in zip((*TWO, *OTHERS), shares, strict=False)}
    columns["angry"] = [shares[0] * times, times, 0, 0.9 * times]
    columns["sad"] = [shares[1] * times, 0, times, 0.1 * times]
    t = utterances(columns, ["angry", "angry", "sad", "angry"])
    assert len(partition(t, config(min_votes=times, test_size=1))) == 4
    assert not caplog.records


# The same sound


def corpus(n=40):
    """Return n utterances of each part: the votes of u0, u3 … are unanimous, of u1, u4 … 4 : 2, of u2, u5 … 3 : 3."""
    right = np.array([6, 4, 3] * n, float)
    labels = ["angry", "angry", "angry", "sad", "sad", "sad"] * (n // 2)
    angry = np.where(np.array(labels) == "angry", right, 6 - right)
    return utterances({"angry": angry, "sad": 6 - angry}, labels, [f"p{i % 8}" for i in range(3 * n)])


@pytest.mark.parametrize(
    ("copies", "part"),
    [((0, 2), "D3"), ((0, 1), "D2"), ((1, 2), "D3"), ((0, 1, 2), "D3"), ((0, 3), "D1"), ((2, 5), "D3")],
)
def test_copies_stand_in_the_latest_part_of_any_of_them(copies, part):
    t = corpus()
    sounds = np.arange(len(t))
    sounds[list(copies)] = copies[0]
    plain, result = partition(t, config()), partition(t, config(), sounds)
    assert {result["part"][i] for i in copies} == {part}
    rest = [i for i in range(len(t)) if i not in copies]
    assert result.loc[rest, "part"].tolist() == plain.loc[rest, "part"].tolist()
    assert list(result) == list(plain)


def test_without_copies_nothing_changes():
    t, sounds = corpus(), np.random.default_rng(0).permutation(120)
    assert partition(t, config(), sounds).equals(partition(t, config()))


@pytest.mark.parametrize("settings", [{}, {"test_size": 30}, {"test_size": 30, "test_balanced": True}])
@pytest.mark.parametrize("seed", range(3))
def test_no_sound_is_in_two_parts_whatever_the_order_of_the_table(settings, seed):
    t = corpus()
    sounds = np.random.default_rng(seed).integers(0, 90, len(t))
    result = partition(t, config(**settings), sounds)
    assert result.assign(sound=sounds).groupby("sound")["part"].nunique().max() == 1
    order = np.random.default_rng(seed).permutation(len(t))
    shuffled = partition(t.iloc[order].reset_index(drop=True), config(**settings), sounds[order])
    assert parts(shuffled) == parts(result)


def test_copies_of_training_speakers_are_not_tested_but_left_out():
    t = corpus()
    sounds = np.arange(len(t))
    sounds[[8, 3]] = 8  # u8 is of p0, undecided; u3 is of p3, unanimous
    result = partition(t, config(test_speakers=("p0",), speaker_disjoint=True), sounds)
    assert parts(result)["u8"] == "D3"
    assert parts(result)["u3"] == ""
    assert set(result.loc[result["part"] == "D3", "speaker"]) == {"p0"}


def test_where_a_part_would_be_lost_the_votes_decide_and_a_warning_says_so(caplog):
    t = corpus(4)
    sounds = np.zeros(len(t), np.int64)
    sounds[0], sounds[3] = 1, 2
    assert parts(partition(t, config(), sounds)) == parts(partition(t, config()))
    assert "the same sound stands in several parts, also in training and test" in caplog.text
    assert "D2 is empty" in caplog.text


def test_utterances_left_out_do_not_move_their_copies():
    t = corpus().assign(label=lambda table: table["label"].mask(table.index == 2, "fearful"))
    sounds = np.arange(len(t))
    sounds[2] = 0
    assert parts(partition(t, config(), sounds))["u0"] == "D1"


def test_the_same_samples_are_the_same_sound_in_any_file(tmp_path):
    samples = (sine() * 32767).astype(np.int16)
    paths = [wav(tmp_path / name, samples) for name in ("a.wav", "b.flac", "c.aiff", "d.w64")]
    (tmp_path / "e.wav").write_bytes(paths[0].read_bytes() + b"LIST\4\0\0\0junk")
    paths += [tmp_path / "e.wav", wav(tmp_path / "f.wav", samples[:-1]), wav(tmp_path / "g.wav", -samples)]
    utterances = table(*paths, *[paths[1]] * 3)
    utterances["start"] = [np.nan] * 7 + [0.0, 0.25, 0.25]
    utterances["end"] = [np.nan] * 7 + [1.0, 0.5, 0.5]
    sounds = WaveStore.build(utterances, tmp_path / "cache", progress=False).sounds
    assert sounds.tolist() == [0, 0, 0, 0, 0, 1, 2, 0, 3, 3]
