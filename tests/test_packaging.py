"""The environment is said once: pyproject's ranges, the lock's exact versions and conda's file agree."""

import ast
import importlib.metadata
import os
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
LOCK = (ROOT / "requirements.lock").read_text("utf-8")
MAKEFILE = (ROOT / "Makefile").read_text("utf-8")
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text("utf-8"))

# Put together here, so that this file does not hold what it looks for.
REGISTRIES = ["py" + "pi.org", "python" + "hosted.org", "ana" + "conda.", "download.py" + "torch.org", "npm" + "js."]
HEAVY = (
    ".wav", ".flac", ".mp3", ".ogg", ".sph", ".npy", ".npz", ".safetensors", ".bin", ".pt", ".pth", ".ckpt", ".onnx",
    ".h5", ".parquet", ".pkl", ".gguf",
)  # fmt: skip
OLD_RUN = ROOT / "tests" / "runs" / "made_by_0_1"
"""A run folder, the one place where arrays may be tracked."""


def requirements():
    """Of the project, every extra included."""
    lines = PROJECT["dependencies"] + [line for extra in PROJECT["optional-dependencies"].values() for line in extra]
    return [requirement for requirement in map(Requirement, lines) if requirement.name != PROJECT["name"]]


def test_who_develops_has_every_extra():
    [ours] = [line for line in PROJECT["optional-dependencies"]["dev"] if Requirement(line).name == PROJECT["name"]]
    assert Requirement(ours).extras == set(PROJECT["optional-dependencies"]) - {"dev"}


def pins():
    """What the lock holds: canonical name → exact version."""
    lines = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)", LOCK, re.MULTILINE)
    return {canonicalize_name(name): version for name, version in lines}


@pytest.fixture(scope="module")
def tracked():
    """The files that git tracks."""
    process = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    if process.returncode:
        pytest.skip(f"not a git checkout: {process.stderr.strip()}")
    return [ROOT / name for name in process.stdout.split("\0") if name and (ROOT / name).is_file()]


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_lock_holds_every_requirement_within_its_range(requirement):
    assert requirement.specifier.contains(pins()[canonicalize_name(requirement.name)])


def test_every_line_of_the_lock_is_an_exact_version_with_its_hashes():
    lines = re.sub(r"\\\n", " ", LOCK).splitlines()
    locked = [line for line in lines if line.strip() and not line.lstrip().startswith("#")]
    assert len(locked) == len(pins())
    for line in locked:
        assert re.fullmatch(r"\S+==\S+( ;[^-]+(-[^-]+)*?)?(\s+--hash=sha256:[0-9a-f]{64})+\s*", line), line[:80]


def test_the_lock_names_no_address():
    assert "://" not in LOCK
    assert "index-url" not in LOCK
    assert "find-links" not in LOCK


def test_conda_brings_an_allowed_python_and_pip_the_lock():
    assert CONDA["name"] == PROJECT["name"]
    assert CONDA["channels"] == ["conda-forge"]
    python, pip, by_pip = CONDA["dependencies"]
    assert SpecifierSet(PROJECT["requires-python"]).contains(python.removeprefix("python="))
    assert pip == "pip"
    assert by_pip == {"pip": ["--requirement requirements.lock"]}


def test_make_and_conda_use_the_same_python():
    python = CONDA["dependencies"][0].replace("=", "")
    assert python in re.search(r"^PYTHONS := (.+)$", MAKEFILE, re.MULTILINE)[1].split()
    assert f"--universal --python-version {python.removeprefix('python')} " in MAKEFILE


def test_make_tries_every_python_that_the_project_names():
    versions = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if "Python" in line]
    assert all(SpecifierSet(PROJECT["requires-python"]).contains(version) for version in versions)
    pythons = [f"python{version}" for version in reversed(versions)]
    assert f"PYTHONS := {' '.join(pythons)} python3\n" in MAKEFILE


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
@pytest.mark.parametrize(
    ("pythons", "newest"),
    [
        ({"python3.14": 127, "python3.12": 0, "python3.11": 0}, "python3.12"),  # a 3.14 that does not run
        ({"python3": 0}, "python3"),
    ],
)
def test_make_takes_the_newest_python_that_runs(tmp_path, pythons, newest):
    assert make(tmp_path, pythons, "newest").stdout == f"{newest}\n"


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_says_that_no_python_is_new_enough(tmp_path):
    process = make(tmp_path, {"python3": 1}, "demo", f"VENV={tmp_path / 'venv'}")
    assert process.returncode == 2
    assert re.search(
        r"\*\*\* No Python from 3\.11 on was found .+ make demo PYTHON=…\. +Stop\.$", process.stderr.strip()
    )
    assert not process.stdout
    assert not (tmp_path / "venv").exists()


