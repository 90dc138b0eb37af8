"""Corpora that a TOML file describes: each that comes with the workbench on a small tree, and what does not fit."""

import random
import re
import string
import tomllib
from typing import get_args

import pandas as pd
import pytest

from helpers.corpus_files import votes_of
from ipr_core.config import Data
from ipr_core.data import corpora
from ipr_core.data.corpora.description import FOLDER
from ipr_core.data.corpora.table import EMOTIONS, CorpusError
from ipr_core.names import Described

TREES = {
    "ravdess": {
        "Actor_07/03-01-05-01-01-01-07.wav": ("03-01-05-01-01-01-07", "Actor_07", "angry", "male", "01"),
        "Actor_08/03-01-02-01-02-01-08.flac": ("03-01-02-01-02-01-08", "Actor_08", "calm", "female", "02"),
    },
    "savee": {
        "AudioData/DC/a01.wav": ("DC/a01", "DC", "angry", "male", "01"),
        "AudioData/KL/su15.wav": ("KL/su15", "KL", "surprised", "male", "15"),
        "JK_sa03.wav": ("JK_sa03", "JK", "sad", "male", "03"),
        "JE_n30.wav": ("JE_n30", "JE", "neutral", "male", "30"),
    },
    "tess": {
        "OAF_Pleasant_surprise/OAF_back_ps.wav": ("OAF_back_ps", "OAF", "surprised", "female", "back"),
        "YAF_disgust/YAF_youth_disgust.wav": ("YAF_youth_disgust", "YAF", "disgusted", "female", "youth"),
        "OAF_neutral/OA_bite_neutral.wav": ("OA_bite_neutral", "OAF", "neutral", "female", "bite"),
    },
    "emovo": {
        "f1/dis-f1-b1.wav": ("dis-f1-b1", "f1", "disgusted", "f", "b1"),
        "m3/gio-m3-n5.wav": ("gio-m3-n5", "m3", "happy", "m", "n5"),
        "m2/rab-m2-d2.wav": ("rab-m2-d2", "m2", "angry", "m", "d2"),
    },
    "cafe": {
        "Colère/Faible/01-C-1-1.wav": ("01-C-1-1", "01", "angry", "male", "1"),
        "CaFE_192k_2/Tristesse/Fort/12-T-2-6.aiff": ("12-T-2-6", "12", "sad", "female", "6"),
        "Neutre/03-N-5.wav": ("03-N-5", "03", "neutral", "male", "5"),
    },
    "shemo": {
        "female/F03S02.wav": ("F03S02", "F03", "sad", "F", None),
        "male/M02F01.wav": ("M02F01", "M02", "fearful", "M", None),
        "male/M14W11.wav": ("M14W11", "M14", "surprised", "M", None),
    },
    "esd": {
        "0011/Angry/0011_000351.wav": ("0011_000351", "0011", "angry", None, "000351"),
        "0001/Surprise/evaluation/0001_001401.wav": ("0001_001401", "0001", "surprised", None, "001401"),
    },
    "aesdd": {
        "anger/a03 (4).wav": ("a03 (4)", "4", "angry", None, "03"),
        "fear/f18 (5).wav": ("f18 (5)", "5", "fearful", None, "18"),
        "fear/f18 (5)b.wav": ("f18 (5)b", "5", "fearful", None, "18"),
    },
    "subesco": {
        "F_02_MONIKA_S_1_NEUTRAL_5.wav": ("F_02_MONIKA_S_1_NEUTRAL_5", "F02", "neutral", "F", "1"),
        "M_02_OTHER_S_10_FEAR_1.wav": ("M_02_OTHER_S_10_FEAR_1", "M02", "fearful", "M", "10"),
    },
    "jl_corpus": {
        "Raw/JL(wav+txt)/female1_angry_1a_1.wav": ("female1_angry_1a_1", "female1", "angry", "female", "1a"),
        "Raw/JL(wav+txt)/male2_excited_15b_2.wav": ("male2_excited_15b_2", "male2", "happy", "male", "15b"),
        "Raw/JL(wav+txt)/male1_anxious_3b_1.wav": ("male1_anxious_3b_1", "male1", "other", "male", "3b"),
    },
    "urdu": {
        "Angry/SM1_F10_A010.wav": ("SM1_F10_A010", "SM1", "angry", "M", None),
        "Sad/SF10_F2_S02.wav": ("SF10_F2_S02", "SF10", "sad", "F", None),
    },
    "oreau": {
        "f/sessc/10a01Ca.wav": ("10a01Ca", "f10", "angry", "f", "a01"),
        "m/sessj/01a12Ja.wav": ("01a12Ja", "m01", "happy", "m", "a12"),
    },
    "nemo": {
        "samples/EB0_anger_1.wav": ("samples/EB0_anger_1", "EB0", "angry", "female", "Tak."),
        "samples/WR0_surprised_64.wav": ("samples/WR0_surprised_64", "WR0", "surprised", "male", 'On: "nie"'),
    },
    "meld": {
        "train/train_splits/dia0_utt0.wav": ("train_splits/dia0_utt0", "Chandler", "neutral", None, "also, I"),
        "dev_splits_complete/dia0_utt0.wav": ("dev_splits_complete/dia0_utt0", "Phoebe", "sad", None, "Oh!"),
        "test/output_repeated_splits_test/dia1_utt2.flac": (
            "output_repeated_splits_test/dia1_utt2", "Joey", "happy", None, "Hi",
        ),
    },
}  # fmt: skip
"""Corpus → path of a file → id, speaker, label, sex and text."""
TABLES = {
    "data.tsv": "file_id\temotion\traw_text\tspeaker_id\tgender\tage\n"
    'WR0_surprised_64.wav\tsurprised\t"On: ""nie"""\t        WR0\tmale\t23\n'
    "EB0_anger_1.wav\tanger\tTak.\tEB0\tfemale\t27\n",
    "train_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n"
    '1,"also, I",Chandler,neutral,neutral,0,0\n2,broken,Joey,anger,negative,125,3\n',
    "dev_sent_emo.csv": "Utterance,Speaker,Emotion,Dialogue_ID,Utterance_ID\nOh!,Phoebe,sadness,0,0\n",
    "test_sent_emo.csv": "Sr No.,Utterance,Speaker,Emotion,Sentiment,Dialogue_ID,Utterance_ID\n1,Hi,Joey,joy,x,1,2\n",
}


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def tree(root, name):
    touch(root, *TREES[name])
    for table in tomllib.loads((FOLDER / f"{name}.toml").read_text("utf-8")).get("tables", []):
        (root / table["file"]).write_text(TABLES[table["file"]], "utf-8")
    return Data(corpus=name, corpus_path=str(root))


