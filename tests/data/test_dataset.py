"""A corpus as it is loaded: what is odd about it is said."""

import os

import numpy as np
import pytest

from helpers.sounds import sine, wav
from ipr_core.config import build
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.dataset import load

COLUMNS = "id,path,label,votes_angry,votes_sad"
VOTES = [(label, votes) for label in ("angry", "sad") for votes in ((6, 0), (6, 0), (4, 2), (3, 3))]
ROWS = [
    f"u{i},u{i}.wav,{label},{votes[label == 'sad']},{votes[label == 'angry']}" for i, (label, votes) in enumerate(VOTES)
]


@pytest.fixture
def folder(tmp_path):
    """Return a folder with a tone for each row."""
    for i in range(len(ROWS)):
        wav(tmp_path / f"u{i}.wav", (sine(hz=200 + 20 * i) * 32_000).astype(np.int16))
    return tmp_path


def loaded(folder, rows, columns=COLUMNS, **settings):
    path = folder / "m.csv"
    path.write_text("\n".join([columns, *rows]) + "\n")
    config = build(settings={"corpus": "manifest", "corpus_path": str(path), "classes": ["angry", "sad"]} | settings)
    return load(config, folder / "cache", progress=False)


def warnings(caplog):
    return [record.getMessage() for record in caplog.records if record.levelname == "WARNING"]


def test_a_corpus_without_oddities_has_no_warning(folder, caplog):
    data = loaded(folder, ROWS)
    assert data.table["part"].tolist() == ["D1", "D1", "D2", "D3"] * 2
    assert not warnings(caplog)


def test_copies_are_named_with_their_rows_and_stand_in_one_part(folder, caplog):
    wav(folder / "copy.flac", (sine(hz=200) * 32_000).astype(np.int16))  # of u0, which is in D1
    data = loaded(folder, [*ROWS, "copy,copy.flac,sad,3,3"])
    assert data.table.set_index("id")["part"][["u0", "copy"]].tolist() == ["D3", "D3"]
    sentence = "1 utterances have the same sound as another: 'copy' (m.csv, row 10) that of 'u0' (m.csv, row 2)"
    assert warnings(caplog) == [sentence]


def test_the_same_part_of_a_recording_twice_is_a_copy(folder, caplog):
    wav(folder / "long.wav", np.concatenate([sine(2, hz=hz) for hz in (150, 160, 170)]))
    rows = [*(f"{row},," for row in ROWS), "a,long.wav,angry,6,0,1,2", "b,long.wav,angry,3,3,1,2.00001"]
    data = loaded(folder, rows, f"{COLUMNS},start,end")
    assert data.table.set_index("id")["part"][["a", "b"]].tolist() == ["D3", "D3"]
    assert "'b' (m.csv, row 11) that of 'a' (m.csv, row 10)" in warnings(caplog)[0]


def test_durations_that_are_not_those_of_the_sound_are_told(folder, caplog):
    stated = [12, 1.0, 1.3, "", 0.95, 1.6, 1, 1]
    data = loaded(
        folder, [f"{row},{seconds}" for row, seconds in zip(ROWS, stated, strict=True)], f"{COLUMNS},duration"
    )
    sentence = "2 utterances last differently than their duration in the table, the first 'u0' (m.csv, row 2): "
    assert warnings(caplog) == [f"{sentence}12 s, and 1 s of sound"]
    assert data.table["duration"].tolist() == [1.0] * len(ROWS), "the sound counts"


@pytest.mark.parametrize("annotators", ["auto", "simulated", "released"])
def test_a_corpus_in_which_all_is_unlabelled_is_a_sentence(folder, annotators):
    rows = [f"u{i},u{i}.wav,unlabelled" for i in range(4)]
    with pytest.raises(CorpusError, match="no utterance is labelled angry, sad"):
        loaded(folder, rows, "id,path,label", annotators=annotators)


@pytest.mark.parametrize("label", ["fearful", "other"])
def test_a_corpus_of_other_labels_is_a_sentence(folder, label):
    with pytest.raises(CorpusError, match=f"no utterance is labelled angry, sad .*the labels are {label}"):
        loaded(folder, [f"u{i},u{i}.wav,{label}" for i in range(4)], "id,path,label", annotators="simulated")


def test_a_named_pipe_is_refused_and_not_waited_for(folder):
    os.mkfifo(folder / "pipe.wav")
    with pytest.raises(CorpusError, match=r"pipe\.wav") as caught:
        loaded(folder, [*ROWS, "p,pipe.wav,sad,3,3"])
    assert len(caught.value.faults) == 1


def test_utterances_without_a_label_among_the_classes_are_counted(folder, caplog):
    for i, name in enumerate("abc"):
        wav(folder / f"{name}.wav", (sine(hz=700 + 50 * i) * 32_000).astype(np.int16))
    data = loaded(folder, [*ROWS, "a,a.wav,,3,3", "b,b.wav,happy,1,1", "c,c.wav,unlabelled,4,0"])
    assert len(data.table) == len(ROWS)
    text, *more = warnings(caplog)
    assert text.splitlines() == [
        "3 of 11 utterances left out:",
        "  1 with tied votes: two or more emotions have the most",
        "  1 with a label that is not among the classes: happy 1",
        "  1 marked as unlabelled, though the votes name an emotion",
    ]
    assert not more
