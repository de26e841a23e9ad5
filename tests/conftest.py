"""Hypothesis for all tests: how long an example takes is the machine's business, and never a failure."""

import os

import pytest
from hypothesis import settings

from mipin_ref.errors import BackendUnavailable
from tests.backends import backend

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without tests of the GPU none is seen, so that a machine that has one tells the same as one that has not.

    With them, where there is none, the run ends in one sentence instead of hundreds of failures.
    """
    if not any(item.get_closest_marker("gpu") for item in session.items):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
        return
    # A worker of pytest-xdist has no say in when the run ends.
    if session.config.option.collectonly or hasattr(session.config, "workerinput"):
        return
    try:
        backend("cupy")
    except BackendUnavailable as error:
        pytest.exit(str(error), returncode=1)
