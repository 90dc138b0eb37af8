"""The synthetic corpus: determinism, mixtures, votes drawn from them, and how emotions sound."""

from pathlib import Path

import numpy as np
import pytest
import soundfile

from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora import synthetic, voice
from ipr_core.data.corpora.synthetic import ANNOTATORS, SPEAKERS, describe, mixtures
from ipr_core.data.corpora.voice import Speaker, prototypes, speak, utter
from ipr_core.data.waves import SAMPLE_RATE

SMALL = Data(synthetic_size=40)
LARGE = Data(synthetic_size=6000)


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))


def columns(table, prefix: str, classes=SMALL.classes) -> np.ndarray:
    return table[[f"{prefix}_{name}" for name in classes]].to_numpy()


def shares(table) -> np.ndarray:
    """Return (N,) the label's share of each utterance's votes."""
    votes = columns(table, "votes")
    return votes[np.arange(len(table)), [SMALL.classes.index(name) for name in table["label"]]] / ANNOTATORS


# The table


def test_mixtures_sum_to_one_and_every_emotion_leads_equally_often():
    truth = mixtures(400, 4, np.random.default_rng(0))
    assert truth.min() >= 0
    assert truth.sum(axis=1) == pytest.approx(np.ones(400))
    led = np.bincount(mixtures(400, 2, np.random.default_rng(0)).argmax(axis=1))
    assert led.tolist() == [200, 200]


def test_votes_are_drawn_from_the_mixture():
    table = describe(LARGE)
    truth, votes = columns(table, "mixture"), columns(table, "votes")
    assert (votes.sum(axis=1) == ANNOTATORS).all()
    # Each vote is a draw: the standardised residuals of a multinomial have mean 0 and variance 1.
    expected = ANNOTATORS * truth
    likely = (truth > 0.1) & (truth < 0.9)
    residuals = ((votes - expected) / np.sqrt(expected * (1 - truth)).clip(1e-9))[likely]
    assert len(residuals) > 4000
    assert residuals.mean() == pytest.approx(0, abs=0.06)
    assert residuals.var() == pytest.approx(1, abs=0.08)


def test_the_label_has_the_most_votes_and_ties_go_to_the_truth():
    table = describe(LARGE)
    truth, votes = columns(table, "mixture"), columns(table, "votes")
    label = np.array([SMALL.classes.index(name) for name in table["label"]])
    highest = votes == votes.max(axis=1, keepdims=True)
    assert highest[np.arange(len(table)), label].all()
    tied = highest.sum(axis=1) > 1
    assert tied.sum() > 50
    assert (np.where(highest, truth, -1).argmax(axis=1) == label)[tied].all()


def test_agreement_makes_about_40_45_and_15_per_cent():
    share = shares(describe(LARGE))
    assert np.mean(share == 1) == pytest.approx(0.40, abs=0.06)
    assert np.mean((share >= 2 / 3) & (share < 1)) == pytest.approx(0.45, abs=0.06)
    assert np.mean(share < 2 / 3) == pytest.approx(0.15, abs=0.05)


def test_600_utterances_leave_enough_of_every_emotion_for_a_test_of_120():
    table = describe(Data())
    unclear = table[shares(table) < 1]
    assert (unclear["label"].value_counts() >= 60).all()
    assert table["speaker"].value_counts().tolist() == [600 // SPEAKERS] * SPEAKERS


@pytest.mark.parametrize("classes", [("bored", "calm"), ("angry", "sad", "proud"), tuple("abcdefg")])
def test_any_classes_have_a_corpus(classes):
    table = describe(Data(synthetic_size=50, classes=classes))
    assert len(table) == 50
    assert set(table["label"]) == set(classes)
    assert columns(table, "mixture", classes).sum(axis=1) == pytest.approx(np.ones(50))


def test_unknown_emotions_are_spread_out_and_depend_on_the_seed():
    emotions = prototypes(tuple("abcdefg"), seed=0)
    distance = np.linalg.norm(emotions[:, None] - emotions, axis=2)[~np.eye(7, dtype=bool)]
    assert distance.min() > 1
    assert not np.array_equal(emotions, prototypes(tuple("abcdefg"), seed=1))
    assert np.array_equal(prototypes(("sad", "a"), 0)[0], voice.PROTOTYPES["sad"])


# The sounds


def test_the_same_seed_gives_the_same_bits_and_another_seed_other_ones(tmp_path, monkeypatch):
    first = synthetic.read(SMALL).table
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "elsewhere"))
    again, with_another_seed = synthetic.read(SMALL).table, synthetic.read(Data(synthetic_size=40, data_seed=1)).table
    assert first.drop(columns="path").equals(again.drop(columns="path"))
    assert first["path"][0] != again["path"][0]

    def sounds(table):
        return [Path(path).read_bytes() for path in table["path"]]

    assert sounds(first) == sounds(again)
    assert not set(sounds(first)) & set(sounds(with_another_seed))