def make(folder, pythons, *words):
    """Run make where the path has these Pythons alone, each with the exit code of its version's test.

    A word of its own prints the Python that make takes.
    """
    for name, code in pythons.items():
        (folder / name).write_text(f"#!/bin/sh\nexit {code}\n")
        (folder / name).chmod(0o755)
    variables = {name: value for name, value in os.environ.items() if name not in ("PYTHON", "MAKEFLAGS", "MAKELEVEL")}
    return subprocess.run(
        [shutil.which("make"), "--no-print-directory", "-f", "Makefile", "-f", "-", *words], cwd=ROOT,
        env=variables | {"PATH": str(folder)}, input="newest: ; @: $(info $(PYTHON))\n", capture_output=True, text=True,
    )  # fmt: skip


def test_citation_and_project_agree():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text("utf-8"))
    assert citation["version"] == PROJECT["version"]
    assert citation["license"] == PROJECT["license"]
    assert f"[{PROJECT['version']}]" in (ROOT / "CHANGELOG.md").read_text("utf-8")


def test_every_package_is_installed():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["packages"]
    folders = [file.parent.relative_to(ROOT) for top in ("ipr_core", "widgets") for file in (ROOT / top).rglob("*.py")]
    code = {".".join(folder.parts).replace("widgets", "ipr_widgets") for folder in folders}
    assert sorted(packages) == sorted(code | {"ipr_notebooks"})


def test_grids_and_descriptions_of_corpora_go_with_the_package():
    data = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]["package-data"]
    files = set((ROOT / "ipr_core").rglob("*.toml"))
    packed = {
        file for package, globs in data.items() if package.startswith("ipr_core.")
        for glob in globs for file in ROOT.joinpath(*package.split(".")).glob(glob)
    }  # fmt: skip
    assert files == packed
    assert ROOT / "ipr_core" / "data" / "corpora" / "readers" / "savee.toml" in packed


def test_the_notebooks_go_with_the_package():
    """A wheel holds what stands here: the folder `notebooks` under a name of its own."""
    setuptools = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["tool"]["setuptools"]
    assert setuptools["package-dir"]["ipr_notebooks"] == "notebooks"
    assert setuptools["package-data"]["ipr_notebooks"] == ["*.ipynb"]


def test_every_imported_package_is_required():
    """Else it is installed only as long as another package happens to need it."""
    distributions = importlib.metadata.packages_distributions()
    required = {canonicalize_name(requirement.name) for requirement in requirements()}
    for file in [*ROOT.glob("ipr_core/**/*.py"), *ROOT.glob("widgets/**/*.py")]:
        for name in imported(file) - {"ipr_core", "ipr_widgets"} - sys.stdlib_module_names:
            distribution_names = {canonicalize_name(distribution) for distribution in distributions[name]}
            assert distribution_names & required, (
                f"{file.relative_to(ROOT)} imports {name}, which pyproject.toml does not require"
            )


def imported(file):
    """The top-level packages that a file imports."""
    nodes = list(ast.walk(ast.parse(file.read_text("utf-8"))))
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    from_ = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
    return {name.partition(".")[0] for name in plain | from_}


def test_no_tracked_file_names_a_package_registry(tracked):
    for file in tracked:
        text = file.read_bytes().decode("utf-8", "replace").lower()
        assert not [host for host in REGISTRIES if host in text], file


def test_neither_sound_nor_weights_nor_another_lock_is_tracked(tracked):
    assert not [file for file in tracked if file.suffix.lower() in HEAVY and OLD_RUN not in file.parents]


def test_the_run_of_an_earlier_version_is_small(tracked):
    assert sum(file.stat().st_size for file in tracked if OLD_RUN in file.parents) < 100_000
    assert not [file for file in tracked if file.name in ("uv.lock", "poetry.lock", "Pipfile.lock")]
    assert not [file for file in tracked if file.stat().st_size > 2**20]
