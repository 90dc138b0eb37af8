"""The notebook of what is reachable: an example where no oracle is trained, the curve and its files."""

import nbformat
import papermill
import pytest

from helpers.shipped_notebooks import FOLDER, assert_thin, read
from ipr_core.results import examples, selection
from ipr_core.results.reachable import KINDS, points

NAME = "13_reachable"
PLOTLY = "application/vnd.plotly.v1+json"


@pytest.fixture(scope="module")
def executed(tmp_path_factory, cache):
    """The notebook, executed on its own example, and the folder of that."""
    folder = tmp_path_factory.mktemp("reachable")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_RUNS", str(folder / "runs"))
        papermill.execute_notebook(FOLDER / f"{NAME}.ipynb", folder / "out.ipynb", progress_bar=False)
    return nbformat.read(folder / "out.ipynb", as_version=4), folder / "runs" / examples.FOLDER


def test_it_is_thin():
    assert_thin(read(NAME))


def test_without_an_oracle_an_example_is_made(executed):
    notebook, folder = executed
    texts = [str(output.get("data", "")) for cell in notebook.cells for output in cell.get("outputs", [])]
    assert any("small EXAMPLE" in text for text in texts)
    runs = selection.finished_runs(folder)
    assert set(points(runs)["kind"]) == set(KINDS)
    assert len(points(runs)) == len(examples.ORACLES) * len(examples.SEEDS)


def test_the_curve_has_a_line_a_kind(executed):
    notebook, _ = executed
    outputs = [output["data"] for cell in notebook.cells for output in cell.get("outputs", []) if "data" in output]
    (figure,) = [data[PLOTLY] for data in outputs if PLOTLY in data]
    assert [trace["name"] for trace in figure["data"]] == list(KINDS.values())
    assert figure["layout"]["xaxis"]["title"]["text"] == "Right labels of D2, %"


def test_the_table_is_written_in_three_forms(executed):
    _, folder = executed
    files = sorted(path.name for path in folder.glob("tables/reachable/*"))
    assert files == ["reachable.csv", "reachable.md", "reachable.tex"]
