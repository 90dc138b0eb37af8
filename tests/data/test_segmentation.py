"""Long recordings cut into a manifest: which rows, where, and what becomes of the others."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers import bursts
from helpers.bursts import record
from ipr_core.config import Data
from ipr_core.data import corpora, segmentation
from ipr_core.data.faults import CorpusError
from ipr_core.data.pauses import MARGIN
from ipr_core.data.segmentation import segmented

FRAME = 512 / 16_000


@pytest.fixture
def ears(monkeypatch, tmp_path):
    return bursts.ears(monkeypatch, tmp_path / "cache")


def corpus(path, **settings) -> Data:
    return Data(corpus="manifest", corpus_path=str(path), **settings)


def cut(path, *args, **options) -> pd.DataFrame:
    """Return the manifest of a corpus whose longest utterance has four seconds, as a reader returns it."""
    file = path.parent / "cut.csv"
    result = segmented(corpus(path), 4, *args, file=file, progress=False, **options)
    assert result.data.corpus_path == str(file)
    return pd.read_csv(file, keep_default_na=False)


def test_by_hand(ears, tmp_path):
    record(tmp_path / "in" / "a.wav", 50, 100, 50, 60, 50)
    record(tmp_path / "in" / "b.wav", 10, 60, 10)
    table = cut(tmp_path / "in")
    first, second = (50 - MARGIN) * FRAME, (200 - MARGIN) * FRAME
    times = [(round(first, 6), 150 * FRAME), (round(second, 6), 260 * FRAME)]
    assert table.columns.tolist() == ["id", "path", "start", "end", "label"]
    assert table["id"].tolist() == [*(f"a.wav@{start}-{end}" for start, end in times), "b.wav"]
    assert table["start"].tolist() == [str(times[0][0]), str(times[1][0]), ""]
    assert table["end"].tolist() == [str(times[0][1]), str(times[1][1]), ""]
    assert set(table["label"]) == {"unlabelled"}
    assert table["path"].tolist() == [str(tmp_path / "in" / name) for name in ("a.wav", "a.wav", "b.wav")]


def test_a_corpus_without_long_recordings_is_itself(ears, tmp_path):
    record(tmp_path / "in" / "b.wav", 10, 60, 10)
    data = corpus(tmp_path / "in")
    result = segmented(data, 4, progress=False)
    assert result.data is data
    assert not result.sentences
    assert segmented(data, 0.5, "none", progress=False).data is data
    assert not ears.clips


def test_vad_cuts_short_files_too_but_no_row_with_times(ears, tmp_path):
    record(tmp_path / "b.wav", 10, 60, 30, 20, 10)
    (tmp_path / "m.csv").write_text("id,path,start,end\nu,b.wav,,\nv,b.wav,0.1,2\nw,b.wav,,2.5\n")
    table = cut(tmp_path / "m.csv", "vad")
    assert table["id"].str[0].tolist() == ["u", "v", "w"]
    assert table["start"].tolist() == [str((10 - MARGIN) * FRAME), "0.1", ""]


def test_a_long_part_is_cut_within_its_times(ears, tmp_path):
    record(tmp_path / "b.wav", 100, 100, 50, 100, 50, 100, 100)
    (tmp_path / "m.csv").write_text(f"id,path,start,end\nu,b.wav,{100 * FRAME},{400 * FRAME}\n")
    table = cut(tmp_path / "m.csv").astype({"start": float, "end": float})
    assert table["start"].tolist() == pytest.approx([100 * FRAME, (250 - MARGIN) * FRAME])
    assert table["end"].tolist() == pytest.approx([200 * FRAME, 350 * FRAME])


def test_what_is_said_of_a_whole_is_not_said_of_its_parts(ears, tmp_path):
    record(tmp_path / "a.wav", 50, 100, 50, 60, 50)
    record(tmp_path / "b.wav", 10, 60, 10)
    head = "id,path,speaker,label,votes_excited,votes_sad,part\n"
    rows = ("l,a.wav,ada,excited,3,1,D1\n", "s,b.wav,ben,excited,2,1,D1\n", "t,b.wav,,,1,1,\n")
    (tmp_path / "m.csv").write_text(head + "".join(rows))
    table = cut(tmp_path / "m.csv")
    assert table["speaker"].tolist() == ["ada", "ada", "ben", ""]
    assert table["label"].tolist() == ["unlabelled", "unlabelled", "excited", ""]  # the votes of the last one tie
    assert table["votes_excited"].tolist() == [0, 0, 2, 1]
    assert table["part"].tolist() == ["", "", "D1", ""]


def test_the_manifest_is_a_corpus_that_needs_no_more_cutting(ears, tmp_path):
    record(tmp_path / "in" / "a.wav", 50, 400, 50, 60, 50)
    record(tmp_path / "in" / "=b.wav", 10, 60, 10)
    table = cut(tmp_path / "in")
    assert len(table) > 3
    data = corpus(tmp_path / "cut.csv")
    assert segmented(data, 4, progress=False).data is data
    again = corpora.read(data)
    assert again["id"].tolist() == [*table["id"].str.removeprefix("'")]
    assert (again["end"] - again["start"]).max() <= 4
    assert again["start"].dropna().tolist() == table["start"][table["start"] != ""].astype(float).tolist()


def test_blocks_change_nothing(ears, tmp_path, monkeypatch):
    for i in range(5):
        record(tmp_path / "in" / f"{i}.wav", 50, 100, 50, 60 + i, 50, seed=i)
    cut(tmp_path / "in")
    whole = (tmp_path / "cut.csv").read_bytes()
    monkeypatch.setattr(segmentation, "_READ", 2)
    cut(tmp_path / "in")
    assert (tmp_path / "cut.csv").read_bytes() == whole


# Recordings without speech


def test_a_recording_without_speech_is_left_out_with_a_sentence(ears, tmp_path):
    record(tmp_path / "in" / "a.wav", 50, 100, 50, 60, 50)
    record(tmp_path / "in" / "noise.wav", 200)
    result = segmented(corpus(tmp_path / "in"), 4, progress=False)
    assert result.speechless == ("noise.wav",)
    assert result.sentences == [
        "1 recording cut at pauses into 2 utterances",
        "no speech was found in 1 recording, left out: noise.wav",
    ]
    assert set(corpora.read(result.data, labels_needed=False)["path"]) == {str(tmp_path / "in" / "a.wav")}


def test_a_corpus_without_any_speech_is_refused(ears, tmp_path):
    record(tmp_path / "in" / "noise.wav", 200)
    with pytest.raises(CorpusError, match="no speech was found in any of it; check that it is speech"):
        segmented(corpus(tmp_path / "in"), 4, progress=False)


def test_an_utterance_is_never_silent(ears, tmp_path, monkeypatch):
    record(tmp_path / "in" / "a.wav", 50, 100, 50, 60, 50)
    literal = segmentation.sounding
    monkeypatch.setattr(segmentation, "sounding", lambda samples: literal(samples) & (len(samples) > 70 * 512))
    assert len(cut(tmp_path / "in")) == 1


# What is heard, and how often


def test_nothing_is_heard_twice_even_after_a_kill_or_for_another_length(ears, tmp_path):
    for i in range(3):
        record(tmp_path / "in" / f"{i}.wav", 50, 100, 50, 60, 50, seed=i)
    ears.limit = 2
    with pytest.raises(KeyboardInterrupt):
        cut(tmp_path / "in")
    ears.limit = None
    cut(tmp_path / "in")
    assert len(ears.clips) == 3
    segmented(corpus(tmp_path / "in"), 3, progress=False)
    assert len(ears.clips) == 3
    record(tmp_path / "in" / "1.wav", 50, 100, 50, 60, 50, seed=9)
    cut(tmp_path / "in")
    assert len(ears.clips) == 4


def test_damaged_speech_in_the_cache_is_heard_again(ears, tmp_path):
    record(tmp_path / "in" / "a.wav", 50, 100, 50, 60, 50)
    table = cut(tmp_path / "in")
    (file,) = (tmp_path / "cache" / "speech").rglob("*.npy")
    content = bytearray(file.read_bytes())
    content[200] ^= 1
    file.write_bytes(content)
    pd.testing.assert_frame_equal(table, cut(tmp_path / "in"))
    assert len(ears.clips) == 2


def test_a_worker_hears_its_share_first(ears, tmp_path):
    for i in range(4):
        record(tmp_path / "in" / f"{i}.wav", 50, 100 + i, 50, 60, 50, seed=i)
    segmented(corpus(tmp_path / "in"), 4, progress=False, shard=(2, 2))
    assert [size // 512 - 310 for size in ears.clips] == [1, 3, 0, 2]


def test_all_faults_are_told_at_once_and_once_each(ears, tmp_path, monkeypatch):
    monkeypatch.setattr(segmentation, "_READ", 2)
    record(tmp_path / "a.wav", 50, 100, 50, 60, 50)
    (tmp_path / "broken.wav").write_text("no sound")
    (tmp_path / "m.csv").write_text("id,path\nu,a.wav\nv,broken.wav\nu,a.wav\nw,gone.wav\n")
    with pytest.raises(CorpusError) as caught:
        segmented(corpus(tmp_path / "m.csv"), 4, progress=False)
    assert [fault.row for fault in caught.value.faults] == [3, 4, 5]
    assert not ears.clips[1:]


def test_each_channel_of_a_call_is_cut_where_it_speaks(ears, tmp_path):
    left, right = (soundfile.read(record(tmp_path / f"{i}.wav", *frames))[0] for i, frames in enumerate(CALL))
    soundfile.write(tmp_path / "call.wav", np.column_stack([left, right]), 16_000)
    (tmp_path / "m.csv").write_text("id,path,channel\nl,call.wav,1\nr,call.wav,2\n")
    table = cut(tmp_path / "m.csv")
    assert table["id"].str[0].tolist() == ["l", "l", "r"]
    assert table["start"].tolist() == pytest.approx([(first - MARGIN) * FRAME for first in (50, 200, 150)])
    read_again = corpora.read(corpus(tmp_path / "cut.csv"))
    assert read_again["channel"].tolist() == [1, 1, 2]


CALL = (50, 100, 50, 60, 50), (150, 60, 100)
"""Pauses and bursts of two channels, equally long, in frames."""
