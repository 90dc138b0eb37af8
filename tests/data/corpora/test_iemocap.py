"""IEMOCAP: turns, votes and labels of a release tree with every oddity of the real one."""

from pathlib import Path

import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError

RELEASE = {
    "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt": (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\n"
        "\n"
        "[6.2901 - 8.2357]\tSes01F_impro01_F000\tneu\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tNeutral;\t()\n"
        "C-E3:\tNeutral state;\t()\n"
        "C-E4:\tNeutral; Anger;\t()\n"
        "C-F1:\tOther;\t(curious; Sadness;)\n"
        "A-E3:\tval 3; act 2; dom  2;\t()\n"
        "A-F1:\tval 3; act 2; dom  2;\t()\n"
        "\n"
        "[10.0 - 12.5]\tSes01F_impro01_M003\txxx\t[2.5000, 2.5000, 2.5000]\n"
        "C-E2:\tSadness;\t()\n"
        "C-E3:\tFRUSTRATION;\t()\n"
        "C-M1:\tFrustration;\t()\n"
    ),
    "Session1/dialog/EmoEvaluation/._Ses01F_impro01.txt": "\x00\x05 left by a file manager",
    "Session2/dialog/EmoEvaluation/Ses02M_script01_1b.txt": (
        "% [START_TIME - END_TIME] TURN_NAME EMOTION [V, A, D]\r\n"
        "\r\n"
        "[1.0 - 2.0]\tSes02M_script01_1b_F001\tEXC\t[4.0, 4.0, 4.0]\r\n"
        "C-E1:\tHappiness; Excited;\t()\r\n"
        "c-e2:\texcited;\t()\r\n"
        "C-E4:\tSurprise;\t(caf\u00e9 \u0085 (odd))\r\n"
    ),
    "Session2/dialog/EmoEvaluation/Categorical/e1.txt": "[1.0 - 2.0]\tSes02M_script01_1b_F009\tneu\t[]\n",
}
CLIPS = ("1/sentences/wav/Ses01F_impro01/Ses01F_impro01_F000", "1/sentences/wav/Ses01F_impro01/Ses01F_impro01_M003",
         "2/sentences/wav/Ses02M_script01_1b/Ses02M_script01_1b_F001")  # fmt: skip


@pytest.fixture
def iemocap(tmp_path):
    """Settings → the table of a release tree with every oddity of the real one."""
    for name, text in RELEASE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(text.encode("latin-1"))
    for clip in CLIPS:
        wav(tmp_path / f"Session{clip}.wav")
    return lambda **settings: corpora.read(Data(corpus="iemocap", corpus_path=str(tmp_path), **settings))


def test_iemocap_turns_are_those_of_the_dialogues_with_their_own_speakers(iemocap):
    table = iemocap()
    assert list(table["id"]) == ["Ses01F_impro01_F000", "Ses01F_impro01_M003", "Ses02M_script01_1b_F001"]
    assert list(table["speaker"]) == ["Ses01F", "Ses01M", "Ses02F"]
    assert list(table["session"]) == ["Ses01", "Ses01", "Ses02"]
    assert list(table["duration"]) == pytest.approx([8.2357 - 6.2901, 2.5, 1.0])
    assert table["start"].isna().all()
    assert all(Path(path).is_file() for path in table["path"])


def test_iemocap_reports_the_line_of_each_turn(iemocap):
    table = iemocap()
    assert list(table["row"]) == [3, 11, 3]
    assert table["source"][0] == "Session1/dialog/EmoEvaluation/Ses01F_impro01.txt"


def test_iemocap_votes_are_one_a_tag_with_self_reports_and_without_comments(iemocap):
    table = iemocap()
    assert votes_of(table, "Ses01F_impro01_F000") == {"neutral": 3, "angry": 1, "other": 1}
    assert votes_of(table, "Ses01F_impro01_M003") == {"sad": 1, "frustrated": 2}


def test_iemocap_without_self_reports(iemocap):
    table = iemocap(self_reports=False)
    assert votes_of(table, "Ses01F_impro01_F000") == {"neutral": 3, "angry": 1}
    assert votes_of(table, "Ses01F_impro01_M003") == {"sad": 1, "frustrated": 1}


def test_iemocap_tags_split_one_vote_among_them(iemocap):
    assert votes_of(iemocap(several_tags="split"), "Ses01F_impro01_F000") == {"neutral": 2.5, "angry": 0.5, "other": 1}


