"""The code as a whole: imports point one way, nothing is unpickled, everything public says what it is."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from ipr_core.config import FIELDS, Config

ROOT = Path(__file__).parents[1]
CORE = sorted((ROOT / "ipr_core").rglob("*.py"))
WIDGETS = sorted((ROOT / "widgets").rglob("*.py"))
TESTS = sorted((ROOT / "tests").rglob("*.py"))
DRAWING = ("plotly", "ipywidgets", "IPython")

IMPORT_ALL = f"""
import importlib, sys
for name in sys.argv[1:]:
    importlib.import_module(name)
    drawing = [other for other in {DRAWING} if other in sys.modules]
    assert not drawing, f"{{name}} loads {{drawing}}"
"""


def name(file):
    """A file's module."""
    return ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def short(file):
    return str(file.relative_to(ROOT))


def tree(file):
    return ast.parse(file.read_text("utf-8"))


def imports(file):
    """Every module that a file imports, also inside of functions; `from a import b` gives a and a.b."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{file} imports relatively"
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


# Imports point one way: notebooks → widgets → ipr_core ← cli.


def test_the_core_loads_nothing_that_draws():
    command = [sys.executable, "-c", IMPORT_ALL, *map(name, CORE)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("file", [file for file in CORE if file.stem != "__main__"], ids=short)  # which starts `ipr`
def test_the_core_imports_neither_widgets_nor_what_draws_nor_the_command_line(file):
    others = {module.partition(".")[0] for module in imports(file)}
    assert not others & {"ipr_widgets", "notebooks", "tests", *DRAWING}
    assert not {"ipr_core.cli"} & set(imports(file))


@pytest.mark.parametrize("file", WIDGETS, ids=short)
def test_widgets_do_not_import_the_command_line_or_the_tests(file):
    assert not {"ipr_core.cli", "tests"} & set(imports(file))


def test_the_equations_know_nothing_of_the_rest():
    assert not [
        module for module in imports(ROOT / "ipr_core" / "method" / "equations.py") if module.startswith("ipr_core")
    ]


# Nothing is unpickled.


@pytest.mark.parametrize("file", CORE + WIDGETS, ids=short)
def test_nothing_is_unpickled(file):
    assert not {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"} & set(imports(file))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            called, given = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            assert called not in ("torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"), node.lineno
            for key, safe in (("allow_pickle", False), ("trust_remote_code", False)):
                assert key not in given or ast.unparse(given[key]) == str(safe), node.lineno
            # numpy's own default may change; say it
            assert called not in ("np.load", "numpy.load") or "allow_pickle" in given, node.lineno


# Everything public says what it is.


@pytest.mark.parametrize("file", [file for file in CORE if file.read_text("utf-8").strip()], ids=short)
def test_every_public_function_and_class_has_a_docstring(file):
    kinds = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)
    public = [node for node in tree(file).body if isinstance(node, kinds) and not node.name.startswith("_")]
    assert not [node.name for node in public if not ast.get_docstring(node)]
    assert ast.get_docstring(tree(file)), "the module itself"


@pytest.mark.parametrize("setting", FIELDS)
def test_every_setting_has_a_sentence(setting):
    sentence = FIELDS[setting][1].description
    assert sentence, "a string under the field"
    assert sentence[0].isupper() or sentence[0] == '"'
    assert sentence.endswith(".")


def test_setting_names_are_unique_across_sections():
    """Since a setting is named alone: gamma, not method.gamma."""
    named = [name for section in Config.model_fields.values() for name in section.annotation.model_fields]
    assert sorted(named) == sorted(FIELDS)


def test_a_file_is_named_by_its_subject():
    vague = {"util", "utils", "helper", "helpers", "misc", "common", "base", "tools", "stuff"}
    assert not [file for file in CORE + WIDGETS + TESTS if file.stem.removeprefix("test_") in vague]
