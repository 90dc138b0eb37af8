"""The shipped notebooks, and the limits that each keeps."""

import re
from pathlib import Path

import nbformat

FOLDER = Path(__file__).parents[2] / "notebooks"
_PROGRAMMING = re.compile(r"^\s*(def|class) |lambda|^\s*[!%]|sys\.path|chdir", re.MULTILINE)


def read(name):
    return nbformat.read(FOLDER / f"{name}.ipynb", as_version=4)


def code(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def assert_thin(notebook, parameters_too=True, cells=15):
    """Assert few and short cells without programming, and at least as much prose.

    parameters_too: whether the second cell, a line a parameter, has to be short as well   cells: at most
    """
    sources = [cell.source for cell in code(notebook)]
    assert len(sources) <= cells
    short = sources if parameters_too else [sources[0], *sources[2:]]
    assert max(len(source.splitlines()) for source in short) <= 10
    prose = sum(len(cell.source) for cell in notebook.cells if cell.cell_type == "markdown")
    assert prose >= sum(map(len, sources))
    for source in sources:
        assert not _PROGRAMMING.search(source), source
