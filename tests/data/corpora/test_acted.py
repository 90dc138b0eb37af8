"""The acted corpora: CREMA-D, EmoDB and RAVDESS."""

import logging
from pathlib import Path

import pandas as pd
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


def test_cremad_takes_the_sex_of_its_actors_where_the_release_is_whole(small_cremad):
    demographics = Path(small_cremad.corpus_path) / "VideoDemographics.csv"
    assert corpora.read(small_cremad)["sex"].tolist() == ["", ""]
    demographics.write_text('"ActorID","Age","Sex"\n1001,51,"Male"\n1002,21,"Female"\n')
    assert corpora.read(small_cremad)["sex"].tolist() == ["male", "female"]
    demographics.write_text("ActorID,Age\n1001,51\n")
    with pytest.raises(CorpusError, match="there is no column Sex; use it as released, or take it away"):
        corpora.read(small_cremad)


def table_of(data):
    return Path(data.corpus_path) / "processedResults" / "tabulatedVotes.csv"


def by_spreadsheet(frame, path):
    frame.to_csv(path, sep=";", decimal=",", encoding="utf-8-sig", index=False)


def by_pandas(frame, path):
    frame.rename(columns={"": "Unnamed: 0"}).to_csv(path)


def by_pandas_twice(frame, path):
    frame.rename(columns={"": "Unnamed: 0.1"}).assign(**{"Unnamed: 0": range(len(frame))}).to_csv(path)


def with_an_index_of_numbers(frame, path):
    frame.set_index("").astype({"A": float}).to_csv(path, sep="\t", encoding="utf-16")


@pytest.mark.parametrize("save", [by_spreadsheet, by_pandas, by_pandas_twice, with_an_index_of_numbers])
def test_cremad_votes_saved_again_by_other_programs_are_the_same(small_cremad, save):
    released = corpora.read(small_cremad)
    frame = pd.read_csv(table_of(small_cremad)).rename(columns={"Unnamed: 0": ""}).assign(agreement=[0.5, 1, 0.25, 1])
    save(frame, table_of(small_cremad))
    pd.testing.assert_frame_equal(corpora.read(small_cremad), released)


def test_cremad_without_the_numbers_of_its_rows_is_refused(small_cremad):
    frame = pd.read_csv(table_of(small_cremad))
    frame.iloc[:, 1:].to_csv(table_of(small_cremad))
    with pytest.raises(CorpusError, match="there is no column with the numbers 100001 and on"):
        corpora.read(small_cremad)


@pytest.mark.parametrize("votes", ["x", "nan", "inf", "True", "-1", ""])
def test_cremad_votes_that_are_no_numbers_are_refused_with_their_row(small_cremad, votes):
    text = table_of(small_cremad).read_text()
    table_of(small_cremad).write_text(text.replace('"100002",3,', f'"100002",{votes},'))
    with pytest.raises(CorpusError, match=r"tabulatedVotes\.csv, row 4: it has no number of votes for each emotion"):
        corpora.read(small_cremad)


def test_cremad_says_which_clips_it_leaves_out(small_cremad, caplog):
    folder = Path(small_cremad.corpus_path) / "AudioWAV"
    (folder / "1001_IEO_HAP_LO.wav").rename(folder / "1001_IEO_HAP_LO.WAV")
    for name in ("1002_IEO_ANG_X.wav", "1076_MTI_SAD_XX.wav", "1002_IEO_ANG_HI.shn", "old/1002_IEO_ANG_HI.wav"):
        wav(folder / "x.wav").rename(folder / name) if "/" not in name else wav(folder / name)
    with table_of(small_cremad).open("a") as file:
        file.write('"106174",0,1,0,0,5,3,"1076_MTI_SAD_XX"\n')
    with caplog.at_level(logging.INFO):
        assert list(corpora.read(small_cremad)["id"]) == ["1001_IEO_HAP_LO", "1002_IEO_ANG_HI"]
    note = caplog.messages[0]
    assert "2 audio files read; 4 left out: 1 .shn, which the decoder" in note
    assert "1 folder inside the one that is read (AudioWAV/old/)" in note
    assert "1 silent in the release (AudioWAV/1076_MTI_SAD_XX.wav)" in note
    assert "1 whose name has no votes (AudioWAV/1002_IEO_ANG_X.wav)" in note
    assert caplog.messages[1] == "CREMA-D: 1 clip with votes and without a wav: 1003_IEO_ANG_HI"


def test_cremad_two_files_of_a_clip_are_refused(small_cremad):
    wav(Path(small_cremad.corpus_path) / "AudioWAV" / "1001_IEO_HAP_LO.flac")
    with pytest.raises(
        CorpusError, match=r"1001_IEO_HAP_LO\.flac and .*\.wav are both the clip '1001_IEO_HAP_LO'; keep"
    ):
        corpora.read(small_cremad)


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


