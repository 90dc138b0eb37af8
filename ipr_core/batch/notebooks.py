"""Headless notebooks: papermill executes them, once every parameter has been checked."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
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
from ipr_core.batch.notebook_bar import Look, NotebookBar
from ipr_core.config import FIELDS, NOT_SETTINGS, SettingsError
from ipr_core.sentence import SentenceError

_BESIDE = Path(__file__).parents[2]
MAIN_JOB = ("01_warm_up", "02_refinement", "03_analysis")
_LAUNCH = """import contextlib, importlib
for module, _, function in (name.partition(':') for name in {preload!r}):
    with contextlib.suppress(Exception):  # a cell that needs it will say what is wrong
        imported = importlib.import_module(module)
        getattr(imported, function)() if function else None
from ipykernel.kernelapp import launch_new_instance
launch_new_instance()"""
_START_SECONDS = 600  # that a kernel may take until it answers: to import torch from a slow disk takes minutes


class NotebookError(SentenceError, RuntimeError):
    """A notebook that is missing, or that stopped; the message says where and why."""


class ThisPython(AsyncKernelManager):
    """The manager of a kernel in the present Python, whatever kernel is called python3 on the Jupyter path."""

    def __init__(self, preload: Sequence[str] = (), **kwargs: Any):
        super().__init__(**kwargs)
        self.clients: list[AsyncKernelClient] = []
        self._launch = _LAUNCH.format(preload=tuple(preload))

    def client(self, **kwargs: Any) -> Any:  # its bases disagree on the class
        """Make one more client; `kernel` closes them all."""
        client = super().client(**kwargs)
        self.clients.append(client)
        return client

    @property
    def kernel_spec(self) -> KernelSpec:
        argv = [sys.executable, "-c", self._launch, "-f", "{connection_file}"]
        encrypted = {"supported_encryption": ["curve"]}  # as ipykernel's own specification says
        return KernelSpec(argv=argv, language="python", display_name="Python", metadata=encrypted)


def folder() -> Path:
    """Return the notebooks' folder, beside the package: of the checkout, or as installed. raises NotebookError"""
    path = _BESIDE / ("notebooks" if checkout() else "ipr_notebooks")
    missing = [name for name in MAIN_JOB if not (path / f"{name}.ipynb").is_file()]
    if missing:
        raise NotebookError(f"{path} has no {', '.join(missing)}; install the workbench again, `ipr train` needs none")
    return path


def checkout() -> bool:
    """Tell whether the package is used from a checkout of the repository."""
    return (_BESIDE / "pyproject.toml").is_file() and (_BESIDE / "notebooks").is_dir()


@contextlib.contextmanager
def kernel(log: Path, cwd: Path | str | None = None, preload: Sequence[str] = ()) -> Iterator[ThisPython]:
    """Run a kernel for several notebooks in a row: it starts and imports once, and each finds it empty.

    It listens on a socket file in a folder of this user's alone: no other user reaches it, and many may start at once.
    It ends with this process, however that ends.

    log: the file for its output outside the notebooks   cwd: its working folder, this process's if absent
    preload: modules that it imports at once, while this process does something else, none that need a running kernel;
        "module:function" calls the function too
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="ipr-", ignore_cleanup_errors=True) as socket, open(log, "wb") as stream:
        manager = ThisPython(preload, kernel_name="python3", transport="ipc", connection_file=f"{socket}/kernel.json")
        history = ["--HistoryManager.hist_file=:memory:"]  # else all kernels write into one history of this user
        run_sync(manager.start_kernel)(
            extra_arguments=history, stdout=stream, stderr=stream, cwd=str(cwd or Path.cwd())
        )
        try:
            yield manager
        finally:
            for client in manager.clients:
                client.stop_channels()
            run_sync(manager.shutdown_kernel)(now=True)


def main_job() -> list[Path]:
    """Return the notebooks of the main job, in order. raises NotebookError"""
    return [folder() / f"{name}.ipynb" for name in MAIN_JOB]


def find(names: Sequence[str]) -> list[Path]:
    """Find notebooks by name, by a name's first two letters ("02"), or by path, and sort them.

    raises SettingsError naming every one that does not exist; NotebookError
    """
    shipped = {name: path for path in sorted(folder().glob("*.ipynb")) for name in (path.stem, path.stem[:2])}
    paths = {name: shipped.get(name, Path(name)) for name in names}
    missing = [name for name, path in paths.items() if path.suffix != ".ipynb" or not os.path.isfile(path)]
    if missing:
        stems = ", ".join(sorted({path.stem for path in shipped.values()}))
        raise SettingsError([f"{name} is not a notebook; it must be one of {stems}, or a path" for name in missing])
    return sorted(dict.fromkeys(paths.values()))


def parameters(notebook: Path) -> dict[str, Any]:
    """Return the names in a notebook's `parameters` cell, with papermill's description of each."""
    return papermill.inspect_notebook(notebook)


def check(notebook: Path, settings: Mapping[str, Any]) -> None:
    """Check a notebook's parameters. raises SettingsError naming every one that is no parameter and no setting"""
    names = {*parameters(notebook), *FIELDS, *NOT_SETTINGS}
    unknown = [name for name in settings if name not in names]
    if unknown:
        raise SettingsError([f"{name} is not a parameter of {notebook.name} and not a setting" for name in unknown])


