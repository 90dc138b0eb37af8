"""Descriptions that are proposed for a folder: what they read, and what they leave to be filled in."""

import itertools
import tomllib

import pytest

from ipr_core.config import CORPORA, Data
from ipr_core.data import corpora
from ipr_core.data.corpora.described import DescribedCorpus
from ipr_core.data.corpora.description import checked
from ipr_core.data.faults import CorpusError
from ipr_core.data.proposal import propose


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).touch()


def names(form, **parts):
    combinations = itertools.product(*parts.values())
    return [form.format(**dict(zip(parts, values, strict=True))) for values in combinations]


def read(root):
    """What the proposal says, and what it reads."""
    proposal = propose(root)
    content = tomllib.loads(proposal.text)
    reading = DescribedCorpus("mine.toml", checked(content, root / "mine.toml")).read(Data(corpus_path=str(root)))
    return proposal, content, reading


WORDS = ("Anger", "Sadness", "neutral", "happy")
LABELS = {"angry", "sad", "neutral", "happy"}


@pytest.mark.parametrize(
    ("form", "parts", "speakers"),
    [
        ("rec/{s}_{e}_{n}.wav", {"s": ("anna", "ben", "cleo"), "e": WORDS, "n": range(5)}, {"anna", "ben", "cleo"}),
        ("speaker_{s}/{e}-{n}.wav", {"s": (1, 2), "e": ("ang", "sad", "neu", "hap"), "n": range(3)},
         {"speaker_1", "speaker_2"}),
        ("{e}/{x}{s}-{n}.flac", {"e": WORDS, "x": "fm", "s": (1, 2), "n": range(3)}, {"f1", "f2", "m1", "m2"}),
        ("spk{s:03d}{e}{n}.wav", {"s": (1, 12), "e": WORDS, "n": range(3)}, {"001", "012"}),
    ],
)  # fmt: skip
def test_names_that_say_it_are_read_whole(tmp_path, form, parts, speakers):
    paths = names(form, **parts)
    touch(tmp_path, *paths)
    proposal, content, reading = read(tmp_path)
    assert not reading.faults
    assert len(reading.table) == len(paths)
    assert set(reading.table["label"]) == LABELS
    assert set(reading.table["speaker"]) == speakers
    assert content["name"] == tmp_path.name
    assert not proposal.corpora


def test_letters_of_another_case_are_cut_apart(tmp_path):
    touch(tmp_path, *names("{t}{E}{s}.wav", t=("a1", "b2"), E=("Happy", "Sad", "Angry"), s="XYZ"))
    _, _, reading = read(tmp_path)
    assert set(reading.table["label"]) == {"happy", "sad", "angry"}


def test_parts_without_a_separator_are_named_apart(tmp_path):
    touch(tmp_path, *names("{s}a0{t}{e}{v}.wav", s=("03", "08"), t=range(3), e="WFL", v="ab"))
    proposal, _, reading = read(tmp_path)
    assert "# part3 is F, L, W\n" in proposal.text
    assert not reading.faults


def test_codes_of_a_corpus_that_is_known_are_taken_from_it(tmp_path):
    touch(tmp_path, *names("x{s}_{e}_{n}.wav", s=range(3), e=("gio", "rab", "pau"), n=range(3)))
    _, _, reading = read(tmp_path)
    assert set(reading.table["label"]) == {"happy", "angry", "fearful"}


def test_what_cannot_be_told_is_a_comment_and_no_guess(tmp_path):
    touch(tmp_path, *names("{a}_{b}.wav", a=range(4), b=range(9)))
    proposal, content, reading = read(tmp_path)
    assert not {"speaker", "emotion", "emotions"} & set(content)
    assert '# speaker = "{}"  # who speaks?' in proposal.text
    assert '# emotion = "{}"  # which emotion?' in proposal.text
    assert "# part1 is 0, 1, 2, 3\n" in proposal.text
    assert set(reading.table["label"]) == {"unlabelled"}
    assert "speaker" not in reading.table
    filled_in = proposal.text.replace('# speaker = "{}"', 'speaker = "{part1}"')
    assert checked(tomllib.loads(filled_in), tmp_path).match("3_8.wav")["part1"] == "3"


