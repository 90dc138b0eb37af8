"""The code as a whole: imports point one way, nothing is unpickled, everything public says what it is."""

import ast
import graphlib
import re
import statistics
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
    drawing = [package for package in {DRAWING} if package in sys.modules]
    assert not drawing, f"{{name}} loads {{drawing}}"
"""


def name(file):
    """A file's module."""
    module = ".".join(file.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")
    return module.replace("widgets", "ipr_widgets", 1) if module.startswith("widgets") else module


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

PICTURE = re.findall(r"^(\w+) +→ ([\w ]+(?:\n +[\w ]+)*)$", (ROOT / "CONTRIBUTING.md").read_text("utf-8"), re.MULTILINE)
ARROWS = {source: targets.split() for source, targets in PICTURE}
"""Each part of the code, and the parts that it imports, as the picture in CONTRIBUTING.md has them."""


def part(module):
    """The part of the code that a module belongs to: a folder or a file of `ipr_core`, or the widgets."""
    package, _, rest = module.partition(".")
    return "widgets" if package == "ipr_widgets" else rest.partition(".")[0] or package


def test_every_arrow_of_the_picture_is_an_import_and_every_import_an_arrow():
    modules = {name(file) for file in CORE + WIDGETS}
    arrows = {
        (part(name(file)), part(module))
        for file in CORE + WIDGETS
        for module in imports(file)
        if module in modules and module != "ipr_core"
    }
    drawn_arrows = {(source, target) for source, targets in ARROWS.items() for target in targets}
    assert {(a, b) for a, b in arrows if a != b and a != "ipr_core"} == drawn_arrows


def test_no_arrow_of_the_picture_runs_back_up():
    floors = list(graphlib.TopologicalSorter(ARROWS).static_order())
    assert floors.index("method") < floors.index("training") < floors.index("results") < floors.index("cli")


def test_no_modules_import_each_other():
    modules = {name(file): file for file in CORE + WIDGETS}
    graph = {module: {target for target in imports(file) if target in modules} for module, file in modules.items()}
    lazy = {"ipr_core"}  # whose names are imported when they are asked for
    graphlib.TopologicalSorter({m: targets - lazy - {m} for m, targets in graph.items() if m not in lazy}).prepare()


def test_the_core_loads_nothing_that_draws():
    command = [sys.executable, "-c", IMPORT_ALL, *map(name, CORE)]
    process = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=300)
    assert process.returncode == 0, process.stderr


@pytest.mark.parametrize("file", [file for file in CORE if file.stem != "__main__"], ids=short)  # which starts `ipr`
def test_the_core_imports_neither_widgets_nor_what_draws_nor_the_command_line(file):
    packages = {module.partition(".")[0] for module in imports(file)}
    assert not packages & {"ipr_widgets", "widgets", "notebooks", "tests", *DRAWING}
    assert not {"ipr_core.cli"} & set(imports(file)) or file.parent.name == "cli"


@pytest.mark.parametrize("file", WIDGETS, ids=short)
def test_widgets_do_not_import_the_command_line_or_the_tests(file):
    assert not {"ipr_core.cli", "tests", "widgets"} & set(imports(file))


def test_the_equations_know_nothing_of_the_rest():
    equations = ROOT / "ipr_core" / "method" / "equations.py"
    assert not [module for module in imports(equations) if module.startswith("ipr_core")]


# Nothing is unpickled.


@pytest.mark.parametrize("file", CORE + WIDGETS, ids=short)
def test_nothing_is_unpickled(file):
    assert not {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"} & set(imports(file))
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.Call):
            function, keywords = ast.unparse(node.func), {k.arg: k.value for k in node.keywords}
            assert function not in ("torch.load", "torch.save", "pd.read_pickle", "pandas.read_pickle"), node.lineno
            for key, safe in (("allow_pickle", False), ("trust_remote_code", False)):
                assert key not in keywords or ast.unparse(keywords[key]) == str(safe), node.lineno
            # numpy's own default may change; say it
            assert function not in ("np.load", "numpy.load") or "allow_pickle" in keywords, node.lineno


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
    names = [name for section in Config.model_fields.values() for name in section.annotation.model_fields]
    assert sorted(names) == sorted(FIELDS)


# Names are of things, and code is short.

VAGUE = frozenset((ROOT / "tests" / "helpers" / "vague_names.txt").read_text("utf-8").split())
"""Pronouns, participles and prepositions, which name no thing."""


def local_names(file):
    """Arguments, targets of assignments, and functions, each with its line."""
    for node in ast.walk(tree(file)):
        if isinstance(node, ast.arg):
            yield node.arg, node.lineno
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id, node.lineno
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr, node.lineno
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) or (
            isinstance(node, ast.ExceptHandler) and node.name
        ):
            yield node.name, node.lineno


def test_a_name_names_a_thing():
    names = [(short(file), line, text) for file in CORE + WIDGETS + TESTS for text, line in local_names(file)]
    vague = [(file, line, text) for file, line, text in names if text.strip("_") in VAGUE and text != "__all__"]
    assert len(vague) < 0.005 * len(names), f"{len(vague)} of {len(names)}: {vague[:40]}"


def test_a_function_fits_a_screen_and_a_file_a_few():
    functions = [
        (node.end_lineno - node.lineno + 1, short(file), node.name)
        for file in CORE + WIDGETS + TESTS
        for node in ast.walk(tree(file))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    ]
    assert max(functions)[0] <= 40, max(functions)
    assert statistics.median(length for length, *_ in functions) <= 8
    lengths = {short(file): len(file.read_text("utf-8").splitlines()) for file in CORE + WIDGETS + TESTS}
    assert not {file: length for file, length in lengths.items() if length > 400}


def test_a_file_is_named_by_its_subject():
    vague = {"util", "utils", "helper", "helpers", "misc", "common", "base", "tools", "stuff"}
    assert not [file for file in CORE + WIDGETS + TESTS if file.stem.removeprefix("test_") in vague]
