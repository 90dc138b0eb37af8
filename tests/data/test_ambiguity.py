"""Votes to shares, shares to D1, D2 and D3, and the annotators simulated where nobody voted."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ipr_core.config import Data, recommended
from ipr_core.data import ambiguity, corpora
from ipr_core.data.ambiguity import (
    partition,
    simulate_annotators,
    soft_votes,
    summary,
    vote_entropy,
    vote_shares,
    wave_features,
)
from ipr_core.data.corpora.table import CorpusError, tidy, vote_columns
from ipr_core.data.waves import WaveStore

SHARED = Path(__file__).parents[3] / "shared" / "data"
TWO = ("angry", "sad")


def real(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not at hand: no {SHARED / name}")
    return SHARED / name


def table(votes, labels=None, speakers=None):
    """An utterance table from votes by emotion; ids u0, u1 …; everyone "angry" unless said."""
    n = len(next(iter(votes.values())))
    raw = {"id": [f"u{i}" for i in range(n)], "path": "x.wav", "label": labels or ["angry"] * n}
    raw |= {"speaker": speakers or ["s"] * n} | {f"votes_{name}": counts for name, counts in votes.items()}
    return tidy(pd.DataFrame(raw), Data(classes=TWO))


def config(**settings):
    return recommended(**({"classes": TWO} | settings))


def parts(result):
    return dict(zip(result["id"], result["part"], strict=True))


# Votes


def test_shares_are_of_all_votes_and_other_counts_only_if_it_is_said_to():
    t = table({"angry": [2, 0], "sad": [1, 0], "fearful": [1, 0], "other": [4, 1]})
    assert vote_shares(t, TWO, count_other=False)[0] == pytest.approx([2 / 4, 1 / 4])
    assert vote_shares(t, TWO, count_other=True)[0] == pytest.approx([2 / 8, 1 / 8])
    assert np.isnan(vote_shares(t, TWO, count_other=False)[1]).all()
    assert vote_shares(t, TWO, count_other=True)[1] == pytest.approx([0, 0])


@pytest.mark.parametrize("count_other", [True, False])
def test_votes_for_an_unknown_emotion_count_in_every_share(count_other):
    t = table({"angry": [18], "unknown": [2]})
    assert vote_shares(t, TWO, count_other)[0] == pytest.approx([0.9, 0])


def test_soft_votes_are_over_the_classes_alone_and_nan_where_they_are_not_known():
    t = table({"angry": [3, 0, 18, 20], "sad": [1, 0, 0, 0], "fearful": [6, 2, 0, 0], "unknown": [0, 0, 2, 0]})
    soft = soft_votes(t, TWO)
    assert soft[0] == pytest.approx([0.75, 0.25])
    assert np.isnan(soft[1]).all()  # nobody voted for a class
    assert np.isnan(soft[2]).all()  # what two listeners heard is not known
    assert soft[3] == pytest.approx([1, 0])


def test_entropy_is_zero_agreed_log_c_undecided_and_nan_unknown():
    t = table({"angry": [5, 2, 0, 3], "sad": [0, 2, 0, 1]})
    assert vote_entropy(t, TWO)[[0, 1, 3]] == pytest.approx([0, np.log(2), np.log(4) - 0.75 * np.log(3)])
    assert np.isnan(vote_entropy(t, TWO)[2])
    assert not np.signbit(vote_entropy(t, TWO)[0])


# Partition


def test_partition_by_the_label_s_share():
    t = table({"angry": [3, 2, 1, 0, 0], "sad": [0, 1, 2, 3, 1]}, ["angry", "angry", "angry", "sad", ""])
    result = partition(t.assign(label=["angry", "angry", "angry", "sad", ""]), config())
    assert parts(result) == {"u0": "D1", "u1": "D2", "u2": "D3", "u3": "D1"}  # u4 has no label
    assert list(result["share"]) == pytest.approx([1, 2 / 3, 1 / 3, 1])
    assert list(result.index) == [0, 1, 2, 3]


def test_two_of_three_votes_are_two_thirds_in_floats_too():
    votes = sum([1 / 3] * 20), sum([1 / 3] * 10)
    t = table({"angry": [votes[0], 1, 0, 0], "sad": [votes[1], 0, 1, 1], "happy": [0, 0, 0, 1]})
    t = t.assign(label=["angry", "angry", "sad", "sad"])
    assert votes[0] / sum(votes) < 2 / 3  # by rounding alone
    assert parts(partition(t, config())) == {"u0": "D2", "u1": "D1", "u2": "D1", "u3": "D3"}


def test_utterances_of_other_classes_are_left_out_but_votes_for_them_count():
    t = table({"angry": [1, 1, 0, 4, 1], "sad": [0, 0, 1, 1, 0], "fearful": [0, 2, 0, 0, 3]})
    result = partition(t.assign(label=["angry", "angry", "sad", "angry", "fearful"]), config())
    assert parts(result) == {"u0": "D1", "u1": "D3", "u2": "D1", "u3": "D2"}


def test_utterances_with_fewer_votes_than_asked_are_left_out():
    t = table({"angry": [1, 3, 4, 1, 0, 0], "sad": [0, 0, 1, 3, 3, 0]}, ["angry"] * 4 + ["sad"] * 2)
    assert parts(partition(t, config(min_votes=3))) == {"u1": "D1", "u2": "D2", "u3": "D3", "u4": "D1"}
    assert set(parts(partition(t, config(min_votes=0)))) == {"u0", "u1", "u2", "u3", "u4"}  # no votes: no share


def many(seed=0, n=200):
    """A table of n utterances, eight speakers, ten votes each, a third of the utterances sad."""
    rng = np.random.default_rng(seed)
    labels = np.where(np.arange(n) % 3 == 0, "sad", "angry")
    right = rng.integers(3, 11, n).astype(float)
    votes = {
        "angry": np.where(labels == "angry", right, 10 - right),
        "sad": np.where(labels == "sad", right, 10 - right),
    }
    return table(votes, list(labels), [f"p{i % 8}" for i in range(n)])


def test_test_size_takes_the_least_agreed_and_leaves_the_others_to_d2():
    result = partition(many(), config(test_size=50))
    share = result.groupby("part")["share"]
    assert (result["part"] == "D3").sum() == 50
    assert share.max()["D3"] <= share.min()["D2"]
    assert share.min()["D1"] == 1
    assert not (result["part"] == "").any()


@pytest.mark.parametrize("settings", [{}, {"test_balanced": True}, {"speaker_disjoint": True, "test_size": 20}])
def test_partition_does_not_depend_on_the_table_s_order(settings):
    t, rules = many(), config(**({"test_size": 50} | settings))
    shuffled = t.sample(frac=1, random_state=1).reset_index(drop=True)
    assert parts(partition(shuffled, rules)) == parts(partition(t, rules))


def test_equal_shares_are_ordered_by_the_seed():
    chosen = [
        {name for name, part in parts(partition(many(), config(test_size=50, data_seed=seed))).items() if part == "D3"}
        for seed in (0, 1)
    ]
    assert chosen[0] != chosen[1]


def test_balanced_test_set_has_the_same_number_of_each_class_as_far_as_there_are():
    t, rules = many(), config(test_size=50, test_balanced=True)
    counts = partition(t, rules).query("part == 'D3'")["label"].value_counts()
    assert counts.to_dict() == {"angry": 25, "sad": 25}
    few = t.assign(votes_angry=t["votes_angry"].mask(t["label"] == "sad", 0.0))
    few.loc[[0, 3, 6], "votes_angry"] = 9.0  # three sad utterances that not all agree on
    few.loc[0, "votes_sad"] = few.loc[3, "votes_sad"] = few.loc[6, "votes_sad"] = 1.0
    counts = partition(few, rules).query("part == 'D3'")["label"].value_counts()
    assert counts.to_dict() == {"angry": 47, "sad": 3}


def test_balanced_test_set_of_an_odd_size_has_one_more_of_the_class_that_agrees_less():
    wrong = [5, 4, 3, 0, 2, 2, 1, 0]  # of ten listeners; four utterances of each class
    votes = {"angry": [10 - n for n in wrong[:4]] + wrong[4:], "sad": wrong[:4] + [10 - n for n in wrong[4:]]}
    t = table(votes, ["angry"] * 4 + ["sad"] * 4)
    for seed in range(5):
        found = parts(partition(t, config(test_size=3, test_balanced=True, data_seed=seed)))
        assert [found[f"u{i}"] for i in range(4)] == ["D3", "D3", "D2", "D1"]


def test_balanced_test_set_takes_the_least_agreed_of_each_class():
    result = partition(many(), config(test_size=50, test_balanced=True))
    for _, of_class in result.groupby("label"):
        share = of_class.groupby("part")["share"]
        assert share.max()["D3"] <= share.min()["D2"]


@pytest.mark.parametrize("test_size", [None, 20])
def test_speaker_disjoint_test_speakers_are_nowhere_else(test_size):
    result = partition(many(), config(speaker_disjoint=True, test_size=test_size))
    speakers = result.groupby("part")["speaker"].agg(set)
    assert len(speakers["D3"]) == 2  # a quarter of eight
    assert not speakers["D3"] & (speakers["D1"] | speakers["D2"])
    assert (result["part"] == "").any()  # what the test speakers agree on is in no part
    if test_size is None:
        assert result.query("part == 'D2'")["share"].min() >= 2 / 3 - 1e-9
    else:
        assert (result["part"] == "D3").sum() == 20


def test_named_test_speakers_are_used_and_unknown_ones_refused():
    rules = {"speaker_disjoint": True, "test_size": 10}
    result = partition(many(), config(test_speakers=("p3", "p5"), **rules))
    assert set(result.query("part == 'D3'")["speaker"]) == {"p3", "p5"}
    with pytest.raises(CorpusError, match="test speaker 'p33' has no utterance; name others, such as p3"):
        partition(many(), config(test_speakers=("p33",), **rules))
    everyone = tuple(f"p{i}" for i in range(8))
    with pytest.raises(CorpusError, match="leaves none of the 8 speakers for training; name fewer test_speakers"):
        partition(many(), config(test_speakers=everyone, **rules))


def test_partitions_that_no_system_can_train_on_are_refused_with_every_reason():
    t = table({"angry": [4, 4, 1], "sad": [1, 1, 4]}, ["angry", "angry", "sad"])
    with pytest.raises(CorpusError) as refused:
        partition(t, config())
    assert [fault.what for fault in refused.value.faults] == [
        "D1 has no utterance of angry, sad: none has a share of votes of 1",
        "D3 is empty: no share of votes is below 0.667, the lowest is 0.8",
    ]
    with pytest.raises(CorpusError, match="D2 is empty; lower test_size or ambiguous_share, or raise precise_share"):
        partition(table({"angry": [1, 0, 1], "sad": [0, 1, 1]}, ["angry", "sad", "sad"]), config())


def test_a_test_set_larger_than_what_there_is_is_refused():
    with pytest.raises(CorpusError, match=r"test_size is 500, and \d+ utterances may be in D3; lower test_size"):
        partition(many(), config(test_size=500))


def test_a_corpus_without_votes_or_labels_of_the_classes_is_refused():
    with pytest.raises(CorpusError, match="the labels are angry; where nobody voted, set annotators to 'simulated'"):
        partition(table({"angry": [0.0, 0.0]}), config())


def test_summary_counts_each_part_by_class_and_by_speaker_with_zeros():
    t = table({"angry": [3, 2, 1, 0], "sad": [0, 1, 2, 3]}, ["angry", "angry", "angry", "sad"], ["x", "y", "y", "y"])
    result = partition(t, config())
    assert summary(result).to_numpy().tolist() == [
        ["D1", "angry", 1], ["D1", "sad", 1],
        ["D2", "angry", 1], ["D2", "sad", 0],
        ["D3", "angry", 1], ["D3", "sad", 0],
    ]  # fmt: skip
    by_speaker = summary(result, by="speaker").set_index(["part", "speaker"])["count"]
    assert by_speaker.to_dict() == {
        ("D1", "x"): 1, ("D1", "y"): 1, ("D2", "x"): 0, ("D2", "y"): 1, ("D3", "x"): 0, ("D3", "y"): 1,
    }  # fmt: skip


def test_emodb_s_listeners_part_its_four_classes():
    settings = {"corpus": "emodb", "corpus_path": str(real("emodb"))}
    t = corpora.read(recommended(**settings).data)
    result = partition(t, recommended(test_size=100, test_balanced=True, **settings))
    assert result["part"].value_counts().to_dict() == {"D1": 133, "D2": 106, "D3": 100}
    assert result.query("part == 'D3'")["label"].value_counts().to_dict() == dict.fromkeys(
        ("angry", "happy", "sad", "neutral"), 25
    )
    with pytest.raises(
        CorpusError, match=r"D3 is empty: no share of votes is below 0.667, the lowest is 0.8; give test_size"
    ):
        partition(t, recommended(**settings))


# Simulated annotators


def spoken(n=120, speakers=6, seed=0, distance=2.0):
    """A table without votes and features (n, 20) in which the two classes lie apart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(TWO, n)
    features = rng.normal(size=(n, 20)) + distance * (labels == "sad")[:, None]
    return table({"angry": np.zeros(n)}, list(labels), [f"p{i % speakers}" for i in range(n)]), features