def saved_again(data, encoding, change=lambda text: text):
    file = Path(data.corpus_path) / "erkennung.txt"
    file.write_bytes(change(file.read_text(encoding="latin-1")).encode(encoding))


CHANGES = {
    "as it is": lambda text: text,
    "semicolons": lambda text: text.replace("\t", ";"),
    "points": lambda text: text.replace("65,00", "65.0"),
    "whole per cents": lambda text: text.replace(",00", "").replace("\t", ","),
    "line ends": lambda text: text.replace("\n", "\r\n"),
    "an index": lambda text: text.replace("Nr.", "\tNr.").replace("\n1", "\n0\t1"),
}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-8", "utf-8-sig", "utf-16", "cp1252"])
@pytest.mark.parametrize("change", CHANGES)
def test_emodb_rates_saved_again_are_the_same(small_emodb, encoding, change):
    released = emodb.listeners(Path(small_emodb.corpus_path) / "erkennung.txt")
    saved_again(small_emodb, encoding, CHANGES[change])
    assert emodb.listeners(Path(small_emodb.corpus_path) / "erkennung.txt") == released == {"03a01Wa": (13, 20, 2)}


@pytest.mark.parametrize("rate", ["65,35", "nan", "-5,00", "105,00", "65,00,00", ""])
def test_emodb_a_rate_that_20_or_21_listeners_cannot_give_is_refused(small_emodb, rate):
    saved_again(small_emodb, "latin-1", lambda text: text.replace("65,00", rate))
    with pytest.raises(CorpusError, match=r"erkennung.txt, row 2: '03a01Wa.wav' has no rate of 20 or 21 listeners"):
        corpora.read(small_emodb)


def test_emodb_says_what_it_leaves_out_and_how_it_read_the_rates(small_emodb, caplog):
    saved_again(small_emodb, "utf-8", lambda text: text + "3\t03a02Ta.wav\t5,00\t5,00\n")
    with caplog.at_level(logging.INFO):
        assert len(corpora.read(small_emodb)) == 2
    assert "2 audio files read; 1 left out: 1 whose name is none of its sentences (wav/notes.wav)" in caplog.messages[0]
    assert caplog.messages[1] == (
        "erkennung.txt: read as UTF-8, while the release is Latin-1; "
        "1 clip without a line in it, so without votes: 03a01Ta; 1 sentence in it without a wav: 03a02Ta"
    )


# RAVDESS


def test_ravdess_reads_the_release():
    table = corpora.read(Data(corpus="ravdess", corpus_path=str(real("ravdess"))))
    assert table["label"].value_counts().to_dict() == dict.fromkeys(
        ("calm", "happy", "sad", "angry", "fearful", "disgusted", "surprised"), 192
    ) | {"neutral": 96}
    assert table["speaker"].nunique() == 24
    assert table[vote_columns(table)].to_numpy().sum() == 0


def test_ravdess_takes_wav_and_flac_and_no_song(tmp_path, caplog):
    wav(tmp_path / "Actor_07" / "03-01-05-01-01-01-07.wav")
    wav(tmp_path / "Actor_08" / "03-01-04-01-01-01-08.flac")
    wav(tmp_path / "Actor_08" / "03-02-04-01-01-01-08.wav")
    table = corpora.read(Data(corpus="ravdess", corpus_path=str(tmp_path)))
    assert list(table["label"]) == ["angry", "sad"]
    assert list(table["speaker"]) == ["Actor_07", "Actor_08"]
    assert "2 audio files read; 1 left out: 1 that ravdess ignores (Actor_08/03-02-04" in caplog.messages[0]


def test_ravdess_a_name_that_is_neither_speech_nor_song_is_a_fault(tmp_path):
    wav(tmp_path / "Actor_07" / "03-01-05-01-01-01-07.wav")
    wav(tmp_path / "Actor_07" / "03-01-09-01-01-01-07.wav")
    with pytest.raises(
        CorpusError, match=r"03-01-09-01-01-01-07\.wav: its name is none of RAVDESS's, such as Actor_01/"
    ):
        corpora.read(Data(corpus="ravdess", corpus_path=str(tmp_path)))


def test_ravdess_takes_suffixes_in_any_case_and_a_clip_once(tmp_path):
    for name in ("03-01-05-01-01-01-07.WAV", "03-01-04-01-01-01-07.Flac"):
        (tmp_path / "Actor_07").mkdir(exist_ok=True)
        (tmp_path / "Actor_07" / name).touch()
    data = Data(corpus="ravdess", corpus_path=str(tmp_path))
    assert len(corpora.read(data)) == 2
    (tmp_path / "Actor_07" / "03-01-05-01-01-01-07.aiff").touch()
    with pytest.raises(CorpusError, match="are both the clip '03-01-05-01-01-01-07'"):
        corpora.read(data)
