"""Fixtures of several test files: a tiny corpus, made and decoded once, and a run trained on it."""

from pathlib import Path

import pytest

from ipr_core.config import Config, demo

FAST = ("data", "encoders", "method", "test_calibration.py", "test_config.py", "test_metrics.py", "test_portability.py")
"""Folders and files of tests that neither train for long nor open a browser, see `make quick`."""


def pytest_collection_modifyitems(items):
    """Mark the fast tests."""
    for item in items:
        if item.path.relative_to(Path(__file__).parent).parts[0] in FAST:
            item.add_marker(pytest.mark.fast)


@pytest.fixture(scope="session", autouse=True)
def cache(tmp_path_factory):
    """The folder of decoded audio: no test writes into the user's own cache."""
    folder = tmp_path_factory.mktemp("cache")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("IPR_CACHE", str(folder))
        yield folder


@pytest.fixture(scope="session")
def tiny() -> Config:
    """64 synthetic utterances of at most a second, one epoch of warm-up and two of refinement."""
    return demo(
        synthetic_size=64, test_size=12, epochs=3, warm_up=1, batch_size=8, map_size=20, max_seconds=1, device="cpu"
    )


@pytest.fixture(scope="session")
def frozen(tiny) -> Config:
    """The same with the encoder kept as it is: an epoch takes milliseconds."""
    return tiny.replace(train_features=False, frozen_layers=-1)


@pytest.fixture(scope="session")
def data(tiny, cache):
    """The tiny corpus, partitioned."""
    from ipr_core.data.dataset import load

    return load(tiny, progress=False)


@pytest.fixture(scope="session")
def views(frozen, data):
    """Both views of the tiny corpus through the frozen encoder, for any session of `frozen` and its seed."""
    from ipr_core.training.advance import shared_views

    return shared_views(frozen, data)


@pytest.fixture(scope="session")
def trained(tiny, data, tmp_path_factory):
    """A finished run of IPR whose encoder was trained too."""
    from ipr_core.training.advance import advance, prepare

    run, _ = prepare(tiny, tmp_path_factory.mktemp("runs"), data=data)
    return advance(run, data)
