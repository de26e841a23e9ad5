"""Columns of a table that have units of their own: what mip-in's contributions do then, and that it is said."""

from __future__ import annotations

import numpy as np
from skl2onnx import to_onnx
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import mipin_ref as mr

TOLD = "columns have standard deviations from"


def table(units: list[float]) -> tuple[bytes, np.ndarray]:
    """A classifier of rows of three like columns, standardised within it, and rows in these units."""
    draw = np.random.default_rng(0)
    x = (draw.standard_normal((60, 3)) + 2).astype(np.float32) * np.array(units, np.float32)
    fitted = make_pipeline(StandardScaler(), LogisticRegression()).fit(x, (x / units).sum(axis=1) > 6)
    return to_onnx(fitted, x[:1]).SerializeToString(), x


def explained(units: list[float]) -> mr.Explanation:
    model, x = table(units)
    return mr.explain(model, x, target=0, cache=False, progress=False)


def test_contributions_grow_with_the_square_of_a_unit_which_is_said() -> None:
    alike, apart = explained([1, 1, 1]), explained([1, 1, 64])
    assert not [line for line in alike.told if TOLD in line]
    told = next(line for line in apart.told if TOLD in line)
    assert " of 2, and contributions" in told
    assert "method 'integrated-gradients'" in told
    # The networks are trained apart, on columns whose standardised values differ in their last bits.
    np.testing.assert_allclose(apart.maps, alike.maps * [1, 1, 64**2], rtol=1e-3, atol=0)