def test_simulated_annotators_vote_once_each_for_the_classes_alone():
    t, features = spoken()
    t = t.assign(votes_angry=7.0, votes_fearful=2.0, votes_unknown=1.0)
    voted = simulate_annotators(t, features, config(annotator_count=12).data)
    assert sorted(vote_columns(voted)) == ["votes_angry", "votes_other", "votes_sad"]
    assert set(voted[vote_columns(voted)].sum(axis=1)) == {12}
    shares = vote_shares(voted, TWO, count_other=False)
    assert (np.array(TWO)[shares.argmax(axis=1)] == voted["label"]).mean() > 0.9


def test_simulated_annotators_differ_and_are_the_same_again_by_the_seed():
    t, features = spoken(n=60, distance=0.4)
    first, again, other = (ambiguity.annotator_guesses(t, features, config(data_seed=s).data) for s in (0, 0, 1))
    assert first.equals(again)
    assert not first.equals(other)
    assert len(first.T.drop_duplicates()) == 10


def test_nobody_judges_a_speaker_learnt_from():
    # A speaker is always of one class and every utterance of theirs is alike: whoever heard them before knows it all.
    rng = np.random.default_rng(0)
    who = np.arange(160) % 16
    labels = np.where(rng.permutation(16) < 8, "angry", "sad")[who]
    features = rng.normal(size=(16, 20))[who] * 5 + rng.normal(size=(160, 20)) * 0.1
    t = table({"angry": np.zeros(160)}, list(labels), [f"p{i}" for i in who])
    apart = ambiguity.annotator_guesses(t, features, config().data)
    together = ambiguity.annotator_guesses(t.assign(speaker=""), features, config().data)
    right = [np.mean([(guesses[i] == labels).mean() for i in guesses]) for guesses in (apart, together)]
    assert right[0] < 0.65
    assert right[1] > 0.85


