"""The options of a small batch, and a notebook for it that does nothing but train."""

import pytest

from helpers.batches import TRAIN, settings_of, write_notebook


@pytest.fixture(scope="module")
def notebook(tmp_path_factory):
    """Return the path of a notebook that does nothing but train."""
    return write_notebook(tmp_path_factory.mktemp("notebooks") / "train.ipynb", TRAIN.format(pause=0))


@pytest.fixture
def options(frozen, notebook):
    """Return the options of a small batch: two systems, one seed."""
    settings = settings_of(frozen) | {"test_size": 12, "classes": list(frozen.data.classes)}
    return {"systems": ["ipr", "baseline"], "notebooks": [notebook], "settings": settings}
