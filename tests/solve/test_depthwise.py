"""Products of depthwise regressors by lines of the map, against regressors that torch writes out."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
import torch

from mipin_ref.solve import depthwise
from mipin_ref.solve.depthwise import DepthwiseSums
from mipin_ref.window import Window
from tests.backends import backend, on_every_backend, relative_error

Array = npt.NDArray[np.float64]

GEOMETRIES = {
    "3×3, padded": (Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), (7, 6)),
    "5×5, padded": (Window((5, 5), (1, 1), (2, 2), (2, 2), (1, 1)), (9, 5)),
    "5×5 on a map that is smaller": (Window((5, 5), (1, 1), (2, 2), (2, 2), (1, 1)), (3, 4)),
    "3×3, stride 2, padded at the end": (Window((3, 3), (2, 2), (0, 0), (1, 1), (1, 1)), (8, 6)),
    "5×3, strides 2 and 3": (Window((5, 3), (2, 3), (2, 1), (1, 0), (1, 1)), (9, 10)),
    "3×3, dilated": (Window((3, 3), (1, 1), (2, 1), (2, 0), (2, 1)), (8, 7)),
    "2×2, stride 3: taps of no other": (Window((2, 2), (3, 3), (0, 0), (0, 0), (1, 1)), (8, 8)),
    "pointwise": (Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), (4, 5)),
}


def written_out(s: Array, window: Window, size: tuple[int, int]) -> Array:
    """The regressors [c, rows, taps]: what each tap alone takes the signal to, by torch, cut to the input."""
    (n, c, *_), taps = s.shape, window.taps
    alone = torch.eye(taps, dtype=torch.float64).reshape(1, taps, *window.kernel)
    rows = torch.nn.functional.conv_transpose2d(
        torch.tensor(s).reshape(n * c, 1, *s.shape[2:]), alone, stride=window.strides, dilation=window.dilations
    ).numpy()
    (top, left), (height, width) = window.begin, size
    full = np.zeros((n * c, taps, top + height + rows.shape[2], left + width + rows.shape[3]))
    full[:, :, : rows.shape[2], : rows.shape[3]] = rows
    cut = full[:, :, top : top + height, left : left + width]
    return cut.reshape(n, c, taps, -1).transpose(1, 0, 3, 2).reshape(c, -1, taps)


def sample(case: str, parts: int, dtype: str = "float64") -> tuple[Array, Array]:
    window, size = GEOMETRIES[case]
    rng = np.random.default_rng(len(case))
    s = rng.standard_normal((3, 4, *window.output_size(size))) + 0.5
    y = rng.standard_normal((3, parts, 4, *size))
    return s.astype(dtype).astype(np.float64), y.astype(dtype).astype(np.float64)


@on_every_backend
@pytest.mark.parametrize("piece", [1, 2, 4, 14])
@pytest.mark.parametrize("case", GEOMETRIES)
def test_products_are_those_of_the_regressors(
    case: str, piece: int, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of lines whole and in pieces."""
    monkeypatch.setattr(depthwise, "PIECE", piece)
    (window, size), (s, y), device = GEOMETRIES[case], sample(case, 2), backend(name)
    sums, other = (DepthwiseSums(device, window, s.shape[2:], size, 4, 2) for _ in range(2))
    sums.update(device.put(s[:2]), device.put(y[:2]))
    other.update(device.put(s[2:]), device.put(y[2:]))
    sums.merge(other)
    z = written_out(s, window, size)
    rows = y.reshape(3, 2, 4, -1).transpose(2, 0, 3, 1).reshape(4, -1, 2)
    # Sums of some hundred products of some units.
    assert relative_error(device.get(sums.shared), z.transpose(0, 2, 1) @ z) < 64 * np.finfo(np.float64).eps
    assert relative_error(device.get(sums.crossed), z.transpose(0, 2, 1) @ rows) < 64 * np.finfo(np.float64).eps


@pytest.mark.slow
@pytest.mark.parametrize("case", ["3×3, padded", "5×5, padded", "3×3, stride 2, padded at the end"])
def test_long_lines(case: str) -> None:
    """Of single-precision maps as wide as those of photographs, added up in double precision."""
    (window, _), size, device = GEOMETRIES[case], (40, 112), backend("numpy", "float32").in_double()
    rng = np.random.default_rng(0)
    s = rng.standard_normal((3, 4, *window.output_size(size))).astype(np.float32)
    y = rng.standard_normal((3, 1, 4, *size)).astype(np.float32)
    sums = DepthwiseSums(device, window, s.shape[2:], size, 4, 1)
    sums.update(s, y)
    z = written_out(s.astype(np.float64), window, size)
    rows = y.astype(np.float64).transpose(2, 0, 3, 4, 1).reshape(4, -1, 1)
    # Sums of some ten thousand products of some units.
    assert relative_error(sums.shared, z.transpose(0, 2, 1) @ z) < 640 * np.finfo(np.float64).eps
    assert relative_error(sums.crossed, z.transpose(0, 2, 1) @ rows) < 640 * np.finfo(np.float64).eps


def test_squares_of_what_lies_beyond_the_input_are_zero_in_single_precision() -> None:
    """Of a signal that lives on the border alone, taps that take it outside have nothing left, not even rounding."""
    window, size = GEOMETRIES["3×3, padded"]
    s = np.zeros((3, 4, 7, 6))
    s[:, :, 0, :] = 1e3 + np.random.default_rng(0).standard_normal((3, 4, 6))
    device = backend("numpy", "float32")
    sums = DepthwiseSums(device, window, (7, 6), size, 4, 1)
    sums.update(device.put(s), device.put(np.ones((3, 1, 4, 7, 6))))
    found = np.diagonal(sums.shared, axis1=1, axis2=2).reshape(4, 3, 3)
    assert np.all(found[:, 0] == 0)
    assert np.all(found[:, 1:] > 0)


def test_taps_that_read_nothing_but_padding_have_no_products() -> None:
    """A stride that steps over a column of the input."""
    window, size = Window((3, 1), (1, 2), (1, 1), (1, 1), (1, 1)), (6, 1)
    s, y = np.ones((3, 4, *window.output_size(size))), np.ones((3, 1, 4, *size))
    sums = DepthwiseSums(backend("numpy"), window, s.shape[2:], size, 4, 1)
    sums.update(s, y)
    assert not np.any(sums.shared)
    assert not np.any(sums.crossed)
