"""The origin of a result: one digest of training's code and of the packages that it computes with.

The code is every module of ipr_core that `training.advance` needs, found by its imports, and the descriptions of
corpora. The command line, tables, reports and widgets may change, and a result still counts. Comments, docstrings and
layout do not matter.
"""

from __future__ import annotations

import ast
import functools
import hashlib
import importlib.metadata
import platform
import tomllib
from collections.abc import Iterator
from pathlib import Path

PACKAGES = ("ipr-workbench", "torch", "torchaudio", "transformers", "numpy", "scikit-learn")
"""The packages whose versions a run records."""
_ROOT = Path(__file__).parents[2]
_FIRST = "ipr_core.training.advance"
_BY_NAME = ("ipr_core.method.systems", "ipr_core.data.corpora")  # no import statement names their modules


def versions() -> dict[str, str | None]:
    """Return the versions of Python and of PACKAGES; None for one that is not installed."""
    return {"python": platform.python_version(), **{package: _installed(package) for package in PACKAGES}}


@functools.cache
def version() -> str:
    """Return hex digits that change with training's code or one of its packages.

    The files are read once in a process.
    """
    return version_now()


def version_now() -> str:
    """Return `version` of the files as they are now.

    A kernel that starts after a change runs the changed code.
    """
    numbers = versions()
    packages = [f"{name} {numbers[name]}" for name in PACKAGES if name != "ipr-workbench"]
    code = [_code(file) for _, file in sorted(_imported_files(_FIRST).items())]
    return _digest(*packages, *code, *(repr(tomllib.loads(file.read_text("utf-8"))) for file in _descriptions()))


def notebook_version(notebook: Path) -> str:
    """Return hex digits that change with a notebook's file."""
    return _digest(notebook.read_text("utf-8"))


def _imported_files(first: str) -> dict[str, Path]:
    """Return the modules of this package that a module needs, itself included, and their files.

    These are its imports, also inside of functions, and the imports of those.
    """
    files: dict[str, Path] = {}
    names = [first]
    while names:
        name = names.pop()
        file = _file(name)
        if name in files or file is None:
            continue
        files[name] = file
        names += [name.rpartition(".")[0], *_imports(ast.parse(file.read_text("utf-8")))]
        if name in _BY_NAME:
            names += [f"{name}.{module.stem}" for module in file.parent.glob("*.py")]
    return files


def _descriptions() -> list[Path]:
    """Return the files that describe corpora: code, as the modules that read others."""
    return sorted((_ROOT / "ipr_core" / "data" / "corpora" / "readers").glob("*.toml"))


def _imports(node: ast.AST) -> Iterator[str]:
    """Yield the imported names, but for type checkers' alone.

    `from a import b` gives a and a.b, since b may be a module.
    """
    if isinstance(node, ast.If) and isinstance(node.test, ast.Name) and node.test.id == "TYPE_CHECKING":
        return
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom) and node.module:
        yield from (node.module, *(f"{node.module}.{alias.name}" for alias in node.names))
    for child in ast.iter_child_nodes(node):
        yield from _imports(child)


def _file(name: str) -> Path | None:
    """Return the file of a module of this package; None for any other name."""
    if name.partition(".")[0] != "ipr_core":
        return None
    path = _ROOT.joinpath(*name.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _code(file: Path) -> str:
    """Return the code without comments, docstrings and layout."""
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
