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


def wait_for(ask):
    end = time.monotonic() + 20
    while not ask():
        assert time.monotonic() < end
        time.sleep(0.01)


def test_a_cell_s_state_epochs_time_and_error_are_shown():
    html = page(table("running", "done", "failed", "waiting", error="no <memory>\nat all"))
    assert "<b>1 waiting, 1 running, 1 done, 1 failed</b>" in html
    assert 'value="5" max="20"' in html
    assert html.count("30 s left") == 1
    assert html.count("80 s") == 2
    assert "no &lt;memory&gt;" in html
    assert "at all" not in html
    assert "tau 0.5" in html


def test_the_table_is_updated_until_no_cell_waits_or_runs():
    tables = iter([table("waiting"), table("running"), table("done")])
    cells = Cells(lambda: next(tables), seconds=0.01)
    wait_for(lambda: "1 done" in cells.value)
    assert next(tables, None) is None


def test_an_absent_folder_is_reported_and_read_again():
    answers = iter([table("running"), OSError("the folder is away"), OSError("the folder is away"), table("done")])
    texts = []

    def status():
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return answer

    cells = Cells(status, seconds=0.05)
    cells.observe(lambda change: texts.append(change["new"]), "value")
    wait_for(lambda: "1 done" in cells.value)
    assert "The batch cannot be read: the folder is away" in texts


def test_a_closed_table_is_updated_no_more():
    calls = []

    def status():
        calls.append(1)
        return table("running")

    cells = Cells(status, seconds=0.01)
    cells.close()
    time.sleep(0.1)
    count = len(calls)
    time.sleep(0.1)
    assert len(calls) == count


def test_a_grid_s_cells_are_found_by_its_name(tmp_path):
    cells = watch("table3", tmp_path, seeds=[0, 1])
    assert "<b>8 waiting, 0 running, 0 done, 0 failed</b>" in cells.value
    cells.close()
    with pytest.raises(SettingsError, match="gama"):
        watch("table3", tmp_path, settings={"gama": 1})
