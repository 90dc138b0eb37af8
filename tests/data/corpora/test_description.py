"""Descriptions that are wrong: each fault with its file, its key and its cure, all at once."""

import re

import pytest

from ipr_core.data.corpora.description import Description, checked, filled, globbed, read
from ipr_core.data.faults import CorpusError

GOOD = "pattern = '(?P<emotion>[a-z]+)_(?P<speaker>s\\d)'\n"


def faults_of(tmp_path, text):
    file = tmp_path / "mine.toml"
    file.write_text(text, "utf-8")
    with pytest.raises(CorpusError) as caught:
        read(file)
    assert all(fault.source == str(file) for fault in caught.value.faults)
    return [f"{fault.problem}; {fault.cure}" for fault in caught.value.faults]


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("speakr = 's'\n", "'speakr' is no key; did you mean 'speaker'?"),
        ("[origin]\nlicense = 'x'\n", "'license' is no key of [origin]; did you mean 'licence'?"),
        ("[sexes]\nmen = 'x'\n", "'men' is no key of [sexes]; the keys are female, male"),
        ("tables = [{ file = 'a', paht = 'b' }]\n", "'paht' is no key of [tables]; did you mean 'path'?"),
        ("files = 3\n", "files is 3; it must be a text of one line, not empty. Which audio files are the corpus's"),
        ("ignore = 'x'\n", "ignore is 'x'; it must be a list of a text of one line, not empty. Files among them"),
        ("emotions = 'x'\n", "emotions is 'x'; it must be a table of texts. The corpus's words or codes"),
        ("speaker = '{speakr}'\n", "speaker names 'speakr', which is no group of the pattern; did you mean 'speaker'?"),
        ("text = '{n}'\n", "text names 'n', which is no group of the pattern; its groups are emotion, speaker"),
        ("example = 'x.wav'\n", "the example 'x.wav' does not fit the pattern; change one of them"),
        ("[emotions]\nA = 'anger'\n", "A in emotions is 'anger'; did you mean 'angry'?"),
        ("[emotions]\nA = 'Happy'\n", "A in emotions is 'Happy'; did you mean 'happy'?"),
        ("[emotions]\nA = 'angy'\n", "A in emotions is 'angy'; did you mean 'angry'?"),
        ("[votes]\nx = 'angry'\n", "it has votes and no tables; votes are columns of a table"),
        ("[sexes]\nmale = '('\n", "male is no regular expression (missing ), unterminated subpattern at position 0); "),
        ("tables = [{ file = 'a.csv', path = '{p}' }]\n", "it has neither a pattern nor tables, or both; give one of"),
    ],
)
def test_what_is_wrong_is_said_with_its_cure(tmp_path, text, sentence):
    [fault] = faults_of(tmp_path, GOOD + text)
    assert fault.startswith(sentence)


def test_all_faults_are_said_at_once(tmp_path):
    faults = faults_of(tmp_path, GOOD + "text = '{a}'\nid = '{b}'\nexample = 'x.wav'\n[emotions]\nA = 'anger'\n")
    assert len(faults) == 4
    assert len(faults_of(tmp_path, GOOD + "speakr = 's'\nlicence = 'x'\n")) == 2
    assert len(faults_of(tmp_path, GOOD + "files = 3\nname = 4\n")) == 2


def test_a_file_that_is_not_there_or_is_no_toml_is_said(tmp_path):
    with pytest.raises(CorpusError, match=r"none\.toml: .*cannot be read: No such file"):
        read(tmp_path / "none.toml")
    assert "it must" not in faults_of(tmp_path, "pattern = (\n")[0]
    assert re.search(r"is not TOML: .+ line 1", faults_of(tmp_path, "pattern = (\n")[0])


def test_a_pattern_fits_the_end_of_a_path_and_back_references_count_its_own_groups():
    description = Description(pattern=r"(s\d)/(?P<emotion>[a-z]+)_\1")
    assert description.match("x/s1/sad_s1.wav")[0] == "s1/sad_s1"
    assert description.match("x/s1/sad_s2.wav") is None
    assert description.match("xs1/sad_s1.wav") is None
    assert Description(pattern=".+").match("a/b/c.d.flac")[0] == "c.d"


@pytest.mark.parametrize(
    ("glob", "fit", "unfit"),
    [
        ("*", ["a.wav", "x/a.wav"], []),
        ("x_*", ["x_1.wav", "a/X_1.WAV"], ["ax_1.wav", "x_/1.wav"]),
        ("Actor_*/*", ["Actor_1/a.wav"], ["x/Actor_1/a.wav", "Actor_1/b/a.wav", "Actor_1.wav"]),
        ("**/JL(wav+txt)/*", ["JL(wav+txt)/a.wav", "x/y/JL(wav+txt)/a.wav"], ["JLwavtxt/a.wav", "xJL(wav+txt)/a.wav"]),
        ("0[12]-?.wav", ["01-a.wav", "x/02-b.wav"], ["03-a.wav", "01-ab.wav"]),
        ("[!a]*", ["b.wav"], ["a.wav"]),
    ],
)
def test_a_glob_without_a_slash_is_of_names_and_stars_stop_at_slashes(glob, fit, unfit):
    assert [path for path in [*fit, *unfit] if globbed(glob).fullmatch(path)] == fit


def test_a_text_is_filled_and_nothing_in_it_is_evaluated():
    assert filled("{a}_{b}", {"a": "x", "b": None}) == "x_"
    assert filled("{a c}", {"a c": " x "}) == "x"
    with pytest.raises(CorpusError, match=r"names 'emotion\.__class__', which is no group"):
        checked({"pattern": "(?P<emotion>x)", "speaker": "{emotion.__class__}"}, "mine.toml")
