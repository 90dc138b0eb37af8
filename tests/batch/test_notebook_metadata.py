"""An executed notebook that is given to others: what papermill keeps in its metadata."""

import nbformat
import pytest
from nbformat import v4

from ipr_core.batch import notebooks


@pytest.mark.parametrize("source", ["print(1)", "1 / 0"])
def test_an_executed_notebook_keeps_no_path_of_the_machine_in_its_metadata(tmp_path, source):
    path = tmp_path / "a.ipynb"
    parameters = v4.new_code_cell("seed = 0", metadata={"tags": ["parameters"]})
    kernel = {"kernelspec": {"name": "python3", "display_name": "Python"}, "language_info": {"name": "python"}}
    nbformat.write(v4.new_notebook(cells=[parameters, v4.new_code_cell(source)], metadata=kernel), path)
    copy = tmp_path / "executed.ipynb"
    try:
        notebooks.execute(path, copy, {"seed": 1}, progress=False)
    except notebooks.NotebookError:
        assert source == "1 / 0"
    notebook = nbformat.read(copy, as_version=4)
    assert notebook.metadata.papermill.input_path == "a.ipynb"
    assert str(tmp_path) not in str(notebook.metadata)
