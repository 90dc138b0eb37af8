"""Readers: what stands in a release is what stands in the table, and what is wrong with it is said all at once."""

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import soundfile

from ipr_core.config import CORPORA, Data
from ipr_core.data import corpora
from ipr_core.data.corpora import cremad, emodb
from ipr_core.data.corpora.table import CorpusError, Fault, check, plurality, tidy, vote_columns

SHARED = Path(__file__).parents[4] / "shared" / "data"


def real(name):
    if not (SHARED / name).is_dir():
        pytest.skip(f"{name} is not at hand: no {SHARED / name}")
    return SHARED / name


def wav(path, seconds=0.2):
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.full(int(16_000 * seconds), 0.1), 16_000)
    return path


def votes_of(table, utterance):
    """The votes of one utterance that are not zero, by emotion."""
    row = table.set_index("id").loc[utterance]
    return {name.removeprefix("votes_"): row[name] for name in vote_columns(table) if row[name]}


# IEMOCAP

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
    merged, apart = iemocap(), iemocap(merge_excited=False)
    assert votes_of(merged, "Ses02M_script01_1b_F001") == {"happy": 3, "surprised": 1}
    assert votes_of(apart, "Ses02M_script01_1b_F001") == {"happy": 1, "excited": 2, "surprised": 1}
    assert (merged["label"][2], apart["label"][2]) == ("happy", "excited")
    assert "votes_excited" not in merged


def test_iemocap_no_agreement_is_no_label_even_where_the_votes_have_a_plurality(iemocap):
    assert list(iemocap()["label"]) == ["neutral", "", "happy"]


def test_iemocap_says_which_turn_has_no_wav(iemocap, tmp_path):
    (tmp_path / f"Session{CLIPS[1]}.wav").unlink()
    with pytest.raises(
        CorpusError, match=r"Ses01F_impro01.txt, row 11: utterance 'Ses01F_impro01_M003' needs the file"
    ):
        iemocap()


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


def test_cremad_label_is_what_was_heard_and_none_where_two_emotions_tie(small_cremad):
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
    with pytest.raises(CorpusError, match=r"(?s)row 3: .*03a01Ta.*row 5: .*03a02Ta"):
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


# Manifests


@pytest.fixture
def manifest(tmp_path):
    """Text of a CSV, settings → the configuration that reads it; a.wav, b.wav and c.wav lie beside it."""
    for name in "abc":
        wav(tmp_path / f"{name}.wav")

    def write(text, **settings):
        (tmp_path / "manifest.csv").write_text(text, encoding="utf-8")
        return Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv"), **settings)

    return write


def test_manifest_paths_are_relative_to_it_and_name_utterances_without_an_id(manifest, tmp_path):
    table = corpora.read(manifest(f"path,label\na.wav,happy\n{tmp_path / 'b.wav'},sad\n"))
    assert list(table["path"]) == [str(tmp_path / "a.wav"), str(tmp_path / "b.wav")]
    assert list(table["id"]) == ["a.wav", str(tmp_path / "b.wav")]
    assert list(table["row"]) == [2, 3]


def test_manifest_parts_of_a_file_are_utterances_of_their_own(manifest):
    table = corpora.read(manifest("path,start,end,label\na.wav,,0.1,happy\na.wav,0.1,,sad\n"))
    assert list(table["id"]) == ["a.wav-0.1", "a.wav@0.1"]
    assert table["end"][0] == table["start"][1] == 0.1
    assert np.isnan(table["start"][0])


def test_manifest_label_is_the_votes_plurality_where_none_is_given(manifest):
    header = "path,label,votes_angry,votes_sad,votes_happy,votes_excited\n"
    table = corpora.read(manifest(header + "a.wav,,1,3,2,2\nb.wav,,1,1,,\nc.wav,unlabelled,1,,,\n"))
    assert list(table["label"]) == ["happy", "", ""]  # happy and excited are 4 of 8; a tie; none on purpose
    assert votes_of(table, "a.wav") == {"angry": 1, "sad": 3, "happy": 4}


def test_manifest_labelled_needs_no_votes_and_a_corpus_to_annotate_needs_neither(manifest):
    assert corpora.read(manifest("path,label\na.wav,sad\n"))["votes_sad"].sum() == 0
    bare = manifest("path\na.wav\n")
    with pytest.raises(CorpusError, match=r"row 2: utterance 'a.wav' has no votes and no label; give it one, or mark"):
        corpora.read(bare)
    assert list(corpora.read(bare, labels_needed=False)["label"]) == [""]


