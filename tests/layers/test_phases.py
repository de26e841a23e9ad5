"""Where a convolution's adjoint sums its products, against loops over locations and taps."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.layers.conv.phases import Phases, make_phases
from mipin_ref.window import Window
from tests.solve.test_conv_gram import geometries


def scattered(values: np.ndarray, phases: Phases, size: tuple[int, ...]) -> np.ndarray:
    """values [taps, *map] added up in the phases and cut out of them."""
    filled = np.zeros((len(values), *phases.filled))
    filled[np.index_exp[:] + tuple(slice(j) for j in values.shape[1:])] = values
    canvas = np.zeros((phases.count, *phases.canvas))
    for (phase, box), tap in zip(phases.taps, filled, strict=True):
        canvas[phase][box] += tap.reshape(phases.box)
    grids = canvas.reshape(phases.count, -1)[:, : np.prod(phases.grid)].reshape(phases.count, *phases.grid)
    x = np.zeros(size)
    for phase, there, here in phases.cuts:
        x[there] = grids[phase][here]
    return x


def looped(values: np.ndarray, window: Window, size: tuple[int, ...]) -> np.ndarray:
    x = np.zeros(size)
    for tap, u in enumerate(product(*map(range, window.kernel))):
        for j in product(*map(range, values.shape[1:])):
            axes = zip(j, window.strides, window.begin, u, window.dilations, strict=True)
            i = tuple(a * stride - begin + c * dilation for a, stride, begin, c, dilation in axes)
            if all(0 <= a < length for a, length in zip(i, size, strict=True)):
                x[i] += values[(tap, *j)]
    return x


@pytest.mark.parametrize("widest", [0.0, 1e9], ids=["boxes", "runs"])
@settings(max_examples=150, derandomize=True)
@given(geometry=geometries(), seed=st.integers(0, 50))
def test_sums_in_phases_equal_loops(widest: float, geometry: Any, seed: int) -> None:
    window, size, _, _ = geometry
    locations = window.output_size(size)
    values = np.random.default_rng(seed).integers(-9, 10, (window.taps, *locations)).astype(float)
    phases = make_phases(window, locations, size, widest=widest)
    assert (phases.filled == locations) or widest
    np.testing.assert_array_equal(scattered(values, phases, size), looped(values, window, size))


def test_runs_where_the_zeros_are_few() -> None:
    window = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1))
    assert make_phases(window, (56, 56), (56, 56)).box == (56 * 58,)
    assert make_phases(window, (7, 7), (7, 7)).box == (7, 7)
