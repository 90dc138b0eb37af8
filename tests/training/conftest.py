"""Sessions for the tests of training: with the frozen encoder, and with one that is trained."""

import pytest

from helpers.sessions import own_network
from ipr_core.training.session import Session


@pytest.fixture(scope="package")
def make(frozen, data, views):
    """Settings → a session with the frozen encoder, before its first epoch."""

    def make(state=None, **settings) -> Session:
        return Session(frozen.replace(**settings), data, None if own_network(settings) else views, state)

    return make


@pytest.fixture(scope="package")
def whole(tiny, data):
    """Settings → a session whose encoder is trained too."""
    views = Session(tiny, data).views

    def whole(data=data, views=views, state=None, **settings) -> Session:
        return Session(tiny.replace(**settings), data, views, state)

    return whole
