"""The package as a library: its names are at hand, and cost nothing until they are used."""

import subprocess
import sys

import pytest

import ipr_core
from ipr_core.training.model import Recogniser

HEAVY = ("torch", "transformers", "pandas", "numpy", "pydantic", "ipr_core.config")


def test_importing_the_package_loads_nothing_heavy():
    code = f"import ipr_core, sys; sys.exit(str([name for name in {HEAVY} if name in sys.modules]))"
    process = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert process.stderr.strip() == "[]"


@pytest.mark.parametrize("name", ipr_core.__all__)
def test_every_name_is_there_under_its_own_name(name):
    assert getattr(ipr_core, name).__name__ == name


def test_a_name_is_the_one_of_its_module():
    assert ipr_core.Recogniser is Recogniser
    assert set(ipr_core.__all__) == {name for names in ipr_core._MODULES.values() for name in names}
    assert set(ipr_core.__all__) <= set(dir(ipr_core))


def test_an_unknown_name_is_refused():
    with pytest.raises(AttributeError, match="module 'ipr_core' has no attribute 'recomended'"):
        ipr_core.recomended  # noqa: B018
