"""Adjoint convolution and unpooling against torch, over random geometry and on every namespace."""

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
from mipin_ref.layers.conv import adjoint as conv
from mipin_ref.layers.conv.adjoint import adjoint_bytes, conv_adjoint
from mipin_ref.layers.conv.phases import make_phases
from mipin_ref.layers.max_pool import unpool, winning_taps
from mipin_ref.window import Window
from tests.backends import PICKS, backend, on_drawn_backend, on_every_backend, picked, relative_error
from tests.solve.test_conv_gram import geometries

CONV = {1: torch.nn.functional.conv1d, 2: torch.nn.functional.conv2d, 3: torch.nn.functional.conv3d}


def torch_adjoint(s: np.ndarray, kernel: np.ndarray, window: Window, groups: int, size: tuple[int, ...]) -> np.ndarray:
    """The gradient of <conv(x, kernel), s> with respect to x: autograd's own transposed convolution."""
    x = torch.zeros((s.shape[0], kernel.shape[1] * groups, *size), dtype=torch.float64, requires_grad=True)
    pads = [p for b, e in zip(reversed(window.begin), reversed(window.end), strict=True) for p in (b, e)]
    padded = torch.nn.functional.pad(x, pads)
    forward: Any = CONV[len(size)]
    y = forward(padded, torch.tensor(kernel), stride=window.strides, dilation=window.dilations, groups=groups)
    (gradient,) = torch.autograd.grad((y * torch.tensor(s)).sum(), x)
    return np.asarray(gradient)


