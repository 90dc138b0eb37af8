"""The kernel of executed notebooks: one for all of a run, which imports while another process trains."""

import contextlib
import json
import subprocess
import sys

import nbformat
import pytest

from helpers.batches import write_notebook
from helpers.fake_runs import fake_run
from ipr_core import cli
from ipr_core.batch import notebooks

LOADED = "import sys, json\nprint(json.dumps('{module}' in sys.modules))"


@pytest.mark.parametrize("preload", [(), ("no_such_module", "wave:nothing", "wave:open", "wave")], ids=str)
def test_a_kernel_imports_ahead_what_it_is_told_and_survives_what_there_is_not(preload, tmp_path):
    path = tmp_path / "one.ipynb"
    write_notebook(path, LOADED.format(module="wave"))
    with notebooks.kernel(tmp_path / "kernel.log", preload=preload) as kernel:
        copy = notebooks.execute(path, tmp_path / "copy.ipynb", {}, kernel, progress=False)
    cells = nbformat.read(copy, as_version=4).cells
    (output,) = [output for cell in cells for output in cell.get("outputs", [])]
    assert json.loads(output.text) == ("wave" in preload)
    assert (tmp_path / "kernel.log").read_text() == ""


def test_ipr_run_starts_one_kernel_before_the_other_systems_are_trained(tmp_path, frozen, data, monkeypatch):
    run, order = fake_run(tmp_path, frozen, data, (0.2, 0.5)), []

    @contextlib.contextmanager
    def kernel(log, cwd=None, preload=()):
        order.append(f"kernel with {', '.join(preload)}")
        yield "kernel"

    monkeypatch.setattr("ipr_core.training.advance.prepare", lambda *args: (run, data))
    monkeypatch.setattr("ipr_core.training.advance.train_all", lambda *args, **_: order.append("training") or [run])
    monkeypatch.setattr("ipr_core.training.trained.reopen_if_damaged_", lambda run: None)
    monkeypatch.setattr("ipr_core.batch.notebooks.kernel", kernel)
    executed = "ipr_core.batch.notebooks.execute"
    monkeypatch.setattr(executed, lambda path, copy, settings, manager, **_: order.append(f"{path.stem} in {manager}"))
    monkeypatch.setattr(
        "ipr_core.results.drawn.draw", lambda run, rivals, manager: order.append(f"report in {manager}")
    )
    for name in ("report.write", "summary.tables", "summary.summary", "soft_labels.notes"):
        monkeypatch.setattr(f"ipr_core.results.{name}", lambda *args: "")
    monkeypatch.setattr("ipr_core.results.in_words.paragraphs", lambda *args: [])
    assert cli.main(["run", "--preset", "demo", "--beside", "baseline", "--runs", str(tmp_path)]) == 0
    assert order == [
        f"kernel with {', '.join(cli._PRELOAD)}",
        "training",
        *(f"{name} in kernel" for name in notebooks.MAIN_JOB),
        "report in kernel",
    ]


def test_what_the_kernel_does_ahead_is_there_and_needs_no_running_kernel():
    code = (
        "import importlib, sys\n"
        "for module, _, function in (name.partition(':') for name in sys.argv[1:]):\n"
        "    imported = importlib.import_module(module)\n"
        "    getattr(imported, function)() if function else None\n"
        "print({'IPython', 'ipywidgets', 'ipykernel'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, *cli._PRELOAD]
    process = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    assert (process.stdout, process.stderr) == ("set()\n", "")


@pytest.mark.parametrize("module", ["ipr_core.batch.notebooks", "ipr_widgets.look", "ipr_core.results.report"])
def test_no_import_builds_grammars_of_web_addresses(module):
    """jsonschema builds them for one to four seconds, in each process."""
    code = f"import sys, {module}\nprint('jsonschema' in sys.modules, 'lark' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "False"]
