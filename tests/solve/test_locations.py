"""Regressors that are the same at all locations of a sample: the sums are those of a row a sample and location."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.errors import InvalidData
from mipin_ref.solve.gram import Gram, Rows, make_accumulator
from tests.backends import EPS, backend, on_every_backend, relative_error

FEATURES, OUTPUTS, LOCATIONS = 5, 3, 7

TOLERANCE = 1e6 * EPS
"""Squares of means are 1e4 times those of what varies, own weights less than a tenth, and a sum has some ten terms."""


def drawn(samples: int, own: int, offset: float) -> tuple[np.ndarray, np.ndarray]:
    """z [n, f], y [n, (1 + own) · d, locations]."""
    rng = np.random.default_rng(samples + own)
    z = rng.standard_normal((samples, FEATURES)) + 2
    return z, rng.standard_normal((samples, (1 + own) * OUTPUTS, LOCATIONS)) + offset


def written_out(z: np.ndarray, y: np.ndarray, ridge: float, *, intercept: bool) -> tuple[np.ndarray, np.ndarray, float]:
    """Weights [f + own, d], intercepts [d] and the squared error, by least squares on a row a sample and location."""
    parts = y.reshape(len(z), -1, OUTPUTS, LOCATIONS)
    weights, offsets, error = np.zeros((FEATURES + parts.shape[1] - 1, OUTPUTS)), np.zeros(OUTPUTS), 0.0
    for d in range(OUTPUTS):
        rows = np.array([[*z[n], *parts[n, 1:, d, p]] for n in range(len(z)) for p in range(LOCATIONS)])
        wanted = parts[:, 0, d].reshape(-1)
        means, mean = (rows.mean(0), wanted.mean()) if intercept else (np.zeros(rows.shape[1]), 0.0)
        system = np.concatenate([rows - means, np.sqrt(ridge) * np.eye(rows.shape[1])])
        weights[:, d] = np.linalg.lstsq(system, np.concatenate([wanted - mean, np.zeros(rows.shape[1])]))[0]
        offsets[d] = mean - means @ weights[:, d]
        error += float(np.sum((wanted - rows @ weights[:, d] - offsets[d]) ** 2))
    return weights, offsets, error


@on_every_backend
@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("offset", [0.0, 100.0])
@pytest.mark.parametrize(("kind", "samples", "own"), [(Gram, 12, 0), (Gram, 12, 2), (Gram, 4, 1), (Rows, 4, 0)])
def test_merged_parts_are_rows_written_out(
    kind: type[Gram | Rows], samples: int, own: int, offset: float, intercept: bool, name: str
) -> None:
    z, y = drawn(samples, own, offset)
    device = backend(name)
    parts = [
        make_accumulator(device, FEATURES, OUTPUTS, own=own, intercept=intercept, rows=samples, locations=LOCATIONS)
        for _ in range(2)
    ]
    for at in range(samples):
        parts[at >= samples // 2].update(device.put(z[at : at + 1]), device.put(y[at : at + 1]))
    parts[0].merge(parts[1])
    assert type(parts[0]) is kind
    weights, offsets, error = written_out(z, y, 2.0, intercept=intercept)
    made = parts[0].solve(2.0)
    assert relative_error(device.get(made.weights)[0], weights[:FEATURES]) < TOLERANCE
    assert relative_error(device.get(made.own)[0], weights[FEATURES:]) < TOLERANCE
    if made.intercept is not None:
        assert relative_error(device.get(made.intercept)[0], offsets) < TOLERANCE
    assert made.rows == samples * LOCATIONS
    # What is left is a difference of sums as large as the squares of y.
    largest = float(np.sum(y[:, :OUTPUTS] ** 2))
    assert made.squared_error == pytest.approx(error, abs=TOLERANCE * largest)
    first = y[:, :OUTPUTS]
    about = first - first.mean(axis=(0, 2), keepdims=True)
    assert made.spread == pytest.approx(float(np.sum(about**2)), abs=TOLERANCE * largest)


@pytest.mark.parametrize("intercept", [True, False])
@pytest.mark.parametrize("rows", [6, 12])
def test_the_error_of_what_was_fitted_on_other_samples(rows: int, intercept: bool) -> None:
    """Of every location, also where means over them are all that is kept."""
    device, z, y = backend("numpy"), *drawn(12, 0, 1.0)
    fitted, out = (
        make_accumulator(
            device, FEATURES, OUTPUTS, intercept=intercept, rows=4 if rows == 6 else 12, locations=LOCATIONS
        )
        for _ in range(2)
    )
    fitted.update(z[:rows], y[:rows])
    out.update(z[rows - 3 :], y[rows - 3 :])
    made = fitted.solve(2.0)
    guess = z[rows - 3 :] @ made.weights[0] + (0 if made.intercept is None else made.intercept[0])
    left = y[rows - 3 :] - guess[:, :, None]
    assert out.error(made) == pytest.approx(float(np.sum(left**2)), rel=TOLERANCE)


def test_other_problems_are_not_merged() -> None:
    device = backend("numpy")
    one, other = (Gram(device, 3, 2, intercept=True, locations=count) for count in (1, 4))
    with pytest.raises(InvalidData, match="same problem"):
        one.merge(other)
    with pytest.raises(InvalidData, match="differ between locations"):
        Rows(device, 3, 2, own=1, intercept=True, locations=4)
