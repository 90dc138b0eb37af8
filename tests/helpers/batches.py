"""Small batches: a notebook that trains, a Dask client in threads, and runs as a batch leaves them."""

import concurrent.futures
import json
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4 as nb
from jupyter_core.utils import ensure_event_loop

from ipr_core.batch import cells
from ipr_core.batch.cells import Record
from ipr_core.batch.plan import Plan, make_plan
from ipr_core.config import Config
from ipr_core.runs import provenance
from ipr_core.training.advance import advance, prepare

TRAIN = """\
from time import sleep
from ipr_core.config import from_notebook
from ipr_core.runs.events import EpochEnd
from ipr_core.training.advance import advance, prepare
config = from_notebook(globals())
run, data = prepare(config, runs)
run = advance(run, data, watch=lambda event: sleep({pause} if isinstance(event, EpochEnd) else 0))"""


class ThreadClient:
    """The part of a Dask client that a batch uses, in threads of this process."""

    def __init__(self, workers=2):
        self._pool = concurrent.futures.ThreadPoolExecutor(workers)
        self.keys = []

    def submit(self, function, *args, key, pure):
        def call():
            try:
                return function(*args)
            finally:  # jupyter_core opens a loop for each thread and leaves it open
                ensure_event_loop().close()

        self.keys.append(key)
        return self._pool.submit(call)


def write_notebook(path: Path, *sources: str) -> str:
    """Write a notebook that takes parameters as those of the main job do."""
    first = nb.new_code_cell("preset = 'recommended'\nruns = None", metadata={"tags": ["parameters"]})
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    content = nb.new_notebook(cells=[first, *map(nb.new_code_cell, sources)], metadata={"kernelspec": kernel})
    nbformat.write(content, path)
    return str(path)


def without_clock(text: str) -> str:
    """Return a summary without its columns of seconds, which no two trainings have alike."""
    lines, clocks = [], set()
    for line in text.split("\n"):
        cells = line.split("|")
        clocks = {i for i, cell in enumerate(cells) if cell.strip() == "training, s"} or (
            clocks if "|" in line else set()
        )
        lines.append("|".join(cell for i, cell in enumerate(cells) if i not in clocks))
    return "\n".join(lines)


def settings_of(config: Config) -> dict[str, Any]:
    """Return a configuration's settings for a grid, which states system and seed in its own way."""
    return {name: value for name, value in config.settings().items() if name not in ("system", "seed")}


def plan_of(options, folder: Path, **kwargs) -> Plan:
    return make_plan(None, options, folder, progress=False, **kwargs)


def finish(options, folder: Path, data, views) -> Plan:
    """Finish a batch's cells without kernels; returns the plan as it was before."""
    plan = plan_of(options, folder)
    for planned in plan.cells:
        run, _ = prepare(planned.cell.config, folder, data=data)
        advance(run, data, views=views)
        versions = {path.stem: provenance.notebook_version(path) for path in plan.grid.notebooks}
        record = Record("done", notebooks=versions, attempts=1, began=0.0, ended=9.0, seconds=9.0)
        cells.save_record(run, record)
    return plan


def reasons(plan: Plan) -> list[str]:
    return [planned.reason for planned in plan.cells]


def records(folder: Path) -> dict[str, dict[str, Any]]:
    """Read every cell's record as it lies in the file."""
    return {path.parent.name: json.loads(path.read_text()) for path in folder.glob("*/cell.json")}