def test_iemocap_excited_is_happy_by_label_and_by_vote_or_stays(iemocap):
    merged, separate = iemocap(), iemocap(merge_excited=False)
    assert votes_of(merged, "Ses02M_script01_1b_F001") == {"happy": 3, "surprised": 1}
    assert votes_of(separate, "Ses02M_script01_1b_F001") == {"happy": 1, "excited": 2, "surprised": 1}
    assert (merged["label"][2], separate["label"][2]) == ("happy", "excited")
    assert "votes_excited" not in merged


def test_iemocap_no_agreement_is_no_label_even_where_the_votes_have_a_plurality(iemocap):
    assert list(iemocap()["label"]) == ["neutral", "", "happy"]


def test_iemocap_says_which_turn_has_no_wav(iemocap, tmp_path):
    (tmp_path / f"Session{CLIPS[1]}.wav").unlink()
    with pytest.raises(
        CorpusError, match=r"Ses01F_impro01.txt, row 11: utterance 'Ses01F_impro01_M003' refers to the file"
    ):
        iemocap()


EVALUATIONS = "Session1/dialog/EmoEvaluation"


def test_iemocap_passes_over_texts_that_are_no_dialogue_s(iemocap, tmp_path, caplog):
    (tmp_path / EVALUATIONS / "notes.txt").write_text("[0.0 - 1.0]\tnoise\tneu\n")
    (tmp_path / EVALUATIONS / "README.TXT").write_text("[1.2.3 - x]\n")
    assert len(iemocap()) == 3
    assert "IEMOCAP: 2 texts of no dialogue passed over: " in caplog.text
    assert "notes.txt" in caplog.text


@pytest.mark.parametrize(
    "line",
    [
        "[0.0 - 1.0]\tnoise\tneu",
        "[1.2.3 - 2.0]\tSes01F_impro01_F001\tneu",
        "[1.0 - 2.0]",
        "[1.0 - 2.0]\tSes01F_impro01_F001",
    ],
)
def test_iemocap_a_line_that_begins_like_a_turn_and_is_none_is_a_fault(iemocap, tmp_path, line):
    with (tmp_path / EVALUATIONS / "Ses01F_impro01.txt").open("a") as file:
        file.write(f"\n{line}\n")
    with pytest.raises(CorpusError, match=r"Ses01F_impro01\.txt, row 16: .* is no turn"):
        iemocap()


def test_iemocap_an_unknown_label_and_a_turn_of_two_files_are_refused(iemocap, tmp_path):
    file = tmp_path / EVALUATIONS / "Ses01F_impro01.txt"
    (file.parent / "Ses01F_impro01_copy.txt").write_text(file.read_text())
    file.write_text(file.read_text().replace("\tneu\t", "\tneutrall\t"))
    with pytest.raises(CorpusError) as refused:
        iemocap()
    assert "row 3: utterance 'Ses01F_impro01_F000' has the unknown label 'neutrall'; did you mean 'neutral'?" in str(
        refused.value
    )
    assert f"occurs twice, first in row 3 of {EVALUATIONS}/Ses01F_impro01.txt" in str(refused.value)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
def test_iemocap_texts_saved_again_are_the_same(iemocap, tmp_path, encoding, line_end):
    released = iemocap()
    for name in RELEASE:
        if "/._" not in name:
            text = (tmp_path / name).read_text(encoding="latin-1").replace("\n", line_end)
            (tmp_path / name).write_bytes(text.encode(encoding))
    assert iemocap().equals(released)


def test_iemocap_takes_suffixes_in_any_case_and_says_which_wavs_have_no_turn(iemocap, tmp_path, caplog):
    file = tmp_path / f"Session{CLIPS[0]}.wav"
    file.rename(file.with_suffix(".WAV"))
    wav(file.with_name("Ses01F_impro01_F099.wav"))
    assert iemocap()["path"][0].endswith("F000.WAV")
    assert "3 audio files read; 1 left out: 1 without a turn in EmoEvaluation (Session1/" in caplog.text


def test_iemocap_votes_keep_their_annotators(iemocap, tmp_path):
    iemocap()
    votes = corpora.votes(Data(corpus="iemocap", corpus_path=str(tmp_path)))
    first = votes[votes["id"] == "Ses01F_impro01_F000"]
    assert list(zip(first["annotator"], first["label"], first["weight"], strict=True)) == [
        ("C-E2", "neutral", 1), ("C-E3", "neutral", 1), ("C-E4", "neutral", 1), ("C-E4", "angry", 1),
        ("C-F1", "other", 1),
    ]  # fmt: skip
