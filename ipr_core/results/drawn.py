"""What the widgets draw for a report: a notebook of one cell, executed in the kernel that ran the others.

`ipr_core` draws nothing and imports no widget; a kernel does, as a person's notebook would.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import nbformat
from nbformat import NotebookNode, v4

from ipr_core.batch import notebooks
from ipr_core.batch.notebooks import ThisPython
from ipr_core.runs.run import Run

NAME = "report"
"""The name of the notebook, in the run's folder of notebooks."""
KEY = "ipr"
"""The field of an output's metadata that says where it belongs."""
FIRST_PAGE, SOUNDS = "The first page", "The sounds"
"""Subjects of the outputs that have no heading of their own: three figures, and players by the utterance's id."""


@dataclass(frozen=True)
class Exhibit:
    """A figure, table or sound of a report."""

    subject: str
    """The heading that it stands under."""
    name: str
    is_wide: bool
    output: NotebookNode


def draw(run: Run, rivals: Sequence[Run], manager: ThisPython | None = None) -> Path:
    """Draw what a finished run's report shows, and return the executed notebook, which holds it.

    rivals: finished runs on the same utterances   manager: of a running kernel; else one is started
    raises NotebookError
    """
    folders = [str(each_run.folder.resolve()) for each_run in (run, *rivals)]
    code = f"from ipr_widgets.report import show\n\nshow(*{folders!r})"
    with tempfile.TemporaryDirectory(prefix="ipr-") as folder:
        source = Path(folder, f"{NAME}.ipynb")
        parameters = v4.new_code_cell("", metadata={"tags": ["parameters"]})  # papermill warns if there are none
        spec = {"name": "python3", "language": "python", "display_name": "Python"}
        cells = [parameters, v4.new_code_cell(code)]
        nbformat.write(v4.new_notebook(cells=cells, metadata={"kernelspec": spec}), source)
        is_terminal = sys.stderr is not None and sys.stderr.isatty()  # elsewhere it is not worth a line
        return notebooks.execute(source, run.folder / "notebooks" / source.name, {}, manager, is_terminal)


def exhibits(notebook: NotebookNode) -> Iterator[Exhibit]:
    """Yield what such a notebook shows, in its order."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            position = output.get("metadata", {}).get(KEY)
            if position:
                yield Exhibit(position["subject"], position["name"], bool(position.get("wide")), output)
