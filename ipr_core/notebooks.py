"""The notebooks run headless: papermill executes them, once every parameter has been checked."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import papermill
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient.exceptions import DeadKernelError
from papermill.exceptions import PapermillExecutionError

from ipr_core.atomic import write
from ipr_core.config import FIELDS, SettingsError

MAIN_JOB = ("01_warm_up", "02_refinement", "03_analysis")
_NOT_SETTINGS = {"preset", "runs"}  # what every notebook takes beside settings


class NotebookError(RuntimeError):
    """A notebook that is not there, or that stopped; the message says where and why."""


class ThisPython(AsyncKernelManager):
    """Starts the Python that runs right now, whatever kernel is called python3 on the Jupyter path."""

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}"]
        encrypted = {"supported_encryption": ["curve"]}  # as ipykernel's own specification says
        return KernelSpec(argv=argv, language="python", display_name="Python", metadata=encrypted)


def folder() -> Path:
    """Where the notebooks lie: beside the package, in the checkout. raises NotebookError"""
    place = Path(__file__).parents[1] / "notebooks"
    absent = [name for name in MAIN_JOB if not (place / f"{name}.ipynb").is_file()]
    if absent:
        raise NotebookError(
            f"{place} has no {', '.join(absent)}; notebooks run from a checkout (pip install --editable), "
            "`ipr train` needs none"
        )
    return place


def main_job() -> list[Path]:
    """The notebooks of the main job, in order. raises NotebookError"""
    return [folder() / f"{name}.ipynb" for name in MAIN_JOB]


def parameters(notebook: Path) -> dict[str, Any]:
    """The names in a notebook's `parameters` cell, with what papermill reads of each."""
    return papermill.inspect_notebook(notebook)


def check(notebook: Path, settings: Mapping[str, Any]) -> None:
    """raises SettingsError naming every parameter that neither the notebook nor the configuration knows"""
    known = {*parameters(notebook), *FIELDS, *_NOT_SETTINGS}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise SettingsError([f"{name} is not a parameter of {notebook.name} and not a setting" for name in unknown])


def execute(notebook: Path, out: Path, settings: Mapping[str, Any]) -> Path:
    """Execute a notebook with parameters into `out`, which is written whole, also when a cell fails.

    settings: parameters as plain values; one given as None keeps the preset's
    raises SettingsError before anything runs; NotebookError with the cell's own sentence
    """
    check(notebook, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    stopped: list[Exception] = []
    write(out, lambda copy: stopped.extend(_run(notebook, copy, dict(settings))))
    if stopped:
        raise NotebookError(f"{notebook.name} stopped: {_sentence(stopped[0])}\nIts cells as far as they ran: {out}")
    return out


def _run(notebook: Path, copy: str, settings: dict[str, Any]) -> list[Exception]:
    """What stopped the notebook, if anything did; papermill has written the copy either way."""
    logging.getLogger("papermill").setLevel(logging.ERROR)  # settings that the first cell does not list are checked
    try:
        papermill.execute_notebook(
            notebook, copy, settings, kernel_name="python3", language="python", kernel_manager_class=ThisPython,
            progress_bar={"desc": notebook.stem, "file": sys.stderr},
        )  # fmt: skip
    except (PapermillExecutionError, DeadKernelError) as error:
        return [error]
    return []


def _sentence(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return error.evalue or error.ename
    return "its kernel died; where memory ran out, a smaller batch_size or encoder helps"