def mine(root, text, **settings):
    """The settings of a corpus in a folder of its own, with a description of one's own."""
    (root / "mine.toml").write_text(text, "utf-8")
    (root / "corpus").mkdir(exist_ok=True)
    return Data(corpus=str(root / "mine.toml"), corpus_path=str(root / "corpus"), **settings)


# Those that come with the workbench.


def test_every_description_is_a_corpus_and_has_a_tree():
    files = {file.stem for file in FOLDER.glob("*.toml")}
    assert files == set(get_args(Described)) == set(TREES)


@pytest.mark.parametrize("name", TREES)
def test_a_corpus_is_read_as_its_authors_name_its_files(tmp_path, name):
    table = corpora.read(tree(tmp_path, name)).set_index("id")
    assert set(table["path"]) == {str(tmp_path / path) for path in TREES[name]}
    for path, (id, speaker, label, sex, text) in TREES[name].items():
        row = table.loc[id]
        assert (row["path"], row["speaker"], row["label"]) == (str(tmp_path / path), speaker, label)
        assert (row.get("sex"), row.get("text")) == (sex, text)


@pytest.mark.parametrize("name", TREES)
def test_a_corpus_is_under_25_lines_and_says_where_it_comes_from(name):
    text = (FOLDER / f"{name}.toml").read_text("utf-8")
    content = tomllib.loads(text)
    assert len(text.splitlines()) < 25
    assert {"name", "about", "example", "emotions"} <= set(content)
    assert set(content["origin"]) == {"licence", "home", "layout", "citation"}
    assert name == "jl_corpus" or set(content["emotions"].values()) <= set(EMOTIONS)


