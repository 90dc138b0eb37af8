"""`ipr notebooks` and `ipr lab`: copies to work on, which are never written over."""

import subprocess
import sys
from pathlib import Path

import pytest

from ipr_core.batch import notebooks
from ipr_core.cli import main

NAMES = sorted(path.name for path in (Path(__file__).parents[1] / "notebooks").glob("*.ipynb"))


def test_copies_are_left_as_they_are(tmp_path, capsys):
    folder = tmp_path / "mine"
    assert main(["notebooks", str(folder)]) == 0
    assert sorted(path.name for path in folder.iterdir()) == NAMES
    (folder / NAMES[0]).write_text("my own")
    (folder / NAMES[1]).unlink()
    assert main(["notebooks", str(folder)]) == 0
    assert (folder / NAMES[0]).read_text() == "my own"
    assert (folder / NAMES[1]).exists()
    assert NAMES[1] in capsys.readouterr().out


@pytest.fixture
def opened(monkeypatch):
    """The command lines of JupyterLab, which is not started."""
    calls: list[list[str]] = []
    monkeypatch.setattr(subprocess, "call", lambda words: calls.append(words) or 0)
    return calls


def test_lab_opens_the_notebooks_of_the_checkout_on_loopback(opened):
    assert main(["lab"]) == 0
    assert opened == [[sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", str(notebooks.folder())]]


def test_lab_opens_copies(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "mine"]) == 0
    assert sorted(path.name for path in Path("mine").iterdir()) == NAMES
    assert opened[0][-1] == "mine"


def test_an_installed_package_has_its_notebooks_beside_it(tmp_path, monkeypatch):
    (tmp_path / "ipr_notebooks").mkdir()
    (tmp_path / "notebooks").mkdir()  # of another package
    for name in notebooks.MAIN_JOB:
        (tmp_path / "ipr_notebooks" / f"{name}.ipynb").touch()
    monkeypatch.setattr(notebooks, "_BESIDE", tmp_path)
    assert notebooks.folder() == tmp_path / "ipr_notebooks"
