"""Nothing that some systems lack is needed to import a module: macOS and Windows have no traceback."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
MODULES = ("fcntl", "grp", "pwd", "resource", "termios")
SYSTEM_CALLS = (
    "fork", "getgid", "getpgid", "getuid", "geteuid", "killpg", "register_at_fork", "sched_getaffinity", "setsid",
    "statvfs", "sysconf", "uname",
)  # fmt: skip
SIGNALS = ("SIGALRM", "SIGHUP", "SIGKILL", "SIGPIPE", "alarm")

# Packages of others are imported first: they have their own ways on each system.
IMPORT_ALL = f"""
import importlib, os, pkgutil, signal, sys, traceback
import ipr_core, ipr_widgets

names = [
    module.name
    for package in (ipr_core, ipr_widgets)
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + ".")
    if not module.name.endswith("__main__")
]

def failures():
    for name in names:
        try:
            importlib.import_module(name)
        except Exception:
            yield name + "\\n" + traceback.format_exc(limit=-1)

assert len(names) > 100 and not list(failures())
for name in [name for name in sys.modules if name.partition(".")[0] in ("ipr_core", "ipr_widgets")]:
    del sys.modules[name]
sys.modules.update(dict.fromkeys({MODULES}))
for module, hidden in ((os, {SYSTEM_CALLS}), (signal, {SIGNALS})):
    for name in hidden:
        delattr(module, name)
print(*failures(), sep="\\n", flush=True)
os._exit(0)  # what others registered for the end may need the hidden names
"""


def test_every_module_imports_without_the_names_that_other_systems_lack():
    process = subprocess.run([sys.executable, "-c", IMPORT_ALL], cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert not process.stdout.strip(), process.stdout
    assert process.returncode == 0, process.stderr


# Of the sources.

NAMES = re.compile(r"\b(import .*\b(fcntl|resource)\b|from (fcntl|resource)\b|sched_getaffinity\b)")
GUARDED = {("ipr_core/data/decoding.py", "import resource"), ("ipr_core/machine.py", "import resource")}
FILES = sorted(file for folder in ("ipr_core", "widgets", "tests/benchmarks") for file in (ROOT / folder).rglob("*.py"))


def test_the_sources_name_them_in_guarded_places_alone():
    places = {
        (file.relative_to(ROOT).as_posix(), line.strip())
        for file in FILES
        for line in file.read_text("utf-8").splitlines()
        if NAMES.search(line)
    }
    assert places == GUARDED


@pytest.mark.parametrize("file", sorted({file for file, _ in GUARDED}))
def test_a_guarded_import_is_in_a_function(file):
    tree = ast.parse((ROOT / file).read_text("utf-8"))
    assert not [node for node in tree.body if isinstance(node, ast.Import) and node.names[0].name in MODULES]