@pytest.mark.parametrize("speakers", [1, 2, 10])
def test_ten_utterances_of_few_or_many_speakers_are_enough(speakers):
    t, features = spoken(n=10, speakers=speakers)
    t = t.assign(label=["angry", "sad"] * 5)
    voted = simulate_annotators(t, features, config().data)
    assert set(voted[["votes_angry", "votes_sad"]].sum(axis=1)) == {10}


def test_a_class_that_one_speaker_alone_has_is_learnt_with_speakers_mixed():
    t, features = spoken(distance=3)
    t = t.assign(label=np.where(t["speaker"] == "p0", "sad", "angry"))
    features = features + 8 * (t["label"] == "sad").to_numpy()[:, None]
    assert simulate_annotators(t, features, config().data).query("label == 'sad'")["votes_sad"].sum() > 0


def test_utterances_without_one_of_the_classes_get_no_votes():
    t, features = spoken()
    t = t.assign(label=t["label"].mask(t.index < 7, "fearful").mask(t.index == 7, ""))
    totals = simulate_annotators(t, features, config().data)[["votes_angry", "votes_sad"]].sum(axis=1)
    assert list(totals[:9]) == [0] * 8 + [10]


def test_too_few_utterances_of_a_class_are_refused():
    t, features = spoken()
    t = t.assign(label=["sad"] * 4 + ["angry"] * 116)
    with pytest.raises(CorpusError, match="need 5 utterances of a class; there are fewer of sad; add some"):
        simulate_annotators(t, features, config().data)