@on_drawn_backend
@settings(deadline=None, max_examples=80, derandomize=True)
@given(geometry=geometries(), pick=PICKS, seed=st.integers(0, 50))
def test_conv_adjoint_equals_autograd(geometry: Any, names: tuple[str, ...], pick: int, seed: int) -> None:
    window, size, groups, (o, m) = geometry
    rng = np.random.default_rng(seed)
    s = rng.standard_normal((3, o, *window.output_size(size)))
    kernel = rng.standard_normal((o, m // groups, *window.kernel))
    device = backend(picked(names, pick))
    found = device.get(conv_adjoint(device, device.put(s), device.put(kernel), window, groups, size))
    assert relative_error(found, torch_adjoint(s, kernel, window, groups, size)) < 1e-13


LARGE = {
    "runs": (Window((3, 3), (1, 1), (0, 0), (0, 0), (1, 1)), (64, 64), 1, (4, 3)),
    "padded": (Window((5, 3), (1, 1), (2, 1), (2, 1), (1, 1)), (48, 48), 1, (3, 5)),
    "strided": (Window((7, 7), (2, 2), (3, 3), (3, 3), (1, 1)), (112, 112), 1, (3, 2)),
    "gaps": (Window((1, 2), (2, 3), (0, 0), (0, 0), (1, 1)), (41, 50), 1, (2, 3)),
    "dilated": (Window((3, 3), (2, 1), (2, 2), (2, 2), (2, 2)), (64, 64), 1, (2, 3)),
    "grouped": (Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), (32, 32), 4, (8, 4)),
    "depthwise": (Window((3, 3), (1, 1), (1, 1), (1, 1), (1, 1)), (32, 32), 6, (6, 6)),
    "depthwise strided": (Window((5, 5), (2, 2), (2, 2), (2, 2), (1, 1)), (56, 56), 6, (6, 6)),
    "pointwise": (Window((1, 1), (1, 1), (0, 0), (0, 0), (1, 1)), (20, 20), 2, (4, 6)),
    "whole map": (Window((6, 6), (1, 1), (0, 0), (0, 0), (1, 1)), (6, 6), 1, (5, 4)),
    "beside the input": (Window((2,), (3,), (0,), (0,), (1,)), (2,), 1, (2, 2)),
    "one tap beside the input": (Window((3,), (3,), (2,), (3,), (1,)), (1,), 1, (2, 2)),
}
"""Window, size, groups and channels."""


@on_every_backend
@pytest.mark.parametrize("case", LARGE)
def test_conv_adjoint_in_chunks(name: str, case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    window, size, groups, (o, m) = LARGE[case]
    rng = np.random.default_rng(0)
    s = rng.standard_normal((5, o, *window.output_size(size)))
    kernel = rng.standard_normal((o, m // groups, *window.kernel))
    monkeypatch.setattr(conv, "CHUNK_COLUMNS", 1)
    # Two samples at a time, and one at the end.
    monkeypatch.setattr(Backend, "block_bytes", 8 * 2 * _written(window, s.shape, m, groups, size))
    device = backend(name)
    found = device.get(conv_adjoint(device, device.put(s), device.put(kernel), window, groups, size))
    assert relative_error(found, torch_adjoint(s, kernel, window, groups, size)) < 1e-13


def _written(window: Window, shape: tuple[int, ...], m: int, groups: int, size: tuple[int, ...]) -> int:
    filled = make_phases(window, shape[2:], size).filled
    return m * int(np.prod(filled)) * (min(2, window.taps) if groups == m == shape[1] else window.taps)


@pytest.mark.parametrize("case", [case for case in LARGE if max(LARGE[case][1]) > 6])
def test_workspace_of_conv_adjoint_does_not_grow_with_samples(case: str, monkeypatch: pytest.MonkeyPatch) -> None:
    window, size, groups, (o, m) = LARGE[case]
    monkeypatch.setattr(Backend, "block_bytes", 1 << 20)
    device, locations, kernel = backend("numpy"), window.output_size(size), np.ones((o, m // groups, *window.kernel))
    expected = adjoint_bytes(device, kernel.shape, locations, window, groups, size)
    s = np.ones((150, o, *locations))
    tracemalloc.start()
    x = conv_adjoint(device, s, kernel, window, groups, size)
    peak = tracemalloc.get_traced_memory()[1] - x.nbytes
    tracemalloc.stop()
    # NumPy's own buffers, of 8192 elements, come on top.
    assert 0.6 * expected < peak < 1.02 * expected + 200_000


@on_every_backend
def test_conv_adjoint_equals_conv_transpose(name: str) -> None:
    rng = np.random.default_rng(0)
    s, kernel = rng.standard_normal((2, 4, 5, 5)), rng.standard_normal((4, 3, 3, 3))
    window = Window((3, 3), (2, 2), (1, 1), (1, 1), (1, 1))
    device = backend(name)
    expected = torch.nn.functional.conv_transpose2d(torch.tensor(s), torch.tensor(kernel), stride=2, padding=1)
    found = device.get(conv_adjoint(device, device.put(s), device.put(kernel), window, 1, (9, 9)))
    assert relative_error(found, np.asarray(expected)) < 1e-14


@on_every_backend
@pytest.mark.parametrize("ties", [False, True])
@pytest.mark.parametrize("dims", [1, 2, 3])
def test_unpool_equals_max_pool_backward(name: str, ties: bool, dims: int) -> None:
    """Windows that do not overlap: then the mean of Eq. 8 and the sum of a gradient are the same."""
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 2, *(6,) * dims))
    if ties:
        x = np.round(x)
    pool: Any = {
        1: torch.nn.functional.max_pool1d,
        2: torch.nn.functional.max_pool2d,
        3: torch.nn.functional.max_pool3d,
    }
    given_x = torch.tensor(x, requires_grad=True)
    y, indices = pool[dims](given_x, 2, return_indices=True)
    s = rng.standard_normal(tuple(y.shape))
    (expected,) = torch.autograd.grad((y * torch.tensor(s)).sum(), given_x)
    window = Window((2,) * dims, (2,) * dims, (0,) * dims, (0,) * dims, (1,) * dims)
    plane = 6**dims * np.arange(6).reshape(3, 2, *(1,) * dims)
    taps = winning_taps(np.asarray(indices) + plane, window, (2, *(6,) * dims))
    device = backend(name)
    found = device.get(unpool(device, device.put(s), device.put(taps), window, (6,) * dims))
    assert np.array_equal(found, np.asarray(expected))


@on_every_backend
def test_a_location_that_two_windows_chose_gets_their_mean(name: str) -> None:
    window = Window((2,), (1,), (0,), (0,), (1,))
    # 1 9 1: both windows choose the middle; in the second it is tap 0.
    device = backend(name)
    taps = winning_taps(np.array([[[1, 1]]]), window, (1, 3))
    found = device.get(unpool(device, device.put(np.array([[[2.0, 6.0]]])), device.put(taps), window, (3,)))
    assert taps.tolist() == [[[1, 0]]]
    assert found.tolist() == [[[0.0, 4.0, 0.0]]]


@st.composite
def pools(draw: Any) -> tuple[Window, tuple[int, ...]]:
    """Max-pools in one to three dimensions: windows that overlap, tile or leave gaps; each holds a location."""
    rank = draw(st.integers(1, 3))
    kernel = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    dilations = tuple(draw(st.integers(1, 2)) for _ in range(rank))
    begin, end = (tuple(draw(st.integers(0, k - 1)) for k in kernel) for _ in range(2))
    strides = tuple(draw(st.integers(1, 3)) for _ in range(rank))
    window = Window(kernel, strides, begin, end, dilations)
    size = tuple(draw(st.integers(max(2, e), e + 4)) for e in window.extent)
    return window, size


@on_drawn_backend
@settings(max_examples=100, derandomize=True)
@given(geometry=pools(), pick=PICKS, seed=st.integers(0, 50), chunk=st.sampled_from([1, 1 << 20]))
def test_unpool_equals_loops(geometry: Any, names: tuple[str, ...], pick: int, seed: int, chunk: int) -> None:
    """Every window chooses a tap that lies in the input; switches are told as onnxruntime tells them."""
    window, size = geometry
    locations, rng = window.output_size(size), np.random.default_rng(seed)
    shape = (3, 2, *locations)
    s, switches, chosen = rng.standard_normal(shape), np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    total, counts = (np.zeros((3, 2, *size)) for _ in range(2))
    for at in product(*map(range, shape)):
        start = [j * stride - b for j, stride, b in zip(at[2:], window.strides, window.begin, strict=True)]
        inside = []
        for tap, offset in enumerate(window.offsets):
            i = tuple(a + u for a, u in zip(start, offset, strict=True))
            if all(0 <= a < length for a, length in zip(i, size, strict=True)):
                inside.append((tap, i))
        if not inside:
            return
        tap, i = inside[rng.integers(len(inside))]
        chosen[at], switches[at] = tap, np.ravel_multi_index((*at[:2], *i), (3, 2, *size))
        total[(*at[:2], *i)] += s[at]
        counts[(*at[:2], *i)] += 1
    taps = winning_taps(switches, window, (2, *size))
    np.testing.assert_array_equal(taps, chosen)
    device = backend(picked(names, pick))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Backend, "block_bytes", chunk)
        found = device.get(unpool(device, device.put(s), device.put(taps), window, size))
        summed = device.get(unpool(device, device.put(s), device.put(taps), window, size, overlaps="sum"))
    np.testing.assert_allclose(found, total / np.maximum(counts, 1), rtol=1e-14, atol=1e-14)
    np.testing.assert_allclose(summed, total, rtol=1e-14, atol=1e-14)


def test_switches_beyond_32_bits() -> None:
    window = Window((2, 2), (2, 2), (0, 0), (0, 0), (1, 1))
    side = 50_000
    rows, columns = np.array([[[[0, 1], [3, 2]]]]), np.array([[[[1, 2], [0, 3]]]])
    assert winning_taps(rows * side + columns, window, (1, side, side)).tolist() == [[[[1, 2], [2, 1]]]]
    far = Window((2, 2), (side - 2, side - 2), (0, 0), (0, 0), (1, 1))
    last = np.array([[[[0, side - 1], [(side - 2) * side, side * side - 1]]]])
    assert winning_taps(last, far, (1, side, side)).tolist() == [[[[0, 1], [0, 3]]]]
