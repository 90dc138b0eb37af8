"""What the table alone shows is refused before audio is decoded; every other fault is told together."""

import subprocess
import sys

import pytest

from helpers.corpus_files import wav
from ipr_core.config import build
from ipr_core.data import sources
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import load

VOTED = "id,path,speaker,label,votes_angry,votes_sad"
ROWS = [
    f"{label}{i},clip.wav,s{i},{label},{votes[label == 'sad']},{votes[label == 'angry']}"
    for label in ("angry", "sad")
    for i, votes in enumerate([(6, 0), (6, 0), (5, 1), (5, 1), (3, 3), (3, 3)])
]
NO_VOTES = [",".join(row.split(",")[:4]) for row in ROWS]


def loaded(folder, rows, columns=VOTED, **settings):
    path = folder / "m.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    wav(folder / "clip.wav")
    config = build(settings={"corpus": "manifest", "corpus_path": str(path), "classes": ["angry", "sad"]} | settings)
    return load(config, folder / "cache", progress=False)


@pytest.fixture
def deaf(monkeypatch):
    """Let no audio be decoded."""
    monkeypatch.setattr(sources, "sources", lambda *_: pytest.fail("audio was decoded"))


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ({"test_size": 100}, "8 utterances may be in D3; try --test-size 7"),
        ({"ambiguous_share": 0.5}, "D3 is empty: .* --ambiguous-share 0.501"),
        ({"min_votes": 7}, "--min-votes 6"),
        ({"speaker_disjoint": True, "test_speakers": ["s77"]}, "test speaker 's77' has no utterance"),
        ({"classes": ["happy", "bored"]}, "no utterance is labelled happy, bored"),
    ],
)
def test_votes_that_cannot_be_parted(tmp_path, deaf, settings, sentence):
    with pytest.raises(CorpusError, match=sentence):
        loaded(tmp_path, ROWS, **settings)


@pytest.mark.parametrize(
    ("rows", "settings", "sentence"),
    [
        (NO_VOTES, {"annotators": "released"}, "no annotators' votes"),
        (NO_VOTES[2:], {}, r"fewer of angry \(4\)"),
        (NO_VOTES, {"test_size": 13}, "test_size is 13, and at most 12 utterances may be in D3"),
        (NO_VOTES, {"speaker_disjoint": True, "test_speakers": ["s77"]}, "test speaker 's77' has no utterance"),
    ],
)
def test_what_no_simulated_annotator_can_change(tmp_path, deaf, rows, settings, sentence):
    with pytest.raises(CorpusError, match=sentence):
        loaded(tmp_path, rows, VOTED[: VOTED.index(",votes")], **settings)


def test_what_was_left_out_is_told_with_the_refusal(tmp_path, deaf, caplog):
    with pytest.raises(CorpusError, match="D1 has no utterance of sad"):
        loaded(tmp_path, [*ROWS[:6], *(f"t{i},clip.wav,s1,,3,3" for i in range(9))])
    assert "9 of 15 utterances left out:\n  9 with tied votes" in caplog.text


def test_faults_of_the_table_and_of_the_audio_are_told_together(tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no sound" * 100)
    with pytest.raises(CorpusError) as caught:
        loaded(tmp_path, [*ROWS, "a,broken.wav,s1,sad,0,6", "b,clip.wav,s1,gloomy,0,6"], test_size=100)
    assert [fault.row for fault in caught.value.faults] == [14, 15]


def test_checking_a_table_imports_nothing_that_takes_seconds():
    code = "import sys, ipr_core.data.table_checks; print({'torch', 'sklearn', 'scipy', 'torchaudio'} & {*sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"
