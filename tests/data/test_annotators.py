"""Annotators simulated where nobody voted, and the features that they hear."""

import numpy as np
import pytest

from helpers.corpus_files import TWO, real, utterances
from ipr_core.config import SAMPLE_RATE, Data, recommended
from ipr_core.data import corpora
from ipr_core.data.ambiguity import vote_shares
from ipr_core.data.annotators import annotator_guesses, simulate_annotators, wave_features
from ipr_core.data.corpora.table import CorpusError, vote_columns
from ipr_core.data.waves import WaveStore


def config(**settings):
    return recommended(**({"classes": TWO} | settings))


def two_classes(n=120, speakers=6, seed=0, distance=2.0):
    """Return a table without votes, and features (n, 20) in which the two classes lie apart."""
    rng = np.random.default_rng(seed)
    labels = rng.choice(TWO, n)
    features = rng.normal(size=(n, 20)) + distance * (labels == "sad")[:, None]
    return utterances({"angry": np.zeros(n)}, list(labels), [f"p{i % speakers}" for i in range(n)]), features


def test_simulated_annotators_vote_once_each_for_the_classes_alone():
    t, features = two_classes()
    t = t.assign(votes_angry=7.0, votes_fearful=2.0, votes_unknown=1.0)
    voted = simulate_annotators(t, features, config(annotator_count=12).data)
    assert sorted(vote_columns(voted)) == ["votes_angry", "votes_other", "votes_sad"]
    assert set(voted[vote_columns(voted)].sum(axis=1)) == {12}
    shares = vote_shares(voted, TWO, count_other=False)
    assert (np.array(TWO)[shares.argmax(axis=1)] == voted["label"]).mean() > 0.9


def test_simulated_annotators_differ_and_are_the_same_again_by_the_seed():
    t, features = two_classes(n=60, distance=0.4)
    first, second, with_another_seed = (annotator_guesses(t, features, config(data_seed=s).data) for s in (0, 0, 1))
    assert first.equals(second)
    assert not first.equals(with_another_seed)
    assert len(first.T.drop_duplicates()) == 10


def test_no_annotator_judges_a_speaker_that_it_learnt_from():
    # A speaker's utterances are alike and of one class: an annotator that learnt from one knows the others.
    rng = np.random.default_rng(0)
    speaker = np.arange(160) % 16
    labels = np.where(rng.permutation(16) < 8, "angry", "sad")[speaker]
    features = rng.normal(size=(16, 20))[speaker] * 5 + rng.normal(size=(160, 20)) * 0.1
    t = utterances({"angry": np.zeros(160)}, list(labels), [f"p{i}" for i in speaker])
    disjoint = annotator_guesses(t, features, config().data)
    mixed = annotator_guesses(t.assign(speaker=""), features, config().data)
    right = [np.mean([(guesses[i] == labels).mean() for i in guesses]) for guesses in (disjoint, mixed)]
    assert right[0] < 0.65
    assert right[1] > 0.85


@pytest.mark.parametrize("speakers", [1, 2, 10])
def test_ten_utterances_of_few_or_many_speakers_are_enough(speakers):
    t, features = two_classes(n=10, speakers=speakers)
    t = t.assign(label=["angry", "sad"] * 5)
    voted = simulate_annotators(t, features, config().data)
    assert set(voted[["votes_angry", "votes_sad"]].sum(axis=1)) == {10}


def test_a_class_that_one_speaker_alone_has_is_learnt_with_speakers_mixed():
    t, features = two_classes(distance=3)
    t = t.assign(label=np.where(t["speaker"] == "p0", "sad", "angry"))
    features = features + 8 * (t["label"] == "sad").to_numpy()[:, None]
    assert simulate_annotators(t, features, config().data).query("label == 'sad'")["votes_sad"].sum() > 0


def test_utterances_without_one_of_the_classes_get_no_votes():
    t, features = two_classes()
    t = t.assign(label=t["label"].mask(t.index < 7, "fearful").mask(t.index == 7, ""))
    totals = simulate_annotators(t, features, config().data)[["votes_angry", "votes_sad"]].sum(axis=1)
    assert list(totals[:9]) == [0] * 8 + [10]


def test_too_few_utterances_of_a_class_are_refused():
    t, features = two_classes()
    t = t.assign(label=["sad"] * 4 + ["angry"] * 116)
    with pytest.raises(CorpusError, match=r"need 5 utterances of a class; there are fewer of sad \(\d\); add some"):
        simulate_annotators(t, features, config().data)


# Features


class Waves:
    """The part of a wave store that the features need."""

    def __init__(self, *waves):
        self.waves = [np.round(32767 * wave).astype(np.int16) for wave in waves]
        self.keys = [str(hash(wave.tobytes())) for wave in self.waves]
        self.reads = 0

    def __len__(self):
        return len(self.waves)

    def __getitem__(self, i):
        self.reads += 1
        return self.waves[i]


def tone(hertz, seconds=1.0, level=0.3):
    """A buzz of five harmonics."""
    time = np.arange(int(SAMPLE_RATE * seconds)) / SAMPLE_RATE
    return level / 2.3 * sum(np.sin(2 * np.pi * hertz * k * time) / k for k in range(1, 6))


def test_features_are_finite_for_silence_noise_and_the_shortest_and_longest_clips(tmp_path):
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE) * 0.1
    waves = Waves(np.zeros(SAMPLE_RATE), noise, tone(150, 0.02), tone(150, 40))
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
    noise = np.random.default_rng(0).normal(size=SAMPLE_RATE) * 0.1
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
    assert waves.reads == 2
    assert [file.suffix for file in (tmp_path / "features").iterdir()] == [".npy"]
    assert not np.array_equal(wave_features(Waves(tone(300), tone(200)), tmp_path), first)


def test_simulated_annotators_hear_emotion_in_real_speech(tmp_path):
    data = Data(corpus="ravdess", corpus_path=str(real("ravdess")))
    t = corpora.read(data)
    t = t[t["label"].isin(data.classes) & (t["speaker"] <= "Actor_06")].reset_index(drop=True)
    features = wave_features(WaveStore.build(t, tmp_path, progress=False), tmp_path)
    guesses = annotator_guesses(t, features, data)
    right = [(guesses[i] == t["label"]).mean() for i in guesses]
    assert min(right) > 0.4  # 2 of 7 are of the most frequent class
    assert max(right) < 0.95