# What they hear


class Waves:
    """As much of a wave store as the features need."""

    def __init__(self, *waves):
        self.waves = [np.round(32767 * wave).astype(np.int16) for wave in waves]
        self.keys = [str(hash(wave.tobytes())) for wave in self.waves]
        self.heard = 0

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, i):
        self.heard += 1
        return self.waves[i]


def tone(hertz, seconds=1.0, level=0.3):
    """A buzz of five harmonics."""
    time = np.arange(int(16_000 * seconds)) / 16_000
    return level / 2.3 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))


def test_features_are_finite_for_silence_noise_and_the_shortest_and_longest_clips(tmp_path):
    noise = np.random.default_rng(0).normal(size=16_000) * 0.1
    waves = Waves(np.zeros(16_000), noise, tone(150, 0.02), tone(150, 40))
    features = wave_features(waves, tmp_path)
    assert features.shape == (4, 129)
    assert features.dtype == np.float32
    assert np.isfinite(features).all()


@pytest.mark.parametrize("hertz", [80, 125, 200, 320])
def test_features_know_the_pitch_of_a_voice_at_any_level(tmp_path, hertz):
    for level in (0.3, 0.01):
        pitch, voiced = wave_features(Waves(tone(hertz, level=level)), tmp_path)[0, [123, 126]]
        assert pitch == pytest.approx(np.log2(hertz), abs=0.03)
        assert voiced == 1


