"""Transforms by matrix products against NumPy's FFT, and sums at every lag against loops."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from mipin_ref.solve import lag_sums
from mipin_ref.solve.fourier import Transform, frequencies
from mipin_ref.solve.lag_sums import LagSums
from tests.backends import EPS, backend, on_every_backend, relative_error

SIZES = [(7,), (6, 5), (1, 4), (3, 4, 5)]


@on_every_backend
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("more", [0, 1, 3])
def test_spectra_equal_the_fft(name: str, size: tuple[int, ...], more: int) -> None:
    device = backend(name)
    length = tuple(n + more for n in size)
    a = np.random.default_rng(0).standard_normal((2, 3, *size))
    transform = Transform(device, size, length, device.compute)
    rows, half = transform.rows(device.put(a)), length[-1] // 2 + 1
    found = [device.get(transform.spectra(rows, i, min(i + 2, half), 2)) for i in range(0, half, 2)]
    axes = tuple(range(2, a.ndim))
    expected = np.fft.rfftn(a, length, axes)
    # Of all axes but the last, frequencies 0, 1, .. and then -1, -2, ..; the last counts first, then the others back.
    for axis, total in zip(axes[:-1], length[:-1], strict=True):
        expected = np.take(expected, [*range(total // 2 + 1), *range(total - 1, total // 2, -1)], axis=axis)
    order = (a.ndim - 1, *range(a.ndim - 2, 1, -1), 0, 1)
    expected = expected.transpose(order).reshape(-1, 2, 3)
    together = np.concatenate(found)
    assert together.shape == (frequencies(length), 2, 2, 3)
    assert relative_error(together[:, 0], expected.real) < 100 * EPS
    assert relative_error(-together[:, 1], expected.imag) < 100 * EPS


def correlated(a: np.ndarray, b: np.ndarray, lag: tuple[int, ...]) -> np.ndarray:
    """Σ a[n, j] b[n, j + lag] by loops over locations."""
    found = np.zeros((a.shape[1], b.shape[1]))
    for j in np.ndindex(a.shape[2:]):
        other = tuple(i + step for i, step in zip(j, lag, strict=True))
        if all(0 <= i < n for i, n in zip(other, b.shape[2:], strict=True)):
            found += a[(..., *j)].T @ b[(..., *other)]
    return found


@on_every_backend
@pytest.mark.parametrize("size", [*SIZES, ()])
@pytest.mark.parametrize("tile", [2, 64])
def test_sums_at_every_lag(name: str, size: tuple[int, ...], tile: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two signals, one of them a location shorter, beside a longer map; in two updates and two shards."""
    monkeypatch.setattr(lag_sums, "TILE", tile)
    device, rng = backend(name), np.random.default_rng(1)
    short, long = tuple(max(1, n - 1) for n in size), tuple(n + 2 for n in size)
    lags, other_lags = [[-2, -1, 0, 1, 2]] * len(size), [[-1, 0, 2]] * len(size)
    length = tuple(n + 3 for n in size)
    total = None
    data = [[rng.standard_normal((n, c, *s)) for c, s in ((3, size), (2, short), (2, long))] for n in (3, 1, 2)]
    for shard in (data[:2], data[2:]):
        sums = LagSums(device, [size, short], [3, 2], lags, length, [(long, 2, other_lags)])
        for *signals, other in shard:
            sums.update([device.put(s) for s in signals], [device.put(other)])
        if total is None:
            total = sums
        else:
            total.merge(sums)
    assert total is not None
    first, second, other = (np.concatenate([batch[i] for batch in data]) for i in range(3))
    scale = np.sqrt(sum(np.sum(a * a) for a in (first, second)))
    for lag in product(*lags):
        expected = np.block([[correlated(a, b, lag) for b in (first, second)] for a in (first, second)])
        assert np.abs(device.get(total.among(lag)) - expected).max() < 100 * EPS * scale**2
    for lag in product(*other_lags):
        expected = np.concatenate([correlated(a, other, lag) for a in (first, second)])
        assert np.abs(device.get(total.with_other(0, lag)) - expected).max() < 100 * EPS * scale**2