def execute(
    notebook: Path,
    target: Path,
    settings: Mapping[str, Any],
    manager: ThisPython | None = None,
    progress: bool = True,
    look: Look = lambda: "",
) -> Path:
    """Execute a notebook with parameters into `target`, which is written whole, also when a cell fails.

    settings: parameters as plain values; None keeps the preset's value
    manager: of a running kernel, which is emptied first; else one is started for this notebook alone
    progress, look: whether a bar is shown, and what it tells beside the cells
    raises SettingsError before anything runs; NotebookError with the failed cell's error
    """
    check(notebook, settings)
    target.parent.mkdir(parents=True, exist_ok=True)
    errors: list[Exception] = []
    ready = kernel(target.parent / "kernel.log") if manager is None else _emptied(manager)
    bar = NotebookBar(notebook.stem, _cells(notebook) + bool(settings), look) if progress else None
    write(target, lambda copy: errors.extend(_execute(notebook, copy, dict(settings), ready, bar)))
    if errors:
        raise NotebookError(f"{notebook.name} stopped: {_sentence(errors[0])}\nIts cells as far as they ran: {target}")
    return target


def _execute(
    notebook: Path,
    copy: str,
    settings: dict[str, Any],
    ready: AbstractContextManager[ThisPython],
    bar: NotebookBar | None,
) -> list[Exception]:
    """Execute a notebook and return the error that stopped it, if any; the copy is written either way."""
    logging.getLogger("papermill").setLevel(logging.ERROR)  # settings that the first cell does not list are checked
    options: dict[str, Any] = {"kernel_name": "python3", "language": "python", "progress_bar": False}
    options["start_timeout"] = _START_SECONDS
    options |= {"on_cell_complete": bar.count} if bar else {}
    try:
        with bar or contextlib.nullcontext(), ready as manager:
            papermill.execute_notebook(notebook, copy, settings, km=manager, **options)
    except (PapermillExecutionError, DeadKernelError) as error:
        return [error]
    finally:
        _forget_places(Path(copy))
    return []


def _cells(notebook: Path) -> int:
    """Return how many cells of a notebook are executed; papermill adds one with the parameters."""
    cells = nbformat.read(notebook, as_version=4).cells
    return sum(cell.cell_type == "code" and bool(cell.source.strip()) for cell in cells)


def _forget_places(copy: Path) -> None:
    """Leave only names of the paths that papermill keeps in a notebook's metadata: they are of this machine."""
    if copy.exists():
        notebook = nbformat.read(copy, as_version=4)
        record = notebook.metadata.get("papermill", {})
        record.update({key: Path(record[key]).name for key in ("input_path", "output_path") if record.get(key)})
        nbformat.write(notebook, copy)


@contextlib.contextmanager
def _emptied(manager: ThisPython) -> Iterator[ThisPython]:
    """Forget every name that an earlier notebook left in the kernel, and number its cells from 1 again."""
    reset = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell("%reset -f\nget_ipython().execution_count = 1")])
    NotebookClient(reset, km=manager, startup_timeout=_START_SECONDS).execute()
    yield manager


def _sentence(error: Exception) -> str:
    if isinstance(error, PapermillExecutionError):
        return error.evalue or error.ename
    return "its kernel died; where memory ran out, a smaller batch_size or encoder helps"
