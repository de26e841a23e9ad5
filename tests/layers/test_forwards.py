"""Convolution and average pooling forward, and the adjoint of the latter, against torch and loops."""

from __future__ import annotations

import tracemalloc
from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.backend import Backend
from mipin_ref.layers.averages import average, average_adjoint, window_counts
from mipin_ref.layers.conv.forward import conv_forward
from mipin_ref.window import Window
from tests.backends import PICKS, backend, on_drawn_backend, picked, relative_error
from tests.layers.test_adjoints import CONV, pools
from tests.oracles import spec
from tests.oracles.forward import average_pool
from tests.solve.test_conv_gram import geometries


@on_drawn_backend
@settings(max_examples=80, derandomize=True)
@given(geometry=geometries(), pick=PICKS, seed=st.integers(0, 50), chunk=st.sampled_from([1, 1 << 20]))
def test_conv_forward_equals_torch(geometry: Any, names: tuple[str, ...], pick: int, seed: int, chunk: int) -> None:
    window, size, groups, (o, m) = geometry
    rng = np.random.default_rng(seed)
    x = rng.standard_normal((3, m, *size))
    kernel = rng.standard_normal((o, m // groups, *window.kernel))
    pads = [p for b, e in zip(reversed(window.begin), reversed(window.end), strict=True) for p in (b, e)]
    padded = torch.nn.functional.pad(torch.tensor(x), pads)
    convolve: Any = CONV[len(size)]
    expected = convolve(
        padded, torch.tensor(kernel), stride=window.strides, dilation=window.dilations, groups=groups
    ).numpy()
    device = backend(picked(names, pick))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backend, "block_bytes", chunk)
        locations = window.output_size(size)
        found = conv_forward(device, device.put(x), device.put(kernel), window, groups, locations)
    assert relative_error(device.get(found), expected) < 1e-13


def test_workspace_of_conv_forward_does_not_grow_with_samples() -> None:
    window, device = Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), backend("numpy")
    kernel, peaks = np.ones((8, 8, 3, 3)), []
    for count in (40, 160):
        x = np.ones((count, 8, 32, 32))
        tracemalloc.start()
        y = conv_forward(device, x, kernel, window, 1, (32, 32))
        peaks.append(tracemalloc.get_traced_memory()[1] - y.nbytes)
        tracemalloc.stop()
    assert peaks[1] < 1.1 * peaks[0]
    assert peaks[0] < 4 * device.block_bytes


@on_drawn_backend
@settings(max_examples=100, derandomize=True)
@given(geometry=pools(), pick=PICKS, seed=st.integers(0, 50), ceil=st.booleans(), pads=st.booleans())
def test_average_equals_loops(
    geometry: Any, names: tuple[str, ...], pick: int, seed: int, ceil: bool, pads: bool
) -> None:
    """The forward pass against loops; the adjoint as the transpose of the matrix that loops give."""
    window, size = geometry
    locations = window.output_size(size, ceil_mode=ceil)
    counts = window_counts(window, locations, size, pads=pads)
    if not counts.all():
        return
    op = spec.AveragePool(
        ("x",), "y", window.kernel, window.strides, window.begin + window.end, ceil, pads, window.dilations
    )
    rng, device = np.random.default_rng(seed), backend(picked(names, pick))
    x, s = rng.standard_normal((2, 2, *size)), rng.standard_normal((2, 2, *locations))
    divided = device.put(counts.astype(np.float64))
    found = device.get(average(device, device.put(x), window, divided))
    assert relative_error(found, average_pool(op, x)) < 1e-14
    width = int(np.prod(size))
    matrix = average_pool(op, np.eye(width).reshape(width, 1, *size)).reshape(width, -1)
    expected = (s.reshape(4, -1) @ matrix.T).reshape(x.shape)
    back = device.get(average_adjoint(device, device.put(s), window, divided, size))
    assert relative_error(back, expected) < 1e-14


def test_counts_of_padding_and_ceil_mode() -> None:
    """Pads count where they are declared to; what ceil_mode lets hang over never does."""
    window = Window((3,), (2,), (1,), (0,), (1,))
    assert window.output_size((5,), ceil_mode=True) == (3,)
    assert window_counts(window, (3,), (5,), pads=False).tolist() == [2, 3, 2]
    assert window_counts(window, (3,), (5,), pads=True).tolist() == [3, 3, 2]
    both = Window((3, 2), (2, 1), (1, 0), (0, 0), (1, 1))
    found = window_counts(both, (3, 2), (5, 3), pads=False)
    assert [found[i, j] for i, j in product(range(3), range(2))] == [4, 4, 6, 6, 4, 4]