def test_manifest_parquet_reads_as_the_csv_does(manifest, tmp_path):
    frame = pd.DataFrame({"path": ["a.wav", "b.wav"], "id": [7, 8], "votes_sad": [2, 1], "votes_angry": [1.0, None]})
    frame.to_csv(tmp_path / "manifest.csv", index=False)
    frame.to_parquet(tmp_path / "manifest.parquet")
    read = [
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / f"manifest.{kind}")))
        for kind in ("csv", "parquet")
    ]
    pd.testing.assert_frame_equal(*(table.drop(columns=["source", "row"]) for table in read))
    assert [list(table["row"]) for table in read] == [[2, 3], [1, 2]]


def test_manifest_counts_rows_as_an_editor_does_and_accepts_a_byte_order_mark(manifest):
    table = corpora.read(manifest("\ufeffpath,label,\n\na.wav,sad,\n,,\nb.wav,sad,\n"))
    assert list(table["row"]) == [3, 5]


@pytest.mark.parametrize("kind", ["csv", "parquet", "folder"])
def test_manifest_read_in_blocks_is_as_read_whole(manifest, tmp_path, kind):
    rows = "".join(f"{'ab'[i % 2]}.wav,{0.01 * i:.2f},happy,{i}\n" for i in range(7))
    data = manifest(f'path,start,label,votes_sad\n{rows}\n"b.wav",0.1,"sad",\n')
    if kind == "parquet":
        pd.read_csv(data.corpus_path).to_parquet(tmp_path / "manifest.parquet")
        data = Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.parquet"))
    if kind == "folder":
        data = Data(corpus="manifest", corpus_path=str(tmp_path))
    whole, _ = corpora.survey(data)
    blocks = [table for table, _ in corpora.surveys(data, 3)]
    assert [len(block) for block in blocks[:-1]] == [3] * (len(blocks) - 1)
    pd.testing.assert_frame_equal(pd.concat(blocks, ignore_index=True), whole)
    assert kind != "csv" or whole["row"].tolist() == [2, 3, 4, 5, 6, 7, 8, 10]


def test_a_folders_files_are_in_the_order_of_their_paths(tmp_path):
    for name in ("b.wav", "a/c.wav", "a.b/d.FLAC", "a/b/c/z.ogg", "a/notes.txt"):
        wav(tmp_path / name) if not name.endswith("txt") else (tmp_path / name).touch()
    table, _ = corpora.survey(Data(corpus="manifest", corpus_path=str(tmp_path)), labels_needed=False)
    assert list(table["id"]) == ["a/b/c/z.ogg", "a/c.wav", "a.b/d.FLAC", "b.wav"]
    assert list(table["path"]) == [str(tmp_path / name) for name in table["id"]]


def test_manifest_lists_all_faults_at_once_with_row_and_cure(manifest):
    text = (
        "path,id,label,votes_angry,votes_hapy,start,end\n"
        "a.wav,a,angry,1,,,\n"
        "gone.wav,b,angry,1,,,\n"
        "c.wav,a,angry,1,,,\n"
        "c.wav,d,angry,-1,,,\n"
        "c.wav,e,angry,two,,,\n"
        "c.wav,f,anger,,,,\n"
        "c.wav,g,,,,,\n"
        "c.wav,h,sad,,,0.1,0.1\n"
        ",i,sad,,,soon,\n"
    )
    with pytest.raises(CorpusError) as refused:
        corpora.read(manifest(text))
    expected = [
        "manifest.csv, row 1: column 'votes_hapy' counts votes for an unknown emotion; did you mean 'happy'?",
        "manifest.csv, row 3: utterance 'b' needs the file",
        "manifest.csv, row 4: utterance 'a' is there twice, first in row 2; give each utterance an id of its own",
        "manifest.csv, row 5: utterance 'd' has '-1' in votes_angry; a vote count is a number, 0 or more",
        "manifest.csv, row 6: utterance 'e' has 'two' in votes_angry; a vote count is a number",
        "manifest.csv, row 7: utterance 'f' has the unknown label 'anger'; did you mean 'angry'?",
        "manifest.csv, row 8: utterance 'g' has no votes and no label; give it one, or mark it unlabelled",
        "manifest.csv, row 9: utterance 'h' ends at 0.1, not after its start at 0.1; give start and end in seconds",
        "manifest.csv, row 10: utterance 'i' has no path",
        "manifest.csv, row 10: utterance 'i' starts at 'soon'; give seconds",
    ]
    found = [str(fault) for fault in refused.value.faults]
    assert len(found) == len(expected), found
    assert all(fault.startswith(start) for fault, start in zip(found, expected, strict=True)), found
    assert str(refused.value).split("\n") == found


