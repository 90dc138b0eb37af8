"""MSP-IMPROV: a tree with the oddities of the real one, and what is wrong with a damaged one."""

import pytest

from helpers.corpus_files import votes_of, wav
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError

EVALUATION = """\
UTD-IMPROV-S01A-F01-P-FM01.avi; A; A:2.400000; V:1.800000; D:3.600000 ; N:4.200000;
WORKER00000001; Angry; Angry,Frustrated; A:2.000000; V:2.000000; D:4.000000; N:4.000000;
SP12_a; Angry; Angry; A:2.000000; V:1.000000; D:NaN; N:NaN;
WORKER00000001; Angry; Angry,Frustrated; A:2.000000; V:2.000000; D:4.000000; N:4.000000;
WORKER00000002; Other; Other (tired; bored); A:3.000000; V:2.000000; D:4.000000; N:5.000000;

UTD-IMPROV-S16N-M06-T-MF02.avi; X; A:3.000000; V:3.000000; D:NaN ; N:NaN;
WORKER00000003; Happy; ; A:2.000000; V:4.000000; D:3.000000; N:4.000000;
WORKER00000002; Neutral; Neutral; A:3.000000; V:3.000000; D:3.000000; N:4.000000;
"""
IDS = ("MSP-IMPROV-S01A-F01-P-FM01", "MSP-IMPROV-S16N-M06-T-MF02")
PLACES = ("session1/S01A/P", "session6/S16N/T")


@pytest.fixture
def improv(tmp_path):
    """Return a function from the text of the evaluations to the settings that read the tree."""
    for folder, name in zip(PLACES, IDS, strict=True):
        wav(tmp_path / folder / f"{name}.wav")

    def write(text=EVALUATION, name="Evaluation.txt", ends="\n"):
        (tmp_path / name).write_bytes(text.replace("\n", ends).encode("latin-1"))
        return Data(corpus="msp_improv", corpus_path=str(tmp_path))

    return write


@pytest.mark.parametrize("name", ["Evaluation.txt", "Evalution.txt"])
@pytest.mark.parametrize("ends", ["\n", "\r\n"], ids=repr)
def test_turns_and_votes(improv, name, ends, caplog):
    data = improv(name=name, ends=ends)
    table = corpora.read(data)
    assert list(table["id"]) == list(IDS)
    assert list(table["label"]) == ["angry", ""]
    assert list(table["speaker"]) == ["F01", "M06"]
    assert list(table["session"]) == ["01", "06"]
    assert list(table["intended"]) == ["angry", "neutral"]
    assert list(table["scenario"]) == ["P", "T"]
    assert list(table["row"]) == [1, 7]
    assert votes_of(table, IDS[0]) == {"angry": 2, "other": 1}
    assert votes_of(table, IDS[1]) == {"happy": 1, "neutral": 1}
    assert set(corpora.votes(data)["annotator"]) == {"WORKER00000001", "WORKER00000002", "WORKER00000003", "SP12_a"}
    assert "1 vote of an evaluator on a turn that is there already passed over" in caplog.text


@pytest.mark.parametrize(
    ("old", "new", "fault"),
    [
        ("; A; A:2.4", "; Z; A:2.4", "Evaluation.txt, row 1: the class 'Z' is none of A, H, .*; correct it, or take"),
        ("SP12_a; Angry", "SP12_a", "row 3: 'SP12_a; Angry; A:2.000000; .*' is neither a turn nor an evaluator's vote"),
        ("UTD-IMPROV-S16N-M06-T-MF02.avi; X;", "UTD-IMPROV-S16N-M06;", "row 7: 'UTD-IMPROV-S16N-M06; .*' is neither"),
        ("S16N-M06-T-MF02", "S16N-M06-T-MF03", "row 7: utterance 'MSP-IMPROV-S16N-M06-T-MF03' refers to the file "),
    ],
)
def test_a_wrong_line_is_named_with_its_cure(improv, old, new, fault):
    with pytest.raises(CorpusError, match=fault):
        corpora.read(improv(EVALUATION.replace(old, new)))


def test_without_evaluations_it_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"there is no Eval\*tion.txt in it; msp_improv needs Evaluation.txt"):
        corpora.read(Data(corpus="msp_improv", corpus_path=str(tmp_path)))
