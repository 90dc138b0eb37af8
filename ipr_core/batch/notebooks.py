"""The notebooks run headless: papermill executes them, once every parameter has been checked."""

from __future__ import annotations

import contextlib
import logging
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import nbformat
import nbformat.v4
import papermill
from jupyter_client.asynchronous.client import AsyncKernelClient
from jupyter_client.kernelspec import KernelSpec
from jupyter_client.manager import AsyncKernelManager
from nbclient import NotebookClient
from nbclient.exceptions import DeadKernelError
from nbclient.util import run_sync
from papermill.exceptions import PapermillExecutionError

from ipr_core.atomic import write
from ipr_core.config import FIELDS, NOT_SETTINGS, SettingsError

MAIN_JOB = ("01_warm_up", "02_refinement", "03_analysis")
# Every kernel imports jsonschema, which compiles grammars of web addresses for four seconds if this package is there.
_LAUNCH = (
    "import sys; sys.modules['rfc3987_syntax'] = None\n"
    "from ipykernel.kernelapp import launch_new_instance; launch_new_instance()"
)


class NotebookError(RuntimeError):
    """A notebook that is not there, or that stopped; the message says where and why."""


class ThisPython(AsyncKernelManager):
    """Starts the Python that runs right now, whatever kernel is called python3 on the Jupyter path."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.clients: list[AsyncKernelClient] = []

    def client(self, **kwargs: Any) -> AsyncKernelClient:
        """One more client; `kernel` closes them all."""
        self.clients.append(super().client(**kwargs))
        return self.clients[-1]

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-c", _LAUNCH, "-f", "{connection_file}"]
        encrypted = {"supported_encryption": ["curve"]}  # as ipykernel's own specification says
        return KernelSpec(argv=argv, language="python", display_name="Python", metadata=encrypted)


def folder() -> Path:
    """Where the notebooks lie: beside the package, in the checkout. raises NotebookError"""
    place = Path(__file__).parents[2] / "notebooks"
    absent = [name for name in MAIN_JOB if not (place / f"{name}.ipynb").is_file()]
    if absent:
        raise NotebookError(
            f"{place} has no {', '.join(absent)}; notebooks run from a checkout (pip install --editable), "
            "`ipr train` needs none"
        )
    return place


@contextlib.contextmanager
def kernel(log: Path, place: Path | str | None = None) -> Iterator[ThisPython]:
    """A kernel for several notebooks in a row: it starts and imports once, and each finds it empty.

    It is spoken to through a socket file, so that many may start at once on one machine. It ends with this process,
    however that ends.

    log: where what it says beside the notebooks goes   place: its working folder, this process's if absent
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ipr-", ignore_cleanup_errors=True) as socket, open(log, "wb") as said:
        made = ThisPython(kernel_name="python3", transport="ipc", connection_file=f"{socket}/kernel.json")
        apart = ["--HistoryManager.hist_file=:memory:"]  # else all kernels write into one history of this user
        run_sync(made.start_kernel)(extra_arguments=apart, stdout=said, stderr=said, cwd=str(place or Path.cwd()))
        try:
            yield made
        finally:
            for client in made.clients:
                client.stop_channels()
            run_sync(made.shutdown_kernel)(now=True)


def main_job() -> list[Path]:
    """The notebooks of the main job, in order. raises NotebookError"""
    return [folder() / f"{name}.ipynb" for name in MAIN_JOB]


def named(names: Sequence[str]) -> list[Path]:
    """Notebooks by name or by a name's beginning ("02"), in the order of the main job; a path is one's own notebook.

    raises SettingsError naming every one that is not there; NotebookError
    """
    shipped = {name: path for path in sorted(folder().glob("*.ipynb")) for name in (path.stem, path.stem[:2])}
    found = {name: shipped.get(name, Path(name)) for name in names}
    absent = [name for name, path in found.items() if path.suffix != ".ipynb" or not path.is_file()]
    if absent:
        known = ", ".join(sorted({path.stem for path in shipped.values()}))
        raise SettingsError([f"{name} is not a notebook; it is one of {known}, or a path" for name in absent])
    return sorted(dict.fromkeys(found.values()))


def parameters(notebook: Path) -> dict[str, Any]:
    """The names in a notebook's `parameters` cell, with what papermill reads of each."""
    return papermill.inspect_notebook(notebook)


def check(notebook: Path, settings: Mapping[str, Any]) -> None:
    """raises SettingsError naming every parameter that neither the notebook nor the configuration knows"""
    known = {*parameters(notebook), *FIELDS, *NOT_SETTINGS}
    unknown = [name for name in settings if name not in known]
    if unknown:
        raise SettingsError([f"{name} is not a parameter of {notebook.name} and not a setting" for name in unknown])


def execute(
    notebook: Path, out: Path, settings: Mapping[str, Any], kernel: ThisPython | None = None, progress: bool = True
) -> Path:
    """Execute a notebook with parameters into `out`, which is written whole, also when a cell fails.

    settings: parameters as plain values; one given as None keeps the preset's
    kernel: one that runs and is emptied first; else one is started for this notebook alone
    raises SettingsError before anything runs; NotebookError with the cell's own sentence
    """
    check(notebook, settings)
    out.parent.mkdir(parents=True, exist_ok=True)
    stopped: list[Exception] = []
    write(out, lambda copy: stopped.extend(_run(notebook, copy, dict(settings), kernel, progress)))
    if stopped:
        raise NotebookError(f"{notebook.name} stopped: {_sentence(stopped[0])}\nIts cells as far as they ran: {out}")
    return out


def _run(
    notebook: Path, copy: str, settings: dict[str, Any], kernel: ThisPython | None, progress: bool
) -> list[Exception]:
    """What stopped the notebook, if anything did; papermill has written the copy either way."""
    logging.getLogger("papermill").setLevel(logging.ERROR)  # settings that the first cell does not list are checked
    bar = {"desc": notebook.stem, "file": sys.stderr} if progress else False
    try:
        if kernel is not None:
            _empty(kernel)
        papermill.execute_notebook(
            notebook, copy, settings, kernel_name="python3", language="python", progress_bar=bar,
            **({"kernel_manager_class": ThisPython} if kernel is None else {"km": kernel}),
        )  # fmt: skip
    except (PapermillExecutionError, DeadKernelError) as error:
        return [error]
    return []


def _empty(kernel: ThisPython) -> None:
    """Forget every name that an earlier notebook left in the kernel, and number its cells from 1 again."""
    reset = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f\nget_ipython().execution_count = 1")])
    NotebookClient(reset, km=kernel).execute()


def _sentence(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return error.evalue or error.ename
    return "its kernel died; where memory ran out, a smaller batch_size or encoder helps"