def test_features_of_noise_are_hardly_voiced(tmp_path):
    noise = np.random.default_rng(0).normal(size=16_000) * 0.1
    assert wave_features(Waves(noise), tmp_path)[0, 126] < 0.1


def test_features_louder_by_a_factor_move_the_log_bands_by_its_logarithm(tmp_path):
    quiet, loud = (wave_features(Waves(level * tone(150)), tmp_path)[0] for level in (0.1, 1.0))
    strong = quiet[:40] > -5  # where the tone is, far from the floor
    assert strong.sum() >= 3
    assert (loud - quiet)[:40][strong] == pytest.approx(2 * np.log(10), abs=0.05)


def test_features_are_made_once_for_the_same_waves(tmp_path):
    waves = Waves(tone(100), tone(200))
    first = wave_features(waves, tmp_path)
    assert np.array_equal(wave_features(waves, tmp_path), first)
    assert waves.heard == 2
    assert [file.suffix for file in (tmp_path / "features").iterdir()] == [".npy"]
    assert not np.array_equal(wave_features(Waves(tone(300), tone(200)), tmp_path), first)


def test_simulated_annotators_hear_emotion_in_real_speech(tmp_path):
    data = Data(corpus="ravdess", corpus_path=str(real("ravdess")))
    t = corpora.read(data)
    t = t[t["label"].isin(data.classes) & (t["speaker"] <= "Actor_06")].reset_index(drop=True)
    features = wave_features(WaveStore.build(t, tmp_path, progress=False), tmp_path)
    guesses = ambiguity.annotator_guesses(t, features, data)
    right = [(guesses[i] == t["label"]).mean() for i in guesses]
    assert min(right) > 0.4  # 2 of 7 are of the most frequent class
    assert max(right) < 0.95
