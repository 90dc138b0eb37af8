"""The command `ipr corpora`, and a description of one's own in every place that takes a corpus."""

import re
import tomllib

import pytest

from helpers.corpus_files import wav
from ipr_core import cli
from ipr_core.batch import grid
from ipr_core.config import Data, demo, read_file
from ipr_core.data import corpora
from ipr_core.results.places import Places
from ipr_core.runs import names, provenance
from ipr_core.runs.run import Run
from ipr_core.training.advance import prepare
from ipr_core.votes import clips

TEXT = "pattern = '(?P<emotion>[a-z]+)_(?P<speaker>s[0-9])_[0-9]+'\n"


VOTED = """tables = [{ file = "votes.csv", path = "{clip}" }]
[votes]
a = "angry"
s = "sad"
"""


@pytest.fixture
def voted(folder):
    """The settings of the same corpus by a table with votes: all agree on a third, two of three on another."""
    lines = ["clip,speaker,a,s"]
    for i, clip in enumerate(sorted(folder.glob("*.wav"))):
        votes = [(9, 0), (6, 3), (5, 4)][i % 3]
        own, other = votes if clip.stem.startswith("angry") else votes[::-1]
        lines.append(f"{clip.stem},{clip.stem.split('_')[1]},{own},{other}")
    (folder / "votes.csv").write_text("\n".join(lines))
    (folder.parent / "mine.toml").write_text(VOTED)
    return {"corpus": f"{folder}.toml", "corpus_path": str(folder), "classes": "angry,sad", "test_size": "none"}


@pytest.fixture
def folder(tmp_path):
    """A corpus of four speakers, two emotions and 40 clips, and its description beside it."""
    for i in range(40):
        wav(tmp_path / "mine" / f"{('angry', 'sad')[i % 2]}_s{i % 4}_{i}.wav", 0.2 + i / 200)
    (tmp_path / "mine.toml").write_text(TEXT)
    return tmp_path / "mine"


def test_the_list_says_licence_and_home(capsys):
    assert cli.main(["corpora"]) == 0
    text = capsys.readouterr().out
    assert "\nravdess     RAVDESS: 1,440 acted clips of 24 actors" in text
    assert "            CC BY-NC-SA 4.0: https://doi.org/10.5281/zenodo.1188976\n" in text
    assert not re.search(r"needs .*\n +: ", text)


def test_show_writes_a_description_that_can_be_read(capsys):
    assert cli.main(["corpora", "show", "savee"]) == 0
    assert tomllib.loads(capsys.readouterr().out)["name"] == "SAVEE"


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["show"], "ipr corpora show needs a name"),
        (["show", "iemocap"], "there is no description of iemocap: a module reads it"),
        (["show", "ravdes"], "there is no description of ravdes: it is no corpus; `ipr corpora` lists them"),
        (["new"], "ipr corpora new needs a folder"),
        (["new", "nowhere"], "nowhere is no folder"),
        (["show", "savee", "--out", "x.toml"], "--out belongs to `ipr corpora new FOLDER`"),
    ],
)
def test_a_wrong_request_is_exit_code_2(words, sentence, capsys):
    assert cli.main(["corpora", *words]) == 2
    assert sentence in capsys.readouterr().err


def test_new_prints_the_proposal_and_what_it_reads_and_writes_nothing(folder, capsys, monkeypatch):
    wav(folder / "noise.wav")
    monkeypatch.chdir(folder)
    files = sorted(folder.rglob("*"))
    assert cli.main(["corpora", "new", str(folder)]) == 0
    text = capsys.readouterr().out
    assert tomllib.loads(text.partition("\nNothing was written")[0])["emotions"] == {"angry": "angry", "sad": "sad"}
    assert "# It reads 40 utterances and refuses 1 file.\n" in text
    assert "#   angry               20\n" in text
    assert "noise.wav: its name is none of mine's, such as angry_s0_0.wav; rename it" in text
    assert sorted(folder.rglob("*")) == files


def test_new_writes_a_file_that_is_a_corpus_and_none_that_is_there(folder, tmp_path, capsys):
    target = tmp_path / "new.toml"
    assert cli.main(["corpora", "new", str(folder), "--out", str(target)]) == 0
    assert len(corpora.read(Data(corpus=str(target), corpus_path=str(folder)))) == 40
    target.write_text(TEXT)
    for file in (target, tmp_path / "new.txt"):
        assert cli.main(["corpora", "new", str(folder), "--out", str(file)]) == 2
    assert target.read_text() == TEXT
    assert "which is there already; name another file" in capsys.readouterr().err


def test_a_description_is_a_corpus_on_the_command_line(voted, capsys):
    words = [word for name, value in voted.items() for word in (f"--{name.replace('_', '-')}", value)]
    assert cli.main(["partition", *words]) == 0
    text = capsys.readouterr().out
    assert re.search(r"^all +14 +13 +13 +40$", text, re.MULTILINE)
    assert re.search(r"^s3 ", text, re.MULTILINE)


def test_a_wrong_description_is_exit_code_2_with_its_fault(folder, capsys):
    (folder.parent / "mine.toml").write_text(TEXT + "speakr = 'x'\n")
    assert cli.main(["partition", "--corpus", f"{folder}.toml", "--corpus-path", str(folder)]) == 2
    assert "mine.toml: 'speakr' is no key; did you mean 'speaker'?" in capsys.readouterr().err


def test_a_settings_file_and_a_grid_take_a_description(folder, tmp_path):
    (tmp_path / "settings.toml").write_text(f'[settings]\ncorpus = "{folder}.toml"\ncorpus_path = "{folder}"\n')
    assert read_file(tmp_path / "settings.toml")[1]["corpus"] == f"{folder}.toml"
    (tmp_path / "grid.toml").write_text(f'seeds = [0]\n[cross]\ncorpus = ["{folder}.toml", "emovo"]\n')
    cells = grid.read(tmp_path / "grid.toml").cells
    assert [cell.config.data.corpus for cell in cells] == [f"{folder}.toml", "emovo"]
    assert [cell.name.partition("-")[0] for cell in cells] == ["mine", "emovo"]


def test_listening_and_votes_take_a_description_by_its_path(folder):
    assert clips.corpus(f"{folder}.toml", {"corpus_path": str(folder)}).corpus == f"{folder}.toml"


def test_a_run_is_named_by_the_file_and_keeps_what_it_was_read_by(voted, folder, tmp_path):
    config = demo(**voted, test_balanced=False, epochs=1, warm_up=1, max_seconds=1, device="cpu", map_size=10)
    run, _ = prepare(config, tmp_path / "runs", progress=False)
    assert run.folder.name == names.name(config)
    assert run.folder.name.startswith("mine-compact-ipr-s0-")
    assert Run.open(run.folder).meta["reader"] == VOTED
    assert Places(run).hide(f"{folder}.toml") == "…/mine.toml"


def test_a_run_of_a_module_keeps_no_description(tiny, tmp_path):
    run, _ = prepare(tiny, tmp_path, progress=False)
    assert "reader" not in run.meta


def test_a_changed_description_changes_the_origin_of_a_result(tmp_path, monkeypatch):
    monkeypatch.setattr(provenance, "_imported_files", lambda first: {})
    first = provenance.version_now()
    file = tmp_path / "x.toml"
    monkeypatch.setattr(provenance, "_descriptions", lambda: [file])
    file.write_text(TEXT)
    with_own = provenance.version_now()
    file.write_text(f"# a comment\n{TEXT}")
    assert provenance.version_now() == with_own != first
    file.write_text(TEXT.replace("[a-z]", "[a-y]"))
    assert provenance.version_now() != with_own