@pytest.mark.parametrize("name", TREES)
def test_a_name_of_another_corpus_is_a_fault(tmp_path, name):
    data = tree(tmp_path, name)
    folder = next(iter(TREES[name])).rpartition("/")[0]
    touch(tmp_path / folder, "tmp_take_2.wav")
    _, faults = corpora.survey(data)
    if name in ("meld", "nemo"):  # a file without a row is not the corpus's, and a note says so
        assert not faults
        return
    [fault] = faults
    assert fault.source.endswith("tmp_take_2.wav")
    assert "or add it to `ignore` in a copy of its description (`ipr corpora show" in fault.cure


# One wrong name among a thousand.


def name_of(rng, form, codes):
    number = rng.randrange(10**4)
    return form.format(rng.choice(codes), f"{number:04d}", rng.choice(string.ascii_lowercase))


@pytest.mark.parametrize("seed", range(8))
def test_one_wrong_name_among_a_thousand_is_one_fault_that_names_it_and_a_cure(tmp_path, seed):
    rng = random.Random(seed)
    separator = rng.choice("_-. ~")
    codes = sorted({"".join(rng.choices(string.ascii_uppercase, k=rng.choice((1, 3)))) for _ in range(6)})
    emotions = "\n".join(f'{code} = "{emotion}"' for code, emotion in zip(codes, EMOTIONS, strict=False))
    pattern = rf"(?P<emotion>{'|'.join(codes)}){re.escape(separator)}(?P<speaker>\d)\d{{3}}[a-z]"
    data = mine(tmp_path, f"pattern = '{pattern}'\n[emotions]\n{emotions}\n")
    names = {name_of(rng, "{}" + separator + "{}{}", codes) for _ in range(1200)}
    names = dict.fromkeys(f"{name}.{rng.choice(('wav', 'WAV', 'flac'))}" for name in sorted(names)[:999])
    good = [f"{rng.choice(('', 'a/', 'a/b/'))}{name}" for name in names]
    kind = rng.choice(("cut", "longer", "code", "separator", "case"))
    code, rest = good[0].rpartition("/")[2].split(separator, 1)
    wrong = {
        "cut": f"{code}{separator}.wav", "longer": f"x{separator}{code}{separator}{rest}",
        "code": f"{code}Q{separator}{rest}", "separator": f"{code}{rest}", "case": f"{code.lower()}{separator}{rest}",
    }[kind]  # fmt: skip
    touch(tmp_path / "corpus", *good, wrong)
    table, faults = corpora.survey(data)
    assert len(table) == 999, kind
    [fault] = faults
    assert fault.source == str(tmp_path / "corpus" / wrong)
    assert fault.cure == f"rename it, move it elsewhere, or add it to `ignore` in {tmp_path / 'mine.toml'}"
    ignored = mine(tmp_path, f"ignore = ['{wrong}']\n{(tmp_path / 'mine.toml').read_text('utf-8')}")
    assert not corpora.survey(ignored)[1]


