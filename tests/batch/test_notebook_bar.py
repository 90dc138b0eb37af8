"""The progress of an executed notebook: a bar with epochs and accuracy in a terminal, one line elsewhere."""

import re
import time

import pytest

from helpers.batches import TRAIN, write_notebook
from helpers.fake_runs import fake_run
from ipr_core.batch import notebook_bar, notebooks
from ipr_core.batch.notebook_bar import NotebookBar, training_of
from ipr_core.config import for_notebook
from ipr_core.training.advance import prepare


@pytest.fixture
def terminal(monkeypatch):
    """A standard error output that counts as a terminal, looked at often."""
    monkeypatch.setattr(notebook_bar, "is_watched", lambda: True)
    monkeypatch.setattr(notebook_bar, "_INTERVAL", 0.01)


def test_a_run_is_told_by_its_epochs_and_the_accuracy_of_the_last(tmp_path, frozen, data):
    run = fake_run(tmp_path, frozen, data, (0.2, 0.4333))
    assert training_of(run)() == "epoch 2 of 3, accuracy on D3 0.433"
    (run.folder / "events.jsonl").write_text("half a li")
    assert training_of(run)() == ""


def test_the_words_are_renewed_while_a_cell_works(terminal, capsys):
    words = iter(["", *(f"epoch {n} of 9" for n in range(1, 1000))])
    with NotebookBar("02_refinement", 4, lambda: next(words)) as bar:
        bar.count(cell=None, cell_index=0)
        time.sleep(0.5)
        text = capsys.readouterr().err
    assert "1/4 cells" in text
    assert len(set(re.findall(r"epoch \d+ of 9", text))) > 2


def test_elsewhere_it_is_one_line_and_only_what_is_new(capsys):
    for words in (iter(["", "epoch 3 of 3"]), iter(["epoch 3 of 3", "epoch 3 of 3"])):
        with NotebookBar("02_refinement", 4, lambda words=words: next(words)):
            pass
    assert capsys.readouterr().err == "Notebook 02_refinement: 0 s, epoch 3 of 3\nNotebook 02_refinement: 0 s\n"


def test_a_notebook_that_stopped_says_so_itself(capsys):
    with pytest.raises(KeyError), NotebookBar("02_refinement", 4):
        raise KeyError("x")
    assert capsys.readouterr().err == ""


def test_a_bar_shows_the_training_of_the_kernel(terminal, tmp_path, frozen, data, capsys):
    config = frozen.replace(seed=7)
    run, _ = prepare(config, tmp_path, data=data)
    path = tmp_path / "train.ipynb"
    write_notebook(path, TRAIN.format(pause=0.3))
    settings = for_notebook(config, config.settings(), "demo", str(tmp_path))
    notebooks.execute(path, tmp_path / "out.ipynb", settings, look=training_of(run))
    text = capsys.readouterr().err
    assert set(re.findall(r"epoch (\d) of 3, accuracy on D3 0\.\d{3}", text)) >= {"1", "2", "3"}
    assert text.rstrip().splitlines()[-1].count("3/3 cells") == 1
