"""`ipr listen`: what is refused before anything is served, and what the served notebook holds."""

import nbformat
import numpy as np
import pytest
import soundfile

from ipr_core.cli import listening, main


@pytest.fixture
def served(monkeypatch, tmp_path):
    """The arguments of the pages that would be served, in a folder with one recording."""
    monkeypatch.setenv("IPR_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "recordings").mkdir()
    tone = 0.3 * np.sin(2 * np.pi * 440 * np.arange(8000) / 16_000)
    soundfile.write(tmp_path / "recordings" / "telltale.wav", tone, 16_000)
    pages = []
    monkeypatch.setattr(listening, "_serve", lambda *arguments: pages.append(arguments))
    return pages


def test_a_folder_of_recordings_is_served_by_absolute_paths(served, tmp_path, capsys):
    words = ["--listener", "ada", "--classes", "calm,tense", "--seed", "3", "--repeats", ".5", "--port", "8123"]
    assert main(["listen", "recordings", *words, "--no-browser"]) == 0
    ((arguments, port, browser),) = served
    assert (port, browser) == (8123, False)
    assert arguments["corpus_path"] == str(tmp_path / "recordings")
    assert arguments["votes"] == str(tmp_path / "votes")
    assert (arguments["listener"], arguments["seed"], arguments["repeats"], arguments["live"]) == ("ada", 3, 0.5, True)
    assert arguments["classes"] == ["calm", "tense"]
    assert "1 clip; votes go to votes/ada.jsonl" in capsys.readouterr().out


def test_a_corpus_is_named_or_lies_somewhere(served):
    assert main(["listen", "synthetic", "--listener", "ada", "--synthetic-size", "40"]) == 0
    assert served[0][0]["corpus"] == "synthetic"
    assert main(["listen", "recordings", "--corpus", "manifest", "--listener", "ada"]) == 0
    assert served[1][0]["corpus"] == "manifest"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["recordings", "--listener", "a/b"], "'a/b' cannot be the name of a listener"),
        (["nowhere", "--listener", "ada"], "nowhere"),
        (["recordings", "--listener", "ada", "--classes", "calm"], "classes"),
        (["recordings", "--listener", "bo"], "bo.jsonl, line 1: it is not JSON"),
    ],
)
def test_a_wrong_request_is_a_sentence_and_serves_nothing(served, words, message, tmp_path, capsys):
    (tmp_path / "votes").mkdir()
    (tmp_path / "votes" / "bo.jsonl").write_text("damage\n")
    assert main(["listen", *words]) == 2
    assert message in capsys.readouterr().err
    assert not served


@pytest.mark.parametrize("words", [["--seed", "-1"], ["--repeats", "1.5"], ["--repeats", "nan"], ["--port", "0"], []])
def test_a_line_that_cannot_be_read_is_refused(served, words):
    listener = ["--listener", "ada"] if words else []  # which is needed
    assert main(["listen", "recordings", *listener, *words]) == 2
    assert not served


def test_the_served_notebook_is_one_cell(tmp_path):
    listening._write_notebook(tmp_path / "page.ipynb", dict(corpus="it's"))
    (cell,) = nbformat.read(tmp_path / "page.ipynb", as_version=4).cells
    assert cell.source.endswith("""listen(**{'corpus': "it's"})""")