def test_a_table_of_a_thousand_rows_with_one_wrong_is_one_fault_with_its_row(tmp_path):
    data = mine(tmp_path, "tables = [{ file = 't.csv', path = 'a/{file}' }]\n[emotions]\nA = 'angry'\nS = 'sad'\n")
    rows = [f"c{i}.wav,{'AS'[i % 2]},s{i % 7}" for i in range(1000)]
    touch(tmp_path / "corpus" / "a", *(f"c{i}.wav" for i in range(1000)))
    for wrong, sentence in {
        "c500.wav,X,s1": "t.csv, row 502: the emotion 'X' is none of those that a corpus of your own has; it has A, S;",
        "c5OO.wav,A,s1": "t.csv, row 502: there is no audio file 'a/c5OO'; put it there, or add it to `ignore` in",
    }.items():
        lines = ["file,emotion,speaker", *rows[:500], wrong, *rows[501:]]
        (tmp_path / "corpus" / "t.csv").write_text("\n".join(lines) + "\n")
        table, [fault] = corpora.survey(data)
        assert len(table) == 999
        assert str(fault).startswith(sentence)


# What a description can say.


def test_a_corpus_of_ones_own_needs_a_pattern_alone(tmp_path):
    data = mine(tmp_path, "pattern = '(?P<emotion>angry|sad)_(?P<speaker>[a-z]+)'\n")
    touch(tmp_path / "corpus", "x/angry_anna.wav", "sad_ben.MP3")
    table = corpora.read(data)
    assert list(table["id"]) == ["sad_ben", "angry_anna"]
    assert list(table["label"]) == ["sad", "angry"]
    assert list(table["source"]) == ["sad_ben.MP3", "x/angry_anna.wav"]


def test_without_an_emotion_utterances_are_unlabelled_on_purpose(tmp_path):
    data = mine(tmp_path, r"pattern = '(?P<speaker>s\d)_\d'" + "\n")
    touch(tmp_path / "corpus", "s1_1.wav", "s2_1.wav")
    assert list(corpora.read(data)["label"]) == ["", ""]


def test_an_emotion_that_is_not_known_is_other_unless_it_is_a_class(tmp_path):
    text = "pattern = '(?P<emotion>[A-Z])'\n[emotions]\nA = 'angry'\nB = 'amused'\n"
    data = mine(tmp_path, text)
    touch(tmp_path / "corpus", "A.wav", "B.wav")
    assert list(corpora.read(data)["label"]) == ["angry", "other"]
    assert list(corpora.read(mine(tmp_path, text, classes=("angry", "amused")))["label"]) == ["angry", "amused"]


def test_votes_are_columns_of_a_table_and_give_the_label(tmp_path):
    data = mine(
        tmp_path,
        "tables = [{ file = 'v.csv', path = '{clip}' }]\n[votes]\nn_ang = 'angry'\nn_sad = 'sad'\nrest = 'other'\n",
    )
    touch(tmp_path / "corpus", "a.wav", "b.wav")
    (tmp_path / "corpus" / "v.csv").write_text("clip;n_ang;n_sad;rest\na;3;1;0\nb;0,5;2;1\n")
    table = corpora.read(data)
    assert list(table["label"]) == ["angry", "sad"]
    assert votes_of(table, "b") == {"angry": 0.5, "sad": 2, "other": 1}


def test_a_corpus_is_read_in_blocks_as_for_labels(tmp_path):
    data = mine(tmp_path, "pattern = '(?P<speaker>[a-z])'\n")
    touch(tmp_path / "corpus", *(f"{name}.wav" for name in "abcde"))
    blocks = [table for table, _ in corpora.surveys(data, 2, labels_needed=False)]
    assert [list(table["speaker"]) for table in blocks] == [["a", "b"], ["c", "d"], ["e"]]


def test_files_says_which_audio_is_the_corpus_and_a_note_what_is_not(tmp_path, caplog):
    data = mine(tmp_path, "files = 'wav/*'\nignore = ['test_*']\npattern = '(?P<emotion>angry|sad)_.*'\n")
    touch(tmp_path / "corpus", "wav/angry_1.wav", "wav/test_1.wav", "wav/deep/sad_2.wav", "mp3/sad_1.mp3")
    assert list(corpora.read(data)["id"]) == ["angry_1"]
    name = tmp_path / "mine.toml"
    assert "1 audio file read; 3 left out: 2 that" in caplog.messages[0]
    assert f"1 that {name} ignores (wav/test_1.wav)" in caplog.messages[0]
    assert f"2 that {name} does not have (wav/*) (mp3/sad_1.mp3, wav/deep/sad_2.wav)" in caplog.messages[0]


