"""Errors that are told to a person: below a cell stands the sentence alone, without the library's frames."""

import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import nbformat
import papermill
import pytest
from IPython.core.interactiveshell import InteractiveShell
from papermill.exceptions import PapermillExecutionError
from traitlets.config import Config

from ipr_core import Recogniser
from ipr_core.atomic import WriteError
from ipr_core.cli import _codes, main
from ipr_core.config import SettingsError, from_notebook
from ipr_core.sentence import SentenceError

NOTEBOOKS = Path(__file__).parents[1] / "notebooks"
SENTENCES = {
    "epochs": (-3, "epochs is -3; it must be a whole number between 1 and 100,000. Epochs, the warm-up included."),
    "epohcs": (3, "epohcs is not a setting; did you mean epochs?"),
}


def below_a_cell(source, namespace, capsys):
    """Return what IPython shows below a cell with this source."""
    with tempfile.TemporaryDirectory() as folder:  # not the user's
        shell = InteractiveShell(ipython_dir=folder, config=Config({"HistoryManager": {"hist_file": ":memory:"}}))
    shell.push(namespace)
    shell.run_cell(source)
    return re.sub(r"\x1b\[[\d;]*m", "", capsys.readouterr().out).strip()


@pytest.mark.parametrize("name", SENTENCES)
def test_a_cell_shows_the_sentence_alone(name, capsys):
    value, sentence = SENTENCES[name]
    text = below_a_cell("from_notebook(globals())", {"from_notebook": from_notebook, name: value}, capsys)
    assert text == sentence


def test_every_traceback_is_shown_on_request(monkeypatch, capsys):
    monkeypatch.setenv("IPR_DEBUG", "1")
    text = below_a_cell("from_notebook(globals())", {"from_notebook": from_notebook, "epochs": -3}, capsys)
    assert text.startswith("Traceback")
    assert "in from_notebook" in text
    assert text.endswith(SENTENCES["epochs"][1])


@pytest.mark.parametrize("name", SENTENCES)
def test_papermill_ends_with_the_sentence_and_no_frame_of_the_library(name, tmp_path):
    value, sentence = SENTENCES[name]
    with pytest.raises(PapermillExecutionError) as ending:
        papermill.execute_notebook(
            NOTEBOOKS / "02_refinement.ipynb", tmp_path / "out.ipynb", {name: value}, progress_bar=False
        )
    assert str(ending.value).rstrip().splitlines()[-1] == sentence
    assert "ipr_core" not in str(ending.value)
    cells = nbformat.read(tmp_path / "out.ipynb", as_version=4).cells
    (error,) = [output for cell in cells for output in cell.get("outputs", []) if output.output_type == "error"]
    assert error.traceback == [sentence]


@pytest.mark.parametrize(("options", "name"), [(["--epochs", "-3"], "epochs"), (["--epohcs", "3"], "epohcs")])
def test_the_command_line_says_the_same(options, name, capsys):
    assert main(["run", *options]) == 2
    assert capsys.readouterr().err.strip() == SENTENCES[name][1].replace("-3", "'-3'")


def test_every_error_with_an_exit_code_of_its_own_is_a_sentence():
    code = "from ipr_core.cli import _ENDINGS; import importlib\n" + (
        "print(*(f'{k.__name__} {k.__mro__[1].__name__}' for names in _ENDINGS.values() for m, _, n in "
        "(f'ipr_core.{x}'.rpartition('.') for x in names) for k in [getattr(importlib.import_module(m), n)]), sep=',')"
    )
    lines = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert {line.split()[1] for line in lines.stdout.strip().split(",")} == {"SentenceError"}
    assert all(issubclass(kind, SentenceError) for kind in _codes())


def test_a_model_that_is_nowhere_is_a_sentence_too(capsys):
    text = below_a_cell("load('/nowhere')", {"load": Recogniser.from_pretrained}, capsys)
    assert text.startswith("/nowhere is not a local folder and cannot be loaded from the hub; give the folder")


def test_they_stay_the_errors_that_they_were():
    assert issubclass(SettingsError, ValueError)
    assert issubclass(WriteError, OSError)
    assert str(WriteError(os.devnull, "no room")) == f"{os.devnull} cannot be written: no room; name another place"
