"""Adjoint convolution and unpooling against torch, over random geometry and on every namespace."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mipin_ref.layers.conv import conv_adjoint
from mipin_ref.layers.pool import unpool, winning_taps
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
