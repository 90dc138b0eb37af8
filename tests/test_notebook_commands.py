"""`ipr notebooks` and `ipr lab`: copies to work on, which are never written over."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import nbformat.v4
import pytest

from ipr_core.batch import notebooks
from ipr_core.cli import main

ROOT = Path(__file__).parents[1]
NAMES = sorted(path.name for path in (ROOT / "notebooks").glob("*.ipynb"))


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

    def execv(path, words):
        calls.append(words)
        raise SystemExit(0)

    monkeypatch.setattr(os, "execv", execv)
    return calls


def test_lab_opens_copies_on_loopback(opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab", "mine"]) == 0
    assert opened == [[sys.executable, "-m", "jupyterlab", "--ServerApp.ip=127.0.0.1", "mine"]]
    assert sorted(path.name for path in Path("mine").iterdir()) == NAMES


def test_a_copy_with_other_cells_is_named_and_one_that_was_run_is_not(opened, tmp_path, capsys):
    assert main(["lab", str(tmp_path)]) == 0
    assert "Other cells" not in capsys.readouterr().out
    run, changed, damaged = (tmp_path / name for name in NAMES[:3])
    notebook = nbformat.read(run, as_version=4)
    notebook.cells[1].outputs = [nbformat.v4.new_output("stream", text="done")]
    nbformat.write(notebook, run)
    changed.write_text(changed.read_text("utf-8").replace("import torch", "import torch  # mine"), "utf-8")
    damaged.write_text("no notebook")
    assert main(["lab", str(tmp_path)]) == 0
    (line,) = [line for line in capsys.readouterr().out.splitlines() if line.startswith("Other cells")]
    assert f"in {tmp_path}: {changed.name}, {damaged.name}; rename one" in line


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A fresh repository with the notebooks of this one, in place of the checkout."""
    root = tmp_path / "repository"
    shutil.copytree(notebooks.folder(), root / "notebooks", ignore=shutil.ignore_patterns("votes", ".*"))
    for name in (".gitignore", "pyproject.toml"):
        shutil.copyfile(ROOT / name, root / name)
    if shutil.which("git") is None:
        pytest.skip("no git on this machine")
    for words in (["init", "-q"], ["add", "-A"], [*AUTHOR, "commit", "-q", "-m", "all"]):
        subprocess.run(["git", *words], cwd=root, check=True)
    monkeypatch.setattr(notebooks, "_BESIDE", root)
    return root


AUTHOR = ["-c", "user.name=A", "-c", "user.email=a@b.c", "-c", "commit.gpgsign=false"]


def test_what_is_run_and_saved_leaves_git_status_clean(repository, opened, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["lab"]) == 0
    copies = Path(opened[0][-1])
    assert copies == repository / "ipr-notebooks"
    (copies / NAMES[0]).write_text("run and saved")
    for name in ("ipr-notebooks/votes/ada.jsonl", "ipr-notebooks/.ipynb_checkpoints/a.ipynb", "runs/a/x", "out.ipynb"):
        (repository / name).parent.mkdir(parents=True, exist_ok=True)
        (repository / name).touch()
    status = subprocess.run(
        ["git", "status", "--porcelain"], cwd=repository, capture_output=True, text=True, check=True
    )
    assert status.stdout == ""


def test_the_notebooks_of_the_checkout_are_opened_themselves_where_they_are_named(repository, opened):
    files = sorted(repository.rglob("*"))
    assert main(["lab", str(repository / "notebooks")]) == 0
    assert opened[0][-1] == str(repository / "notebooks")
    assert sorted(repository.rglob("*")) == files


def test_make_lab_opens_copies_too():
    (recipe,) = [part for part in (ROOT / "Makefile").read_text("utf-8").split("\n\n") if part.startswith("lab:")]
    assert recipe.splitlines()[1:] == ["\t$(BIN)/ipr lab"]


def test_an_installed_package_has_its_notebooks_beside_it(tmp_path, monkeypatch):
    (tmp_path / "ipr_notebooks").mkdir()
    (tmp_path / "notebooks").mkdir()  # of another package
    for name in notebooks.MAIN_JOB:
        (tmp_path / "ipr_notebooks" / f"{name}.ipynb").touch()
    monkeypatch.setattr(notebooks, "_BESIDE", tmp_path)
    assert notebooks.folder() == tmp_path / "ipr_notebooks"