def test_survey_gives_the_table_beside_its_faults(manifest):
    table, faults = corpora.survey(manifest("path,label,votes_sad\na.wav,sad,x\nb.wav,sad,1\n"))
    assert [fault.row for fault in faults] == [2]
    assert list(table["votes_sad"]) == [0, 1]


def test_manifest_a_class_of_ones_own_is_known_once_it_is_named(manifest):
    text = "path,label,votes_amused\na.wav,amused,1\n"
    assert corpora.read(manifest(text, classes=("amused", "sad")))["label"][0] == "amused"
    with pytest.raises(CorpusError, match="unknown label 'amused'"):
        corpora.read(manifest(text))


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("file,label\na.wav,sad\n", "row 1: it has no column 'path', only file, label; give"),
        ("path,label\na.wav,sad,1\nb.wav,sad\nc.wav,sad,2\n", r"(?s)row 2: it has more cells.*row 4: it has more"),
        ("path,label\n", "there is no utterance in it"),
    ],
)
def test_manifest_that_is_no_table_of_utterances_is_refused(manifest, text, what):
    with pytest.raises(CorpusError, match=what):
        corpora.read(manifest(text))


def test_manifest_that_is_not_there_or_not_a_table_is_refused(tmp_path):
    with pytest.raises(CorpusError, match=r"nowhere\.csv: it is not a file"):
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "nowhere.csv")))
    (tmp_path / "no.parquet").write_bytes(b"no")
    with pytest.raises(CorpusError, match=r"no\.parquet: it cannot be read"):
        corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "no.parquet")))


# All corpora


@pytest.mark.parametrize("name", ["iemocap", "cremad", "emodb", "ravdess"])
def test_a_wrong_folder_is_refused_with_what_was_expected_where(name, tmp_path):
    with pytest.raises(CorpusError, match=rf"(?s){tmp_path.name}: there is no .* in it; {name} needs "):
        corpora.read(Data(corpus=name, corpus_path=str(tmp_path)))
    with pytest.raises(CorpusError, match=rf"{name}: corpus_path is not set; name the folder with "):
        corpora.read(Data(corpus=name))


def test_a_folder_without_a_name_of_the_corpus_has_no_utterance(tmp_path):
    wav(tmp_path / "Actor_01" / "03-01-nonsense.wav")
    with pytest.raises(CorpusError, match="there is no utterance in it; check that it is the ravdess corpus"):
        corpora.read(Data(corpus="ravdess", corpus_path=str(tmp_path)))


def test_excited_cannot_be_a_class_of_its_own_and_happy(manifest):
    text = "path,label\na.wav,excited\n"
    with pytest.raises(
        CorpusError, match="excited is one of them, and merge_excited makes it happy; set merge_excited"
    ):
        corpora.read(manifest(text, classes=("excited", "sad")))
    assert corpora.read(manifest(text, classes=("excited", "sad"), merge_excited=False))["label"][0] == "excited"


def test_every_corpus_is_read_and_described():
    assert tuple(corpora.READERS) == CORPORA
    assert [name for name, _, _ in corpora.describe()] == list(CORPORA)
    assert all(line and layout for _, line, layout in corpora.describe())


def test_plurality_needs_one_winner_and_ignores_votes_for_no_emotion():
    votes = {
        "votes_sad": [2, 1, 0, 1],
        "votes_angry": [1, 1, 0, 0],
        "votes_other": [9, 0, 3, 0],
        "votes_unknown": [9, 0, 0, 5],
    }
    assert list(plurality(pd.DataFrame(votes))) == ["sad", "", "", "sad"]


def test_check_wants_the_columns_that_no_default_replaces():
    faults = check(pd.DataFrame({"label": ["sad"]}), Data(corpus="ravdess"))
    assert faults == [Fault("ravdess", None, f"column {name!r} is missing", "add it") for name in ("id", "path")]


def test_tidy_keeps_a_corpus_s_own_columns_and_adds_votes_of_every_class():
    raw = pd.DataFrame({"id": ["x"], "path": ["x.wav"], "label": ["sad"], "mixture_sad": [0.5]}, index=[9])
    table = tidy(raw, Data())
    assert list(table.columns) == [
        "id", "path", "start", "end", "speaker", "session", "duration", "label", "votes_other", "votes_angry",
        "votes_happy", "votes_sad", "votes_neutral", "mixture_sad", "source", "row",
    ]  # fmt: skip
    assert list(table.index) == [0]
    pd.testing.assert_frame_equal(tidy(table, Data()), table)