def test_an_emotion_that_is_not_known_is_left_to_fill_in_and_its_files_are_refused(tmp_path):
    touch(tmp_path, *names("{s}_{e}_{n}.wav", s=("ann", "bob"), e=("angry", "sad", "happy", "dreamy"), n=range(4)))
    proposal, _, reading = read(tmp_path)
    assert '# dreamy = ""  # of 8: which emotion is it?' in proposal.text
    assert len(reading.faults) == 8
    assert all("the emotion 'dreamy' is none of those" in fault.problem for fault in reading.faults)


def test_a_name_of_another_form_is_refused_and_shown(tmp_path):
    touch(tmp_path, *names("{s}_{e}_{n}.wav", s=("ann", "bob"), e=WORDS, n=range(4)), "noise.wav")
    _, _, reading = read(tmp_path)
    assert [fault.source for fault in reading.faults] == [str(tmp_path / "noise.wav")]


def test_names_that_are_not_unique_keep_their_folder(tmp_path):
    touch(tmp_path, *names("take{n}/{s}_{e}.wav", n=range(3), s=("ann", "bob"), e=WORDS))
    _, _, reading = read(tmp_path)
    assert not reading.faults
    assert reading.table["id"].is_unique


def test_a_folder_of_one_emotion_is_no_speaker(tmp_path):
    for folder, word in (("first", "angry"), ("second", "sad"), ("third", "happy")):
        touch(tmp_path, *names(f"{folder}/{word}_{{n}}.wav", n=range(20)))
    proposal, content, _ = read(tmp_path)
    assert "speaker" not in content["pattern"]
    assert '# speaker = "{}"  # who speaks?' in proposal.text


def test_a_table_that_names_the_files_goes_first(tmp_path):
    touch(tmp_path, *names("clips/c{n}.wav", n=range(6)))
    lines = ["filename;Emotion;speaker_id;gender;Text;age"]
    lines += [f"c{n}.wav;{WORDS[n % 4]};s{n % 3};female;hello {n};30" for n in range(6)]
    (tmp_path / "meta.csv").write_text("\n".join(lines))
    _, content, reading = read(tmp_path)
    assert content["tables"] == [{"file": "meta.csv", "path": "{filename}"}]
    assert not reading.faults
    assert set(reading.table["label"]) == LABELS
    assert list(reading.table.iloc[0][["speaker", "sex", "text"]]) == ["s0", "female", "hello 0"]


def test_a_table_without_a_speaker_asks_for_it(tmp_path):
    touch(tmp_path, "a.wav", "b.wav")
    (tmp_path / "meta.tsv").write_text("wav\tlabel\twho\na\tsad\tx\nb\tangry\ty\n")
    proposal, _, reading = read(tmp_path)
    assert '# speaker = "{}"  # who speaks? The other columns: who' in proposal.text
    assert list(reading.table["label"]) == ["sad", "angry"]


def test_a_corpus_of_the_workbench_is_recognised(tmp_path):
    touch(tmp_path, *names("{e}-{s}-{t}.wav", e=("dis", "gio", "neu"), s=("f1", "m2"), t=("b1", "n3")))
    proposal = propose(tmp_path)
    assert proposal.corpora == ("emovo",)
    assert proposal.text == corpora.definition("emovo")


def test_a_module_s_corpus_is_recognised_too(tmp_path):
    touch(tmp_path, "wav/03a01Wa.wav", "wav/08a02Fb.wav")
    (tmp_path / "erkennung.txt").write_text("Satz\terkannt\n03a01Wa.wav\t65,00\n")
    assert propose(tmp_path).corpora == ("emodb",)
    assert "emodb" in CORPORA


def test_a_folder_without_audio_is_refused(tmp_path):
    touch(tmp_path, "a.txt")
    with pytest.raises(CorpusError, match=r"there is no audio file in it .*; name the folder of a corpus"):
        propose(tmp_path)
