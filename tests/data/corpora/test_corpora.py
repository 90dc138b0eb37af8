"""All corpora: how they are found, described and refused, and the table that they share."""

import inspect
import re
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pandas as pd
import pytest

from helpers.corpus_files import wav
from ipr_core.config import CORPORA, Data
from ipr_core.data import corpora
from ipr_core.data.corpora.table import CorpusError, Fault, check, plurality, tidy

CORE = Path(__file__).parents[3] / "ipr_core"


@pytest.mark.parametrize("name", ["iemocap", "cremad", "emodb", "ravdess"])
def test_a_wrong_folder_is_refused_with_what_was_expected_where(name, tmp_path):
    with pytest.raises(CorpusError, match=rf"(?s){tmp_path.name}: there is no .* in it; {name} needs "):
        corpora.read(Data(corpus=name, corpus_path=str(tmp_path)))
    with pytest.raises(CorpusError, match=rf"{name}: corpus_path is not set; name the folder with "):
        corpora.read(Data(corpus=name))


def test_a_folder_without_a_name_of_the_corpus_has_no_utterance(tmp_path):
    wav(tmp_path / "wav" / "nonsense.wav")
    (tmp_path / "erkennung.txt").write_text("Satz\terkannt\n03a01Wa.wav\t65,00\n")
    with pytest.raises(CorpusError, match="there is no utterance in it; check that it is the emodb corpus"):
        corpora.read(Data(corpus="emodb", corpus_path=str(tmp_path)))


def test_every_corpus_is_described():
    assert [corpus.name for corpus in corpora.describe()] == list(CORPORA)
    assert all(corpus.about and corpus.layout for corpus in corpora.describe())
    generated = [corpus.name for corpus in corpora.describe() if not (corpus.licence and corpus.home)]
    assert generated == ["synthetic", "manifest"]


@pytest.mark.parametrize("name", CORPORA)
def test_every_corpus_has_a_reader_that_is_called_alike(name):
    assert list(inspect.signature(corpora.reader(name).read).parameters) == ["data", "progress"]


READ_MINE = """
from ipr_core.config import Data
from ipr_core.data import corpora
print(corpora.read(Data(corpus="mine", corpus_path="."))[["id", "speaker", "label"]].to_csv(index=False))
"""


def test_a_new_reader_is_a_file_and_a_name(tmp_path):
    core = shutil.copytree(CORE, tmp_path / "ipr_core", ignore=shutil.ignore_patterns("__pycache__"))
    example = re.search(r"```python\n(.*?)```", (CORE / "data" / "README.md").read_text("utf-8"), re.DOTALL)
    (core / "data" / "corpora" / "mine.py").write_text(textwrap.dedent(example[1]), "utf-8")
    text = (core / "names.py").read_text("utf-8")
    (core / "names.py").write_text(
        re.sub(r"^Corpus = Literal\[", 'Corpus = Literal["mine", ', text, flags=re.M), "utf-8"
    )
    wav(tmp_path / "sad_anna_1.wav")

    def python(*options):
        return subprocess.run([sys.executable, *options], cwd=tmp_path, capture_output=True, text=True, timeout=120)

    assert python("-c", READ_MINE).stdout.split() == ["id,speaker,label", "sad_anna_1,anna,sad"]
    description = "mine        My corpus: clips named EMOTION_SPEAKER_NUMBER.wav, without votes.\n"
    assert description + "            needs EMOTION_SPEAKER_NUMBER.wav" in python("-m", "ipr_core", "corpora").stdout


def test_the_configuration_loads_no_reader():
    script = "import sys, ipr_core.config; assert not {'pandas', 'torch', 'ipr_core.data'} & set(sys.modules)"
    assert not subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60).stderr


def test_plurality_needs_one_winner_and_ignores_votes_for_no_emotion():
    votes = {
        "votes_sad": [2, 1, 0, 1],
        "votes_angry": [1, 1, 0, 0],
        "votes_other": [9, 0, 3, 0],
        "votes_unknown": [9, 0, 0, 5],
    }
    assert list(plurality(pd.DataFrame(votes))) == ["sad", "", "", "sad"]


def test_plurality_of_shares_that_are_equal_but_for_rounding_is_a_tie():
    assert list(plurality(pd.DataFrame({"votes_happy": [0.1 + 0.2, 0.3 + 1e-6], "votes_sad": [0.3, 0.3]}))) == [
        "",
        "happy",
    ]


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
