"""Maps along one axis against their matrices: as they are, transposed, and as means."""

from __future__ import annotations

import numpy as np
import pytest

from mipin_ref.layers import axis_map as module
from mipin_ref.layers.axis_map import AxisMap, along, picking
from mipin_ref.layers.resize import axis_map
from tests.backends import backend, on_every_backend

MAPS: dict[str, AxisMap] = {
    "some": picking([3, 0, 4], 6),
    "several times": picking([1, 1, 5, 1], 6),
    "backwards": picking([5, 4, 3, 2, 1, 0], 6),
    "one for many": picking([0] * 40, 1),
    "linear": axis_map("linear", "half_pixel", "floor", 6, 13, None),
    "linear, smaller": axis_map("linear", "asymmetric", "floor", 9, 4, None),
    "nearest": axis_map("nearest", "asymmetric", "floor", 6, 17, 17 / 6),
}


def matrix(one: AxisMap) -> np.ndarray:
    """By loops."""
    found = np.zeros((one.length, one.size))
    for index, weight in zip(one.index, one.weight, strict=True):
        for o in range(one.length):
            found[o, index[o]] += weight[o]
    return found


@on_every_backend
@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("key", MAPS)
def test_maps_equal_their_matrices(name: str, key: str, whole: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Term by term and as a product of matrices."""
    for limit in ("SMALL", "LARGE"):
        monkeypatch.setattr(module, limit, 1 << 30 if whole else 0)
    one, device, rng = MAPS[key], backend(name), np.random.default_rng(0)
    dense = matrix(one)
    counted = dense.sum(axis=0)
    mean = (dense / np.where(counted > 0, counted, 1)).T
    for made, expected in ((one, dense), (one.adjoint, dense.T), (one.mean, mean)):
        x = rng.standard_normal((2, 3, made.size, 2))
        found = device.get(made(device, device.put(x), 2))
        np.testing.assert_allclose(found, np.einsum("oi,ncih->ncoh", expected, x), rtol=1e-13, atol=1e-13)
        np.testing.assert_allclose(made.matrix, expected, rtol=1e-15)


@on_every_backend
def test_several_axes(name: str) -> None:
    device = backend(name)
    x = np.arange(24.0).reshape(1, 4, 6)
    found = device.get(along(device, device.put(x), {1: picking([3, 1], 4), 2: picking([0, 0, 5], 6)}))
    np.testing.assert_array_equal(found, x[:, [3, 1]][:, :, [0, 0, 5]])
