"""Listening tests merged into a corpus: by the sound, once, and as a manifest that every command reads."""

import numpy as np
import pandas as pd
import pytest
import soundfile

from helpers.corpus_files import votes_of
from ipr_core import cli
from ipr_core.config import SAMPLE_RATE, Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError
from ipr_core.data.waves import WaveStore
from ipr_core.votes import merge, record
from ipr_core.votes.record import Vote


@pytest.fixture
def lab(tmp_path):
    """Return the settings of a corpus of four clips with different sounds, and the keys of these by id."""
    rng = np.random.default_rng(0)
    for name in "abcd":
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal(SAMPLE_RATE // 4), SAMPLE_RATE)
    header = "id,path,speaker,label,votes_happy,votes_sad\n"
    rows = "a1,a.wav,ann,happy,2,1\nb1,b.wav,ann,,1,\nc1,c.wav,ben,unlabelled,,\nd1,d.wav,ben,sad,,\n"
    (tmp_path / "manifest.csv").write_text(header + rows, "utf-8")
    data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"))
    return data, keys(data, tmp_path)


def keys(data, tmp_path):
    table = corpora.read(data, labels_needed=False)
    return dict(zip(table["id"], WaveStore.build(table, tmp_path / "cache").keys, strict=True))


def merged(data, votes, tmp_path):
    """Return what comes of the votes of a folder, and the corpus that is read from the files."""
    for vote in votes:
        record.add(tmp_path / "votes", vote)
    result = merge.merge(data, record.read(tmp_path / "votes"), tmp_path / "cache")
    merge.save(result, tmp_path / "out")
    return result, Data(corpus="manifest", corpus_path=str(tmp_path / "out" / "manifest.csv"))


def test_votes_are_merged_by_their_sound_and_read_as_a_corpus(lab, tmp_path):
    data, key = lab
    votes = [Vote("ada", "other name", key["a1"], ("sad",)), Vote("ada", "b1", key["b1"], ("sad", "angry")),
             Vote("ada", "c1", key["c1"], (), other=True), Vote("ben", "c1", key["c1"], ("sad",))]  # fmt: skip
    result, corpus = merged(data, votes, tmp_path)
    table = corpora.read(corpus)
    assert votes_of(table, "a1") == {"happy": 2, "sad": 2}
    assert votes_of(table, "b1") == {"happy": 1, "sad": 0.5, "angry": 0.5}
    assert votes_of(table, "c1") == {"sad": 1, "other": 1}
    assert list(table["id"]) == ["a1", "b1", "c1", "d1"]
    assert list(table["speaker"]) == ["ann", "ann", "ben", "ben"]
    assert result.sentences == ["4 votes of 2 listeners on 3 utterances merged"]
    names = corpora.votes(corpus)
    assert set(names["annotator"]) == {"", "ada", "ben"}
    assert names[names["annotator"] == "ada"]["weight"].tolist() == [1, 0.5, 0.5, 1]


def test_a_label_that_is_the_votes_own_changes_with_them_and_any_other_stays(lab, tmp_path):
    data, key = lab
    votes = [Vote(name, "x", key[clip], ("sad",)) for name in ("ada", "ben", "cem") for clip in ("a1", "c1", "d1")]
    votes += [Vote(name, "x", key["d1"], ("angry",)) for name in ("dan", "eva", "fay", "gus")]
    _, corpus = merged(data, votes, tmp_path)
    table = corpora.read(corpus).set_index("id")
    assert table["label"].to_dict() == {"a1": "sad", "b1": "happy", "c1": "sad", "d1": "sad"}
    assert table.loc["d1", "votes_angry"] == 4  # its label was no vote's, and stays


def test_repeats_and_cannot_tell_do_not_count(lab, tmp_path):
    data, key = lab
    votes = [Vote("ada", "b1", key["b1"], ("sad",)), Vote("ada", "b1", key["b1"], ("angry",), repeat=1),
             Vote("ben", "b1", key["b1"], cannot_tell=True), Vote("ben", "z", "0" * 32, ("sad",))]  # fmt: skip
    result, corpus = merged(data, votes, tmp_path)
    assert votes_of(corpora.read(corpus), "b1") == {"happy": 1, "sad": 1}
    assert result.sentences == [
        "1 vote of 1 listener on 1 utterance merged",
        "1 repeat not counted again: they tell how consistent a listener is",
        "1 answer that a listener cannot tell: no vote",
        "1 vote not merged: the corpus does not have their sounds, then called z",
    ]


def test_merging_again_changes_nothing(lab, tmp_path):
    data, key = lab
    first, corpus = merged(data, [Vote("ada", "b1", key["b1"], ("sad",))], tmp_path)
    again = merge.merge(corpus, record.read(tmp_path / "votes"), tmp_path / "cache")
    assert again.votes.sort_values(["id", "label"], ignore_index=True).equals(
        first.votes.sort_values(["id", "label"], ignore_index=True)
    )
    assert "1 vote of the corpus replaced by the same listener's on the utterance" in again.sentences


def test_what_nobody_has_heard_is_marked_unlabelled(tmp_path):
    for i, name in enumerate("ab"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * np.sin(np.arange(SAMPLE_RATE // 4) / (5 + i)), SAMPLE_RATE)
    data = Data(corpus="manifest", corpus_path=str(tmp_path))
    _, corpus = merged(data, [Vote("ada", "x", keys(data, tmp_path)["a.wav"], ("sad",))], tmp_path)
    assert list(corpora.read(corpus)["label"]) == ["sad", ""]


def test_an_emotion_that_is_not_known_is_refused(lab, tmp_path):
    data, key = lab
    with pytest.raises(CorpusError, match="there are votes for 'wistful', which is unknown; name it in --classes, whi"):
        merged(data, [Vote("ada", "b1", key["b1"], ("wistful",))], tmp_path)
    extended = data.model_copy(update={"classes": ("wistful", "sad")})
    _, corpus = merged(extended, [], tmp_path)
    assert votes_of(corpora.read(corpus.model_copy(update={"classes": extended.classes})), "b1")["wistful"] == 1


def test_copies_of_a_sound_have_the_votes_on_it(lab, tmp_path):
    (tmp_path / "e.wav").write_bytes((tmp_path / "b.wav").read_bytes())
    with (tmp_path / "manifest.csv").open("a") as file:
        file.write("e1,e.wav,ben,,,\n")
    data, key = lab
    _, corpus = merged(data, [Vote("ada", "b1", key["b1"], ("sad",))], tmp_path)
    assert votes_of(corpora.read(corpus), "e1") == {"sad": 1}


def test_the_command_merges_and_shows_agreement(lab, tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    data, key = lab
    for name in ("ada", "ben"):
        for clip in ("a1", "b1", "c1"):
            record.add(tmp_path / "votes", Vote(name, clip, key[clip], ("sad",)))
    record.add(tmp_path / "votes", Vote("ben", "a1", key["a1"], ("angry",), repeat=1))
    command = ["votes", data.corpus_path, "--votes", str(tmp_path / "votes")]
    assert cli.main(command) == 0
    text = capsys.readouterr().out
    assert "6 votes of 2 listeners on 3 utterances merged." in text
    assert "Nothing was written: --out FOLDER writes a manifest and its votes.csv." in text
    assert "happy, sad" in text
    assert cli.main([*command, "--out", str(tmp_path / "out")]) == 0
    assert capsys.readouterr().out.count(str(tmp_path / "out")) == 2
    assert cli.main(["votes", str(tmp_path / "out" / "manifest.csv")]) == 0
    agreement = capsys.readouterr().out
    assert agreement.lstrip().startswith("votes Krippendorff's α ")
    assert [line.split()[:2] for line in agreement.splitlines() if line.startswith(("ada", "ben"))] == [
        ["ada", "3"], ["ben", "3"],
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("options", "fault"),
    [
        (["--votes", "nowhere"], "--votes is nowhere; it must be a folder with votes of `ipr listen`"),
        (["--out", "."], "--out is ., where the corpus itself lies; name another folder"),
    ],
)
def test_the_command_refuses_places_that_cannot_be(lab, tmp_path, capsys, monkeypatch, options, fault):
    monkeypatch.chdir(tmp_path)
    assert cli.main(["votes", lab[0].corpus_path, *options]) == 2
    assert fault in capsys.readouterr().err


def test_a_corpus_without_names_or_votes_says_so(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(SAMPLE_RATE // 4) / 5), SAMPLE_RATE)
    assert cli.main(["votes", str(tmp_path)]) == 0
    assert "No utterance has two votes, so there is no agreement to measure." in capsys.readouterr().out


def test_the_votes_of_a_release_keep_their_annotators_in_the_manifest(tmp_path):
    names = ["id", "annotator", "label", "weight"]
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(SAMPLE_RATE // 4) / 5), SAMPLE_RATE)
    (tmp_path / "manifest.csv").write_text("id,path\na,a.wav\n")
    pd.DataFrame([("a", "w1", "excited", 1), ("a", "w2", "happy", 1)], columns=names).to_csv(
        tmp_path / "votes.csv", index=False
    )
    result = merge.merge(Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv")), None, tmp_path)
    assert result.votes["label"].tolist() == ["excited", "happy"]  # excited becomes happy when it is read
    assert result.manifest[["votes_excited", "votes_happy"]].to_numpy().tolist() == [[1, 1]]
    assert result.sentences == []


def test_a_label_stays_where_votes_are_known_in_relation_to_it_alone(tmp_path):
    soundfile.write(tmp_path / "a.wav", 0.1 * np.sin(np.arange(SAMPLE_RATE // 4) / 5), SAMPLE_RATE)
    (tmp_path / "manifest.csv").write_text("id,path,label,votes_sad,votes_unknown\na,a.wav,sad,12,8\n")
    data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"))
    votes = [Vote(f"l{i}", "a", keys(data, tmp_path)["a"], ("angry",)) for i in range(20)]
    _, corpus = merged(data, votes, tmp_path)
    table = corpora.read(corpus)
    assert list(table["label"]) == ["sad"]
    assert votes_of(table, "a") == {"sad": 12, "unknown": 8, "angry": 20}
