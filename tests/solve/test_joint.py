"""Joint problems of rows and of single channels against the whole system of every channel, solved by NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from mipin_ref.errors import InvalidData
from mipin_ref.solve import joint
from mipin_ref.solve.gram import Gram, Rows
from mipin_ref.solve.own_gram import OwnGram
from tests.backends import backend, on_every_backend, relative_error


def whole_system(
    z: np.ndarray, x: np.ndarray, v: np.ndarray, ridge: float, intercept: bool
) -> tuple[np.ndarray, float, float]:
    """Weights of [z | v], intercept and squared error of one channel; z [n, f], x [n], v [n, r]."""
    columns = np.concatenate([z, v], axis=1)
    mean, middle = (columns.mean(0), x.mean()) if intercept else (np.zeros(columns.shape[1]), 0.0)
    a, b = columns - mean, x - middle
    if ridge:
        weights = np.linalg.solve(a.T @ a + ridge * np.eye(a.shape[1]), a.T @ b)
    else:
        weights = np.linalg.lstsq(a, b, rcond=1e-9)[0]
    return weights, float(middle - mean @ weights), float(np.sum((b - a @ weights) ** 2))


def sample(n: int, f: int, d: int, r: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(n + f + d + r)
    return rng.standard_normal((n, f)) + 3, rng.standard_normal((n, d)) - 2, rng.standard_normal((n, r, d)) + 1


@on_every_backend
@pytest.mark.parametrize("kind", [Gram, Rows])
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 5.0])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize(("n", "f", "r"), [(60, 7, 0), (60, 7, 1), (60, 7, 3), (12, 20, 0), (12, 20, 2)])
def test_rows_with_own_regressors(name: str, kind: Any, ridge: float, intercept: bool, n: int, f: int, r: int) -> None:
    z, x, v = sample(n, f, 4, r)
    device = backend(name)
    y = np.concatenate([x, *v.swapaxes(0, 1)], axis=1)
    shards = [kind(device, f, 4, own=r, intercept=intercept) for _ in range(2)]
    for i, sums in enumerate(shards):
        sums.update(device.put(z[i::2]), device.put(y[i::2]))
    shards[0].merge(shards[1])
    found = shards[0].solve(ridge)
    error = 0.0
    for channel in range(4):
        weights, offset, squared = whole_system(z, x[:, channel], v[:, :, channel], ridge, intercept)
        mine = np.concatenate([device.get(found.weights)[0, :, channel], device.get(found.own)[0, :, channel]])
        # 12 rows of 22 regressors have a condition of 1e5 at the smaller ridge; the whole system here squares it.
        assert relative_error(mine, weights) < 1e-7
        if intercept:
            assert device.get(found.intercept)[0, channel] == pytest.approx(offset, rel=1e-7, abs=1e-7)
        error += squared
    assert found.squared_error == pytest.approx(error, rel=1e-6, abs=1e-9)


@on_every_backend
@pytest.mark.parametrize("ridge", [1e-3, 5.0])
@pytest.mark.parametrize("intercept", [False, True])
@pytest.mark.parametrize("r", [0, 2])
def test_channels_solved_some_at_a_time(
    name: str, ridge: float, intercept: bool, r: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    z, x, v = sample(60, 5, 7, r)
    device = backend(name)
    sums = Gram(device, 5, 7, own=r, intercept=intercept)
    sums.update(device.put(z), device.put(np.concatenate([x, v.reshape(60, -1)], axis=1)))
    whole = sums.solve(ridge)
    # Two channels at a time, and the last alone.
    monkeypatch.setattr(joint, "BLOCK_BYTES", 8 * 5 * (1 + r) * 2)
    found = sums.solve(ridge)
    for channel in range(7):
        weights, offset, _ = whole_system(z, x[:, channel], v[:, :, channel], ridge, intercept)
        mine = np.concatenate([device.get(found.weights)[0, :, channel], device.get(found.own)[0, :, channel]])
        assert relative_error(mine, weights) < 1e-9
        if intercept:
            assert device.get(found.intercept)[0, channel] == pytest.approx(offset, rel=1e-9)
    assert found.squared_error == pytest.approx(whole.squared_error, rel=1e-9)
    assert (found.rank, found.solver) == (whole.rank, whole.solver)
    assert found.condition == pytest.approx(whole.condition, rel=1e-9)


@on_every_backend
def test_some_columns_and_channels_only(name: str) -> None:
    z, x, v = sample(40, 6, 4, 1)
    device = backend(name)
    for kind in (Gram, Rows):
        sums = kind(device, 6, 4, own=1, intercept=True)
        sums.update(device.put(z), device.put(np.concatenate([x, v[:, 0]], axis=1)))
        found = sums.solve(0.1, device.put(np.array([1, 4, 5])), slice(2, 3))
        weights, *_ = whole_system(z[:, [1, 4, 5]], x[:, 2], v[:, :, 2], 0.1, True)
        assert relative_error(device.get(found.weights)[0, :, 0], weights[:3]) < 1e-10
        assert relative_error(device.get(found.own)[0, :, 0], weights[3:]) < 1e-10


@on_every_backend
@pytest.mark.parametrize("ridge", [0.0, 1e-3, 5.0])
@pytest.mark.parametrize("intercept", [False, True])
def test_nothing_but_own_regressors(name: str, ridge: float, intercept: bool) -> None:
    rng = np.random.default_rng(0)
    maps = rng.standard_normal((9, 3, 4, 5, 2)) + 1
    maps[:, 2, 1] = 2 * maps[:, 1, 1]  # two branches that carry the same signal
    maps[:, 1, 3] = 0  # a dead one
    device = backend(name)
    parts = [OwnGram(device, 4, own=2, intercept=intercept) for _ in range(2)]
    for i, sums in enumerate(parts):
        sums.update(device.put(maps[i::2].reshape(-1, 12, 5, 2)))
    parts[0].merge(parts[1])
    found = parts[0].solve(ridge)
    assert parts[0].rows == 90
    for channel in range(4):
        x, *v = (maps[:, a, channel].ravel() for a in range(3))
        weights, offset, _ = whole_system(np.zeros((90, 0)), x, np.stack(v, axis=1), ridge, intercept)
        assert device.get(found.own)[0, :, channel] == pytest.approx(weights, rel=1e-9, abs=1e-12)
        if intercept:
            assert device.get(found.intercept)[0, channel] == pytest.approx(offset, rel=1e-9)
    assert found.rank == (2 if ridge else 1)


@on_every_backend
def test_the_small_systems_do_not_hide_what_is_badly_conditioned(name: str) -> None:
    """A skip that the shared regressors explain all but for a millionth."""
    z, x, v = sample(200, 3, 1, 1)
    v[:, 0, 0] = z[:, 0] + 1e-3 * v[:, 0, 0]
    device = backend(name)
    sums = Gram(device, 3, 1, own=1, intercept=False)
    sums.update(device.put(z), device.put(np.concatenate([x, v[:, 0]], axis=1)))
    assert sums.solve(1e-6).condition > 1e5


@on_every_backend
def test_sums_of_other_widths_are_not_merged(name: str) -> None:
    device = backend(name)
    with pytest.raises(InvalidData, match="same problem"):
        OwnGram(device, 4, own=2, intercept=True).merge(OwnGram(device, 4, own=1, intercept=True))
