"""What made a result: one digest of the code that training runs and of the packages it computes with.

The code is every module of ipr_core that `runner` needs, found by its imports; the command line, tables, reports and
widgets may change without making a result another one. Comments, docstrings and layout do not count.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("ipr-workbench", "torch", "torchaudio", "transformers", "numpy", "scikit-learn")
"""The packages whose versions a run notes."""
_ROOT = Path(__file__).parents[2]
_FIRST = "ipr_core.training.advance"
_BY_NAME = ("ipr_core.method.systems", "ipr_core.data.corpora")  # no import statement names their modules


def versions() -> dict[str, str | None]:
    """Python's version and that of every package a result depends on; None where one is not installed."""
    return {"python": platform.python_version(), **{package: _installed(package) for package in PACKAGES}}


@functools.cache
def version() -> str:
    """Hex digits that change with the code of training, or with a package that it computes with; looked at once."""
    return version_now()


def version_now() -> str:
    """The same as the files are right now: a kernel that starts after a change runs the changed code."""
    numbers = versions()
    made_by = [f"{name} {numbers[name]}" for name in PACKAGES if name != "ipr-workbench"]
    return _digest(*made_by, *(_code(file) for _, file in sorted(_needed(_FIRST).items())))


def notebook_version(notebook: Path) -> str:
    """Hex digits that change with a notebook's file."""
    return _digest(notebook.read_text("utf-8"))


def _needed(first: str) -> dict[str, Path]:
    """The modules of this package that a module imports, also inside of functions, and what those import."""
    found: dict[str, Path] = {}
    left = [first]
    while left:
        name = left.pop()
        file = _file(name)
        if name in found or file is None:
            continue
        found[name] = file
        left += [name.rpartition(".")[0], *_imports(file)]
        if name in _BY_NAME:
            left += [f"{name}.{module.stem}" for module in file.parent.glob("*.py")]
    return found


def _imports(file: Path) -> Iterator[str]:
    """`from a import b` gives a and a.b, since b may be a module."""
    for node in ast.walk(ast.parse(file.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))


def _file(name: str) -> Path | None:
    """Where a module of this package lies; None for any other name."""
    if name.partition(".")[0] != "ipr_core":
        return None
    place = _ROOT.joinpath(*name.split("."))
    return next((file for file in (place.with_suffix(".py"), place / "__init__.py") if file.is_file()), None)


def _code(file: Path) -> str:
    """The code without comments, docstrings and layout."""
    tree = ast.parse(file.read_text("utf-8"))
    for node in ast.walk(tree):
        for name in ("body", "orelse", "finalbody"):
            if isinstance(lines := getattr(node, name, None), list):
                setattr(node, name, [line for line in lines if not _is_text(line)])
    return ast.dump(tree)


def _is_text(line: ast.AST) -> bool:
    return isinstance(line, ast.Expr) and isinstance(line.value, ast.Constant) and isinstance(line.value.value, str)


def _installed(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _digest(*parts: str) -> str:
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=4).hexdigest()
