"""The table of a batch's cells in a notebook."""

import time

import pytest
from pandas import DataFrame

from ipr_core.config import SettingsError
from ipr_widgets.cells import Cells, page, watch


def table(*states, error=""):
    columns = dict(varied="tau 0.5", epochs=20, error=error)
    rows = [
        {"run": f"run-{i}", "system": "ipr", "seed": i, "status": state, "epoch": 5, "left": 30.0, "seconds": 80.0}
        for i, state in enumerate(states)
    ]
    return DataFrame([columns | row for row in rows])


def until(ask):
    end = time.monotonic() + 20
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_cell_s_state_epochs_time_and_error_are_shown():
    shown = page(table("running", "done", "failed", "waiting", error="no <memory>\nat all"))
    assert "<b>1 waiting, 1 running, 1 done, 1 failed</b>" in shown
    assert 'value="5" max="20"' in shown
    assert shown.count("30 s left") == 1
    assert shown.count("80 s") == 2
    assert "no &lt;memory&gt;" in shown
    assert "at all" not in shown
    assert "tau 0.5" in shown


def test_it_follows_until_nothing_is_left():
    looks = iter([table("waiting"), table("running"), table("done")])
    cells = Cells(lambda: next(looks), seconds=0.01)
    until(lambda: "1 done" in cells.value)
    assert next(looks, None) is None


def test_what_cannot_be_looked_at_for_a_moment_is_said_and_looked_at_again():
    answers = iter([table("running"), OSError("the folder is away"), OSError("the folder is away"), table("done")])
    said = []

    def look():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    cells = Cells(look, seconds=0.05)
    cells.observe(lambda change: said.append(change["new"]), "value")
    until(lambda: "1 done" in cells.value)
    assert "The batch cannot be looked at: the folder is away" in said


def test_closed_it_looks_no_more():
    looks = []

    def look():
        looks.append(1)
        return table("running")

    cells = Cells(look, seconds=0.01)
    cells.close()
    time.sleep(0.1)
    seen = len(looks)
    time.sleep(0.1)
    assert len(looks) == seen


def test_a_grid_s_cells_are_found_by_its_name(tmp_path):
    cells = watch("table3", tmp_path, seeds=[0, 1])
    assert "<b>8 waiting, 0 running, 0 done, 0 failed</b>" in cells.value
    cells.close()
    with pytest.raises(SettingsError, match="gama"):
        watch("table3", tmp_path, settings={"gama": 1})