def test_files_are_as_the_table_says_and_a_second_reading_makes_none(tmp_path):
    table = corpora.read(SMALL)
    assert len(table) == 40
    for row in table.itertuples():
        info = soundfile.info(row.path)
        assert (info.samplerate, info.channels, info.subtype) == (SAMPLE_RATE, 1, "PCM_16")
        assert info.duration == pytest.approx(row.duration, abs=1e-3)
        assert 0.8 <= row.duration <= 3.0
    folder = synthetic._folder(SMALL)
    changes = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    synthetic.read(SMALL)
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == changes
    assert [path.name for path in (tmp_path / "cache").iterdir()] == [folder.name]  # nothing half made beside it


def test_what_failed_half_way_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(voice, "_save", lambda row, **_: 1 / 0 if row == 20 else None)
    with pytest.raises(ZeroDivisionError):
        synthetic.read(SMALL)
    assert list((tmp_path / "cache").rglob("*.wav")) == []


def voices(emotion: np.ndarray, f0: float, n: int = 6) -> list[np.ndarray]:
    speaker = Speaker(f0, 1.0, np.zeros(6))
    return [speak(emotion, speaker, 1.5, np.random.default_rng(seed)) for seed in range(n)]


def median_f0(wave: np.ndarray) -> float:
    """Return Hz of the highest autocorrelation between 50 and 500 Hz: the median over loud frames of 64 ms."""
    frames = np.lib.stride_tricks.sliding_window_view(wave, 1024)[::512]
    loud = frames[frames.std(axis=1) > np.median(frames.std(axis=1))]
    power = np.abs(np.fft.rfft(loud, 4096)) ** 2
    lags = np.arange(SAMPLE_RATE // 500, SAMPLE_RATE // 50)
    return float(np.median(SAMPLE_RATE / lags[np.fft.irfft(power)[:, lags].argmax(axis=1)]))


def test_the_voice_has_the_speakers_own_pitch():
    for f0 in (110.0, 220.0):
        pitch = np.median([median_f0(wave) for wave in voices(np.array([0.0, -1, 0, 0, 0, -1]), f0)])
        assert pitch == pytest.approx(f0, rel=0.12)


def test_angry_is_higher_louder_and_brighter_than_sad_and_half_of_each_lies_between():
    angry, sad = prototypes(("angry", "sad"), 0)
    measured = []
    for emotion in (angry, (angry + sad) / 2, sad):
        waves = voices(emotion, 130.0)
        spectra = [np.abs(np.fft.rfft(wave)) ** 2 for wave in waves]
        bright = np.mean([power[len(power) // 8 :].sum() / power.sum() for power in spectra])  # above 1 kHz
        measured.append([np.median([median_f0(w) for w in waves]), np.mean([w.std() for w in waves]), bright])
    assert (np.diff(measured, axis=0) < 0).all()


def test_an_utterance_that_is_70_per_cent_angry_sounds_angry_for_70_per_cent_of_its_time():
    emotions, person = prototypes(("angry", "sad"), 0), Speaker(130.0, 1.0, np.zeros(6))

    def louder(mixture: list[float], seed: int) -> float:
        """Return how much louder 70 % of the time is than the other 30 %, in dB, in either order."""
        wave = utter(np.array(mixture), emotions, person, 2.0, np.random.default_rng(seed))
        assert len(wave) == pytest.approx(2.0 * SAMPLE_RATE, abs=2)
        early_end, late_start = round(0.3 * len(wave)), round(0.7 * len(wave))
        return 20 * np.log10(
            max(wave[:late_start].std() / wave[late_start:].std(), wave[early_end:].std() / wave[:early_end].std())
        )

    # angry is 10 dB louder than sad, give or take 5 dB times the spread of the phrases
    assert np.mean([louder([0.7, 0.3], seed) for seed in range(10)]) == pytest.approx(10, abs=1.5)
    assert np.mean([louder([1.0, 0.0], seed) for seed in range(10)]) < 5


def test_a_voice_stays_in_range_whatever_is_asked():
    for extreme in (-9.0, 9.0):
        wave = speak(np.full(6, extreme), Speaker(300.0, 1.2, np.zeros(6)), 0.8, np.random.default_rng(0))
        assert np.isfinite(wave).all()
        assert 0 < np.abs(wave).max() <= 1
