"""What tests share; Hypothesis for all: how long an example takes is the machine's business, and never a failure."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

import tests.one_thread  # noqa: F401 - before NumPy is loaded
from mipin_ref.errors import BackendUnavailable
from mipin_ref.inverse.passes import fitter
from tests.backends import backend
from tests.operators_once import read_operators_once

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="session", autouse=True)
def own_cache(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing is taken from the cache of whoever runs the tests, nor left there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="module")
def stays_single() -> Iterator[None]:
    """float32 fits stay float32 whatever rounding does: for tests of how passes are made, not of what comes out."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(fitter, "too_far", lambda amplification: False)
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Tests of the GPU run where -m speaks of them alone, so that -m "not slow" need not name them."""
    if "gpu" in config.option.markexpr:
        return
    left_out = [item for item in items if item.get_closest_marker("gpu")]
    items[:] = [item for item in items if not item.get_closest_marker("gpu")]
    config.hook.pytest_deselected(items=left_out)


def pytest_collection_finish(session: pytest.Session) -> None:
    """Without tests of the GPU none is seen, so that a machine that has one tells the same as one that has not.

    With them, where there is none, the run ends in one sentence instead of hundreds of failures.
    """
    read_operators_once()
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
