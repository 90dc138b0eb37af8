"""Columns of a manifest: used, passed over, or refused because they look like one that is used."""

import logging

import pytest

from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.columns import choose, meaning
from ipr_core.data.corpora.table import EMOTIONS
from ipr_core.data.faults import CorpusError


@pytest.mark.parametrize(
    ("target", "names"),
    [
        ("votes_frustrated", "vote_frustrated frustrated_votes frustrated votes-frustrated frustration n_frustrated"),
        (
            "votes_happy",
            "Votes_happy VOTES_HAPPY votesHappy votes.happy votehappy votes_\u200bhappy happy_count nVotesHappy",
        ),
        ("votes_sad", "n_votes_sad num_votes_sad sadVotes sad_share count_sad raters_sad sadness voets_sad vote_sda"),
        ("votes_angry", "votesangry angry_vote vots_angry vote_angri angry1 listeners_angry #angry %angry"),
        ("votes_other", "other_votes votesOther"),
        ("label", "Label labels lable emotion Emotion EMO emotion_label gold_label class"),
        ("path", "Path PATH file filename file_name wav audio_path filepath paths"),
        ("start", "Start start_time begin onset start_ms tmin"),
        ("end", "END end_time stop tmax"),
        ("speaker", "Speaker speaker_id spk speakers speker"),
        ("id", "ID Id utt_id utterance_id"),
        ("mixture_happy", "Mixture_happy mixture-happy"),
        ("votes_<emotion>", "vote votes Votes"),
    ],
)
def test_a_name_that_people_and_programs_write_for_a_known_column_is_recognised(target, names):
    assert {name: meaning(name, EMOTIONS) for name in names.split()} == dict.fromkeys(names.split(), target)


HARMLESS = """
age transcript text language state star_rating valence arousal n_votes total_votes num_annotators agreement
intended soft_angry model_happy prototypes_sad single_label entropy share row source
classifier_and_prototypes_agree emotion_intensity intensity notes notes_happy2x sample_rate duration_class
Unnamed:_0 level take kind date speaker_age speaker_gender actor path_length prob_angry predicted_emotion emoVote
channel_layout meanEmoResp numResponses
"""


@pytest.mark.parametrize("name", HARMLESS.split())
def test_a_column_of_something_else_is_no_fault(name):
    choice = choose(["path", "label", "id", "start", "end", "speaker", name], 1, Data(), "m.csv")
    assert not choice.faults
    assert name in choice.notes[0].text.partition("passed over: ")[2]


def test_a_class_of_ones_own_has_votes_too():
    data = Data(classes=("amused", "sad"))
    assert [fault.problem for fault in choose(["path", "vote_amused"], 1, data, "m.csv").faults] == [
        "column 'vote_amused' is none that is read, and looks like 'votes_amused'"
    ]
    assert not choose(["path", "amused"], 1, Data(), "m.csv").faults


def test_a_lookalike_is_refused_with_its_row_and_the_name_that_is_meant(tmp_path):
    (tmp_path / "m.csv").write_text("path,label,vote_frustrated,start_ms\na.wav,sad,1,4\n")
    with pytest.raises(CorpusError) as refused:
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "m.csv")))
    lines = str(refused.value).split("\n")
    assert lines[0].startswith(
        "m.csv, row 1: column 'vote_frustrated' is none that is read, and looks like 'votes_frustrated'; did"
    )
    assert "did you mean 'start', in seconds? Name it so" in lines[1]
    assert "row 2: utterance 'a.wav' refers to the file" in lines[2]


def test_another_word_for_a_column_that_exists_is_passed_over():
    choice = choose(["path", "filename", "label", "emotion", "votes_sad", "sadness"], 1, Data(), "m.csv")
    assert not choice.faults
    assert choice.notes[0].text.endswith("passed over: filename, emotion, sadness")


@pytest.mark.parametrize(
    ("names", "problem"),
    [
        (["path", "votes_sad", "votes_sad"], "column 'votes_sad' is named twice, in places 2 and 3"),
        (["path", "label", "path"], "column 'path' is named twice, in places 1 and 3"),
        (["path", "votes_sad", "Votes_Sad"], "column 'Votes_Sad' is 'votes_sad' again, in another spelling"),
        (["path", "label", "Label"], "column 'Label' is 'label' again, in another spelling"),
    ],
)
def test_a_column_named_twice_is_refused(names, problem):
    assert [fault.problem for fault in choose(names, 1, Data(), "m.csv").faults] == [problem]


def test_a_column_named_twice_that_nothing_reads_is_none_of_our_business():
    assert not choose(["path", "note", "note", "", ""], 1, Data(), "m.csv").faults


def test_without_a_path_the_nearest_column_is_named_and_the_other_faults_too():
    with pytest.raises(CorpusError) as refused:
        choose(["wav_file", "Filename", "vote_sad"], 1, Data(), "m.csv")
    assert "it has no column 'path', only wav_file, Filename, vote_sad; name 'wav_file' so" in str(refused.value)
    assert "vote_sad" in str(refused.value).split("\n")[-1]


def test_columns_and_utterances_are_said(tmp_path, caplog):
    (tmp_path / "a.wav").touch()
    (tmp_path / "m.csv").write_text("path,label,age,accent\na.wav,sad,3,f\na.wav,happy,4,m\n")
    data = Data(corpus="manifest", corpus_path=str(tmp_path / "m.csv"))
    with caplog.at_level(logging.INFO):
        corpora.survey(data)
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0] == "m.csv: columns read: path, label; passed over: age, accent"
    assert caplog.messages[1].endswith("m.csv: 2 utterances in 1 audio file")
    caplog.clear()
    assert len(list(corpora.surveys(data, 1, notes=False))) == 2
    assert not caplog.records
