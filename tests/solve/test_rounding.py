"""What rounding does to sums of convolutions in single precision, against the same sums in double precision."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest

from mipin_ref.solve.conv_problem import ConvPart, ConvProblem
from mipin_ref.solve.rounding import UNIT, too_far
from mipin_ref.window import Window
from tests.backends import on_every_backend, relative_error
from tests.solve.test_conv_gram import solved_in

Array = npt.NDArray[np.float64]

PADDED = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
POINT = Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1))

FOUR_DEVIATIONS = 4.0
"""The largest of some thousand errors, in standard deviations."""


@pytest.mark.parametrize("samples", [30, 60])  # products in double precision, and in single
@on_every_backend
def test_correlations_of_channels_that_live_on_a_border_are_told_from_rounding(name: str, samples: int) -> None:
    """What is left of them inside the input by taps that lead outside is zero: no noise becomes a regressor."""
    rng, size = np.random.default_rng(0), (12, 11)
    s = np.maximum(rng.standard_normal((samples, 40, *size)), 0)
    border = np.zeros(size)
    border[0] = 30.0
    s[:, :6] *= border
    s, y = s.astype(np.float32).astype(np.float64), rng.standard_normal((samples, 2, *size))
    problem = ConvProblem((ConvPart(PADDED, size, 40, 1),), size, 2, samples)
    assert problem.exact == (samples == 30)
    narrow, wide = (solved_in(name, dtype, "correlation", problem, s, y) for dtype in ("float32", "float64"))
    (told,) = narrow.solutions
    assert not too_far(told.amplification)
    # The estimate is of what weights give, in units of the roundoff.
    assert relative_error(narrow.kernels[0], wide.kernels[0]) < FOUR_DEVIATIONS * told.amplification * UNIT
    # The tap that would take row 0 to row -1 has no regressor, so no weight.
    assert np.all(narrow.kernels[0][:6, :, 0, :] == 0)


@pytest.mark.parametrize("seed", range(4))
def test_scarce_rows_are_multiplied_in_double_precision(seed: int) -> None:
    """Of 90 nearly collinear regressors and 150 rows: what the fit tells of itself covers how far it is off."""
    rng = np.random.default_rng(seed)
    spread = 10.0 ** np.linspace(0, -3, 90)
    s = np.einsum("nrl,r,rc->ncl", rng.standard_normal((6, 90, 25)), spread, rng.standard_normal((90, 90)))
    s, y = s.reshape(6, 90, 5, 5), rng.standard_normal((6, 8, 5, 5))
    problem = ConvProblem((ConvPart(POINT, (5, 5), 90, 1),), (5, 5), 8, 6)
    assert problem.form == "im2col"
    assert problem.exact
    narrow, wide = (solved_in("numpy", dtype, "im2col", problem, s, y) for dtype in ("float32", "float64"))
    told = narrow.solutions[0].amplification * UNIT
    z = np.moveaxis(s, 1, -1).reshape(-1, 90)
    given, right = (z @ one.kernels[0].reshape(90, 8) for one in (narrow, wide))
    scale = np.sqrt((y**2).sum(axis=(0, 2, 3)).max() / 150)
    off = np.abs(given - right).max() / scale
    assert off < FOUR_DEVIATIONS * told
    # Products in single precision would have moved it further.
    rounded = (z.astype(np.float32).T @ z.astype(np.float32)).astype(np.float64) + 1e-3 * np.eye(90)
    weights = np.linalg.solve(rounded, z.T @ np.moveaxis(y, 1, -1).reshape(-1, 8))
    assert np.abs(z @ weights - right).max() / scale > 3 * off


def test_which_products_are_exact() -> None:
    """Where rows are scarce and written out, and where few signals are correlated."""
    part = ConvPart(POINT, (5, 5), 90, 1)
    assert ConvProblem((part,), (5, 5), 8, 14).exact
    assert not ConvProblem((part,), (5, 5), 8, 15).exact
    few, many = (ConvPart(PADDED, (40, 40), o, 1) for o in (32, 33))
    problems = [ConvProblem((one,), (40, 40), 8, 200) for one in (few, many)]
    assert [one.form for one in problems] == ["correlation", "correlation"]
    assert [one.exact for one in problems] == [True, False]
