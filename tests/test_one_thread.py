"""How many threads a test process takes."""

from __future__ import annotations

import os

import numpy as np
from threadpoolctl import threadpool_info


def test_a_test_process_takes_as_many_threads_as_the_environment_says() -> None:
    """One, where nobody said otherwise: it is set before NumPy is loaded."""
    assert np.__version__
    blas = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    assert blas == {int(os.environ["OPENBLAS_NUM_THREADS"])}