def test_two_files_of_an_utterance_are_a_fault(tmp_path):
    data = mine(tmp_path, "pattern = '(?P<emotion>angry|sad)'\n")
    touch(tmp_path / "corpus", "a/angry.wav", "b/angry.wav", "sad.wav")
    table, [fault] = corpora.survey(data)
    assert fault.problem == "a/angry.wav and b/angry.wav are both the clip 'angry'"
    assert list(table["id"]) == ["angry", "sad"]


def test_two_files_of_a_row_are_a_fault_and_files_without_a_row_are_told_of(tmp_path, caplog):
    data = mine(tmp_path, "tables = [{ file = 't.csv', path = '{clip}' }]\n")
    touch(tmp_path / "corpus", "a.wav", "b.wav", "b.flac", "c.wav")
    (tmp_path / "corpus" / "t.csv").write_text("clip,emotion\na,sad\nb,sad\n")
    table, [fault] = corpora.survey(data)
    assert list(table["id"]) == ["a"]
    assert str(fault) == "t.csv, row 3: b.flac and b.wav are both its 'b'; keep one of them"
    assert "1 without a row in a table (c.wav)" in caplog.text


def test_rows_that_are_ignored_are_counted(tmp_path, caplog):
    caplog.set_level("INFO")
    corpora.read(tree(tmp_path, "meld"))
    assert "train_sent_emo.csv: 1 row that meld ignores" in caplog.messages


@pytest.mark.parametrize(
    ("remove", "sentence"),
    [
        ("dev_sent_emo.csv", "there is no dev_sent_emo.csv in it; put it there: meld needs train_sent_emo.csv, train_"),
        ("dev_splits_complete/dia0_utt0.wav", "row 2: there is no audio file 'dev_splits_complete/dia0_utt0'; put it"),
    ],
)
def test_what_a_table_needs_and_is_not_there_is_named(tmp_path, remove, sentence):
    data = tree(tmp_path, "meld")
    (tmp_path / remove).unlink()
    with pytest.raises(CorpusError, match=re.escape(sentence)):
        corpora.read(data)


def test_a_column_that_is_not_there_is_named_with_those_that_are(tmp_path):
    data = tree(tmp_path, "nemo")
    (tmp_path / "data.tsv").write_text(TABLES["data.tsv"].replace("gender", "sex"), "utf-8")
    with pytest.raises(
        CorpusError, match=r"data.tsv, row 1: there is no column 'gender'; its columns are file_id, emo"
    ):
        corpora.read(data)


def test_clips_that_the_decoder_does_not_read_are_told_of(tmp_path):
    touch(tmp_path, "train_splits/dia0_utt0.mpg")
    with pytest.raises(
        CorpusError, match=r"there is no audio file in it; meld needs .*1 \.mpg, which the decoder does"
    ):
        corpora.read(Data(corpus="meld", corpus_path=str(tmp_path)))


def test_accents_in_two_forms_are_one_name(tmp_path):
    data = mine(
        tmp_path, "pattern = '(?P<emotion>Colère)'\n[emotions]\nColère = 'angry'\n".replace("Colère =", '"Colère" =')
    )
    touch(tmp_path / "corpus", "Cole\u0300re.wav")
    assert list(corpora.read(data)["label"]) == ["angry"]


def test_the_reading_is_as_that_of_a_manifest(tmp_path):
    """What `ipr votes --out` writes of a described corpus is read again."""
    data = tree(tmp_path / "c", "emovo")
    table = corpora.read(data)
    table[["id", "path", "speaker", "label"]].to_csv(tmp_path / "manifest.csv", index=False)
    again = corpora.read(Data(corpus="manifest", corpus_path=str(tmp_path / "manifest.csv")))
    pd.testing.assert_frame_equal(again[["id", "path", "speaker", "label"]], table[["id", "path", "speaker", "label"]])
