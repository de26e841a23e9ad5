"""Sums over samples × tokens are long: they are added in double precision, in float32 mode too."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.backend import Backend, get_backend
from mipin_ref.inverse.passes.problem import Problem
from mipin_ref.inverse.plan import Branch, Step
from mipin_ref.layers import TokenDense

EPS = float(np.finfo(np.float32).eps)


def step(features: int, outputs: int, count: int) -> Step:
    layer = TokenDense(
        name="d",
        inputs=("t",),
        output="y",
        in_shapes=((count, features),),
        out_shape=(count, outputs),
        weight=np.zeros((features, outputs), np.float32),
        bias=np.zeros(outputs, np.float32),
        axis=2,
    )
    return Step("t", (count, features), (Branch((layer,), 0),), True, False, axis=2)


def weights(device: Backend, one: Step, s: np.ndarray, x: np.ndarray) -> np.ndarray:
    sums = Problem(device, one, False, len(x)).sums()
    for start in range(0, len(x), 10):
        rows = slice(start, start + 10)
        sums.update({"y": device.put(s[rows])}, {}, device.put(x[rows]))
    return sums.solve(1e-3)[0].blocks[0]


@pytest.mark.parametrize("outputs", [20, 80])
def test_weights_do_not_drift_with_the_number_of_rows(outputs: int) -> None:
    """40,000 and 400,000 rows whose mean is far from zero, fewer and more regressors than products in double take."""
    rng = np.random.default_rng(0)
    for samples in (40, 400):
        s = (3 + rng.standard_normal((samples, 1000, outputs))).astype(np.float32)
        x = (5 + s[..., :4] @ rng.standard_normal((4, 6)) + rng.standard_normal((samples, 1000, 6))).astype(np.float32)
        one = step(6, outputs, 1000)
        single, double = (weights(get_backend("numpy", dtype), one, s, x) for dtype in ("float32", "float64"))
        # Each product is rounded by itself, whatever the number of rows: a sum in single precision of so many equal
        # terms would be off by its square root, or its number, of roundings.
        assert np.max(np.abs(single - double)) < 64 * EPS * np.max(np.abs(double))
