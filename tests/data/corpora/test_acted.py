"""The acted corpora: CREMA-D, EmoDB and RAVDESS."""

from pathlib import Path

import pytest

from helpers.corpus_files import real, votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora import cremad, emodb
from ipr_core.data.corpora.table import CorpusError, vote_columns

# CREMA-D


def test_cremad_voice_only_votes_of_the_whole_release():
    table = cremad.votes(real("cremad") / "processedResults" / "tabulatedVotes.csv")
    votes = table[vote_columns(table)].to_numpy()
    share = votes.max(axis=1) / votes.sum(axis=1)
    assert len(table) == 7442
    assert votes.sum() == 68_568
    assert (share == 1).sum() == 383
    assert ((share > 0.5) & (share < 1)).sum() == 4629
    assert ((table["label"] != "") & (share <= 0.5)).sum() == 1786
    assert (table["label"] == "").sum() == 644


def test_cremad_reads_the_clips_at_hand():
    folder = real("cremad")
    table = corpora.read(Data(corpus="cremad", corpus_path=str(folder)))
    assert set(table["id"]) == {file.stem for file in (folder / "AudioWAV").glob("*.wav")}
    first = table[table["id"] == "1001_DFA_ANG_XX"].iloc[0]
    assert (first["speaker"], first["label"], first["intended"], first["row"]) == ("1001", "angry", "angry", 63)
    assert votes_of(table, "1001_DFA_ANG_XX") == {"angry": 6, "disgusted": 2, "neutral": 1}


@pytest.fixture
def small_cremad(tmp_path):
    (tmp_path / "processedResults").mkdir()
    (tmp_path / "processedResults" / "tabulatedVotes.csv").write_text(
        '"","A","D","F","H","N","S","fileName"\n'
        '"100001",0,0,0,1,5,0,"1001_IEO_HAP_LO"\n'
        '"200001",9,0,0,0,0,0,"1001_IEO_HAP_LO"\n'
        '"100002",3,0,3,0,0,0,"1002_IEO_ANG_HI"\n'
        '"100003",9,0,0,0,0,0,"1003_IEO_ANG_HI"\n'
    )
    for name in ("1001_IEO_HAP_LO", "1002_IEO_ANG_HI"):
        wav(tmp_path / "AudioWAV" / f"{name}.wav")
    return Data(corpus="cremad", corpus_path=str(tmp_path))


def test_cremad_label_is_the_emotion_heard_and_none_for_a_tie(small_cremad):
    table = corpora.read(small_cremad)
    assert list(table["id"]) == ["1001_IEO_HAP_LO", "1002_IEO_ANG_HI"]  # the third has no wav
    assert list(table["label"]) == ["neutral", ""]
    assert list(table["intended"]) == ["happy", "angry"]
    assert list(table["row"]) == [2, 4]


def test_cremad_refuses_another_table(tmp_path):
    (tmp_path / "votes.csv").write_text("a,A,D,F,H,N,fileName\n")
    with pytest.raises(CorpusError, match="there is no column S"):
        cremad.votes(tmp_path / "votes.csv")


# EmoDB


def test_emodb_listeners_of_the_whole_release():
    counts = emodb.listeners(real("emodb") / "erkennung.txt")
    assert len(counts) == 816
    assert counts["03a01Fa"] == (18, 20, 4)  # 90,00 on line 4
    assert counts["16b03La"] == (20, 21, 650)  # 95,24 is 20 of 21
    assert counts["16b03Fd"] == (21, 21, 649)  # 100,00 of the same sentence's 21


def test_emodb_reads_the_release():
    table = corpora.read(Data(corpus="emodb", corpus_path=str(real("emodb"))))
    assert table["label"].value_counts().to_dict() == {
        "angry": 127, "bored": 81, "neutral": 79, "happy": 71, "fearful": 69, "sad": 62, "disgusted": 46,
    }  # fmt: skip
    assert table["speaker"].nunique() == 10
    assert votes_of(table, "03a01Fa") == {"happy": 18, "unknown": 2}


@pytest.fixture
def small_emodb(tmp_path):
    for name in ("03a01Wa", "03a01Ta", "notes"):
        wav(tmp_path / "wav" / f"{name}.wav")
    (tmp_path / "erkennung.txt").write_bytes(
        "Nr.\tSatz\terkannt\tnatuerlich\n1\u00a0\u00a0\t03a01Wa.wav\t65,00\u00a0\t35,00\u00a0\n".encode("latin-1")
    )
    return Data(corpus="emodb", corpus_path=str(tmp_path))


def test_emodb_wrong_listeners_are_unknown_votes_and_other_files_are_passed_over(small_emodb):
    table = corpora.read(small_emodb)
    assert list(table["id"]) == ["03a01Ta", "03a01Wa"]
    assert votes_of(table, "03a01Wa") == {"angry": 13, "unknown": 7}
    assert votes_of(table, "03a01Ta") == {}
    assert list(table["label"]) == ["sad", "angry"]
    assert list(table["row"]) == [0, 2]


def test_emodb_names_every_line_without_a_rate(small_emodb):
    with (Path(small_emodb.corpus_path) / "erkennung.txt").open("ab") as file:
        file.write(b"2\t03a01Ta.wav\tx\t1\n\n3\t03a02Ta.wav\n")
    with pytest.raises(CorpusError, match=r"(?s)row 3: '03a01Ta.wav' has no rate.*row 5: it has 2 cells"):
        corpora.read(small_emodb)


# RAVDESS


def test_ravdess_reads_the_release():
    table = corpora.read(Data(corpus="ravdess", corpus_path=str(real("ravdess"))))
    assert table["label"].value_counts().to_dict() == dict.fromkeys(
        ("calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"), 192
    ) | {"neutral": 96}
    assert table["speaker"].nunique() == 24
    assert table[vote_columns(table)].to_numpy().sum() == 0


def test_ravdess_takes_wav_and_flac_and_no_song(tmp_path):
    wav(tmp_path / "Actor_07" / "03-01-05-01-01-01-07.wav")
    wav(tmp_path / "Actor_08" / "03-01-04-01-01-01-08.flac")
    wav(tmp_path / "Actor_08" / "03-02-04-01-01-01-08.wav")
    table = corpora.read(Data(corpus="ravdess", corpus_path=str(tmp_path)))
    assert list(table["label"]) == ["angry", "sad"]
    assert list(table["speaker"]) == ["Actor_07", "Actor_08"]
